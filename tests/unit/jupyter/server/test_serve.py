"""What `moat-nb lab` refuses before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_nb.errors import ConfigError, MoatError
from moat_nb.jupyter.server.serve import serve


def test_a_server_has_one_workspace(tmp_path: Path) -> None:
    (tmp_path / "moat.yaml").write_text("name: x\nkernel: {workspace: notebook}\n")
    with pytest.raises(MoatError, match="notebook is for kernels that other clients start"):
        serve(str(tmp_path), front_end="lab")


def test_a_directory_without_a_file_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        serve(str(tmp_path), front_end="lab")
