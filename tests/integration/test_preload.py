"""`kernel.preload`: a kernel is what it is without, and starts sooner."""

from __future__ import annotations

import pytest

from moat_nb.jupyter.kernel_manager import Kernel
from tests.integration.conftest import UNCLOSED_LOOPS, Launcher
from tests.integration.test_jupyter import run

pytestmark = UNCLOSED_LOOPS

DECIDES = """
import os
from IPython import get_ipython
SHELL = type(get_ipython()).__name__
"""
READS = """
import os
BACKEND, KEY = os.environ.get("MPLBACKEND"), os.environ.get("KEY")
"""
LOOK = "import decides, reads; print(decides.SHELL, reads.BACKEND, reads.KEY)"
AS_EVER = "ZMQInteractiveShell module://matplotlib_inline.backend_inline"
PLOT = "import matplotlib.pyplot as plt; plt.plot([1, 2]); print(plt.get_backend())"


@pytest.mark.parametrize("secret", [False, True], ids=["forked", "with a secret"])
def test_what_a_module_decides_when_it_is_imported_it_decides_as_in_the_kernel(
    launcher: Launcher, monkeypatch: pytest.MonkeyPatch, secret: bool
) -> None:
    keys = {"secrets": {"KEY": "env://MOAT_TEST_KEY"}} if secret else {}
    monkeypatch.setenv("MOAT_TEST_KEY", "hunter2")
    project = launcher.project(
        python=True,
        env={"PYTHONPATH": "/workspace"},
        kernel={"preload": ["decides", "reads"]},
        **keys,
    )
    (project / "decides.py").write_text(DECIDES)
    (project / "reads.py").write_text(READS)
    box = launcher.launch(project)
    expected = f"{AS_EVER} {'hunter2' if secret else None}\n"
    with Kernel.start(box) as kernel:
        assert run(kernel.kc, LOOK) == expected
        for _ in range(2):  # the second may be a spare's
            kernel.restart_kernel(now=True)
            kernel.kc.wait_for_ready(timeout=300)
            assert run(kernel.kc, LOOK) == expected


def test_pandas_is_whole_and_knows_that_it_is_in_a_notebook(on_bubblewrap: Launcher) -> None:
    pytest.importorskip("pandas")
    box = on_bubblewrap.launch(on_bubblewrap.project(python=True, kernel={"preload": ["pandas"]}))
    look = "print('pandas' in __import__('sys').modules)\nimport pandas as pd; "
    with Kernel.start(box) as kernel:
        said = run(kernel.kc, look + "print(pd.options.display.max_columns, pd.plotting.__name__)")
        assert said == "True\n20 pandas.plotting\n"


def test_a_plot_is_shown_inline_and_a_bar_of_tqdm_is_a_widget(on_bubblewrap: Launcher) -> None:
    pytest.importorskip("matplotlib")
    modules = ["matplotlib.pyplot", "tqdm.auto"]
    box = on_bubblewrap.launch(on_bubblewrap.project(python=True, kernel={"preload": modules}))
    with Kernel.start(box) as kernel:
        for restarted in (False, True):
            if restarted:
                kernel.restart_kernel(now=True)
                kernel.kc.wait_for_ready(timeout=300)
            shown = []
            kernel.kc.execute_interactive(PLOT, timeout=300, output_hook=shown.append)
            pictures = [m for m in shown if m["msg_type"] == "display_data"]
            assert ["image/png" in m["content"]["data"] for m in pictures] == [True]
            look = "import tqdm.auto as t; print(t.tqdm.__mro__[1].__name__)"
            assert run(kernel.kc, look) == "tqdm_notebook\n"
