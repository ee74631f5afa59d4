"""The readers, each a function of what it is given; an assertion or another error is a finding.

A target is a pair: the strategy of its input, and the function.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h11
from hypothesis import strategies as st

from moat_nb.config.model import Exclude
from moat_nb.egress import records
from moat_nb.egress.options import Deadlines
from moat_nb.egress.policy.hostnames import authority, host_name
from moat_nb.egress.policy.pathmatch import readings
from moat_nb.egress.policy.verdict import Ended
from moat_nb.egress.proxy.client_hello import server_name
from moat_nb.egress.proxy.exchange import check_host, target_of
from moat_nb.egress.proxy.http1 import MAX_HEAD, Http1Connection, end_to_end, two_frames
from moat_nb.errors import ConfigError, MoatError
from moat_nb.excludes.suggest import scan
from moat_nb.guest import protocol, tunnel
from moat_nb.host.on_demand import _record
from moat_nb.host.run_directory import RunDir
from moat_nb.notebook.imports import _names
from moat_nb.planning.host_files import View, expand
from moat_nb.planning.walk import Budget
from moat_nb.sandbox.changes import changes, changes_as_text, in_a_line
from moat_nb.sandbox.guest_client import GuestClient
from moat_nb.sandbox.model_pull import Pull
from moat_nb.text.terminal import Harmless, last_lines, one_line, printable
from moat_nb.text.terminal_filter import LONGEST, TerminalFilter
from tests.egress.running import client_hello
from tests.fuzz.inputs import STEERS, TEXT, harmless, in_pieces, mutated, nearly
from tests.fuzz.outputs import OUTPUTS

Target = tuple[st.SearchStrategy[Any], Callable[[Any], None]]

# ---------------------------------------------------------------- the attach stream

PROOF = {"path": "/w/x", "type": "tmpfs", "mode": 1023, "size": 1, "used": 0, "problem": None}
MESSAGES: tuple[dict[str, Any], ...] = (
    {"type": protocol.READY, "mounts": [PROOF], "sources": {"/w": ["8:1", "/p", False]}},
    {"type": protocol.REFUSED, "mounts": [{**PROOF, "problem": "no"}], "sources": {}},
    {"type": protocol.MOUNT_LOST, "path": "/w/x"},
    {"type": protocol.USAGE, "id": "1", "mounts": [PROOF]},
    {"type": protocol.PROVED, "id": "1", "mounts": [PROOF], "sources": {}},
    {"type": protocol.VITALS, "id": "1", "memory": 5, "kernels": [{"id": "k", "samples": [[1]]}]},
    {"type": protocol.SPACES, "id": "1", "spaces": [{"path": "/tmp", "used": 5, "full": True}]},
    {"type": protocol.SPARE},
    {"type": protocol.INSTALLED, "packages": [["moat_five-1.0", True], ["x", False]]},
    {"type": protocol.OUTPUT, "id": "1", "stream": 1, "size": 1},
    {"type": protocol.SPAWNED, "id": "1", "pid": 5},
    {"type": protocol.FAILED, "id": "1", "error": "no", "missing": False},
    {"type": protocol.EXITED, "id": "1", "code": 0, "signal": None, "oom": False},
    {"type": protocol.INPUT_TAKEN, "id": "1"},
)


class Pieces:
    """An attach stream that says what it is given, and ends."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = iter(pieces)

    def send(self, data: bytes, timeout: float | None = None) -> None:
        pass

    def receive(self, timeout: float | None = None) -> bytes:
        return next(self._pieces, b"")

    def close(self) -> None:
        pass

    def kill(self) -> None:
        pass

    def last_words(self) -> str:
        return "\x1b]0;title\x07 the end"


def guest_client(pieces: list[bytes]) -> None:
    """It ends with a reason, and whoever waits hears of it."""
    heard: list[tuple[str, str]] = []
    guest = GuestClient(Pieces(pieces), lambda kind, text: heard.append((kind, text)))
    guest.thread.join()
    assert guest.gone and guest.ready.done() and ("gone", guest.gone) in heard
    assert len(guest.gone) < 20_000
    failed = guest.ready.exception()
    assert failed is None or isinstance(failed, MoatError)
    harmless(str(failed))


def as_bytes(messages: Iterable[Any]) -> bytes:
    """Each a line, and one byte behind those that have a size, which may be another."""
    return b"".join(
        json.dumps(one).encode()
        + b"\n"
        + (b"x" if isinstance(one, dict) and "size" in one else b"")
        for one in messages
    )


LINES = st.lists(nearly(*MESSAGES), max_size=5).map(as_bytes)
SEED = as_bytes(MESSAGES)

OF_TUNNEL: tuple[dict[str, Any], ...] = (
    {"type": protocol.OPEN, "channel": 1, "name": "proxy"},
    {"type": protocol.DATA, "channel": 2, "body": "x"},
    {"type": protocol.WINDOW, "channel": 2, "count": 1},
    {"type": protocol.EOF, "channel": 2},
    {"type": protocol.RESET, "channel": 2},
)


def channels(messages: list[Any]) -> None:
    """The launcher's end of the tunnel takes each, or ends the sandbox for it; it dials nothing."""

    def path_of(name: str) -> str:
        raise PermissionError(name)

    def send(kind: str, body: bytes | None = None, **fields: Any) -> None:
        assert kind in protocol.OF_TUNNEL

    made = tunnel.Tunnel(send, path_of, end=tunnel.LAUNCHER, patience=0)
    here, client = socket.socketpair()
    with contextlib.closing(made), client:
        made._begin(made._add(tunnel.Channel(2, here)))
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
            for message in messages:
                fields = {**message, **({"body": b"x"} if "body" in message else {})}
                made.hear(fields.pop("type"), **fields)
        made.run_once(0)
        assert len(made.channels) <= 1
        assert all(len(each.pending) <= tunnel.WINDOW for each in made.channels.values())


# ---------------------------------------------------------------- files

NAMES = st.binary(min_size=1, max_size=20).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
) | st.sampled_from([b"moat.yaml", b".git", b".env", b"node_modules", b"a\nb", b"x.py", b"\xff"])
TREES = st.lists(
    st.tuples(st.lists(NAMES, min_size=1, max_size=4), st.sampled_from("dflps")), max_size=6
)


def workspace(tree: list[tuple[list[bytes], str]]) -> None:
    """Walkers, globs, changes and the look for modules, on any tree."""
    with tempfile.TemporaryDirectory(prefix="moat-fuzz-") as made:
        top = Path(made)
        for parts, kind in tree:
            path = os.path.join(os.fsencode(made), *parts)  # noqa: PTH118 - bytes
            with contextlib.suppress(OSError):
                os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - bytes
                _make(path, kind)
        for found in scan(top, ["*"], Budget(entries=500, seconds=5)):
            harmless(one_line(found.pattern))
        view = View({"/w": made})
        for glob in ("**/x*", "*/*", "**/.env"):
            try:
                expand(view, "/w", [Exclude(pattern=glob, where="here")], 50)
            except ConfigError as error:
                harmless(str(error))
        told = changes((made,), 0.0)
        harmless(changes_as_text(told) + str(in_a_line(told)))
        list(_names(made))


def _make(path: bytes, kind: str) -> None:
    if kind == "d":
        os.mkdir(path)  # noqa: PTH102 - bytes
    elif kind == "l":
        os.symlink(b"../../../etc", path)  # noqa: PTH211 - bytes
    elif kind == "p":
        os.mkfifo(path)
    elif kind == "s":
        os.symlink(os.path.basename(path), path)  # noqa: PTH119, PTH211 - a loop
    else:
        # A pipe of this name would be waited for.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))


STATE = json.dumps(
    {"id": "a", "name": "b", "project": "/p", "runtime": "docker", "image": None, "container": "c"}
    | {"started": 1.0, "owner": {"pid": 1, "start": 1}, "covers": ["/p/x"], "made": [["/p", 1, 2]]}
).encode()
RECORD = records.Record(
    time=1.0, method="GET", host="a.test", port=80, path="/", status=200, sent=1, received=1,
    seconds=0.1, outcome="passed", rule="r", reason="", hint="",
).line()  # fmt: skip


def run_directory(data: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="moat-fuzz-") as made:
        run = RunDir(Path(made))
        run.state_file.write_bytes(data)
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            run.read_state()
        run.requests.write_bytes(data)
        records.read(run.requests)


def logs(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    harmless(printable(text))
    harmless(last_lines(text, 20))
    stream = io.StringIO()
    Harmless(stream).write(text)
    shown = stream.getvalue()
    assert not STEERS - {"\x1b"} & set(shown)
    shown.encode()
    _record(data)
    pull = Pull("m")
    pull.hear(1, data)


# ---------------------------------------------------------------- the proxy


class Said:
    def __init__(self, pieces: list[bytes]) -> None:
        self.deadlines = Deadlines()
        self.touched = 0.0
        self._pieces = iter(pieces)

    async def read(self, size: int) -> bytes:
        return next(self._pieces, b"")

    async def write(self, data: bytes) -> None:
        pass

    async def end(self) -> None:
        pass


def requests(pieces: list[bytes]) -> None:
    """A request that is let through has one host, one end and a head of bounded length."""

    async def main() -> None:
        connection = Http1Connection(Said(pieces), h11.SERVER)
        while True:
            event = await connection.event()
            if isinstance(event, h11.Request):
                with contextlib.suppress(Ended):
                    origin, _ = target_of(event)
                    check_host(event, origin)
                    assert host_name(origin.host) == origin.host
                two_frames(event)
                assert sum(len(a) + len(b) for a, b in end_to_end(event)) <= MAX_HEAD
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return

    with contextlib.suppress(h11.RemoteProtocolError):
        asyncio.run(main())


def names(text: str) -> None:
    for read in (host_name, readings, lambda text: authority(text, 80)):
        with contextlib.suppress(Ended):
            read(text)


def hello(data: bytes) -> None:
    with contextlib.suppress(Ended):
        server_name(data)


def screen(pieces: list[bytes]) -> None:
    """However it is cut, the same passes, and would pass again."""
    one, other = TerminalFilter(), TerminalFilter()
    said = b"".join(map(one.feed, pieces))
    assert said == other.feed(b"".join(pieces))
    assert TerminalFilter().feed(said) == said
    assert not STEERS - {"\x07", "\x1b", "\u202e", "\u2066"} & set(said.decode())
    assert len(one._held) <= LONGEST


SCREEN = (
    b"\x1b[?1049h\x1b[1;31mred\x1b]0;x\x07\x1b[6n\x1b(0q\x1b(B\xc3\xa9\xc2\x9b\x1bP$q\x1b\\\x1b[2 q"
)
REQUEST = b"GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"
CHUNKED = (
    b"POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
)

TARGETS: dict[str, Target] = {
    "guest client, messages": (in_pieces(LINES), guest_client),
    "tunnel, messages": (st.lists(nearly(*OF_TUNNEL), max_size=6), channels),
    "guest client, bytes": (
        in_pieces(mutated(SEED, *SEED.splitlines(keepends=True))),
        guest_client,
    ),
    **OUTPUTS,
    "workspace": (TREES, workspace),
    "run directory": (mutated(STATE, RECORD * 3), run_directory),
    "logs": (st.binary(max_size=300) | TEXT.map(lambda t: t.encode(errors="ignore")), logs),
    "requests": (in_pieces(mutated(REQUEST, CHUNKED, REQUEST * 2)), requests),
    "names and paths": (TEXT | mutated(b"/ok/%c0%ae%2e/x;y", b"a.test:80").map(str), names),
    "screen": (in_pieces(mutated(SCREEN, SCREEN * 2)), screen),
    "TLS hello": (mutated(client_hello("a.test")), hello),
}
