"""What a sidecar needs of an engine beside a start: its image, and a command run in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moat_nb.errors import ImageError, StartError
from moat_nb.runtimes.docker.engine import engine_errors
from moat_nb.text.progress import Progress

if TYPE_CHECKING:
    import docker

    from moat_nb.runtimes.docker.runtime import Docker

__all__ = ["ImageConfig", "begin", "exit_code", "look_up"]


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """What an image says of itself."""

    id: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    stop_signal: str
    """Without its SIG, as sh's kill takes it."""
    volumes: tuple[str, ...]

    @classmethod
    def of(cls, found: dict[str, Any]) -> ImageConfig:
        """From the engine's inspection."""
        config = found.get("Config") or {}
        return cls(
            id=found["Id"],
            entrypoint=tuple(config.get("Entrypoint") or ()),
            command=tuple(config.get("Cmd") or ()),
            stop_signal=str(config.get("StopSignal") or "TERM").removeprefix("SIG"),
            volumes=tuple(sorted(config.get("Volumes") or {})),
        )


def look_up(engine: Docker, image: str, progress: Progress) -> ImageConfig:
    """Of an image that is on the engine when this returns; ImageError when it cannot be had."""
    from moat_nb.runtimes.images import build

    with _client(engine) as client:
        found = _inspect(client, image)
        if found is None:
            failure = build.pull(image, client, progress)
            found = _inspect(client, image)
            if found is None:
                raise ImageError(
                    f"{image} is not on this machine, and pulling it failed: "
                    f"{failure or 'the engine does not have it afterwards'}"
                )
        return ImageConfig.of(found)


def begin(engine: Docker, container: str, argv: tuple[str, ...]) -> str:
    """Start a command in a container, as its user; its id for :func:`exit_code`.

    Nothing it prints is taken. Raises StartError with the engine's words.
    """
    with _client(engine) as client:
        id = client.api.exec_create(container, list(argv), stdout=False, stderr=False)["Id"]
        client.api.exec_start(id, detach=True)
    return str(id)


def exit_code(engine: Docker, id: str) -> int | None:
    """How a command ended; None while it runs."""
    with _client(engine) as client:
        found = client.api.exec_inspect(id)
    return None if found["Running"] else int(found["ExitCode"])


def _inspect(client: docker.DockerClient, image: str) -> dict[str, Any] | None:
    from docker.errors import ImageNotFound

    try:
        return dict(client.api.inspect_image(image))
    except ImageNotFound:
        return None


@contextlib.contextmanager
def _client(engine: Docker) -> Iterator[docker.DockerClient]:
    client = engine.connect()
    try:
        yield client
    except engine_errors() as error:
        raise StartError(f"{engine.name} at {engine.socket}: {error}") from error
    finally:
        client.close()
