"""One image for all engines: built on the first, imported by the others in a fraction of that."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

from docker import DockerClient

from tests.base_image import base_images

REPOSITORY = "moat-nb-test/engines"


@contextlib.contextmanager
def kernel_image(client: DockerClient, cache: Path) -> Iterator[str]:
    """The tag of an image with Debian's python3, pip and ipykernel; gone afterwards."""
    tar = cache / "kernel.tar"
    if not tar.exists():
        _export(client, cache, tar)
    imported = json.loads(client.api.import_image_from_file(str(tar)))["status"]
    run = secrets.token_hex(4)
    client.api.tag(imported, REPOSITORY, run)
    try:
        yield f"{REPOSITORY}:{run}"
    finally:
        client.api.remove_image(f"{REPOSITORY}:{run}", force=True)


def _export(client: DockerClient, cache: Path, tar: Path) -> None:
    unfinished = cache / f"kernel.{secrets.token_hex(4)}.tar"
    with base_images(client, cache) as images:
        container = client.containers.create(images.kernel, "true")
        try:
            with unfinished.open("wb") as file:
                file.writelines(container.export())
        finally:
            container.remove()
    unfinished.rename(tar)
