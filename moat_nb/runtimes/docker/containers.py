"""What is needed of an engine beside a start: images, their files, commands in containers."""

from __future__ import annotations

import contextlib
import io
import tarfile
from typing import TYPE_CHECKING, Any

from moat_nb.errors import ImageError
from moat_nb.runtimes.base import ImageConfig

if TYPE_CHECKING:
    import docker

    from moat_nb.text.progress import Progress

__all__ = ["begin", "exit_code", "files", "look_up"]

LARGEST = 1 << 20
"""Bytes of a file that is read from an image."""


def look_up(client: docker.DockerClient, image: str, progress: Progress) -> ImageConfig:
    """Of an image that is on the engine when this returns; ImageError when it cannot be had."""
    from moat_nb.runtimes.images import build

    found = _inspect(client, image)
    if found is None:
        failure = build.pull(image, client, progress)
        found = _inspect(client, image)
        if found is None:
            raise ImageError(
                f"{image} is not on this machine, and pulling it failed: "
                f"{failure or 'the engine does not have it afterwards'}"
            )
    return _image_config(found)


def begin(client: docker.DockerClient, container: str, argv: tuple[str, ...]) -> str:
    """Start a command in a container, as its user; its id for :func:`exit_code`."""
    id = client.api.exec_create(container, list(argv), stdout=False, stderr=False)["Id"]
    client.api.exec_start(id, detach=True)
    return str(id)


def exit_code(client: docker.DockerClient, id: str) -> int | None:
    """How a command ended; None while it runs."""
    found = client.api.exec_inspect(id)
    return None if found["Running"] else int(found["ExitCode"])


def files(
    client: docker.DockerClient, image: str, paths: tuple[str, ...], name: str
) -> tuple[str, ...]:
    """Their text, read through a container that never starts; empty for what is no file there."""
    api = client.api
    host_config = api.create_host_config(network_mode="none")
    api.create_container(image, ["true"], name=name, host_config=host_config)
    try:
        return tuple(_text(client, name, path) for path in paths)
    finally:
        api.remove_container(name, force=True)


def _text(client: docker.DockerClient, container: str, path: str) -> str:
    from docker.errors import NotFound

    try:
        stream, status = client.api.get_archive(container, path)
    except NotFound:
        return ""
    with contextlib.closing(stream):  # which else leaves its connection to the collector
        data = b"".join(stream) if status["size"] <= LARGEST else b""
    if not data:
        return ""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        member = tar.next()
        file = tar.extractfile(member) if member is not None and member.isreg() else None
        return "" if file is None else file.read().decode(errors="replace")


def _inspect(client: docker.DockerClient, image: str) -> dict[str, Any] | None:
    from docker.errors import ImageNotFound

    try:
        return dict(client.api.inspect_image(image))
    except ImageNotFound:
        return None


def _image_config(found: dict[str, Any]) -> ImageConfig:
    """From the engine's inspection."""
    config = found.get("Config") or {}
    return ImageConfig(
        id=found["Id"],
        entrypoint=tuple(config.get("Entrypoint") or ()),
        command=tuple(config.get("Cmd") or ()),
        stop_signal=str(config.get("StopSignal") or "TERM").removeprefix("SIG"),
        volumes=tuple(sorted(config.get("Volumes") or {})),
    )
