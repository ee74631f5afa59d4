"""How far a directory is looked through."""

from __future__ import annotations

import contextlib
from pathlib import Path

from moat_nb.excludes.suggest import Candidate
from moat_nb.planning import walk
from moat_nb.planning.walk import Budget
from tests.unit.excludes.looks import found, make


def test_a_budget_of_entries_ends_the_scan_with_lower_bounds(tmp_path: Path) -> None:
    make(tmp_path, *(f"node_modules/{i}" for i in range(20)))
    budget = Budget(entries=5)
    one = found(tmp_path, "gone*", budget=budget)["node_modules"]
    whole = found(tmp_path)["node_modules"]
    assert budget.over
    assert not one.complete
    assert one.size < whole.size


def test_a_budget_of_seconds_ends_the_scan(tmp_path: Path) -> None:
    make(tmp_path, *(f"node_modules/{i}" for i in range(20)))
    ticks = iter(range(100))
    budget = Budget(seconds=8, clock=lambda: next(ticks))
    assert not found(tmp_path, budget=budget)["node_modules"].complete
    assert budget.over


def test_a_look_that_is_cancelled_says_of_nothing_that_it_is_absent(tmp_path: Path) -> None:
    make(tmp_path, "node_modules/x")
    assert found(tmp_path, "**/gone", budget=Budget(cancelled=lambda: True)) == {
        "**/gone": Candidate(pattern="**/gone", size=0, complete=False)
    }


def descriptors(below: Path) -> list[str]:
    """What is open of a tree."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(descriptor.readlink()))
    return [path for path in found if path.startswith(str(below))]


def test_a_deep_tree_is_looked_at_as_deep_as_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "node_modules"
    for _ in range(walk.MAX_DEPTH + 10):
        path /= "d"
    path.mkdir(parents=True)
    budget = Budget()
    assert set(found(tmp_path, budget=budget)) == {"node_modules"}
    assert budget.over
    assert descriptors(tmp_path) == []
