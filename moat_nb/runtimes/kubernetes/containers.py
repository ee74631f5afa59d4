"""What services need of a cluster beside a start: what an image says of itself, and commands in
their containers."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from pathlib import Path

from moat_nb.errors import ImageError, RuntimeUnavailable, StartError
from moat_nb.host.reaper import Reaper
from moat_nb.planning.spec import ContainerSpec
from moat_nb.runtimes.base import Containers, ImageConfig
from moat_nb.runtimes.docker.runtime import Docker
from moat_nb.runtimes.kubernetes.cluster import Cluster
from moat_nb.runtimes.kubernetes.stream import PodStream
from moat_nb.text.progress import Progress

__all__ = ["PodContainers"]

ENTRYPOINT = ("docker-entrypoint.sh",)
KNOWN = {
    "postgres": (ENTRYPOINT, ("postgres",), "INT", ("/var/lib/postgresql/data",)),
    "mysql": (ENTRYPOINT, ("mysqld",), "TERM", ("/var/lib/mysql",)),
    "redis": (ENTRYPOINT, ("redis-server",), "TERM", ("/data",)),
    "ollama/ollama": (("/bin/ollama",), ("serve",), "TERM", ()),
}
"""Of images of Docker Hub, by repository, as their Dockerfiles say: entrypoint, command, the signal
that stops it, and volumes."""


class PodContainers(Containers):
    """Thread-safe. Methods raise StartError."""

    def __init__(self, cluster: Cluster, environ: Mapping[str, str]) -> None:
        self._cluster, self._environ = cluster, environ
        self._places: dict[str, tuple[str, str]] = {}
        self._running: dict[str, PodStream] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def place(self, name: str, pod: str, container: str) -> None:
        """Know what a spec's name is there."""
        self._places[name] = pod, container

    def image_config(self, image: str, progress: Progress) -> ImageConfig:
        repository = image.rpartition(":")[0] if ":" in image.rpartition("/")[2] else image
        if (known := KNOWN.get(repository)) is not None:
            entrypoint, command, signal, volumes = known
            return ImageConfig(
                id=image,
                entrypoint=entrypoint,
                command=command,
                stop_signal=signal,
                volumes=volumes,
            )
        engine = Docker("docker", self._environ)
        try:
            return engine.image_config(image, progress)
        except (RuntimeUnavailable, ImageError, StartError) as error:
            raise ImageError(
                f"what {image} runs, the API of a cluster does not tell, and no engine here "
                f"does: {error}"
            ) from error

    def exec(self, container: str, argv: tuple[str, ...]) -> str:
        client = self._cluster.run(*self._places[container], argv)
        with self._lock:
            id = str(next(self._numbers))
            self._running[id] = PodStream(client, b"", lambda at_once: None, str)
        return id

    def exit_code(self, id: str) -> int | None:
        stream = self._running[id]
        try:
            while stream.receive(0.0):
                pass
        except TimeoutError:
            return None
        stream.kill()
        del self._running[id]
        return 1 if stream.exit_code is None else stream.exit_code

    def files(
        self, image: str, paths: tuple[str, ...], name: str, reaper: Reaper, known: Path
    ) -> tuple[str, ...]:
        raise StartError(f"{image}: no file of an image is read from a cluster")

    def give(self, volume: str, spec: ContainerSpec, reaper: Reaper) -> None:
        raise StartError(
            f"{volume} belongs to another user than {spec.user}, who is to write there"
        )
