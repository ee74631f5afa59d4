"""Claims of a cluster, for copies of projects: a pod that does nothing has one mounted while it is
filled or read."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping

from moat_nb.errors import StartError
from moat_nb.host.machine import User
from moat_nb.host.reaper import Reaper
from moat_nb.runtimes.base import ARCHIVE_TOP, FILL, READ, Volumes
from moat_nb.runtimes.kubernetes.cluster import Cluster
from moat_nb.runtimes.kubernetes.render import (
    COPIED,
    COPIER,
    TOKEN,
    PodOptions,
    claim,
    copier,
    object_name,
    uses_label,
)
from moat_nb.runtimes.kubernetes.stop import deletion, note_of
from moat_nb.runtimes.kubernetes.stream import PodStream

__all__ = ["Claims"]

PIECES = """\
import sys
take, give = sys.stdin.buffer.read, sys.stdout.buffer.write
while True:
    size = int.from_bytes(take(4), "big")
    if not size:
        break
    give(take(size))
"""
"""tar would wait for the end of its stdin, which not every cluster can tell it of."""
IN_PIECES = f'cd {COPIED} && python3 -I -S -c "$1" | ( {FILL} )'
WHOLE = f"cd {COPIED} && {READ}"
PIECE = 60 << 10


class Claims(Volumes):
    """Methods raise StartError."""

    def __init__(
        self,
        cluster: Cluster,
        options: PodOptions,
        user: User,
        image: Callable[[], str],
        environ: Mapping[str, str],
    ) -> None:
        """``image`` is what kernels of ``user`` run in, and has tar; raises ImageError."""
        self._cluster, self._options = cluster, options
        self._user, self._image, self._environ = user, image, environ

    def owner(self, user: User) -> User:
        return self._user

    def token(self, name: str) -> str | None:
        found = self._cluster.claim(object_name(name))
        if found is None or "deletionTimestamp" in found["metadata"]:
            return None
        token = found["metadata"].get("annotations", {}).get(TOKEN)
        return None if token is None else str(token)

    def in_use(self, name: str) -> bool:
        return any(
            pod["status"].get("phase") in ("Pending", "Running")
            and "deletionTimestamp" not in pod["metadata"]
            for pod in self._cluster.pods(uses_label(name))
        )

    def make(self, name: str, token: str) -> None:
        options = self._options
        self._cluster.make_claim(claim(name, options.cluster, options.owner, token))

    def make_empty(self, name: str, user: User) -> None:
        """One that nobody fills, for who runs as ``user``."""
        self.make(name, "")
        own = Claims(self._cluster, self._options, user, self._image, self._environ)
        with own._held(name, ("mkdir", "-p", f"{COPIED}/{ARCHIVE_TOP}")) as stream:
            while stream.receive():
                pass
            _refuse(stream, name)

    def remove(self, name: str) -> None:
        if self.in_use(name):
            raise StartError(f"{name}: a sandbox there has it")
        self._cluster.delete_claim(object_name(name))
        self._cluster.until_claim_is_gone(object_name(name))

    def put(self, name: str, archive: Iterable[bytes]) -> None:
        with self._held(name, ("sh", "-c", IN_PIECES, "sh", PIECES)) as stream:
            with contextlib.suppress(BrokenPipeError):  # its words are told below
                for piece in _of_size(archive):
                    stream.send(len(piece).to_bytes(4, "big") + piece)
                stream.send(bytes(4))
            while stream.receive():
                pass
            _refuse(stream, name)

    @contextlib.contextmanager
    def get(self, name: str) -> Iterator[Iterator[bytes]]:
        with self._held(name, ("sh", "-c", WHOLE)) as stream:
            yield iter(stream.receive, b"")
            _refuse(stream, name, changing=True)

    @contextlib.contextmanager
    def _held(self, name: str, argv: tuple[str, ...]) -> Iterator[PodStream]:
        pod = f"moat-copier-{secrets.token_hex(4)}"
        words = copier(object_name(name), self._image(), self._user, self._options, pod)
        reaper = Reaper()
        done = reaper.command(deletion(note_of(self._cluster, pod)), self._environ)
        try:
            self._cluster.until_it_runs(self._cluster.make_pod(words), COPIER)
            client = self._cluster.run(pod, COPIER, argv)
            stream = PodStream(client, b"", lambda at_once: None, str)
            try:
                yield stream
            finally:
                stream.kill()
        finally:
            self._cluster.delete_pod(pod, at_once=True)
            done()
            reaper.finish()


def _of_size(archive: Iterable[bytes]) -> Iterator[bytes]:
    pending = bytearray()
    for piece in archive:
        pending += piece
        while len(pending) >= PIECE:
            yield bytes(pending[:PIECE])
            del pending[:PIECE]
    if pending:
        yield bytes(pending)


def _refuse(stream: PodStream, name: str, *, changing: bool = False) -> None:
    """Raises StartError unless tar has done it all; ``changing``: but for what a sandbox that runs
    has changed meanwhile, which is tar's exit code 1."""
    if stream.exit_code not in ((0, 1) if changing else (0,)):
        raise StartError(f"{name}: {stream.last_words() or 'it did not come to its end'}")
