"""Launchers that kill themselves at a step of a sandbox's life, one after the other.

    python -m tests.integration.killed steps RUNTIME PROJECT
    python -m tests.integration.killed kill RUNTIME < lines of {step, project}

``steps`` prints what the steps of one life are: every call, before and after it is made, that
changes something outside the launcher, from the reaper's start to the sandbox's end. They are
found by running it, so a step that is added later is among them. ``kill`` prints for each line
what was still left half a minute after the launcher's death: five seconds are promised, but not
of ten launchers at once.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from urllib.parse import quote

import docker  # noqa: F401 - takes half a second, and is there in each fork this way

from moat_nb import Sandbox
from moat_nb.host.cleanup import connect_http
from moat_nb.host.reaper import Reaper
from moat_nb.text.progress import Silent
from tests.integration.leftovers import cgroups

SECONDS = 30.0
AT_ONCE = 10
PR_SET_CHILD_SUBREAPER = 36

EFFECTS = frozenset(
    {
        *("mkdir", "chown", "chmod", "fork_exec", "connect", "send", "sendall", "write"),
        *("shutdown", "start_new_thread", "start_joinable_thread"),
    }
)
"""Built-in functions by which a launcher changes something outside itself."""
ANSWERS = frozenset({"getresponse"})
"""Python's functions that return when somebody else has changed something for it."""
THREADS = ("MainThread", "moat-spawner", "moat-proxy", "moat-sidecar_0", "moat-sidecar_1")
"""Those that start something. The main thread waits for the others, so that their steps come in one
order, unless a project has sidecars."""

ASK = """
import os, socket
if proxy := os.environ.get("HTTP_PROXY"):
    with socket.create_connection(("127.0.0.1", int(proxy.strip("/").rpartition(":")[2]))) as s:
        s.sendall(b"nonsense\\r\\n\\r\\n")
        s.recv(1)
"""
"""Has the proxy started, and waits for it; it asks for no host."""

OnStep = Callable[[int, Callable[[], str]], None]


class Steps:
    """Counts the steps; ``on_step(number, name)`` is called at each."""

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step
        self._count = 0
        self._lock = threading.Lock()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "return":
            found = frame.f_code.co_name if frame.f_code.co_name in ANSWERS else None
        elif event == "call":
            return
        else:
            found = argument.__name__ if _has_effect(argument) else None
        begun = self._count or found == "fork_exec"
        if found and begun and threading.current_thread().name in THREADS:
            with self._lock:
                self._count += 1
                number = self._count
            when = "before" if event == "c_call" else "after"
            self._on_step(number, lambda: f"{when} {found} in {_ours(frame)}")


def _has_effect(function: Any) -> bool:
    if function.__name__ not in EFFECTS:
        return False
    return not isinstance(function.__self__, (io.BytesIO, io.StringIO))


def _ours(frame: FrameType | None) -> str:
    """The nearest function of moat_nb that led here."""
    while frame is not None:
        code: CodeType = frame.f_code
        if "/moat_nb/" in code.co_filename:
            return f"{Path(code.co_filename).stem}.{code.co_name}"
        frame = frame.f_back
    return "a thread"


def live(runtime: str, project: str, on_step: OnStep) -> None:
    """A whole life of a sandbox, with ``on_step(number, name)`` at each of its steps."""
    steps = Steps(on_step)
    threading.setprofile(steps)
    sys.setprofile(steps)
    try:
        # Without a display, whose words depend on how long a start takes.
        with Sandbox.launch(project, runtime, progress=Silent, approve=lambda demands: True) as box:
            box.run(["python3", "-c", ASK], check=True)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def kill_at(step: int, runtime: str, project: str) -> dict[str, Any]:
    """What was left of a launcher that died at ``step``."""
    # So that whatever it started, and however that went into the background, ends up here.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    readable, writable = os.pipe()
    launcher = os.fork()
    if launcher == 0:
        os.close(readable)
        die_at(step, runtime, project, writable)
    os.close(writable)
    with os.fdopen(readable) as told:
        death = json.loads(told.read() or '{"name": null, "made": []}')
    _, status = os.waitpid(launcher, 0)
    give_up = time.monotonic() + SECONDS
    left = list(leftovers(death["made"], runtime, project))
    while left and time.monotonic() < give_up:
        time.sleep(0.1)
        left = list(leftovers(death["made"], runtime, project))
    for child in children():
        os.kill(child, signal.SIGKILL)
    killed = os.WTERMSIG(status) == signal.SIGKILL
    return {"step": step, "killed": killed and death["name"], "left": left}


def die_at(step: int, runtime: str, project: str, tell: int) -> None:
    """Live until ``step``; tells its name, and the directories promised to the reaper by then."""
    made: list[str] = []
    promise = Reaper.directory

    def directory(self: Reaper, path: str) -> None:
        made.append(path)
        promise(self, path)

    def on_step(number: int, name: Callable[[], str]) -> None:
        if number == step:
            os.write(tell, json.dumps({"name": name(), "made": made}).encode())
            os.kill(os.getpid(), signal.SIGKILL)

    Reaper.directory = directory  # type: ignore[method-assign]
    live(runtime, project, on_step)
    os._exit(0)


def leftovers(made: list[str], runtime: str, project: str) -> Iterator[str]:
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                break
        except ChildProcessError:
            break
    yield from (f"process {Path(f'/proc/{pid}/cmdline').read_bytes()!r}" for pid in children())
    yield from (f"directory {path}" for path in made if Path(path).exists())
    yield from (f"cgroup {at}" for path in made for at in cgroups(Path(path).name))
    yield from (f"mount point {p}" for p in Path(project).iterdir() if p.name != "moat.yaml")
    if runtime == "docker":
        yield from containers(project)


def children() -> list[int]:
    return [
        int(word)
        for word in Path("/proc/self/task", str(os.getpid()), "children").read_text().split()
    ]


def containers(project: str) -> Iterator[str]:
    connection = connect_http(os.environ["DOCKER_HOST"].removeprefix("unix://"), timeout=300)
    filters = quote(json.dumps({"label": [f"moat.nb.project={project}"]}))
    connection.request("GET", f"/containers/json?all=1&filters={filters}")
    found = json.loads(connection.getresponse().read())
    connection.close()
    yield from (f"container {item['Names']} {item['Status']}" for item in found)


def kill_all(runtime: str, orders: list[dict[str, Any]]) -> None:
    """Each in a process of its own, a few at a time."""
    running = 0
    for order in orders:
        if running == AT_ONCE:
            os.wait()
            running -= 1
        if os.fork() == 0:
            found = kill_at(order["step"], runtime, order["project"])
            os.write(1, json.dumps(found).encode() + b"\n")
            os._exit(0)
        running += 1
    while running:
        os.wait()
        running -= 1


def main() -> None:
    what, runtime, *rest = sys.argv[1:]
    if what == "kill":
        kill_all(runtime, [json.loads(line) for line in sys.stdin])
        return
    names: list[str] = []
    live(runtime, rest[0], lambda number, name: names.append(name()))
    print(json.dumps(names))


if __name__ == "__main__":
    main()
