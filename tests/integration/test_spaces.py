"""What a cell shows when HOME, /tmp or shared memory is full: which, and the key to raise it."""

from __future__ import annotations

from typing import Any

from moat_nb.jupyter.kernel_manager import Kernel
from tests.integration.conftest import UNCLOSED_LOOPS, Launcher, wait_until
from tests.integration.test_jupyter import Installed, connected, installed, runtime

__all__ = ["installed", "runtime"]

pytestmark = UNCLOSED_LOOPS

SIZES = "kernel: {home_size: 8, tmp_size: 9, shm_size: 7}\n"
FILL = "import os\nwith open(os.path.expanduser({!r}), 'wb') as f: f.write(bytes(20 << 20))"
SHARE = (
    "from multiprocessing.shared_memory import SharedMemory\n"
    "s = SharedMemory(create=True, size=20 << 20); s.buf[:] = bytes(20 << 20)"
)
MAP = (
    "import mmap, os\nf = open('/tmp/mapped', 'w+b'); f.truncate(20 << 20)\n"
    "mmap.mmap(f.fileno(), 0)[:] = bytes(20 << 20)"
)

THREADS = (
    "import threading; over = threading.Event()\ntry:\n"
    "    for _ in range(200): threading.Thread(target=over.wait).start()\nfinally: over.set()"
)


def test_a_cell_that_finds_no_room_is_told_which_limit_it_met(installed: Installed) -> None:
    moat_yaml = installed.project / "moat.yaml"
    moat_yaml.write_text(moat_yaml.read_text() + SIZES)
    with connected(installed) as (manager, client):
        said = shown(client, FILL.format("~/model"))
        assert "No space left on device" in said
        words = "/home/moatuser is full: it can hold 8 MiB, which kernel.home_size raises"
        assert said.endswith(f"moat: {words}\n")
        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=300)
        said = shown(client, "!head -c 20000000 /dev/zero >/tmp/x")
        assert "/tmp is full: it can hold 9 MiB, which kernel.tmp_size raises" in said
        assert "full" not in shown(client, "1 / 0")
        # The shared memory of a kernel that died may be free before anybody looks: it is told as
        # likely then, unless another place is full.
        shown(client, "!rm -rf /tmp/x ~/model*")
        client.execute(SHARE)
        assert wait_until(lambda: not manager.is_alive(), 60)
        why = death(client)
        assert "killed by SIGBUS: " in why
        assert "/dev/shm is full: it can hold 7 MiB, which kernel.shm_size raises" in why


def test_a_cell_that_starts_too_many_threads_is_told_of_the_key(installed: Installed) -> None:
    moat_yaml = installed.project / "moat.yaml"
    moat_yaml.write_text(moat_yaml.read_text() + "kernel: {pids: 100}\n")
    with connected(installed) as (_, client):
        said = shown(client, THREADS)
        assert "can't start new thread" in said
        assert said.endswith("kernel.pids says how many there may be\n")


def shown(client: Any, code: str) -> str:
    """A cell's printed text, its error's, and what moat-nb says in it."""
    pieces: list[str] = []

    def collect(message: dict[str, Any]) -> None:
        content = message["content"]
        pieces.append(content.get("text") or content.get("evalue") or "")

    client.execute_interactive(code, timeout=300, output_hook=collect)
    return "".join(pieces)


def death(client: Any) -> str:
    """How the kernel's end was told in the cell."""
    while True:
        message = client.get_iopub_msg(timeout=300)
        if message["msg_type"] == "error":
            return str(message["content"]["evalue"])


def test_a_mapped_file_without_room_is_told(launcher: Launcher) -> None:
    sizes = {"home_size": 8, "tmp_size": 9, "shm_size": 7}
    box = launcher.launch(launcher.project(python=True, kernel=sizes))
    with Kernel.start(box) as kernel:
        kernel.kc.execute(MAP)
        (process,) = box.kernels
        assert str(process.wait(60)) == (
            "killed by SIGBUS: /tmp is full: it can hold 9 MiB, which kernel.tmp_size raises"
        )
