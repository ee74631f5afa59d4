"""What every way to start a SandboxSpec is: its protocol. ``registry.py`` names them.

A runtime's duty is small: say whether it can be used, put a spec into the engine's words, start
it and hand over its attach stream. Spawning, signalling, waiting and proving are the guest's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from moat_nb.errors import Problem, StartError

if TYPE_CHECKING:
    from moat_nb.config.model import Config
    from moat_nb.host.machine import User
    from moat_nb.host.reaper import Reaper
    from moat_nb.planning.capabilities import Capabilities
    from moat_nb.planning.image import ImagePlan
    from moat_nb.planning.spec import ContainerSpec, SandboxSpec
    from moat_nb.text.progress import Progress

__all__ = [
    "ARCHIVE_TOP",
    "BRIDGES",
    "FILL",
    "READ",
    "UNLIMITED_FILES",
    "AttachStream",
    "Availability",
    "Containers",
    "ImageConfig",
    "Runtime",
    "SandboxStreams",
    "Volumes",
]

BRIDGES = frozenset({"bridge", "podman"})
"""What engines call the network that a container has where nothing else is asked for; one that was
started without it (``--bridge=none``) has none to give."""

UNLIMITED_FILES = "an exclude's size is limited, but not the number of files in it"


ARCHIVE_TOP = "workspace"
"""The directory at the top of each archive that goes to or comes from a volume."""

_OPEN = f"find {ARCHIVE_TOP} %s -exec chmod u+rwX {{}} ';' 2>/dev/null"
"""What a sandbox has closed to itself would not come whole, and so never back, and nothing could be
put there. find opens a directory once it has been opened up."""
FILL = f"{_OPEN % '-type d ! -perm -700'}; exec tar -x -f -"
READ = (
    _OPEN % r"\( -type d ! -perm -500 -o -type f ! -perm -400 \)"
    + f"; exec tar -c -S -f - {ARCHIVE_TOP}"
)
"""-S: a file that a sandbox only says is large travels as what it holds."""


@dataclass(frozen=True, kw_only=True)
class Availability:
    """``detail`` is the version and facts when usable, else the reason; ``hint`` what to do."""

    usable: bool
    detail: str
    hint: str = ""
    socket: str = ""
    """The engine's, where there is one."""
    named: bool = False
    """The user's settings name this one, so no other may stand in for it."""
    denied: bool = False
    """It is there, and this user may not open its socket."""


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """What an image says of itself."""

    id: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    stop_signal: str
    """Without its SIG, as sh's kill takes it."""
    volumes: tuple[str, ...]


class AttachStream(Protocol):
    """The guest's stdin and stdout as one duplex byte stream, held for the sandbox's life.

    When it ends, by :meth:`close` or by the launcher's death, the guest ends and the container
    removes itself. ``send`` and ``receive`` are called from one thread each.
    """

    def send(self, data: bytes, timeout: float | None = None) -> None:
        """Write all of ``data`` to the guest; OSError when it is gone.

        TimeoutError when it does not take it in so many seconds: nothing of it was sent then, or
        the sandbox was killed, as it had a part.
        """

    def receive(self, timeout: float | None = None) -> bytes:
        """The next bytes of the guest's stdout, blocking; ``b""`` once it ended. TimeoutError
        when nothing came in so many seconds."""

    def close(self) -> None:
        """End the sandbox and return when it is gone; harmless when it already is."""

    def kill(self) -> None:
        """End the sandbox by force, whatever it does; returns in a few seconds, and is harmless
        when it has ended. The end of ``receive`` follows, and :meth:`close` is still to be called.
        """

    def last_words(self) -> str:
        """How the container ended, and the tail of its stderr; for errors."""

    def lacked_memory(self) -> bool:
        """Whether the kernel has killed a process of it for memory since this was last asked; False
        where only the guest can tell."""
        return False

    @property
    def memory(self) -> int | None:
        """Bytes that all of it uses, its tmpfs too; None where only the guest can tell."""
        return None


@dataclass(frozen=True, kw_only=True)
class SandboxStreams:
    """Of the containers that were started from one SandboxSpec."""

    kernel: AttachStream
    sidecars: tuple[Future[AttachStream], ...] = ()
    """In the spec's order, each done once its container runs; StartError or ImageError otherwise.
    They start while the guest proves the kernels' excludes."""


class Containers(Protocol):
    """What services need of an engine beside a start: their images, and commands run in them."""

    def image_config(self, image: str, progress: Progress) -> ImageConfig:
        """Of an image that is on the engine when this returns; ImageError when it cannot be had."""

    def exec(self, container: str, argv: tuple[str, ...]) -> str:
        """Start a command in a container, as its user; its id for :meth:`exit_code`.

        Nothing it prints is taken. Raises StartError with the engine's words.
        """

    def exit_code(self, id: str) -> int | None:
        """How a command ended; None while it runs. Raises StartError."""

    def files(
        self, image: str, paths: tuple[str, ...], name: str, reaper: Reaper, known: Path
    ) -> tuple[str, ...]:
        """The text of files of an image that is there, empty where it has none; ``name`` is for a
        container that does not start, ``known`` a directory to remember them in. Raises StartError
        or ImageError."""

    def give(self, volume: str, spec: ContainerSpec, reaper: Reaper) -> None:
        """Make a named volume that is root's, as an engine makes them, ``spec``'s user's: its own
        directory, and nothing that it holds. Raises StartError."""


class Volumes(Protocol):
    """The volumes of an engine elsewhere, for copies of projects. Methods raise StartError."""

    def owner(self, user: User) -> User:
        """Whose its files must be, for who is ``user`` in a container."""

    def token(self, name: str) -> str | None:
        """What the volume was made with; None where there is none of ours."""

    def in_use(self, name: str) -> bool:
        """Whether a container that runs, or is just being started, has it."""

    def make(self, name: str, token: str) -> None: ...

    def remove(self, name: str) -> None:
        """Harmless where it is missing; StartError where a container has it."""

    def put(self, name: str, archive: Iterable[bytes]) -> None:
        """Unpack a tar, whose paths begin with :data:`ARCHIVE_TOP`, over what is there."""

    def get(self, name: str) -> AbstractContextManager[Iterator[bytes]]:
        """All that it holds, as such a tar."""


class Runtime(Protocol):
    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def volumes(self) -> Volumes:
        """To be asked for where ``capabilities.elsewhere`` says where; StartError elsewhere."""
        raise StartError(f"{self.capabilities.name}: it is on this machine")

    @property
    def containers(self) -> Containers:
        """To be asked for where ``capabilities.sidecars`` is true; StartError where it is not."""
        raise StartError(f"{self.capabilities.name}: there are no sidecars")

    def available(self) -> Availability:
        """Looks at the machine, at most a second, or begins the way to another one, which takes
        longer; never raises."""

    def prepare(self, image: ImagePlan | None, progress: Progress, reaper: Reaper) -> str | None:
        """Have ``image`` ready: its tag; None on a runtime without images.

        Raises ImageError.
        """

    def check(self, spec: ContainerSpec, config: Config) -> tuple[Problem, ...]:
        """All that this runtime cannot honour of ``spec``, the plan of ``config``; as far as this
        process can know. May look at the machine, starts nothing."""

    def notices(self, spec: ContainerSpec, image: ImagePlan | None = None) -> tuple[str, ...]:
        """What the user must be told at each start of how this runtime honours ``spec``, and builds
        ``image``."""

    def remarks(self, spec: ContainerSpec) -> tuple[str, ...]:
        """What it does less well than another could, always: `moat-nb plan` tells it,
        and no start does."""

    def render(self, spec: SandboxSpec) -> tuple[Any, ...]:
        """The engine's words for each of ``spec.containers``, JSON-serialisable and whole. Pure."""

    def start(self, spec: SandboxSpec, reaper: Reaper) -> SandboxStreams:
        """Start the kernels' container, and have its sidecars started, which share its network.

        What must be removed whatever happens is told to the reaper *first*. Raises StartError with
        the engine's own words; nothing stays behind then.
        """
