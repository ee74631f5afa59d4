"""Many kernels: at once, and one after another; none fails, and nothing is left of them."""

import os

import pytest

from moat_nb.cli.bench.scale import AT_ONCE, Held, at_once, draw, in_a_row
from tests.integration.conftest import settle

STEPS = 20
"""Between two looks at what is held: a leak grows with each."""

IN_A_ROW = int(os.environ.get("MOAT_TEST_ROW", 3 * STEPS))
"""`make test-scale` asks for more."""


@pytest.mark.timeout(900)
def test_forty_kernels_start_at_once_and_leave_nothing(launcher):
    project = launcher.project("many", python=True)
    at_once(project, launcher.runtime, 1)  # what the first start imports and opens for good
    settle()
    before = Held.now()
    assert len(at_once(project, launcher.runtime, AT_ONCE)) == AT_ONCE
    settle()
    assert Held.now() == before


# A client's heartbeat begins in a thread of jupyter_client's, and may come after the kernel's end.
@pytest.mark.filterwarnings(
    "ignore:Exception in thread Thread-:pytest.PytestUnhandledThreadExceptionWarning"
)
@pytest.mark.timeout(600)
def test_many_kernels_one_after_another_leave_nothing(launcher, tmp_path):
    project = launcher.project("row", python=True)
    readings = in_a_row(project, launcher.runtime, STEPS)
    settle()
    before = Held.now()
    while len(readings) < IN_A_ROW:
        readings += in_a_row(project, launcher.runtime, STEPS)
        settle()
        assert Held.now() == before
    draw(tmp_path / "row.png", [(launcher.runtime, readings, readings)])
    assert (tmp_path / "row.png").read_bytes().startswith(b"\x89PNG")
