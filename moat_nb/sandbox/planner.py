"""The plans of one sandbox's starts: its first, each reset, and each start in another's place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from moat_nb.config.model import Config
from moat_nb.sandbox.approval import Approve, check, check_again
from moat_nb.sandbox.fresh_copy import with_fresh_copy
from moat_nb.sandbox.permissions import Permissions
from moat_nb.sandbox.project import LaunchPlan, plan_project
from moat_nb.text.progress import Progress

__all__ = ["Planner"]


@dataclass(kw_only=True)
class Planner:
    """What :meth:`Sandbox.launch` was called with; its paths are absolute."""

    path: Path
    runtime: str | None
    directory: Path
    overrides: Mapping[str, Any]
    environ: Mapping[str, str] = field(repr=False)
    kernels: bool
    approve: Approve | None
    progress: Callable[[], Progress]
    _approved: dict[str, Permissions] = field(default_factory=dict)
    """By the file's digest."""

    def __call__(self, file: Config | None) -> LaunchPlan:
        """What a start is made of that the user has approved: of ``file`` as it was read at a start
        before, or, with None, of the file as it is now."""
        planned = partial(
            plan_project,
            runtime=self.runtime,
            overrides=self.overrides,
            environ=self.environ,
            kernels=self.kernels,
            directory=self.directory,
        )
        made = planned(file or self.path)
        if file is None:
            self._approved[made.file.digest] = check(made, self.approve)
        else:
            check_again(made, self._approved[file.digest])
        if made.runtime.capabilities.unasked:
            planned = partial(planned, ask=True)
            made = planned(made.file)
        return with_fresh_copy(made, planned, self.progress)
