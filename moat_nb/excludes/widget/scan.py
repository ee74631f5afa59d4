"""The editor's scan of the host, in a thread of its own: a large tree must not block the page."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from moat_nb.excludes.suggest import Candidate, scan
from moat_nb.planning.walk import Budget

__all__ = ["BackgroundScan", "Candidates", "ScanProgress"]

SHOW_SECONDS = 0.25
"""Between two updates of the page while the scan runs."""

Candidates: TypeAlias = Mapping[str, Mapping[str, Candidate]]
"""By a mount's target, and by pattern."""

ScanProgress: TypeAlias = Literal["looking", "done", "part"]
"""``part``: it ended before all was looked at."""


class BackgroundScan:
    """A scan that begins at once, of the ``sources`` of mounts with the excludes of each.

    ``show(findings, progress)`` is called from its thread, never after :meth:`cancel` returned.
    """

    def __init__(
        self,
        sources: Mapping[str, tuple[Path, Sequence[str]]],
        show: Callable[[Candidates, ScanProgress], None],
    ) -> None:
        self._sources = sources
        self._show = show
        self._cancelled = threading.Event()
        # Not a plain lock: who is shown something may cancel.
        self._lock = threading.RLock()
        threading.Thread(target=self._run, name="moat-scan", daemon=True).start()

    def cancel(self) -> None:
        with self._lock:
            self._cancelled.set()

    def _run(self) -> None:
        budget = Budget(cancelled=self._cancelled.is_set)
        findings: dict[str, dict[str, Candidate]] = {target: {} for target in self._sources}
        shown = time.monotonic()
        for target, (source, patterns) in self._sources.items():
            for finding in scan(source, patterns, budget):
                findings[target][finding.pattern] = finding
                if time.monotonic() - shown > SHOW_SECONDS:
                    self._notify(findings, "looking")
                    shown = time.monotonic()
        self._notify(findings, "part" if budget.over else "done")

    def _notify(self, findings: Candidates, progress: ScanProgress) -> None:
        with self._lock:
            if not self._cancelled.is_set():
                self._show({target: dict(ones) for target, ones in findings.items()}, progress)
