"""In which order the tests run, and which run in the same of pytest-xdist's workers: a plugin.

A run begins with tests that need no engine, while its images are made, and with the longest, so
that no worker is alone at the end. The unit tests wait more than they work: they are spread among
those that work.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.shared import Ask

LONGEST = (
    "test_scale.py",
    "test_a_real_project.py",
    "test_killed_launcher.py",
    "test_readme.py",
    "test_faults.py",
    "test_time_limits.py",
    "test_silent_guest.py",
    "test_lab_bounds.py",
    "test_seed.py",
)
"""Files with tests of half a minute and more, the longest first."""

TOGETHER = {
    **dict.fromkeys(("editor", "kernel", "magics", "output"), "one Lab, and a page of it"),
    **dict.fromkeys(("a_real_project", "lab", "native", "ports"), "one Chromium"),
}
"""Of tests/browser: what the tests of these modules share is started once."""


def needs_engine(item: pytest.Item) -> bool:
    """Whether it waits for the run's engine and images."""
    params = getattr(item, "callspec", None)
    names = getattr(item, "fixturenames", ())
    values = () if params is None else params.params.values()
    # Some are arrays, which no comparison takes for a text.
    return "engine" in names or any(isinstance(one, str) and one == "docker" for one in values)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = _spread(items)

    def place(item: pytest.Item) -> tuple[bool, bool, int, bool, float]:
        name = item.path.name
        long = LONGEST.index(name) if name in LONGEST else len(LONGEST)
        browser = item.path.parent.name == "browser"
        first = browser or name in LONGEST
        return (not first, needs_engine(item) and first, not browser, long, places[item.path])

    items.sort(key=place)


def _spread(items: Iterable[pytest.Item]) -> dict[Any, float]:
    """A number for each file; the unit tests' are spread among the others'."""
    files = dict.fromkeys(item.path for item in items)
    places = {}
    for unit in (False, True):
        some = [path for path in files if ("unit" in path.parts) == unit]
        places |= {path: number / len(some) for number, path in enumerate(some)}
    return places


def begin(ask: Ask, items: Iterable[pytest.Item]) -> None:
    """Have made what these tests will ask for."""
    if any(needs_engine(item) for item in items):
        ask.begin("engine")
    if any("services" in getattr(item, "fixturenames", ()) for item in items):
        ask.begin("services")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class Scheduling(LoadGroupScheduling):  # type: ignore[misc]
        """Its own marker for groups (3.8) has no effect with pytest 9.2."""

        def _split_scope(self, nodeid: str) -> str:
            package, _, module = nodeid.partition("::")[0].rpartition("/")
            name = module.removeprefix("test_").removesuffix(".py")
            return TOGETHER.get(name, nodeid) if package == "tests/browser" else nodeid

    config.option.loadscopereorder = False  # a group's size is no reason to begin with it
    return Scheduling(config, log)
