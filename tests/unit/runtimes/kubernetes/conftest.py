from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.runtimes.kubernetes import api as module


@pytest.fixture
def api() -> Iterator[module.Api]:
    with module.api() as made:
        yield made
