"""The hooks that each start runs in the sandbox, before its first kernel."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from moat_nb.errors import StartError
from moat_nb.planning.spec import HOME
from moat_nb.text.terminal import for_terminal, last_lines

if TYPE_CHECKING:
    from moat_nb.sandbox.project import LaunchPlan
    from moat_nb.sandbox.running import RunningSandbox
    from moat_nb.text.progress import Progress

__all__ = ["run_hooks"]

LINES = 20
"""Of what a hook that failed has printed."""


def run_hooks(running: RunningSandbox, progress: Progress, tell: Callable[[str], None]) -> None:
    """``tell`` hears what they print. StartError when one fails."""

    def show(stream: int, data: bytes) -> None:
        running.log.write(data)
        tell(for_terminal(data.decode(errors="replace")))

    for name, script, cwd in _hooks(running.plan):
        progress.stage(name)
        how = running.spawn(["/bin/sh", "-c", script], cwd=cwd, on_output=show).wait()
        if how.code != 0:
            tail = last_lines(running.log.tail(), LINES)
            raise StartError(f"{name} ({shlex.quote(script)}): {how}\n{tail}")


def _hooks(plan: LaunchPlan) -> Iterator[tuple[str, str, str | None]]:
    """``(name, script, directory)``; None for the workspace."""
    hooks = plan.config.hooks
    if plan.image is None and hooks.post_build is not None:
        # There is no image that it could have been run for; the workspace is not its business.
        yield "hooks.post_build", hooks.post_build, HOME
    if hooks.pre_run is not None:
        yield "hooks.pre_run", hooks.pre_run, None
