"""What `moat-nb lab` refuses and says before anything is started."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moat_nb.errors import ConfigError, MoatError
from moat_nb.jupyter.server.serve import serve
from moat_nb.sandbox.project import LaunchPlan, plan_project
from moat_nb.text.terminal import LOGGER


def test_a_server_has_one_workspace(tmp_path: Path) -> None:
    (tmp_path / "moat.yaml").write_text("name: x\nkernel: {workspace: notebook}\n")
    with pytest.raises(MoatError, match="notebook is for kernels that other clients start"):
        serve(str(tmp_path), front_end="lab")


def test_a_directory_without_a_file_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        serve(str(tmp_path), front_end="lab")


def test_what_is_lacking_is_said_before_there_is_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    project = tmp_path / "p"
    project.mkdir(mode=0o755)
    (project / "moat.yaml").write_text("name: x\n")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(LOGGER, "propagate", True)

    def planned(*arguments: Any, **options: Any) -> LaunchPlan:
        return replace(plan_project(*arguments, **options), without=("it belongs to root",))

    def scratch(prefix: str) -> AbstractContextManager[Path]:
        raise RuntimeError("now it starts")

    monkeypatch.setattr("moat_nb.jupyter.server.serve.plan_project", planned)
    monkeypatch.setattr("moat_nb.jupyter.server.serve.scratch_directory", scratch)
    with caplog.at_level(logging.WARNING, LOGGER.name), pytest.raises(RuntimeError):
        serve(str(project), front_end="lab", runtime="docker")
    assert "it belongs to root" in caplog.messages
