"""Our program on another machine, started by ssh: it answers a launcher's questions, and becomes
the keeper of one sandbox when it is asked to start it."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import select
import shutil
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from moat_nb.config.model import Config
from moat_nb.errors import ConfigError, MoatError, Problem
from moat_nb.host.machine import MOAT_USER, Host
from moat_nb.host.reaper import Reaper
from moat_nb.planning.lacks import Lack
from moat_nb.planning.mounts import Volume
from moat_nb.planning.spec import ContainerSpec, SandboxSpec
from moat_nb.runtimes.bubblewrap.runtime import Bubblewrap
from moat_nb.runtimes.elsewhere.carry import carry
from moat_nb.runtimes.elsewhere.copies import Copies
from moat_nb.runtimes.elsewhere.frames import ENDED, MARK, START, exactly, framed, read_frame, write
from moat_nb.runtimes.elsewhere.localised import localised

__all__ = ["Server", "main"]

IDLE_SECONDS = 600
"""Without a question it ends: a launcher that vanished says no goodbye."""
KEPT_SECONDS = 30 * 86400
"""From its last use to the end of a version of our program: a sandbox may still run by it."""


def main(place: str) -> None:
    sink = os.dup(1)
    os.dup2(2, 1)  # what anything prints goes where errors go
    os.write(sink, MARK + START + b"\n")
    _forget_older(Path(place))
    with contextlib.suppress(EOFError, BrokenPipeError):
        Server(0, sink, Host.current()).run()


def _forget_older(place: Path) -> None:
    os.utime(place)
    last = time.time() - KEPT_SECONDS
    for old in place.parent.iterdir():
        with contextlib.suppress(OSError):  # another start was first
            if old.stat().st_mtime < last:
                shutil.rmtree(old)


class Server:
    """``source`` and ``sink`` are descriptors."""

    def __init__(self, source: int, sink: int, host: Host) -> None:
        self._source, self._sink, self._host = source, sink, host
        self._runtime = Bubblewrap(host)
        self._user = host.user if host.user.uid else MOAT_USER
        self._copies = Copies(host, self._user, self._runtime)

    def run(self) -> None:
        """Raises EOFError when the launcher is gone."""
        while select.select([self._source], [], [], IDLE_SECONDS)[0]:
            # Who asks has this user's account, and has sent this very program.
            question, arguments = pickle.loads(self._frame())
            if question == "start":
                self._start(**arguments)
                return
            self._answer(question, arguments)

    def _answer(self, question: str, arguments: dict[str, Any]) -> None:
        try:
            value = getattr(self, f"answer_{question}")(**arguments)
            words = {"value": value}
        except (MoatError, OSError) as error:
            words = {"error": str(error)}
        self._tell(json.dumps(words).encode())

    # -------- questions

    def answer_facts(self) -> dict[str, Any]:
        found = self._runtime.available()
        user = self._user
        return {
            "usable": found.usable,
            "detail": found.detail,
            "hint": found.hint,
            "memory": self._host.memory,
            "cpus": self._host.cpus,
            "user": [user.uid, user.gid],
        }

    def answer_look(self, spec: ContainerSpec, config: Config) -> dict[str, Any]:
        problems: list[Problem] = []
        made = spec
        try:
            made = self._local(spec, config)
            problems += self._runtime.check(made, config)
        except ConfigError as error:
            problems += error.problems
        if not config.kernel.argv and find_spec("ipykernel") is None:
            problems.append(self._no_kernel(config))
        return {
            "problems": [_words(problem) for problem in problems],
            "notices": (f"user: {self._user}", *self._runtime.notices(made)),
            "remarks": self._runtime.remarks(made),
        }

    def _no_kernel(self, config: Config) -> Problem:
        python = self._host.executable
        return Problem(
            where=config.place("kernel.on"),
            what=f"{python}, the python there, has no ipykernel",
            hint=f"{python} -m pip install ipykernel there, or name another by kernel.on.python",
        )

    def answer_render(self, sandbox: SandboxSpec) -> Any:
        return self._runtime.render(SandboxSpec(kernel=self._local(sandbox.kernel)))

    def answer_token(self, name: str) -> str | None:
        return self._copies.token(name)

    def answer_in_use(self, name: str) -> bool:
        return self._copies.in_use(name)

    def answer_make(self, name: str, token: str) -> None:
        self._copies.make(name, token)

    def answer_remove(self, name: str) -> None:
        self._copies.remove(name)

    def answer_put(self, name: str) -> None:
        pieces = self._pieces()
        try:
            self._copies.put(name, pieces)
        finally:
            for _ in pieces:
                pass

    def answer_get(self, name: str) -> None:
        try:
            self._copies.get(name, self._tell)
        finally:
            self._tell(b"")

    # -------- a sandbox

    def _start(self, sandbox: SandboxSpec, grace: float) -> None:
        with contextlib.ExitStack() as stack:
            try:
                for mount in sandbox.kernel.mounts:
                    if isinstance(mount, Volume):
                        self._copies.have(mount.name)
                        self._copies.hold(mount.name, stack)
                # The copy is in use until nothing is left of the sandbox.
                reaper = Reaper()
                stack.callback(reaper.finish)
                spec = self._local(sandbox.kernel)
                streams = self._runtime.start(SandboxSpec(kernel=spec), reaper)
            except (MoatError, OSError) as error:
                self._tell(json.dumps({"error": str(error)}).encode())
                return
            self._tell(json.dumps({"value": None}).encode())
            ended = carry(streams.kernel, self._source, self._sink, grace)
            sys.stderr.write(f"{ENDED}{ended}\n")

    def _local(self, spec: ContainerSpec, config: Config | None = None) -> ContainerSpec:
        return localised(spec, config, self._host, self._user, self._copies.directory)

    # -------- bytes

    def _frame(self) -> bytes:
        return read_frame(exactly(self._source))

    def _pieces(self) -> Iterator[bytes]:
        while piece := self._frame():
            yield piece

    def _tell(self, data: bytes) -> None:
        write(self._sink, framed(data))


def _words(problem: Problem) -> dict[str, Any]:
    words: dict[str, Any] = {
        "where": problem.where,
        "what": problem.what,
        "hint": problem.hint,
        "supported": problem.supported,
    }
    if isinstance(problem, Lack):
        words |= {"name": problem.name, "why": problem.why}
    return words
