"""What the tests of services share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.planning.sidecars import Read
from tests.unit.projects import Make


@pytest.fixture
def project(home: Path) -> Path:
    return home / "p"


@pytest.fixture
def read(config: Make) -> Read:
    return config


@pytest.fixture
def full(project: Path) -> Path:
    for name in ("secrets/inner", "a/b/deep", "a/c"):
        (project / name).mkdir(parents=True)
    (project / ".env").write_text("KEY=1")
    return project
