"""What a machine elsewhere is told in place of directories of this one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from moat_nb.config.model import WORKSPACE
from moat_nb.host.machine import Host
from moat_nb.planning.capabilities import Capabilities
from moat_nb.planning.elsewhere import (
    ID,
    elsewhere_problems,
    refused_elsewhere,
    workspace_volume,
)
from moat_nb.planning.kernel import KernelPlan, plan_kernel
from moat_nb.planning.mount_paths import to_host, to_sandbox
from moat_nb.planning.mounts import Bind, Tmpfs, Volume
from moat_nb.planning.workspace_copy import directory_of, with_copy
from tests.unit.projects import Make

FAR = Capabilities(
    name="docker",
    shares_unix_sockets=False,
    own_mount_table=True,
    elsewhere="ssh://gpu",
)

YAML = """
mounts:
  - source: .
    target: /workspace
    exclude: [node_modules, .env]
volumes:
  - {name: data, target: /data}
kernel: {cache: [pip]}
"""


def plan(config: Make, host: Host, text: str) -> KernelPlan:
    given = replace(config(text), workspace_mode="volume")
    return plan_kernel(with_copy(given, host, FAR.elsewhere), host, FAR)


def test_directories_are_volumes_and_excludes_stay_tmpfs(config: Make, host: Host) -> None:
    given = config(YAML)
    (given.directory / ".env").write_text("SECRET=1")
    (given.directory / "src").mkdir()
    spec = plan(config, host, YAML).spec
    project = str(given.directory.resolve())
    assert not [mount for mount in spec.mounts if not isinstance(mount, (Tmpfs, Volume))]
    volumes = {mount.target: mount for mount in spec.mounts if isinstance(mount, Volume)}
    assert volumes[WORKSPACE] == Volume(
        name="moat.workspace.new", target=WORKSPACE, copy_of=project
    )
    assert volumes["/data"].name == f"moat-{given.name}-data"
    assert volumes["/home/moatuser/.cache/pip"].role == "cache"
    assert [mount.target for mount in spec.mounts.excludes] == ["/workspace/node_modules"]
    assert (spec.mounts.missing, spec.mounts.keep, spec.mounts.watched) == ((), (), ())
    assert (spec.elsewhere, spec.tunnel, spec.accounts) == (True, True, False)
    assert to_sandbox(f"{project}/src/n.ipynb", spec.mounts) == "/workspace/src/n.ipynb"
    assert to_host("/workspace/src", "/", spec.mounts) is None
    assert [*elsewhere_problems(given, FAR.elsewhere, [spec])] == []


def test_another_directory_of_this_machine_is_refused_at_its_line(
    config: Make, host: Host, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    text = f"mounts:\n  - {{source: {tmp_path}/other, target: /other}}\n"
    given = config(text)
    spec = plan(config, host, text).spec
    assert any(isinstance(mount, Bind) for mount in spec.mounts)
    (problem,) = elsewhere_problems(given, FAR.elsewhere, [spec])
    assert problem.what == f"ssh://gpu has no {(tmp_path / 'other').resolve()} of this machine"
    assert problem.where.endswith("moat.yaml:3:5")


def test_a_directorys_copies_on_other_machines_are_others(host: Host, tmp_path: Path) -> None:
    places = {directory_of(tmp_path, host, at) for at in ("", "ssh://gpu", "ssh://other")}
    assert len(places) == 3
    (tmp_path / ID).write_text("0123456789abcdef")
    assert workspace_volume(tmp_path) == "moat.workspace.0123456789abcdef"
    (tmp_path / ID).write_text("another's name")
    assert workspace_volume(tmp_path) == "moat.workspace.new"


@pytest.mark.parametrize("pattern", [".git", ".git/config"])
def test_no_part_of_a_repository_can_be_excluded_there(config: Make, pattern: str) -> None:
    given = config(f"mounts: [{{source: ., target: /workspace, exclude: [{pattern}]}}]")
    (problem,) = refused_elsewhere(given, FAR.elsewhere)
    assert "leaves .git out of the copy that an engine at ssh://gpu makes" in problem.what


def test_the_directory_of_a_notebook_is_refused_in_words_of_the_users(config: Make) -> None:
    (problem,) = refused_elsewhere(config("kernel: {workspace: notebook}"), FAR.elsewhere)
    assert "kernel.workspace: notebook" in problem.what and "ssh://gpu" in problem.what
