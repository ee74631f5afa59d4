"""`moat-nb build`: the images, the services' too, ahead of the first start."""

from __future__ import annotations

import sys

from moat_nb.cli.allow import on_terminal
from moat_nb.errors import MoatError
from moat_nb.sandbox.approval import check
from moat_nb.sandbox.images import build_images
from moat_nb.sandbox.project import plan_project

__all__ = ["build", "build_for_later"]


def build(directory: str, runtime: str | None) -> int:
    """Raises what a start would, of the file, the runtime and the image."""
    plan = plan_project(directory, runtime)  # a file that cannot start builds nothing
    check(plan, on_terminal())
    name = plan.runtime.capabilities.name
    print(build_images(plan) or f"nothing to build: {name} runs on the host's own files")
    return 0


def build_for_later(directory: str, runtime: str | None) -> None:
    """Build them now where somebody sees how it goes: a front end shows nothing of it when it
    starts the kernel. What goes wrong is told, and is the first start's to try again."""
    if not sys.stderr.isatty():
        return
    try:
        plan = plan_project(directory, runtime)
        if plan.image is not None:
            build(directory, runtime)
    except MoatError as error:
        print(f"moat-nb: its image was not built, as a start will try to: {error}", file=sys.stderr)
