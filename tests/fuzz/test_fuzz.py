"""Each reader on a few inputs; `make fuzz` takes ten minutes over it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

FEW = settings(max_examples=30, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", TARGETS)
@FEW
@given(data=st.data())
def test_a_reader_is_ready_for_any_input(name: str, data: st.DataObject) -> None:
    strategy, read = TARGETS[name]
    read(data.draw(strategy))
