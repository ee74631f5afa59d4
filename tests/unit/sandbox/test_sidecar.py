"""sidecar.py and the wrapper of services.py: a program that knows of no attach stream is held by
one, over the pipes of a shell of this machine."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from moat_nb.config.model import Service
from moat_nb.config.readiness import LogLine
from moat_nb.errors import ProofError
from moat_nb.host.machine import User
from moat_nb.planning.builtin_services import ServiceInputs, resolve
from moat_nb.planning.limits import MIB, Limits
from moat_nb.planning.mounts import MountPlan, Tmpfs, build
from moat_nb.planning.services import BEGIN, SidecarPlan
from moat_nb.planning.spec import ContainerSpec
from moat_nb.runtimes.base import AttachStream
from moat_nb.runtimes.pipes import PipeStream, spawn
from moat_nb.sandbox.sidecar import Cancelled, LineWatch, Sidecar

SHELLS = [path for name in ("dash", "bash") if (path := shutil.which(name)) is not None]
HOSTILE = "a b'c\"d\\e$(touch /tmp/x)\n`id`\n\n  end "


Start = Callable[..., Sidecar]


@pytest.fixture(params=SHELLS)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """``start(*argv, handover=..., mounts=...)``, under each shell; all end with the test."""
    running: list[Sidecar] = []

    def begin(
        *argv: str,
        inputs: ServiceInputs | None = None,
        mounts: MountPlan | None = None,
        on_end: Callable[[Sidecar], None] = lambda sidecar: None,
        attach_stream: AttachStream | None = None,
        cancelled: threading.Event | None = None,
    ) -> Sidecar:
        spec = ContainerSpec(
            name="p-a",
            role="sidecar",
            project="/p",
            runtime="docker",
            image="a:1",
            command=(),
            user=User(1, 1),
            env=(),
            workdir="",
            mounts=mounts or MountPlan(mounts=()),
            limits=Limits(memory=MIB),
        )
        plan = SidecarPlan(
            spec=spec,
            service=resolve(
                Service(name="a", image="a:1", ready=LogLine(text="ready"), where="moat.yaml:1:1")
            ),
            data_size=MIB,
        )
        whole = plan.on((), argv, "TERM", ())
        inputs = inputs or ServiceInputs()
        stream: Future[AttachStream] = Future()
        sidecar = Sidecar(plan, replace(whole, mounts=spec.mounts), inputs, log(), on_end, stream)
        running.append(sidecar)
        argv = [request.param, *whole.command[1:]]
        stream.set_result(attach_stream or PipeStream(spawn(argv, env=os.environ)))
        sidecar.start(cancelled or threading.Event())
        return sidecar

    def log() -> Path:
        return tmp_path / f"{len(running)}.log"

    yield begin
    for sidecar in running:
        sidecar.close()
        sidecar.join(10)


def ended(sidecar: Sidecar) -> str:
    sidecar._thread.join(20)
    assert sidecar.gone is not None
    return sidecar.gone


def test_the_program_gets_its_env_and_its_stdin_as_they_are(start: Start, tmp_path: Path) -> None:
    inputs = ServiceInputs(env={"A": HOSTILE, "B": ""}, stdin=HOSTILE)
    env, given = tmp_path / "env", tmp_path / "given"
    script = f'printf "%s" "$A$B" >{env}; cat >{given}; exit 3'
    sidecar = start("sh", "-c", script, inputs=inputs)
    assert "3" in ended(sidecar)
    assert env.read_text() == HOSTILE
    assert given.read_text() == HOSTILE


def test_no_name_of_a_variable_is_the_wrappers_own(start: Start, tmp_path: Path) -> None:
    """Its program gets each as it is, and is told to stop by the signal that its image names."""
    names = ("signal", "input", "script", "count", "line", "child")
    inputs = ServiceInputs(env={**dict.fromkeys(names, "INT")}, stdin="config")
    seen, stopped = tmp_path / "seen", tmp_path / "stopped"
    script = (
        f"trap 'touch {stopped}; exit 0' TERM; trap 'exit 1' INT; "
        f'echo "$(cat) $signal $input $script $count $line $child" >{seen}.new; '
        f"mv {seen}.new {seen}; while :; do sleep 0.05; done"
    )
    sidecar = start("sh", "-c", script, inputs=inputs)
    while not seen.exists():
        assert sidecar.gone is None
    assert seen.read_text() == "config INT INT INT INT INT INT\n"
    sidecar.close()
    ended(sidecar)
    assert stopped.exists()


class Mute(AttachStream):
    """Says nothing until it is closed."""

    def __init__(self, waited_for: Callable[[], None]) -> None:
        self._waited_for = waited_for
        self._closed = threading.Event()

    def send(self, data: bytes, timeout: float | None = None) -> None:
        assert data == BEGIN, "its program was not to run"

    def receive(self, timeout: float | None = None) -> bytes:
        self._waited_for()
        self._closed.wait(timeout)
        return b""

    def kill(self) -> None:
        self.close()

    def close(self) -> None:
        self._closed.set()

    def last_words(self) -> str:
        return ""


def test_a_start_that_is_given_up_does_not_wait_for_a_mute_one(start: Start) -> None:
    cancelled = threading.Event()
    with pytest.raises(Cancelled, match="was given up"):
        start("true", attach_stream=Mute(cancelled.set), cancelled=cancelled)


def test_what_is_handed_over_stands_in_no_command_line(start: Start, tmp_path: Path) -> None:
    inputs = ServiceInputs(env={"A": "hunter2"}, stdin="hunter3")
    there = tmp_path / "there"
    sidecar = start("sh", "-c", f"touch {there}; exec sleep 100", inputs=inputs)
    while not there.exists():
        assert sidecar.gone is None
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines.append((process / "cmdline").read_bytes())
        except OSError:
            continue
    assert any(os.fsencode(there) in line for line in lines)
    assert not [line for line in lines if b"hunter" in line]


def test_its_output_and_its_errors_are_its_log_and_its_end_is_told_once(start: Start) -> None:
    told: list[Sidecar] = []
    sidecar = start("sh", "-c", "echo one; echo two >&2; echo ready; exit 4", on_end=told.append)
    assert "4" in ended(sidecar)
    assert sidecar.last_lines() == "one\ntwo\nready"
    assert sidecar.printed.found
    assert told == [sidecar]


def test_a_program_is_told_to_stop_when_the_attach_stream_ends_and_nobody_is_told_of_it(
    start: Start, tmp_path: Path
) -> None:
    told: list[Sidecar] = []
    stopped, there = tmp_path / "stopped", tmp_path / "there"
    script = f"trap 'touch {stopped}; exit 0' TERM; touch {there}; while :; do sleep 0.05; done"
    sidecar = start("sh", "-c", script, on_end=told.append)
    while not there.exists():
        assert sidecar.gone is None
    sidecar.close()
    ended(sidecar)
    assert stopped.exists()
    assert told == []


def test_an_exclude_without_its_cover_is_found_before_the_program_runs(
    start: Start, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    mounts = MountPlan(mounts=build([Tmpfs(target=str(tmp_path / "hidden"), size=MIB)]))
    with pytest.raises(ProofError, match=r"a \(a:1\) sees .*/hidden, which is excluded: nothing"):
        start("touch", str(ran), mounts=mounts)
    assert not ran.exists()


def test_a_password_that_a_program_prints_is_neither_shown_nor_in_its_log(
    start: Start, tmp_path: Path
) -> None:
    inputs = ServiceInputs(env={"A": "hunter2"}, secrets=("hunter2",))
    there, go_on = tmp_path / "there", tmp_path / "go-on"
    script = (
        f"echo password: $A; printf hun; touch {there}; "
        f"while ! [ -e {go_on} ]; do sleep 0.02; done; printf 'ter2 hun'"
    )
    sidecar = start("sh", "-c", script, inputs=inputs)
    while not there.exists():
        assert sidecar.gone is None
    go_on.touch()
    ended(sidecar)
    assert (tmp_path / "0.log").read_bytes() == b"password: ***\n*** hun"
    assert sidecar.last_lines() == "password: ***\n*** hun"
    assert "hunter2" not in sidecar.describe("ended") + repr(sidecar)


def test_what_a_sidecar_says_of_itself_steers_no_terminal_and_shows_no_password(
    start: Start,
) -> None:
    """Neither by what its program prints nor by its container's own words: here the shell's, of a
    name that it cannot export."""
    spoof = "\x1b[5A\x1b[Jspoof"
    told = start("printf", "%s", f"a\n{spoof}")
    ended(told)
    assert told.last_lines() == "a\nspoof"
    inputs = ServiceInputs(env={f"A-{spoof}": "hunter2"}, secrets=("hunter2",))
    failed = start("true", inputs=inputs)
    assert "spoof" in ended(failed)
    words = failed.describe("ended")
    assert words.replace("\n", "").isprintable()
    assert "hunter2" not in words


@pytest.mark.parametrize(
    ("pieces", "found"),
    [
        ((b"it is ready\n",), True),
        ((b"it is re", b"ady\n"), True),
        ((b"r", b"e", b"a", b"d", b"y"), True),
        ((b"it is read", b"\ny"), False),
        ((), False),
    ],
)
def test_a_line_is_found_however_its_bytes_arrive(pieces: tuple[bytes, ...], found: bool) -> None:
    watch = LineWatch("ready")
    for piece in pieces:
        watch.feed(piece)
    assert watch.found == found
    nothing = LineWatch(None)
    nothing.feed(b"ready")
    assert not nothing.found
