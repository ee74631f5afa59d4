"""The shim as a client that knows no provisioners runs it: VS Code, for one.

Such a client picks TCP ports and a key, writes the connection file, runs the kernelspec's argv, and
from then on has a process and a file: signals, an exit code, and stderr for its log.
"""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

from moat_nb.jupyter import safe_python
from tests.conformance.runner import moat_yaml
from tests.conftest import Engine, Project
from tests.integration.leftovers import Watch
from tests.integration.test_jupyter import run


@dataclass
class Shim:
    process: subprocess.Popen[str]
    client: BlockingKernelClient
    given: dict[str, Any]
    """The connection file as the client wrote it."""
    file: Path

    def wait(self) -> int:
        return self.process.wait(timeout=300)

    def interrupted(self, interrupt: Callable[[], object]) -> str:
        """What a long cell printed that ``interrupt`` ended."""
        pieces: list[str] = []

        def collect(message: dict[str, Any]) -> None:
            content = message["content"]
            if "begun" in content.get("text", ""):  # its newline may come by itself
                interrupt()
            if message["msg_type"] == "error":
                pieces.append(content["ename"])

        code = "import time\nprint('begun', flush=True)\ntime.sleep(60)"
        self.client.execute_interactive(code, timeout=300, output_hook=collect)
        return "".join(pieces)


Start = Callable[[Path], Shim]


def wait_until_it_answers(client: BlockingKernelClient, seconds: float = 60) -> None:
    """Ask until both channels answer: ``wait_for_ready`` gives a client without a manager 1 s."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        client.kernel_info()
        with contextlib.suppress(queue.Empty):
            client.get_shell_msg(timeout=1)
            client.get_iopub_msg(timeout=0.2)
            return
    raise TimeoutError(f"no answer in {seconds} s")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """``start(project)``: the shim, and a client of the ports that it was told."""
    shims: list[Shim] = []
    watches: list[Watch] = []

    def make(project: Path) -> Shim:
        watches.append(Watch(project))
        file, given = write_connection_file(
            str(tmp_path / "kernel.json"), ip="127.0.0.1", key=b"chosen by the client"
        )
        python = safe_python.words(sys.executable, "moat_nb")
        words = [*python, "kernel", "--project", str(project), "-f", file]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=project)
        client = BlockingKernelClient(connection_file=file)
        client.load_connection_file()
        client.start_channels()
        shims.append(Shim(process, client, dict(given), Path(file)))
        return shims[-1]

    yield make
    for shim in shims:
        shim.client.stop_channels()
        shim.process.kill()
        shim.process.communicate()
    # The keeper waits for another shim before it gives up.
    assert [left for watch in watches for left in watch.left(None, seconds=15)] == []


@pytest.fixture
def shim(start: Start, project: Project) -> Shim:
    """A shim whose kernel answers."""
    shim = start(project(moat_yaml("bubblewrap")))
    wait_until_it_answers(shim.client)
    return shim


def test_the_ports_and_the_key_are_the_clients(shim: Shim) -> None:
    assert run(shim.client, "print(6 * 7)") == "42\n"
    assert shim.given["transport"] == "tcp"
    assert json.loads(shim.file.read_text())["shell_port"] == shim.given["shell_port"]


def test_a_client_with_another_key_is_not_answered(shim: Shim) -> None:
    stranger = BlockingKernelClient()
    stranger.load_connection_info({**shim.given, "key": b"guessed"})
    stranger.start_channels()
    try:
        with pytest.raises(TimeoutError):
            wait_until_it_answers(stranger, seconds=2)
    finally:
        stranger.stop_channels()
    assert run(shim.client, "print('alive')") == "alive\n"


def test_sigint_to_the_shim_interrupts_the_cell_and_not_the_kernel(shim: Shim) -> None:
    assert shim.interrupted(lambda: shim.process.send_signal(signal.SIGINT)) == "KeyboardInterrupt"
    assert run(shim.client, "print('alive')") == "alive\n"
    assert shim.process.poll() is None


def test_an_interrupt_by_message_interrupts_the_cell_and_not_the_kernel(shim: Shim) -> None:
    message = shim.client.session.msg("interrupt_request", {})
    assert shim.interrupted(lambda: shim.client.control_channel.send(message)) == (
        "KeyboardInterrupt"
    )
    assert run(shim.client, "print('alive')") == "alive\n"


def test_the_kernels_exit_code_is_the_shims(shim: Shim) -> None:
    shim.client.execute("import os; os._exit(7)")
    assert shim.wait() == 7


def test_a_kernel_that_a_signal_killed_makes_the_shim_exit_with_128_and_its_number(
    shim: Shim,
) -> None:
    shim.client.execute("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert shim.wait() == 128 + signal.SIGKILL
    assert shim.process.stderr is not None
    assert "the kernel ended: killed by SIGKILL" in shim.process.stderr.read()


def test_a_polite_shutdown_ends_the_shim_with_0(shim: Shim) -> None:
    shim.client.shutdown()
    assert shim.wait() == 0


def test_a_second_shim_with_the_same_file_gets_the_sandbox_that_is_still_there(
    start: Start, project: Project
) -> None:
    directory = project(moat_yaml("bubblewrap"))
    first = start(directory)
    wait_until_it_answers(first.client)
    run(first.client, "open('/tmp/kept', 'w').close()")
    first.client.stop_channels()
    first.process.terminate()
    first.wait()
    words = [*safe_python.words(sys.executable, "moat_nb"), "kernel", "--project", str(directory)]
    with subprocess.Popen([*words, "-f", str(first.file)], cwd=directory) as second:
        client = BlockingKernelClient(connection_file=str(first.file))
        client.load_connection_file()
        client.start_channels()
        wait_until_it_answers(client)
        assert run(client, "import os; print(os.path.exists('/tmp/kept'))") == "True\n"
        client.stop_channels()
        second.terminate()


def refusal(start: Start, project: Path) -> str:
    """What the shim says to stderr as it refuses to start a kernel."""
    shim = start(project)
    assert shim.wait() == 1
    assert shim.process.stderr is not None
    said = shim.process.stderr.read()
    assert "Traceback" not in said
    return said


def test_a_slip_in_moat_yaml_is_told_on_stderr_with_its_place(
    start: Start, project: Project
) -> None:
    said = refusal(start, project("name: slip\nmoutns: []\n"))
    assert "moat.yaml:2:1: unknown key 'moutns'; did you mean 'mounts'?" in said


def test_a_directory_without_moat_yaml_is_told_on_stderr(start: Start, project: Project) -> None:
    directory = project("name: gone\n")
    (directory / "moat.yaml").unlink()
    assert "moat.yaml" in refusal(start, directory)


@pytest.mark.engine
def test_a_missing_image_is_told_on_stderr(start: Start, project: Project, engine: Engine) -> None:
    text = moat_yaml("docker", base_image="moat-nb-test/no-such-image:1")
    assert "moat-nb-test/no-such-image:1" in refusal(start, project(text))
