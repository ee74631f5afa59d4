"""What the tests of the commands share."""

import pytest

from tests.unit.cli.helpers import YAML


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "moat.yaml").write_text(YAML)
    return tmp_path
