"""Jupyter's own programs on an installed kernelspec: by the provisioner, and by the argv shim.

Every test runs four times: on Docker and on bubblewrap, for clients that know provisioners and for
clients that run the kernelspec's argv, as VS Code does.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from tests.conftest import Engine, Project
from tests.integration.conftest import UNCLOSED_LOOPS, wait_until

pytestmark = UNCLOSED_LOOPS

MOAT_YAML = """\
name: test-jupyter
{image}
mounts:
  - source: .
    target: /workspace
    exclude: [node_modules]
"""


@dataclass(frozen=True)
class Installed:
    """A project whose kernelspec is installed below ``prefix``."""

    project: Path
    prefix: Path
    name: str
    env: dict[str, str]

    def jupyter(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", *argv],
            cwd=self.project,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stderr
        return done

    def manager(self) -> KernelManager:
        specs = KernelSpecManager(kernel_dirs=[str(self.prefix / "share/jupyter/kernels")])
        return KernelManager(kernel_name=self.name, kernel_spec_manager=specs)

    def execute(self, *cells: str, **options: Any) -> Any:
        """Run cells by nbclient; returns the executed notebook."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        os.environ["JUPYTER_PATH"] = self.env["JUPYTER_PATH"]
        try:
            client = NotebookClient(
                notebook,
                kernel_name=self.name,
                resources={"metadata": {"path": str(self.project)}},
                **options,
            )
            client.execute()
        finally:
            del os.environ["JUPYTER_PATH"]
        return notebook


@pytest.fixture(params=["docker", "bubblewrap"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["provisioner", "shim"])
def installed(
    request: pytest.FixtureRequest, engine: Engine, project: Project, runtime: str, tmp_path: Path
) -> Iterator[Installed]:
    image = f"base_image: {engine.kernel_image}" if runtime == "docker" else ""
    directory = project(MOAT_YAML.format(image=image))
    (directory / "node_modules").mkdir(mode=0o755)
    (directory / "node_modules" / "host.txt").write_text("the host's own")
    prefix = tmp_path / "prefix"
    env = {
        **os.environ,
        "JUPYTER_PATH": str(prefix / "share/jupyter"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    found = Installed(directory, prefix, "moat-test-jupyter", env)
    found.jupyter("moat_nb", "install", str(directory), f"--prefix={prefix}", "--runtime", runtime)
    if request.param == "shim":
        forget_provisioner(prefix / "share/jupyter/kernels" / found.name / "kernel.json")
    yield found
    gc.collect()  # what jupyter_client left open is said here, and not of another test


def forget_provisioner(kernel_json: Path) -> None:
    """What is left for a client that ignores provisioners: argv."""
    spec = json.loads(kernel_json.read_text())
    del spec["metadata"]["kernel_provisioner"]
    kernel_json.write_text(json.dumps(spec))


def texts(cell: Any) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def test_kernelspec_list_shows_the_kernel(installed: Installed) -> None:
    listed = installed.jupyter("jupyter", "kernelspec", "list", "--json").stdout
    spec = json.loads(listed)["kernelspecs"][installed.name]["spec"]
    assert spec["display_name"] == "Python 3 (moat: test-jupyter)"


def test_nbclient_runs_cells_with_rich_output(installed: Installed) -> None:
    notebook = installed.execute(
        "import os, getpass; print(os.getcwd(), os.listdir('node_modules'))",
        "from IPython.display import HTML, display\ndisplay(HTML('<b>bold</b>'))\n6 * 7",
    )
    assert texts(notebook.cells[0]) == "/workspace []\n"
    rich, result = notebook.cells[1].outputs
    assert rich["data"]["text/html"] == "<b>bold</b>"
    assert result["data"]["text/plain"] == "42"


def test_an_error_in_a_cell_is_an_error_of_the_notebook(installed: Installed) -> None:
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        installed.execute("1 / 0")


def test_input_is_refused_cleanly_where_nobody_can_answer(installed: Installed) -> None:
    with pytest.raises(CellExecutionError, match="StdinNotImplementedError"):
        installed.execute("input('name: ')")


def test_a_cell_that_takes_too_long_is_interrupted(installed: Installed) -> None:
    notebook = installed.execute(
        "import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('interrupted')",
        "print('and on')",
        timeout=3,
        interrupt_on_timeout=True,
        allow_errors=True,
    )
    assert "interrupted" in texts(notebook.cells[0])
    assert texts(notebook.cells[1]) == "and on\n"


def test_nbconvert_executes_a_notebook(installed: Installed) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(6 * 7)")])
    nbformat.write(notebook, installed.project / "n.ipynb")
    installed.jupyter(
        *("jupyter", "nbconvert", "--to", "notebook", "--execute", "n.ipynb"),
        *(f"--ExecutePreprocessor.kernel_name={installed.name}", "--output", "out.ipynb"),
    )
    executed = nbformat.read(installed.project / "out.ipynb", as_version=4)
    assert texts(executed.cells[0]) == "42\n"


def test_papermill_passes_parameters(installed: Installed) -> None:
    cell = nbformat.v4.new_code_cell("n = 1", metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_code_cell("print(n * 2)")])
    notebook.metadata["kernelspec"] = {
        "name": installed.name,
        "display_name": "in a sandbox",
        "language": "python",
    }
    nbformat.write(notebook, installed.project / "n.ipynb")
    installed.jupyter("papermill", "n.ipynb", "out.ipynb", "-p", "n", "21")
    executed = nbformat.read(installed.project / "out.ipynb", as_version=4)
    assert texts(executed.cells[-1]) == "42\n"


def test_a_failing_notebook_makes_nbconvert_fail(installed: Installed) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    nbformat.write(notebook, installed.project / "n.ipynb")
    done = installed.jupyter(
        *("jupyter", "nbconvert", "--to", "notebook", "--execute", "n.ipynb"),
        f"--ExecutePreprocessor.kernel_name={installed.name}",
        check=False,
    )
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stderr


@contextmanager
def connected(installed: Installed) -> Iterator[tuple[KernelManager, Any]]:
    """A manager whose kernel answers, and a client of it."""
    manager = installed.manager()
    manager.start_kernel(cwd=str(installed.project))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=300)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.mark.parametrize("now", [True, False], ids=["at once", "politely"])
def test_a_restart_keeps_what_was_installed_into_the_excludes(
    installed: Installed, now: bool
) -> None:
    with connected(installed) as (manager, client):
        run(client, "open('node_modules/kept', 'w').close(); n = 1")
        manager.restart_kernel(now=now)
        client.wait_for_ready(timeout=300)
        assert run(client, "import os; print(os.listdir('node_modules'))") == "['kept']\n"
        assert "NameError" in run(client, "n")


def test_a_kernel_in_a_dead_ones_place_is_not_told_to_end(installed: Installed) -> None:
    """A manager asks a kernel to end before each restart, also one that is dead."""
    with connected(installed) as (manager, client):
        client.execute("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
        assert wait_until(lambda: not manager.is_alive(), 60)
        manager.restart_kernel(now=False)
        client.wait_for_ready(timeout=300)
        for _ in range(3):
            assert run(client, "print('alive')") == "alive\n"
        assert manager.is_alive()


def test_an_interrupt_reaches_what_a_cell_started_too(installed: Installed) -> None:
    with connected(installed) as (manager, client):
        interrupt_at(installed.project / "started", manager)
        script = "touch started; exec sleep 1000"
        said = run(client, f"import subprocess; subprocess.run(['sh', '-c', {script!r}])")
        assert "KeyboardInterrupt" in said
        assert run(client, "print('alive')") == "alive\n"


def test_a_kernel_that_exits_is_seen_dead_with_its_exit_code_and_the_log_says_why(
    installed: Installed, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with connected(installed) as (manager, client):
        client.execute("import os; os._exit(7)")
        assert wait_until(lambda: not manager.is_alive(), 60)
        assert poll(manager) == 7
        printed: list[str] = []

        def told() -> bool:
            # The provisioner's words are in the client's log, the shim's on its stderr.
            printed.append(capfd.readouterr().err)
            return "the kernel ended: exit code 7" in "".join([caplog.text, *printed])

        assert wait_until(told)


def test_a_notebook_that_is_executed_knows_that_its_kernel_died(installed: Installed) -> None:
    """By the exception that nbclient has for it; why is in the cell."""
    with pytest.raises(DeadKernelError):
        installed.execute("import os; os._exit(7)")


def test_a_kernel_that_was_asked_to_end_is_not_said_to_have_died(
    installed: Installed, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with connected(installed) as (manager, client):
        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=300)
    assert "the kernel ended" not in caplog.text + capfd.readouterr().err


def interrupt_at(made: Path, manager: KernelManager) -> None:
    """Once the running cell has made it: ipykernel answers no request that an interrupt meets
    before its code runs or behind it."""

    def interrupt() -> None:
        assert wait_until(made.exists)
        manager.interrupt_kernel()

    threading.Thread(target=interrupt).start()


def poll(manager: KernelManager) -> int | None:
    import asyncio

    assert manager.provisioner is not None
    return asyncio.run(manager.provisioner.poll())


def run(client: Any, code: str) -> str:
    """A cell's printed text and its error's, without what moat-nb itself says in it."""
    pieces: list[str] = []

    def collect(message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] == "stream" and not content["text"].startswith("moat: "):
            pieces.append(content["text"])
        elif message["msg_type"] == "error":
            pieces.append(f"{content['ename']}: {content['evalue']}")

    client.execute_interactive(code, timeout=300, output_hook=collect)
    return "".join(pieces)


def test_a_protected_name_that_was_made_is_told_though_its_cell_clears_its_output(
    installed: Installed,
) -> None:
    made = (
        "import os, time, IPython\n"
        "os.makedirs('.vscode', exist_ok=True); open('.vscode/tasks.json', 'w').close()\n"
        "time.sleep(3)\n"
        "IPython.display.clear_output()"
    )
    told = "".join(texts(cell) for cell in installed.execute(made, "1").cells)
    assert ".vscode" in told and "was made since the start" in told
