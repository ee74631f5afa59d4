"""The runtime of ``kernel.on``: bubblewrap on a machine that ssh leads to, or that Slurm gives.

The plan is made here, as for an engine elsewhere; what it needs of that machine (its interpreter,
its programs, its limits) our program adds there, and starts it as it would here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from moat_nb.config.model import OtherMachine, SlurmJob
from moat_nb.errors import Problem, StartError
from moat_nb.host.machine import User
from moat_nb.host.run_directory import Owner
from moat_nb.host.whole_file import write_whole
from moat_nb.planning.capabilities import Capabilities
from moat_nb.planning.lacks import Lack
from moat_nb.planning.limits import MIB
from moat_nb.planning.spec import SOCKETS_LABEL, ContainerSpec, SandboxSpec
from moat_nb.runtimes.base import Availability, Runtime, SandboxStreams, Volumes
from moat_nb.runtimes.elsewhere.connection import Connection, idle, taken
from moat_nb.runtimes.elsewhere.program import command
from moat_nb.runtimes.elsewhere.stop import CARRIER
from moat_nb.runtimes.elsewhere.ways import argv_of, hint_of
from moat_nb.text.terminal import one_line
from moat_nb.text.untrusted import number

if TYPE_CHECKING:
    from moat_nb.config.model import Config
    from moat_nb.host.reaper import Reaper
    from moat_nb.planning.image import ImagePlan
    from moat_nb.text.progress import Progress

__all__ = ["BubblewrapElsewhere"]

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What our program says of its machine."""

    usable: bool
    detail: str
    hint: str
    memory: int
    """Bytes."""
    cpus: int | None
    user: User
    """Who its sandboxes run as."""

    @classmethod
    def parse(cls, words: Any) -> Facts:
        """Raises KeyError, TypeError or ValueError for what is of another form."""
        uid, gid = words["user"]
        cpus = words["cpus"]
        return cls(
            usable=bool(words["usable"]),
            detail=one_line(str(words["detail"])),
            hint=one_line(str(words["hint"])),
            memory=number(words["memory"]),
            cpus=None if cpus is None else number(cpus),
            user=User(number(uid), number(gid)),
        )


NOTHING: Mapping[str, Any] = {"problems": [], "notices": [], "remarks": []}


class BubblewrapElsewhere(Runtime):
    def __init__(self, on: OtherMachine, environ: Mapping[str, str], *, ask: bool = True) -> None:
        """``ask``: whether that machine may be asked anything, and have our program."""
        self._may_ask = ask
        self.on = on
        self._environ = dict(environ)
        self._looked: dict[str, Mapping[str, Any]] = {}

    @property
    def where(self) -> str:
        return str(self.on)

    @property
    def argv(self) -> tuple[str, ...]:
        return argv_of(self.on, command(self.on.python))

    @functools.cached_property
    def facts(self) -> Facts:
        """Of that machine. Raises StartError."""
        return self._believed(Facts.parse, self.ask("facts"))

    def _believed(self, parse: Callable[[Any], _T], answer: Any) -> _T:
        """What ``parse`` makes of it; StartError where it is of another form."""
        try:
            return parse(answer)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StartError(f"{self.where}: its answer is none: {error!r}") from error

    @property
    def capabilities(self) -> Capabilities:
        facts = self.facts if self._may_ask else None
        job = self.on.slurm or SlurmJob()
        memory = job.mem_mb * MIB if job.mem_mb else facts.memory if facts else None
        return Capabilities(
            name="ssh" if self.on.slurm is None else "slurm",
            images=False,
            sidecars=False,
            shares_unix_sockets=False,
            parents_are_roots=False,
            elsewhere=self.where,
            unasked=not self._may_ask,
            memory=memory,
            cpus=job.cpus or (facts.cpus if facts else None),
        )

    @property
    def volumes(self) -> Volumes:
        return _Volumes(self)

    def available(self) -> Availability:
        if not self._may_ask:
            return Availability(usable=True, detail="not asked, as nobody has approved it yet")
        try:
            facts = self.facts
        except StartError as error:
            return Availability(usable=False, detail=str(error), hint=hint_of(self.on), named=True)
        return Availability(
            usable=facts.usable,
            detail=f"{self.where}: {facts.detail}",
            hint=facts.hint,
            named=True,
        )

    def prepare(self, image: ImagePlan | None, progress: Progress, reaper: Reaper) -> None:
        """Nothing: what that machine lacks, :meth:`check` has named."""

    def check(self, spec: ContainerSpec, config: Config) -> tuple[Problem, ...]:
        looked = self._look(spec, config) if self._may_ask else NOTHING
        found = self._believed(
            lambda problems: [_problem(words, config) for words in problems], looked["problems"]
        )
        return tuple(replace(one, what=f"{self.where}: {one.what}") for one in found)

    def notices(self, spec: ContainerSpec, image: ImagePlan | None = None) -> tuple[str, ...]:
        if not self._may_ask:
            asks = f"`moat-nb plan --runtime {self.on.wish}` does"
            return (f"{self.where} was not asked what it lacks: {asks}",)
        return tuple(f"{self.where}: {words}" for words in self._look(spec)["notices"])

    def remarks(self, spec: ContainerSpec) -> tuple[str, ...]:
        return tuple(f"{self.where}: {words}" for words in self._look(spec)["remarks"])

    def _look(self, spec: ContainerSpec, config: Config | None = None) -> Mapping[str, Any]:
        """What our program there says of a plan; asked once, with its config, by :meth:`check`."""
        if config is not None:
            answer = self.ask("look", spec=spec, config=config)
            self._looked[spec.digest] = self._believed(_looked, answer)
        return self._looked.get(spec.digest) or NOTHING

    def render(self, spec: SandboxSpec) -> tuple[Any, ...]:
        """The command here, and bubblewrap's words there."""
        here = [*self.argv[:-1], f"{self.on.python} ..."]
        there = self.ask("render", sandbox=spec) if self._may_ask else "not asked"
        return ({"here": here, "there": there},)

    def start(self, spec: SandboxSpec, reaper: Reaper) -> SandboxStreams:
        self._refuse_unasked()
        connection = taken(self.argv, self._environ, self.where)
        try:
            # First the note: what starts can be ended by it.
            sockets = Path(dict(spec.kernel.labels)[SOCKETS_LABEL])
            write_whole(sockets.parent / CARRIER, str(Owner.of(connection.stream.pid)))
            connection.ask("start", sandbox=spec, grace=self.on.grace)
        except BaseException:
            connection.close()
            raise
        return SandboxStreams(kernel=connection.become_stream(self.on.grace))

    def ask(self, question: str, **arguments: Any) -> Any:
        with self.connection() as connection:
            return connection.ask(question, **arguments)

    def connection(self) -> AbstractContextManager[Connection]:
        """Raises StartError where nobody approved it."""
        self._refuse_unasked()
        return idle(self.argv, self._environ, self.where)

    def _refuse_unasked(self) -> None:
        if not self._may_ask:
            raise StartError(f"{self.where}: nobody has approved it; run `moat-nb allow`")


def _looked(words: Any) -> Mapping[str, Any]:
    """Raises KeyError or TypeError for what is of another form."""
    texts = {name: [one_line(str(text)) for text in words[name]] for name in ("notices", "remarks")}
    return {"problems": words["problems"], **texts}


def _problem(words: Mapping[str, Any], config: Config) -> Problem:
    where = str(words["where"] or config.place("kernel.on"))
    shared = {"where": where, "what": str(words["what"]), "hint": str(words["hint"])}
    if words.get("name"):
        lack = {"name": str(words["name"]), "why": str(words["why"])}
        return Lack(**shared, **lack, supported=False)
    return Problem(**shared, supported=bool(words["supported"]))


class _Volumes(Volumes):
    """Directories there; see ``copies.py``."""

    def __init__(self, runtime: BubblewrapElsewhere) -> None:
        self._runtime = runtime

    def owner(self, user: User) -> User:
        return self._runtime.facts.user

    def token(self, name: str) -> str | None:
        token = self._runtime.ask("token", name=name)
        return None if token is None else str(token)

    def in_use(self, name: str) -> bool:
        return bool(self._runtime.ask("in_use", name=name))

    def make(self, name: str, token: str) -> None:
        self._runtime.ask("make", name=name, token=token)

    def remove(self, name: str) -> None:
        self._runtime.ask("remove", name=name)

    def put(self, name: str, archive: Iterable[bytes]) -> None:
        with self._runtime.connection() as connection:
            connection.put("put", archive, name=name)

    @contextmanager
    def get(self, name: str) -> Iterator[Iterator[bytes]]:
        with self._runtime.connection() as connection:
            yield connection.get("get", name=name)  # which is read to its end, or raises
