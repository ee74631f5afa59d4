"""The guest client against guests of every kind: ours, which behaves, and ones that do not.

The attach stream is a real stream, one end of a socket pair, as an engine's attach is.
"""

from __future__ import annotations

import json
import queue
import re
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from moat_nb.errors import ProofError, SandboxGone, StartError
from moat_nb.guest.messages import LONGEST_BODY, encode
from moat_nb.runtimes.base import AttachStream
from moat_nb.sandbox import guest_client
from moat_nb.sandbox import process as process_module
from moat_nb.sandbox.guest_client import (
    MAX_LINE,
    STOPPED,
    Exit,
    GuestClient,
    Process,
)
from moat_nb.sandbox.mount_proof import MountProof
from moat_nb.sandbox.usage import Usage

PROOF = {
    "path": "/workspace/.venv",
    "type": "tmpfs",
    "mode": 0o1777,
    "writable": True,
    "executable": True,
    "size": 1 << 20,
    "used": 0,
    "problem": None,
}


class SocketLeash(AttachStream):
    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self.closed = threading.Event()

    def send(self, data: bytes, timeout: float | None = None) -> None:
        self._socket.settimeout(timeout)
        self._socket.sendall(data)

    def receive(self, timeout: float | None = None) -> bytes:
        if not select.select([self._socket], [], [], timeout)[0]:
            raise TimeoutError
        return self._socket.recv(1 << 16)

    def kill(self) -> None:
        self.close()

    def close(self) -> None:
        self.closed.set()
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return
        self._socket.close()

    def last_words(self) -> str:
        return "exit code 137"


class Far:
    """The guest's end of the attach stream, and the link at the other."""

    def __init__(self) -> None:
        near, self.socket = socket.socketpair()
        self.attach_stream = SocketLeash(near)
        self.events: queue.Queue[tuple[str, str]] = queue.Queue()
        self.guest = GuestClient(
            self.attach_stream, lambda kind, text: self.events.put((kind, text))
        )
        self._lines = self.socket.makefile("rb")
        self.pool = ThreadPoolExecutor()

    def tell(self, kind: str, body: bytes | None = None, **fields: Any) -> None:
        self.tell_raw(encode(kind, body, **fields))

    def tell_raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._lines.readline())
        if "size" in message:
            message["body"] = self._lines.read(message.pop("size"))
        return message

    def ready(self, *mounts: dict[str, Any]) -> None:
        self.tell("ready", mounts=list(mounts), python=[3, 11, 2])
        self.guest.ready.result(timeout=300)

    def spawn(self, **options: Any) -> Process:
        """A process that the guest says has started."""
        options = {"env": {}, "cwd": "/", **options}
        pending = self.pool.submit(self.guest.spawn, ["x"], **options)
        self.tell("spawned", id=self.hear()["id"], pid=7)
        return pending.result(timeout=300)

    def end(self) -> None:
        self._lines.close()
        self.socket.close()

    def gone(self) -> str:
        """Why the link says that the sandbox has ended; its thread is done then."""
        kind, reason = self.events.get(timeout=300)
        assert kind == "gone"
        self.guest.thread.join(timeout=300)
        assert not self.guest.thread.is_alive()
        assert self.guest.gone == reason
        return reason


@pytest.fixture
def far() -> Iterator[Far]:
    far = Far()
    yield far
    far.attach_stream.close()
    far.end()
    far.guest.thread.join(timeout=300)
    far.pool.shutdown()


# ---------------------------------------------------------------- a guest of ours


def test_ready_gives_the_proofs(far: Far) -> None:
    far.tell("ready", mounts=[PROOF], python=[3, 11, 2])
    assert far.guest.ready.result(timeout=300) == (
        MountProof(
            path="/workspace/.venv",
            type="tmpfs",
            mode=0o1777,
            writable=True,
            executable=True,
            size=1 << 20,
            used=0,
        ),
    )


def test_a_broken_promise_names_the_exclude_what_was_found_and_the_mend(far: Far) -> None:
    broken = {"path": "/w/e", "type": "ext4", "problem": "it is ext4, not a tmpfs of its own"}
    far.tell("refused", mounts=[PROOF, broken])
    with pytest.raises(ProofError) as raised:
        far.guest.ready.result(timeout=300)
    assert str(raised.value) == (
        "/w/e: the exclude does not hold: it is ext4, not a tmpfs of its own; the sandbox was not "
        "started. `moat-nb doctor` shows what this engine can do; bubblewrap (`--runtime "
        "bubblewrap`) needs no engine"
    )


def test_a_process_runs_writes_and_exits(far: Far) -> None:
    far.ready()
    written: list[tuple[int, bytes]] = []
    pending = far.pool.submit(
        far.guest.spawn,
        ["ls", "-l"],
        env={"A": "b"},
        cwd="/workspace",
        on_output=lambda stream, data: written.append((stream, data)),
    )
    assert far.hear() == {
        "type": "spawn",
        "id": "1",
        "argv": ["ls", "-l"],
        "env": {"A": "b"},
        "cwd": "/workspace",
        "fork": False,
        "connection": None,
        "stdin": False,
        "tcp": False,
        "terminal": None,
    }
    far.tell("spawned", id="1", pid=12)
    process = pending.result(timeout=300)
    assert process.poll() is None
    far.tell("output", b"\0\xff", id="1", stream=1)
    far.tell("output", b"", id="1", stream=2)
    far.tell("exited", id="1", code=3, signal=None, oom=False)
    assert process.wait(timeout=300) == process.poll() == Exit(code=3)
    assert written == [(1, b"\0\xff"), (2, b"")]


def test_a_process_that_cannot_be_started_raises_the_guests_words(far: Far) -> None:
    far.ready()
    pending = far.pool.submit(far.guest.spawn, ["x"], env={}, cwd="/")
    far.tell("failed", id=far.hear()["id"], error="No such file or directory: x", missing=True)
    with pytest.raises(StartError, match=r"^No such file or directory: x$"):
        pending.result(timeout=300)
    assert far.spawn().poll() is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"code": 0, "signal": None, "oom": False}, "exit code 0"),
        ({"code": None, "signal": 15, "oom": False}, "killed by SIGTERM"),
        ({"code": None, "signal": 60, "oom": False}, "killed by signal 60"),
        (
            {"code": None, "signal": 9, "oom": True},
            "out of memory: the sandbox's memory limit (container.memory) was reached",
        ),
    ],
)
def test_how_a_process_ended_is_put_in_words(far: Far, fields: dict[str, Any], words: str) -> None:
    far.ready()
    process = far.spawn()
    far.tell("exited", id=process.id, **fields)
    assert str(process.wait(timeout=300)) == words


def test_a_signal_goes_to_a_running_process_and_to_no_other(far: Far) -> None:
    far.ready()
    process = far.spawn()
    process.signal(signal.SIGINT)
    assert far.hear() == {"type": "signal", "id": process.id, "signum": 2}
    far.tell("exited", id=process.id, code=0, signal=None, oom=False)
    process.wait(timeout=300)
    process.signal(signal.SIGINT)
    far.spawn()  # which hears nothing before its own spawn


def test_a_piece_of_input_is_sent_once_the_last_was_taken(far: Far) -> None:
    far.ready()
    process = far.spawn(stdin=True)
    process.write(b"a")
    second = far.pool.submit(process.write, None)
    assert far.hear() == {"type": "input", "id": process.id, "body": b"a"}
    time.sleep(0.2)
    assert not second.done()
    far.tell("input_taken", id=process.id)
    second.result(timeout=300)
    assert far.hear() == {"type": "input", "id": process.id}


def test_input_that_is_never_taken_waits_no_longer_than_the_process_lives(far: Far) -> None:
    far.ready()
    process = far.spawn(stdin=True)
    process.write(b"a")
    second = far.pool.submit(process.write, b"b")
    far.tell("exited", id=process.id, code=0, signal=None, oom=False)
    second.result(timeout=300)


def test_usage_is_asked_for_and_told(far: Far) -> None:
    far.ready()
    pending = far.pool.submit(far.guest.mount_usage)
    far.tell("usage", id=far.hear()["id"], mounts=[{"path": "/e", "size": 5, "used": 3}])
    assert pending.result(timeout=300) == {"/e": (5, 3)}


def test_usage_that_comes_too_late_does_no_harm(far: Far) -> None:
    far.ready()
    with pytest.raises(SandboxGone, match="does not answer"):
        far.guest.mount_usage(timeout=0.05)
    far.tell("usage", id=far.hear()["id"], mounts=[])
    assert far.spawn().poll() is None


def test_an_answer_to_another_question_is_none(far: Far) -> None:
    far.ready()
    pending = far.pool.submit(far.guest.mount_usage, timeout=0.2)
    id = far.hear()["id"]
    far.tell("vitals", id=id, memory=None, kernels=[])
    far.tell("proved", id=id, mounts=[])
    with pytest.raises(SandboxGone, match="does not answer"):
        pending.result(timeout=300)


def test_usage_of_memory_is_asked_for_and_told(far: Far) -> None:
    far.ready()
    pending = far.pool.submit(far.guest.usage)
    asked = far.hear()
    assert asked["type"] == "vitals"
    far.tell("vitals", id=asked["id"], memory=5, kernels=[])
    assert pending.result(timeout=300) == Usage(memory=5)


def test_an_exit_has_the_last_lines_of_stderr_and_none_of_stdout(far: Far) -> None:
    far.ready()
    process = far.spawn()
    for stream, text in ((1, "out\n"), (2, "one\ntw"), (2, "o\n\x1b]0;t\x07\x1b[31mthree")):
        far.tell("output", text.encode(), id=process.id, stream=stream)
    far.tell("exited", id=process.id, code=None, signal=11, oom=False)
    how = process.wait(timeout=300)
    assert how.told == "killed by SIGSEGV; its last lines on stderr:\none\ntwo\nthree"


def test_of_a_crash_the_beginning_of_pythons_report_is_told(far: Far) -> None:
    far.ready()
    process = far.spawn()
    report = (
        "warning\nFatal Python error: Aborted\n\nCurrent thread:\n  File cell\n" + "  File x\n" * 50
    )
    far.tell("output", report.encode(), id=process.id, stream=2)
    far.tell("exited", id=process.id, code=None, signal=6, oom=False)
    lines = process.wait(timeout=300).stderr.splitlines()
    assert lines[:3] == ["Fatal Python error: Aborted", "Current thread:", "  File cell"]
    assert len(lines) == 12


def test_a_sandbox_that_is_ended_on_purpose_says_that_and_no_more(far: Far) -> None:
    far.ready()
    far.guest.stopping = STOPPED
    far.end()
    assert far.gone() == "it was stopped"


def test_an_exclude_that_came_undone_is_heard_of(far: Far) -> None:
    far.ready(PROOF)
    far.tell("mount_lost", path=PROOF["path"])
    assert far.events.get(timeout=300) == ("mount_lost", PROOF["path"])


def test_messages_come_in_any_pieces(far: Far) -> None:
    for byte in json.dumps({"type": "ready", "mounts": [PROOF]}).encode() + b"\n":
        far.tell_raw(bytes([byte]))
    assert len(far.guest.ready.result(timeout=300)) == 1


def test_what_would_steer_a_terminal_is_taken_out_of_texts(far: Far) -> None:
    far.tell("refused", mounts=[{"path": "/e", "type": "x", "problem": "\x1b[2J\nmoat: fine"}])
    with pytest.raises(ProofError) as raised:
        far.guest.ready.result(timeout=300)
    assert "not hold: \ufffd[2J\ufffdmoat: fine;" in str(raised.value)


# ---------------------------------------------------------------- the end


class Waiters:
    """One of everything that can wait for a guest."""

    def __init__(self, far: Far) -> None:
        self.process = far.spawn(stdin=True)
        self.process.write(b"x")
        far.hear()
        submit = far.pool.submit
        self.wait = submit(self.process.wait)
        self.write = submit(self.process.write, b"y")
        self.spawn = submit(far.guest.spawn, ["x"], env={}, cwd="/")
        far.hear()
        self.usage = submit(far.guest.usage, timeout=300)
        far.hear()

    def all_heard(self, far: Far, reason: str = "exit code 137") -> None:
        assert self.wait.result(timeout=300) == Exit(code=-9)
        for pending in (self.spawn, self.usage):
            with pytest.raises(SandboxGone):
                pending.result(timeout=300)
        assert self.write.exception(timeout=300) is None
        for call in (
            lambda: far.guest.spawn(["x"], env={}, cwd="/"),
            far.guest.usage,
        ):
            with pytest.raises(SandboxGone, match=reason):
                call()


def test_every_waiter_hears_of_the_end(far: Far) -> None:
    far.ready()
    waiters = Waiters(far)
    far.end()
    assert far.gone() == "the sandbox has ended: exit code 137"
    waiters.all_heard(far)


def test_an_end_before_ready_is_a_start_that_failed(far: Far) -> None:
    far.end()
    with pytest.raises(StartError, match="the sandbox has ended: exit code 137"):
        far.guest.ready.result(timeout=300)
    far.gone()


def test_a_attach_stream_that_breaks_ends_the_sandbox() -> None:
    class Broken(SocketLeash):
        def receive(self, timeout: float | None = None) -> bytes:
            raise ConnectionResetError(104, "Connection reset by peer")

    near, other = socket.socketpair()
    events: queue.Queue[tuple[str, str]] = queue.Queue()
    with other:
        link = GuestClient(Broken(near), lambda *event: events.put(event))
        kind, reason = events.get(timeout=300)
        assert (kind, reason.split(":")[0]) == ("gone", "the attach stream broke")
        assert isinstance(link.ready.exception(timeout=300), StartError)
        link.thread.join(timeout=300)


def test_the_sandbox_ends_when_its_output_cannot_be_delivered(far: Far) -> None:
    def full(stream: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    far.ready()
    process = far.spawn(on_output=full)
    far.tell("output", b"a", id=process.id, stream=1)
    assert "No space left on device" in far.gone()
    assert process.wait(timeout=300) == Exit(code=-9)
    assert far.attach_stream.closed.is_set()


# ---------------------------------------------------------------- hostile guests

READY = json.dumps({"type": "ready", "mounts": []}).encode()


def message(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": kind, **fields}).encode()


def with_proof(**fields: Any) -> bytes:
    return message("ready", mounts=[{**PROOF, **fields}])


def with_mounts(id: str, **fields: Any) -> bytes:
    return message("usage", id=id, mounts=[{"path": "/e", "size": 1, "used": 1, **fields}])


HOSTILE_FROM_THE_START = {
    "not JSON": b"hello",
    "empty": b"",
    "not UTF-8": b'{"type": "\xff"}',
    "a list": b"[]",
    "a text": b'"ready"',
    "null": b"null",
    "no type": b"{}",
    "a type of another type": b'{"type": ["ready"]}',
    "an unknown kind": message("dance", id="1"),
    "an unknown kind without id": message("dance"),
    "nesting": b"[" * 200_000,
    "nesting in a field": b'{"type": "ready", "mounts": ' + b"[" * 200_000 + b"}",
    "a huge integer": b'{"type": "ready", "mounts": [], "python": ' + b"9" * 100_000 + b"}",
    "ready without mounts": message("ready"),
    "mounts that are no list": message("ready", mounts=3),
    "a proof that is none": message("ready", mounts=[3]),
    "a proof that is a text": message("ready", mounts=["x"]),
    "a proof without a verdict": message("ready", mounts=[{"path": "/e", "type": "tmpfs"}]),
    "a path that is a number": with_proof(path=3),
    "a problem that is a list": with_proof(problem=[]),
    "a negative size": with_proof(size=-1),
    "a size that is a text": with_proof(size="1"),
    "a size that is a truth": with_proof(size=True),
    "a size that is a fraction": with_proof(size=1.5),
    "an infinite size": with_proof(size=float("inf")),
    "a size that is no number": with_proof(size=float("nan")),
    "a size beyond all disks": with_proof(size=1 << 64),
    "a refusal without a reason": message("refused", mounts=[PROOF]),
    "a process before ready": message("spawned", id="1", pid=3),
}


@pytest.mark.parametrize("line", HOSTILE_FROM_THE_START.values(), ids=HOSTILE_FROM_THE_START)
def test_a_guest_that_is_hostile_from_the_start_is_ended(far: Far, line: bytes) -> None:
    far.pool.submit(far.tell_raw, line + b"\n")
    assert "no guest of ours sends" in far.gone()
    with pytest.raises(StartError, match="no guest of ours sends"):
        far.guest.ready.result(timeout=300)
    assert far.attach_stream.closed.is_set()


HOSTILE_LATER: dict[str, Callable[[str], bytes]] = {
    "ready twice": lambda id: READY,
    "refused after ready": lambda id: message("refused", mounts=[{**PROOF, "problem": "x"}]),
    "an unknown kind for a process": lambda id: message("dance", id=id),
    "an exit of an unknown process": lambda id: message(
        "exited", id="99", code=0, signal=None, oom=False
    ),
    "output of an unknown process": lambda id: message("output", id="99", stream=1, size=0),
    "an id of another type": lambda id: message("input_taken", id=int(id)),
    "an id that cannot be looked up": lambda id: message("input_taken", id=[id]),
    "spawned twice": lambda id: message("spawned", id=id, pid=8),
    "failed after spawned": lambda id: message("failed", id=id, error="x", missing=False),
    "an infinite pid": lambda id: b'{"type": "spawned", "id": "2", "pid": 1e999}',
    "an exit without a code": lambda id: message("exited", id=id, code=None, signal=None, oom=0),
    "an exit with a field missing": lambda id: message("exited", id=id, code=0),
    "a negative exit code": lambda id: message("exited", id=id, code=-1, signal=None, oom=False),
    "a signal that is a text": lambda id: message(
        "exited", id=id, code=None, signal="9", oom=False
    ),
    "output of no bytes": lambda id: message("output", id=id, stream=1),
    "output in the line": lambda id: message("output", id=id, stream=1, body="a"),
    "output of a negative size": lambda id: message("output", id=id, stream=1, size=-1),
    "output of half a byte": lambda id: message("output", id=id, stream=1, size=0.5),
    "output without end": lambda id: message("output", id=id, stream=1, size=1 << 40),
    "output on a third stream": lambda id: message("output", id=id, stream=3, size=0),
    "output on a stream that is a list": lambda id: message("output", id=id, stream=[], size=0),
    "a channel where there is no tunnel": lambda id: message("open", channel=1, name="x"),
    "a mount lost that nobody promised": lambda id: message("mount_lost", path="/etc"),
    "a mount lost that is a number": lambda id: message("mount_lost", path=3),
    "negative usage": lambda id: with_mounts("3", used=-1),
    "usage without a size": lambda id: message("usage", id="3", mounts=[{"path": "/e"}]),
    "vitals without kernels": lambda id: message("vitals", id="3", memory=None),
    "negative vitals": lambda id: message("vitals", id="3", memory=-1, kernels=[]),
    "usage of no mounts": lambda id: message("usage", id="3"),
    "a message without end": lambda id: b"x" * (MAX_LINE + (1 << 17)),
}


@pytest.mark.parametrize("line", HOSTILE_LATER.values(), ids=HOSTILE_LATER)
def test_a_guest_that_turns_hostile_is_ended_and_every_waiter_hears_of_it(
    far: Far, line: Callable[[str], bytes]
) -> None:
    far.ready()
    waiters = Waiters(far)
    far.pool.submit(far.tell_raw, line(waiters.process.id) + b"\n")
    assert "no guest of ours sends" in far.gone()
    assert far.attach_stream.closed.is_set()
    waiters.all_heard(far)


def test_a_mount_can_be_lost_once_only(far: Far) -> None:
    far.ready(PROOF)
    for _ in range(2):
        far.tell("mount_lost", path=PROOF["path"])
    assert far.events.get(timeout=300) == ("mount_lost", PROOF["path"])
    assert "no guest of ours sends" in far.gone()


def test_a_flood_of_output_reaches_the_one_who_asked_for_it(far: Far) -> None:
    received = []
    far.ready()
    process = far.spawn(on_output=lambda stream, data: received.append(len(data)))
    for _ in range(8):
        far.tell("output", b"A" * LONGEST_BODY, id=process.id, stream=1)
    far.tell("exited", id=process.id, code=0, signal=None, oom=False)
    assert process.wait(timeout=300) == Exit(code=0)
    assert sum(received) == 8 * LONGEST_BODY


# ---------------------------------------------------------------- one that does not answer


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test can wait for."""
    monkeypatch.setattr(guest_client, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(guest_client, "SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(guest_client, "SEND_SECONDS", 0.5)
    monkeypatch.setattr(process_module, "KILL_SECONDS", 0.5)


def test_a_guest_that_falls_silent_is_ended_with_the_reason(hurried: None, far: Far) -> None:
    far.ready()
    waiters = Waiters(far)
    far.tell("alive")
    assert re.fullmatch("the guest does not answer for .* s, so it was ended", far.gone())
    assert far.guest.abandoned == far.guest.gone
    assert far.attach_stream.closed.is_set()
    waiters.all_heard(far, "does not answer")


def test_a_guest_may_be_silent_longer_while_it_imports(hurried: None, far: Far) -> None:
    far.ready()
    with pytest.raises(queue.Empty):
        far.events.get(timeout=2)  # four times what is too long for one that has begun
    far.tell("alive")
    assert "does not answer" in far.gone()


def test_any_word_is_a_sign_of_life(hurried: None, far: Far) -> None:
    far.ready()
    process = far.spawn()
    far.tell("alive")
    for _ in range(40):
        far.tell("output", b"a", id=process.id, stream=1)
        time.sleep(0.05)
    assert far.guest.gone is None


def test_a_guest_that_nobody_hears_is_not_ended_for_taking_nothing(hurried: None, far: Far) -> None:
    """As behind a pager: it waits to be heard."""
    heard, let_go = threading.Event(), threading.Event()
    far.ready()
    process = far.spawn(on_output=lambda stream, data: heard.set() or let_go.wait(300))
    far.tell("output", b"a page", id=process.id, stream=1)
    assert heard.wait(300)
    with pytest.raises(SandboxGone, match="took nothing"):
        for _ in range(100):
            far.guest.send("note", text="x" * 100_000)
    assert far.guest.gone is None
    assert not far.attach_stream.closed.is_set()
    let_go.set()


def test_no_silence_counts_while_the_launcher_itself_does_not_listen(
    hurried: None, far: Far
) -> None:
    held = threading.Event()
    far.ready()
    process = far.spawn(on_output=lambda stream, data: time.sleep(1.5) or held.set())
    far.tell("alive")
    far.tell("output", b"a", id=process.id, stream=1)
    far.tell("exited", id=process.id, code=0, signal=None, oom=False)
    assert process.wait(timeout=300) == Exit(code=0)
    assert held.is_set()


def test_a_process_whose_end_is_not_told_is_killed_with_the_sandbox(
    hurried: None, far: Far
) -> None:
    far.ready()
    process = far.spawn()
    process.kill()
    assert far.hear() == {"type": "signal", "id": process.id, "signum": signal.SIGKILL}
    assert process.poll() == Exit(code=-signal.SIGKILL)
    assert "did not end a process" in far.gone()


def test_a_process_that_is_killed_leaves_the_sandbox_alive(far: Far) -> None:
    far.ready()
    process = far.spawn()
    pending = far.pool.submit(process.kill)
    far.hear()
    far.tell("exited", id=process.id, code=None, signal=9, oom=False)
    pending.result(timeout=300)
    assert far.guest.gone is None


def test_a_spawn_that_is_not_answered_ends_the_sandbox(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest_client, "SPAWN_SECONDS", 0.5)
    far.ready()
    with pytest.raises(SandboxGone, match="started nothing"):
        far.guest.spawn(["x"], env={}, cwd="/")
    assert "started nothing" in far.gone()


def test_a_guest_that_takes_nothing_is_ended(hurried: None, far: Far) -> None:
    far.ready()
    with pytest.raises(SandboxGone, match="took nothing"):
        while True:
            far.guest.send("note", text="x" * 10000)
    assert "took nothing" in far.gone()


def test_a_signal_that_is_not_taken_at_once_is_given_up_and_ends_nothing(
    hurried: None, far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "SIGNAL_SECONDS", 0.1)
    far.ready()
    running = far.spawn()
    far.guest._sending.acquire()  # somebody sends what is long
    with pytest.raises(SandboxGone, match="took nothing"):
        running.signal(2)
    far.guest._sending.release()
    assert far.guest.gone is None


def test_an_engine_that_does_not_even_kill_keeps_nobody_waiting(
    hurried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Frozen(SocketLeash):
        def kill(self) -> None:
            """It takes no notice."""

    monkeypatch.setattr(guest_client, "END_SECONDS", 0.1)
    near, other = socket.socketpair()
    events: queue.Queue[tuple[str, str]] = queue.Queue()
    with other:
        stream = Frozen(near)
        guest = GuestClient(stream, lambda *event: events.put(event))
        pending = Process(guest, "1", None)
        guest._processes["1"] = pending
        pending.kill()
        assert pending.poll() == Exit(code=-signal.SIGKILL)
        assert "did not end a process" in events.get(timeout=300)[1]
        stream.close()
        guest.thread.join(timeout=300)
        assert events.empty()
