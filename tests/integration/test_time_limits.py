"""kernel.idle_timeout, max_lifetime, cell_timeout and spare_timeout, on each runtime and by
each way to start a kernel."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from moat_nb import Sandbox
from moat_nb.errors import CellInterrupted, MoatRemoteError, SandboxGone
from moat_nb.host.run_directory import base_directory
from moat_nb.jupyter.kernel_manager import Kernel
from moat_nb.sandbox.listing import sandboxes
from moat_nb.sandbox.pool import POOL
from tests.integration.conftest import UNCLOSED_LOOPS, Launcher, wait_until
from tests.integration.notebook import opened
from tests.integration.test_jupyter import Installed, connected, installed, run, runtime

__all__ = ["installed", "runtime"]

pytestmark = UNCLOSED_LOOPS


def set_limits(installed: Installed, limits: str) -> None:
    file = installed.project / "moat.yaml"
    file.write_text(file.read_text() + f"kernel: {{{limits}}}\n")


def heard(client: Any, true: Callable[[str], bool], seconds: float = 120) -> str:
    """What is shown until ``true`` of all of it."""
    said, give_up = "", time.monotonic() + seconds
    while not true(said) and time.monotonic() < give_up:
        message = client.get_iopub_msg(timeout=seconds)
        said += message["content"].get("text", "") + message["content"].get("evalue", "")
    return said


def everything(client: Any, code: str) -> tuple[str, dict[str, Any]]:
    """What is shown of a cell, what moat-nb says in it included; and its reply."""
    pieces: list[str] = []

    def collect(message: dict[str, Any]) -> None:
        content = message["content"]
        pieces.append(
            content.get("text", "") + content.get("ename", "") + content.get("evalue", "")
        )

    reply = client.execute_interactive(code, timeout=300, output_hook=collect)
    return "".join(pieces), reply["content"]


def of_project(installed: Installed) -> list[str]:
    base = base_directory(os.environ, os.getuid())
    states = [box.sandbox_state for box in sandboxes(base, os.environ)]
    return [one.id for one in states if one and one.project == str(installed.project)]


def test_an_idle_sandbox_ends_and_the_next_cell_starts_another(installed: Installed) -> None:
    set_limits(installed, "idle_timeout: 4")
    with connected(installed) as (manager, client):
        assert run(client, "import time; time.sleep(5); n = 1; print(n)") == "1\n"  # it is at work
        (first,) = of_project(installed)
        said = heard(client, lambda said: "so it was ended" in said)
        assert "it ends in 2 s unless something runs (kernel.idle_timeout is 4 s)" in said
        assert "nothing ran in the sandbox for 4 s (kernel.idle_timeout), so it was ended" in said
        assert wait_until(lambda: not of_project(installed), 60)
        time.sleep(4)  # a manager looks every three
        assert manager.is_alive()
        assert of_project(installed) == []
        said, reply = everything(client, "n")
        assert "this is a new sandbox, with nothing of the one before: nothing ran" in said
        assert reply["ename"] == "NameError"
        (second,) = of_project(installed)
        assert second != first
        assert wait_until(lambda: not of_project(installed), 60)
        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=300)
        assert run(client, "print(2)") == "2\n"


def test_a_sandbox_that_is_too_old_ends_with_what_runs_in_it(installed: Installed) -> None:
    set_limits(installed, "max_lifetime: 6")
    with connected(installed) as (_, client):
        said, reply = everything(client, "import time; time.sleep(1000)")
        assert "the sandbox ends in 3 s, as it may run for 6 s (kernel.max_lifetime)" in said
        assert reply["ename"] == "KernelDied"
        assert reply["evalue"] == ("the sandbox ran for 6 s (kernel.max_lifetime), so it was ended")
        assert run(client, "print(1)") == "1\n"


def test_a_cell_that_takes_too_long_is_interrupted_by_a_key(installed: Installed) -> None:
    set_limits(installed, "cell_timeout: 2")
    with connected(installed) as (_, client):
        said, reply = everything(client, "import time; n = 1; time.sleep(1000)")
        assert "the cell took longer than 2 s (kernel.cell_timeout), so it was interrupted" in said
        assert reply["ename"] == "KeyboardInterrupt"
        assert run(client, "print(n)") == "1\n"


def test_a_cell_that_does_not_stop_ends_with_its_kernel(installed: Installed) -> None:
    set_limits(installed, "cell_timeout: 2")
    with connected(installed) as (_, client):
        ignores = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN)"
        client.execute(f"{ignores}; time.sleep(1000)")
        said = heard(client, lambda said: "its kernel was ended" in said)
        assert "took longer than 2 s (kernel.cell_timeout) and did not stop" in said


def test_a_program_of_the_api_has_the_same_limits(launcher: Launcher) -> None:
    project = launcher.project(
        python=True, kernel={"idle_timeout": 5, "cell_timeout": 2, "spare_timeout": 3}
    )
    box = launcher.launch(project)
    with Kernel.start(box) as kernel:
        assert box.await_spare()
        reply = kernel.kc.execute("import time; time.sleep(1000)", reply=True, timeout=120)
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        box.run(["sleep", "6"], check=True)
        assert box.gone is None
        assert wait_until(lambda: not box._running.guest.spare_ready.is_set(), 60)
        assert wait_until(lambda: box.gone is not None, 60)
    assert box.gone == "nothing ran in the sandbox for 5 s (kernel.idle_timeout), so it was ended"
    with pytest.raises(SandboxGone, match=r"kernel\.idle_timeout"):
        box.run(["true"])


COUNT = "grep -al 'moat/gues[t]' /proc/[0-9]*/cmdline | wc -l"


def processes(box: Sandbox) -> int:
    """Of the guest, its kernels and its spare: what else runs at a start comes and goes."""
    return int(box.run(["sh", "-c", COUNT]).stdout)


def test_a_spare_kernel_and_the_pool_are_given_up(launcher: Launcher) -> None:
    # Long enough for a busy machine to count before it strikes.
    project = launcher.project(python=True, kernel={"pool": 1, "spare_timeout": 15})
    box = launcher.launch(project)
    try:
        with Kernel.start(box):
            assert box.await_spare()
            with_spare = processes(box)
            assert wait_until(lambda: len(POOL.spares) == 1, 150)
            assert wait_until(lambda: POOL.spares == (), 60)

            counts = [with_spare]

            def one_less() -> bool:
                time.sleep(16)
                counts.append(processes(box))
                return counts[-1] == with_spare - 1

            assert wait_until(one_less, 120), counts
    finally:
        assert wait_until(lambda: not POOL._filling, 150)
        POOL.clear()


def test_a_cell_of_the_magic_starts_another_sandbox_after_an_idle_end(launcher: Launcher) -> None:
    limits = {"runtime": launcher.runtime, "idle_timeout": 4, "cell_timeout": 2}
    with opened(launcher.project(python=True, kernel=limits)) as notebook:
        ran = notebook.run("%%moat\nimport time; time.sleep(1000)")
        assert isinstance(ran.error, CellInterrupted)
        assert str(ran.error) == (
            "the cell took longer than 2 s (kernel.cell_timeout), so it was interrupted"
        )
        notebook.good("%%moat\nn = 1")
        session = notebook.shell.magics_manager.registry["MoatMagics"].sessions.get()
        assert wait_until(lambda: session.sandbox.gone is not None, 60)
        again = notebook.run("%%moat\nn")
        assert isinstance(again.error, MoatRemoteError)
        assert again.error.ename == "NameError"
        assert session.sandbox.gone is None
