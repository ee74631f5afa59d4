"""``moat-nb demo``: the quickstart notebook in a sandbox, and what was proved, measured and left
untouched. On bubblewrap it needs no engine, no image and no network."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from moat_nb.api import Sandbox
from moat_nb.cli.bench.kernels import first_reply, plain_kernel
from moat_nb.errors import MoatError
from moat_nb.host.machine import MOAT_USER, Host
from moat_nb.host.package import PACKAGE
from moat_nb.host.scratch import scratch_directory
from moat_nb.jupyter.kernel_manager import Kernel
from moat_nb.sandbox.approval import Records
from moat_nb.sandbox.fresh_copy import discard
from moat_nb.text.tables import table

__all__ = ["main"]

CELL_TIMEOUT = 60
TIMED_STARTS = 5

NOTEBOOKS = (PACKAGE / "notebooks", PACKAGE.parent / "notebooks")
"""In an installed package, and in a checkout."""


def main(runtime: str = "bubblewrap", image: str | None = None) -> int:
    """Run the demo; returns the exit code. Raises MoatError when there can be no sandbox."""

    def launch() -> Sandbox:
        return Sandbox.launch(project, runtime, image=image)

    with _project() as project:
        before = snapshot(project)
        with launch() as box:
            for notice in box.notices:
                print(f"  {notice}")
            with box.start_kernel() as kernel:
                run_notebook(kernel, project / "01_quickstart.ipynb")
            mounts = box.mounts()
            interfaces = box.run(["cat", "/proc/net/dev"], check=True).stdout.decode()
        print(
            _table(
                ("EXCLUDE", "TYPE", "MODE", "WRITE", "EXECUTE"),
                [
                    (m.path, m.type, f"{m.mode:o}", _yes(m.writable), _yes(m.executable))
                    for m in mounts
                ],
            )
        )
        touched = changed(before, snapshot(project)) - {"result.txt"}
        names = [line.split(":")[0].strip() for line in interfaces.splitlines()[2:]]
        closed = box.spec.closed  # else its start was refused
        plain, sandboxed = time_starts(launch)
        discard(box.plan)
        print(
            _table(
                ("WHAT", "RESULT"),
                [
                    ("host's files", "untouched" if not touched else f"CHANGED: {touched}"),
                    ("network", f"{', '.join(names)} {'lead nowhere' if closed else 'only'}"),
                    ("start of a plain kernel", f"{plain:.2f} s"),
                    ("start in a new sandbox", f"{sandboxed:.2f} s"),
                    ("ratio", f"{sandboxed / plain:.2f}"),
                ],
            )
        )
        print(f"starts: to the first execute_reply, medians of {TIMED_STARTS}, taken in turns")
    return 1 if touched or (names != ["lo"] and not closed) else 0


@contextmanager
def _project() -> Iterator[Path]:
    """A copy of notebooks/ whose excludes exist already, closed to the kernel's user."""
    source = next((path for path in NOTEBOOKS if path.is_dir()), None)
    if source is None:
        raise MoatError(f"the notebooks are missing: neither {' nor '.join(map(str, NOTEBOOKS))}")
    with scratch_directory("moat-nb-demo-", "/var/tmp") as parent:
        parent.chmod(0o755)
        project = parent / "quickstart"
        project.mkdir()
        for name in ("moat.yaml", "01_quickstart.ipynb"):
            shutil.copy(source / name, project)
        if os.getuid() == 0:
            os.chown(project, MOAT_USER.uid, MOAT_USER.gid)
        (project / "node_modules").mkdir(mode=0o755)
        (project / "node_modules" / "native").write_text("built for the host\n")
        (project / ".env").write_text("PASSWORD=the-host's-own\n")
        try:
            yield project
        finally:
            with suppress(OSError):  # as where nothing could be kept
                Records(Host.current().approvals).remove(os.path.realpath(project))


def run_notebook(kernel: Kernel, path: Path) -> None:
    """Run each code cell and print it with its output; MoatError at the first that fails."""
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            print("\n" + source.splitlines()[0])
            continue
        print("\n".join(f"  > {line}" for line in source.splitlines()))
        reply = kernel.kc.execute_interactive(
            source, timeout=CELL_TIMEOUT, output_hook=_print_output
        )
        if reply["content"]["status"] != "ok":
            raise MoatError(f"the notebook failed: {reply['content'].get('ename')}")


def _print_output(message: dict[str, Any]) -> None:
    content = message["content"]
    if message["msg_type"] == "stream":
        sys.stdout.write("".join(f"    {line}\n" for line in content["text"].splitlines()))
    elif message["msg_type"] == "execute_result":
        print(f"    {content['data']['text/plain']}")
    elif message["msg_type"] == "error":
        print("\n".join(content["traceback"]))


def snapshot(directory: Path) -> dict[str, str]:
    """``{relative path: mode, owner and hash of the content}`` of all below ``directory``."""
    found = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        digest = hashlib.sha256(content).hexdigest()
        found[str(path.relative_to(directory))] = (
            f"{status.st_mode:o} {status.st_uid}:{status.st_gid} {digest}"
        )
    return found


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def time_starts(launch: Callable[[], Sandbox]) -> tuple[float, float]:
    """Seconds of a plain local kernel's start and of one in a new sandbox."""
    plain, sandboxed = [], []
    for _ in range(TIMED_STARTS):
        begin = time.perf_counter()
        with plain_kernel() as manager:
            client = manager.client()
            plain.append(first_reply(client, begin))
            client.stop_channels()
        begin = time.perf_counter()
        with launch() as box, Kernel.launch(box) as kernel:
            sandboxed.append(first_reply(kernel.kc, begin))
    return statistics.median(plain), statistics.median(sandboxed)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return "\n" + table([head, *rows])


def _yes(value: bool) -> str:
    return "yes" if value else "no"
