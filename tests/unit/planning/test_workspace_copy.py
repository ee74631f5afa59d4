"""Where the copy stands, and what a plan says of it before and after it is there."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from moat_nb.config.model import WORKSPACE
from moat_nb.host.machine import Host
from moat_nb.planning.mount_paths import can_write, to_sandbox
from moat_nb.planning.mounts import Bind
from moat_nb.planning.workspace_copy import directory_of, tree_of, with_copy
from tests.unit.planning.planned import docker
from tests.unit.projects import Make

YAML = """
workspace: {mode: volume}
mounts:
  - source: .
    target: /workspace
    exclude: [node_modules]
"""


def test_in_bind_mode_there_is_none(config: Make, host: Host) -> None:
    given = config("")
    assert with_copy(given, host) is given


def test_a_plan_shows_the_project_until_a_start_has_made_the_copy(
    config: Make, host: Host, tmp_path: Path
) -> None:
    given = config(YAML)
    project = os.path.realpath(given.directory)
    host = replace(host, data_dir=tmp_path / "data")
    tree = tree_of(directory_of(given.directory, host))
    for source in (Path(project), tree):
        if source == tree:
            tree.mkdir(parents=True)
            (tree / ".git/hooks").mkdir(parents=True)
        spec = docker(with_copy(given, host), host)
        binds = [mount for mount in spec.mounts if isinstance(mount, Bind)]
        assert binds == [Bind(source=str(source), target=WORKSPACE, copy_of=project)]
        assert [mount.target for mount in spec.mounts.excludes] == ["/workspace/node_modules"]
        assert to_sandbox(f"{project}/src/n.ipynb", spec.mounts) == "/workspace/src/n.ipynb"
        assert not can_write(f"{project}/src", spec.mounts)
        assert not can_write(f"{tree}/src", spec.mounts)
        assert any(notice.startswith("workspace: a copy of") for notice in spec.notices)


def test_projects_of_one_name_have_copies_of_their_own(host: Host, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "project").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    a, b, link = (directory_of(tmp_path / name / "project", host) for name in ("a", "b", "link"))
    assert a == link != b
