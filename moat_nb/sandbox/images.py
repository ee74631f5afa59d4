"""The images of a plan, ahead of its starts."""

from __future__ import annotations

from moat_nb.host.reaper import Reaper
from moat_nb.sandbox.project import LaunchPlan
from moat_nb.sandbox.sidecars import Sidecars
from moat_nb.text.progress import for_user

__all__ = ["build_images"]


def build_images(plan: LaunchPlan) -> str | None:
    """Have all images of ``plan`` ready; the kernels' tag. Raises ImageError."""
    reaper, progress = Reaper(), for_user()
    try:
        image = plan.runtime.prepare(plan.image, progress, reaper)
        Sidecars.prepare(plan.sidecars, plan.runtime, progress)
    finally:
        progress.close()
        reaper.finish()
    return image
