"""An image that the user's engine builds, in a registry that a cluster pulls from."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from moat_nb.errors import ImageError
from moat_nb.host.reaper import Reaper
from moat_nb.planning.image import ImagePlan
from moat_nb.runtimes.docker.engine import engine_errors
from moat_nb.runtimes.docker.runtime import Docker
from moat_nb.text.progress import Progress
from moat_nb.text.terminal import one_line

__all__ = ["pushed"]


def pushed(
    image: ImagePlan,
    registry: str,
    environ: Mapping[str, str],
    progress: Progress,
    reaper: Reaper,
) -> str:
    """Its name there, once it is there. Raises ImageError, and RuntimeUnavailable without an
    engine to build it."""
    engine = Docker("docker", environ)
    tag = engine.prepare(image, progress, reaper)
    name, _, version = tag.rpartition(":")
    repository = f"{registry}/{name}"
    with contextlib.closing(engine.connect()) as client:
        try:
            client.api.tag(tag, repository, version)
            progress.stage(f"pushing {repository}:{version}")
            for said in client.api.push(repository, version, stream=True, decode=True):
                if error := said.get("error"):
                    raise ImageError(f"{repository}: {one_line(str(error))}")
        except engine_errors() as error:
            raise ImageError(f"{repository}: {one_line(str(error))}") from error
    return f"{repository}:{version}"
