"""The models of an ollama service, which its own server pulls: how one is asked for, and what is
heard of it.

A program in the sandbox asks, whose loopback is the server's. What it prints is hostile, as all
that a sandbox says: it is read for amounts, and for words to show, within bounds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from moat_nb.egress.records import Record
from moat_nb.planning.builtin_services import MODELS, REGISTRY
from moat_nb.planning.mounts import Bind, MountPlan
from moat_nb.sandbox.guest_client import STDOUT, Exit
from moat_nb.sandbox.refusals import refusal
from moat_nb.text.untrusted import number, text

__all__ = ["Pull", "hint", "taking_turns"]

PROGRAM = """
import json, sys, urllib.error, urllib.request
server, model = sys.argv[1:]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
tag = "" if ":" in model.rpartition("/")[2] else ":latest"
try:
    with opener.open(server + "/api/tags") as answer:
        there = [one["name"] for one in json.load(answer)["models"] or ()]
    if model + tag in there:
        print(json.dumps({"status": "success"}))
        sys.exit()
    body = json.dumps({"model": model, "stream": True}).encode()
    try:
        answer = opener.open(server + "/api/pull", body)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        while True:
            data = answer.read1(65536)
            sys.stdout.buffer.write(data or b"\\n")
            sys.stdout.buffer.flush()
            if not data:
                break
except Exception as error:
    sys.exit("the server's answer is cut off, or none of ollama's: %r" % error)
"""
"""What ollama's docs/api.md has of ``GET /api/tags`` and ``POST /api/pull``: lines of JSON, or one
object with an error. A model that is there is not asked for again, so that a start needs the
network, and its rules, only for what is missing."""

LONGEST_LINE = 16 << 10
"""Bytes; the server's own have 200, those with an error a few more."""
LONGEST_WORDS = 500
MOST_LAYERS = 100
"""Of which amounts are added up; a model has about 5."""
MOST_REFUSALS = 5
"""That are told of; one host or two is what a model comes from."""


class Pull:
    """One model's. :meth:`hear` is called by the guest client's thread; others read the rest."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.status = ""
        """The server's last word, such as ``verifying sha256 digest``."""
        self.amount = (0, 0)
        """Bytes that are there, of so many in all layers that it has told of."""
        self._error = ""
        self._layers: dict[str, tuple[int, int]] = {}
        self._rest = b""

    def argv(self, port: int) -> list[str]:
        return ["python3", "-I", "-S", "-c", PROGRAM, f"http://127.0.0.1:{port}", self.model]

    def hear(self, stream: int, data: bytes) -> None:
        if stream != STDOUT:
            return
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._read(line)
        self._rest = rest[:LONGEST_LINE]

    def _read(self, line: bytes) -> None:
        try:
            found = json.loads(line) if len(line) <= LONGEST_LINE else None
            if isinstance(found, dict):
                self._take(found)
        except (ValueError, RecursionError):
            pass  # not a line of the server's

    def _take(self, found: dict[str, Any]) -> None:
        words = (text(found.get(key, ""), LONGEST_WORDS) for key in ("status", "error", "digest"))
        status, error, layer = words
        total, completed = number(found.get("total", 0)), number(found.get("completed", 0))
        self.status = status
        self._error = self._error or error
        if layer and (layer in self._layers or len(self._layers) < MOST_LAYERS):
            self._layers[layer] = min(completed, total), total
            done, totals = zip(*self._layers.values(), strict=True)
            self.amount = sum(done), sum(totals)

    def problem(self, how: Exit) -> str | None:
        """Why the model is not there, the program having ended; None when it is."""
        if self._error:
            return self._error
        if how.code != 0:
            return how.stderr or str(how)
        if self.status != "success":
            return f"the server said no success; its last word: {self.status or 'none'}"
        return None


def hint(requests: Iterable[Record]) -> str:
    """What a user can do about a model that could not be pulled, as the end of a sentence.

    Had the proxy refused something, it is that; ``requests`` are all of the sandbox's.
    """
    told = (refusal(asdict(request)) for request in requests)
    refused = list(dict.fromkeys(words for words in told if words is not None))
    if not refused:
        return f"; correct its name, see that {REGISTRY} can be reached, or take it out of models"
    storage = f"a model comes from {REGISTRY}, and from the hosts of its storage"
    return "\n".join(("", *refused[-MOST_REFUSALS:], storage))


@contextlib.contextmanager
def taking_turns(mounts: MountPlan, look_again: Callable[[], None]) -> Iterator[None]:
    """Once no other start pulls into the same volume of this machine's, be it of another launcher:
    two servers would take each other's unfinished files for their own.

    ``look_again`` is called as long as there is one, and raises to give up.
    """
    with contextlib.ExitStack() as undo:
        for mount in mounts:
            if isinstance(mount, Bind) and mount.target == MODELS and mount.source in mounts.keep:
                # Beside it, where the server cannot put anything in its place.
                file = undo.enter_context(Path(f"{mount.source}.lock").open("ab"))
                while not _locked(file.fileno()):
                    look_again()
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
