"""`moat-nb build`: the images, the services' too, ahead of the first start."""

from __future__ import annotations

from moat_nb.cli.allow import on_terminal
from moat_nb.host.reaper import Reaper
from moat_nb.sandbox.approval import check
from moat_nb.sandbox.project import plan_project
from moat_nb.sandbox.sidecars import Sidecars
from moat_nb.text.progress import for_user

__all__ = ["build"]


def build(directory: str, runtime: str | None) -> int:
    """Raises what a start would, of the file, the runtime and the image."""
    plan = plan_project(directory, runtime)  # a file that cannot start builds nothing
    check(plan, on_terminal())
    reaper, progress = Reaper(), for_user()
    try:
        image = plan.runtime.prepare(plan.image, progress, reaper)
        Sidecars.prepare(plan.sidecars, plan.runtime, progress)
    finally:
        progress.close()
        reaper.finish()
    name = plan.runtime.capabilities.name
    print(image or f"nothing to build: {name} runs on the host's own files")
    return 0
