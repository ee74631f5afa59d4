"""Kernels in the guest's own interpreter."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path

import pytest

from tests.unit.guest.running import (
    IN_PARTS,
    KERNEL,
    PRELOAD,
    Guest,
    Start,
    ask,
    connection,
)

pytestmark = pytest.mark.machine  # a guest is the first process of a namespace


FACTS = """{
    "signals": {int(s): repr(__import__("signal").getsignal(s))
                for s in __import__("signal").valid_signals() if s not in (9, 19, 10)},
    "argv": __import__("sys").argv[:1],
    "path": __import__("sys").path,
    "environ": {k: v for k, v in __import__("os").environ.items() if k != "PYDEVD_USE_FRAME_EVAL"},
    "cwd": __import__("os").getcwd(),
    "leader": __import__("os").getsid(0) == __import__("os").getpid(),
    "stdin": __import__("os").readlink("/proc/self/fd/0"),
    "frozen": __import__("gc").get_freeze_count(),
    "name": __name__,
    "attach stream": [fd for fd in __import__("os").listdir("/proc/self/fd")
              if __import__("os").path.exists("/proc/self/fd/" + fd)
              and "mountinfo" in __import__("os").readlink("/proc/self/fd/" + fd)],
}"""


def test_a_forked_kernel_is_what_a_fresh_one_is(start: Start, sockets: str) -> None:
    guest = start(preload=PRELOAD)
    guest.hear("ready")
    facts = {}
    for way, fork in (("fork", True), ("exec", False)):
        prefix = f"{sockets}/{way}"
        fields = {"connection": connection(prefix), "env": {"A": "1"}}
        id = guest.spawn(KERNEL, fork=fork, **fields)
        facts[way] = ask(prefix, FACTS)
        assert ask(prefix, IN_PARTS) == fork
        guest.tell("signal", id=id, signum=int(signal.SIGKILL))
        assert guest.finish(id) == (None, signal.SIGKILL)
    assert facts["fork"] == facts["exec"]
    assert facts["fork"]["environ"]["A"] == "1"


def test_two_forked_kernels_draw_different_random_numbers(start: Start, sockets: str) -> None:
    preload = [*PRELOAD, "random", "uuid"]
    draw = "[__import__('random').random(), str(__import__('uuid').uuid4())]"
    if importlib.util.find_spec("numpy"):  # whose generator is not seeded anew by a fork
        preload.append("numpy.random")
        draw = draw.replace("[", "[__import__('numpy').random.rand(),", 1)
    guest = start(preload=preload)
    guest.hear("ready")
    drawn = []
    for name in ("a", "b"):
        guest.spawn(KERNEL, fork=True, connection=connection(f"{sockets}/{name}"))
        drawn.append(ask(f"{sockets}/{name}", draw))
    assert all(a != b for a, b in zip(*drawn, strict=True))


def test_the_connection_file_is_the_kernels_own_and_goes_with_it(
    guest: Guest, tmp_path: Path
) -> None:
    argv = ["sh", "-c", "cat $1; stat -c %a $1; echo $1", "sh", "{connection_file}"]
    id = guest.spawn(argv, connection={"key": "k"})
    assert guest.finish(id) == (0, None)
    name = f"{tmp_path}/.local/share/jupyter/runtime/kernel-{id}.json"
    assert guest.outputs[id][1].decode() == f'{{"key": "k"}}600\n{name}\n'
    assert not Path(name).exists()
    guest.refusal(["no-such-program"], connection={"key": "k"})
    assert list(Path(name).parent.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "error"),
    [
        ("raise ValueError('no')", "ValueError: no"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named"),
    ],
)
def test_a_preload_that_fails_fails_forked_kernels_only(
    start: Start, tmp_path: Path, module: str, error: str
) -> None:
    (tmp_path / "preloaded.py").write_text(module)
    guest = start(preload=["preloaded"], env={"PYTHONPATH": str(tmp_path)})
    guest.hear("ready")
    assert error in guest.refusal(KERNEL, fork=True)
    assert guest.run("echo on") == "on\n"


@pytest.mark.parametrize("name", ["PYTHONHASHSEED", "TZ", "LC_ALL", "LD_LIBRARY_PATH"])
def test_a_kernel_is_not_forked_when_its_environment_changes_how_python_starts(
    guest: Guest, name: str
) -> None:
    id = guest.spawn(["echo", "by exec"], fork=True, env={name: "0"})
    assert guest.finish(id) == (0, None)
    assert guest.outputs[id][1] == b"by exec\n"


def test_a_kernel_is_not_forked_from_a_guest_with_threads(start: Start, tmp_path: Path) -> None:
    (tmp_path / "preloaded.py").write_text(
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    guest = start(preload=["preloaded"], env={"PYTHONPATH": str(tmp_path)})
    guest.hear("ready")
    id = guest.spawn(["echo", "by exec"], fork=True)
    assert guest.finish(id) == (0, None)
    assert guest.outputs[id][1] == b"by exec\n"


PRIORITY = (
    "import os, threading\nfound = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())"
)
PRIORITIES = "[__import__('preloaded').found, __import__('os').getpriority(0, 0)]"


@pytest.mark.parametrize(("in_no_hurry", "found"), [(False, None), (True, 19)])
def test_a_spare_sandbox_imports_at_low_priority_and_its_kernels_run_at_the_usual_one(
    start: Start, tmp_path: Path, sockets: str, in_no_hurry: bool, found: int | None
) -> None:
    usual = os.getpriority(os.PRIO_PROCESS, 0)  # a run of the tests may be nice itself
    (tmp_path / "preloaded.py").write_text(PRIORITY)
    env = {"PYTHONPATH": str(tmp_path)}
    guest = start(preload=[*PRELOAD, "preloaded"], env=env, in_no_hurry=in_no_hurry)
    guest.hear("ready")
    guest.spawn(KERNEL, fork=True, connection=connection(f"{sockets}/k"))
    assert ask(f"{sockets}/k", PRIORITIES) == [usual if found is None else found, usual]


def test_what_wants_the_main_thread_is_imported_by_it_in_no_hurry_too(
    start: Start, tmp_path: Path, sockets: str
) -> None:
    (tmp_path / "preloaded.py").write_text(
        "import signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN)"
    )
    env = {"PYTHONPATH": str(tmp_path)}
    guest = start(preload=[*PRELOAD, "preloaded"], env=env, in_no_hurry=True)
    guest.hear("ready")
    guest.spawn(KERNEL, fork=True, connection=connection(f"{sockets}/k"))
    assert ask(f"{sockets}/k", "'preloaded' in __import__('sys').modules") is True


def test_what_a_preload_prints_does_not_reach_the_attach_stream(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "preloaded.py").write_text("print('noise', flush=True)")
    guest = start(preload=["preloaded"], env={"PYTHONPATH": str(tmp_path)})
    guest.hear("ready")
    assert guest.run("echo on") == "on\n"
    assert guest.stderr.read_text() == "noise\n"
