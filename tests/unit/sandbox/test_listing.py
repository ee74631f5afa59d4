"""The sandboxes of a machine, listed and found."""

import pytest

from moat_nb.errors import MoatError
from moat_nb.sandbox.listing import find, sandboxes
from tests.unit.cli.helpers import NOWHERE


def test_each_sandbox_is_listed_with_its_state_oldest_first(base):
    assert [(one.run_dir.id, one.state) for one in sandboxes(base, NOWHERE)] == [
        ("bbbbbbbb", "ended"),
        ("aaaaaaaa", "stale"),
        ("cccccccc", "starting"),
    ]


def test_a_sandbox_is_found_by_id_and_by_a_name_that_is_its_alone(base):
    found = sandboxes(base, NOWHERE)
    assert find("aaaaaaaa", found).title == "aaaaaaaa (box)"
    assert find("box", found[:1]).title == "bbbbbbbb (box)"
    with pytest.raises(MoatError, match="2 sandboxes have this name; say which: bbbbbbbb, aaaa"):
        find("box", found)
    with pytest.raises(MoatError, match=r"x: no sandbox .*: bbbbbbbb \(box\), aaaa.*cccccccc$"):
        find("x", found)
