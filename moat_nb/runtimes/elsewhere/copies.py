"""The copies of projects on this machine, for launchers on others: what an engine's volumes are.

Sandboxes write to them, so nothing but a sandbox reads or fills one: tar runs in one that sees the
copy and nothing else, where a link leads nowhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from moat_nb.errors import StartError
from moat_nb.host.cleanup import remove_tree
from moat_nb.host.machine import Host, User
from moat_nb.host.reaper import Reaper
from moat_nb.host.whole_file import write_whole
from moat_nb.planning.limits import Limits
from moat_nb.planning.mounts import Bind, MountPlan
from moat_nb.planning.spec import ContainerSpec, SandboxSpec
from moat_nb.runtimes.base import ARCHIVE_TOP, FILL, READ
from moat_nb.runtimes.bubblewrap.runtime import Bubblewrap
from moat_nb.runtimes.pipes import PipeStream

__all__ = ["Copies"]

_NAME = re.compile(r"moat[.-][A-Za-z0-9._-]{1,200}")


class Copies:
    """Methods raise StartError. ``user`` is who sandboxes run as."""

    def __init__(self, host: Host, user: User, runtime: Bubblewrap) -> None:
        self._host, self._user, self._runtime = host, user, runtime
        self._top = Path(os.path.realpath(host.data_dir), "elsewhere")

    def directory(self, name: str) -> Path:
        """What sandboxes see of a copy, or of a volume that a file names."""
        return self._of(name) / ARCHIVE_TOP

    def token(self, name: str) -> str | None:
        try:
            return (self._of(name) / "token").read_text()
        except OSError:
            return None

    def make(self, name: str, token: str) -> None:
        self.have(name)
        write_whole(self._of(name) / "token", token)

    def have(self, name: str) -> None:
        """Make the directory where it is missing."""
        directory = self.directory(name)
        try:
            directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not directory.is_dir():
                directory.mkdir(mode=0o755)
                if os.getuid() == 0:
                    os.chown(directory, self._user.uid, self._user.gid)
        except OSError as error:
            raise StartError(f"{directory}: {error.strerror}") from error

    def remove(self, name: str) -> None:
        if not self._of(name).is_dir():
            return
        with self._held(name, fcntl.LOCK_EX):
            remove_tree(str(self._of(name)))

    def in_use(self, name: str) -> bool:
        if not self._of(name).is_dir():
            return False
        try:
            with self._held(name, fcntl.LOCK_EX):
                return False
        except StartError:
            return True

    def hold(self, name: str, stack: contextlib.ExitStack) -> None:
        """It is in use until ``stack`` is closed."""
        stack.enter_context(self._held(name, fcntl.LOCK_SH))

    @contextlib.contextmanager
    def _held(self, name: str, how: int) -> Iterator[None]:
        with (self._of(name) / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, how | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StartError(f"{name}: a sandbox there has it") from None
            yield

    # -------- as archives

    def put(self, name: str, pieces: Iterable[bytes]) -> None:
        with self._sandboxed(name, FILL) as stream:
            try:
                for piece in pieces:
                    stream.send(piece)
            except OSError:
                for _ in pieces:  # its words are told behind all that was sent
                    pass
            stream.end_input()
            while stream.receive():
                pass
            _refuse(stream, name)

    def get(self, name: str, send: Callable[[bytes], None]) -> None:
        with self._sandboxed(name, READ) as stream:
            while piece := stream.receive():
                send(piece)
            _refuse(stream, name, changing=True)

    @contextlib.contextmanager
    def _sandboxed(self, name: str, script: str) -> Iterator[PipeStream]:
        mount = Bind(source=str(self.directory(name)), target=f"/{ARCHIVE_TOP}")
        spec = ContainerSpec(
            name=f"moat-copy-{secrets.token_hex(4)}",
            role="kernel",
            project="",
            runtime="bubblewrap",
            image=None,
            command=("sh", "-c", script),
            user=self._user,
            env=(("PATH", "/usr/bin:/bin"), ("LC_ALL", "C.UTF-8")),
            workdir="/",
            mounts=MountPlan(mounts=(mount,)),
            limits=Limits(memory=self._host.memory // 2),
        )
        reaper = Reaper()
        try:
            stream = self._runtime.start(SandboxSpec(kernel=spec), reaper).kernel
            assert isinstance(stream, PipeStream)
            try:
                yield stream
            finally:
                stream.close()
        finally:
            reaper.finish()

    def _of(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise StartError(f"{name!r} is no name of a copy")
        return self._top / name


def _refuse(stream: PipeStream, name: str, *, changing: bool = False) -> None:
    """Raises StartError unless tar has done it all; ``changing``: but for what a sandbox that runs
    has changed or removed meanwhile, which is tar's exit code 1."""
    words = stream.last_words()
    if words != "exit code 0" and not (changing and words.startswith("exit code 1:")):
        raise StartError(f"{name}: tar: {words}")
