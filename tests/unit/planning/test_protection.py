"""protection.py: what was found on the host, as mounts. All directories are real."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_nb.config.model import Config
from moat_nb.config.reader import load
from moat_nb.planning import protected
from moat_nb.planning.mounts import Bind, Mount, Tmpfs, build
from moat_nb.planning.protection import COVER_SIZE, Protection, protect


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "p"
    for name in (".vscode", ".github/workflows", ".ipynb_checkpoints"):
        (directory / name).mkdir(parents=True)
    return directory


def read(project: Path, kernel: str = "{}") -> Config:
    (project / "moat.yaml").write_text(f"kernel: {kernel}\n")
    return load(project, home=project.parent)


def added(found: Protection, given: list[Mount]) -> list[Mount]:
    return [mount for mount in build(found.mounts) if mount not in given]


def test_a_writable_bind_gets_each_protected_name_over_itself(project: Path) -> None:
    given: list[Mount] = [Bind(source=str(project), target="/workspace")]
    found = protect(given, read(project), {})
    assert added(found, given) == [
        Bind(source=f"{project}/.github", target="/workspace/.github", role="pin"),
        Bind(
            source=f"{project}/.vscode",
            target="/workspace/.vscode",
            read_only=True,
            role="protected",
        ),
        Bind(
            source=f"{project}/moat.yaml",
            target="/workspace/moat.yaml",
            read_only=True,
            role="protected",
        ),
        Tmpfs(target="/workspace/.ipynb_checkpoints", size=COVER_SIZE, role="cover"),
        Bind(
            source=f"{project}/.github/workflows",
            target="/workspace/.github/workflows",
            read_only=True,
            role="protected",
        ),
    ]
    assert found.watched == (str(project), f"{project}/.github")
    assert (found.problems, found.notices) == ((), ())


def test_a_read_only_bind_needs_nothing(project: Path) -> None:
    given: list[Mount] = [Bind(source=str(project), target="/workspace", read_only=True)]
    found = protect(given, read(project), {})
    assert (added(found, given), found.watched) == ([], ())


def test_each_bind_that_shows_a_protected_path_protects_it(project: Path) -> None:
    """Also one of the directory above, and one of what is protected itself."""
    given: list[Mount] = [
        Bind(source=str(project), target="/workspace"),
        Bind(source=str(project.parent), target="/above"),
        Bind(source=f"{project}/.vscode", target="/settings"),
        Bind(source=f"{project}/.github", target="/gh"),
    ]
    found = protect(given, read(project), {})
    read_only = {m.target for m in found.mounts if isinstance(m, Bind) and m.read_only}
    assert read_only == {
        *("/workspace/moat.yaml", "/workspace/.vscode", "/workspace/.github/workflows"),
        *("/above/p/moat.yaml", "/above/p/.vscode", "/above/p/.github/workflows"),
        *("/settings", "/gh/workflows"),
    }


def test_the_projects_file_is_protected_however_deep_it_lies(tmp_path: Path) -> None:
    project = tmp_path / "a/b/c/d/e"
    project.mkdir(parents=True)
    (tmp_path / "a/agent.yaml").touch()
    found = protect([Bind(source=str(tmp_path), target="/w")], read(project), {})
    read_only = {m.target for m in found.mounts if isinstance(m, Bind) and m.read_only}
    assert read_only == {"/w/a/b/c/d/e/moat.yaml", "/w/a/agent.yaml"}


def test_an_exclude_or_another_mount_in_the_place_stays(project: Path) -> None:
    (project / "x").mkdir()
    given: list[Mount] = [
        Bind(source=str(project), target="/workspace"),
        Tmpfs(target="/workspace/.github", size=1),
        Bind(source=f"{project}/x", target="/workspace/.vscode"),
    ]
    found = protect(given, read(project), {})
    assert [mount.target for mount in added(found, given)] == [
        "/workspace/moat.yaml",
        "/workspace/.ipynb_checkpoints",
    ]


def test_what_cannot_be_protected_is_refused_at_its_mount(project: Path) -> None:
    (project / ".envrc").symlink_to("x")
    given: list[Mount] = [Bind(source=str(project), target="/workspace")]
    (problem,) = protect(given, read(project), {"/workspace": "moat.yaml:1:1"}).problems
    assert (problem.where, problem.hint) == (
        "moat.yaml:1:1",
        "put a plain file or directory there, or list .envrc in kernel.unprotect",
    )
    assert f"{project}/.envrc is run or obeyed by programs of the host" in problem.what
    found = protect(given, read(project, "{unprotect: [.envrc]}"), {})
    assert found.problems == ()
    assert found.notices == ("protected names: kernel.unprotect leaves .envrc writable",)


def test_more_names_than_can_be_mounted_are_refused_at_their_mount(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protected, "MAX_FOUND", 5)
    for number in range(9):
        (project / f"{number}.code-workspace").touch()
    given: list[Mount] = [Bind(source=str(project), target="/workspace")]
    (problem,) = protect(given, read(project), {"/workspace": "moat.yaml:1:1"}).problems
    assert (problem.where, problem.hint) == (
        "moat.yaml:1:1",
        "remove what nobody needs, exclude it, or list it in kernel.unprotect",
    )
    assert ".code-workspace is one too many" in problem.what


def test_a_runtime_that_mounts_no_single_file_protects_directories_and_says_so(
    project: Path,
) -> None:
    given: list[Mount] = [Bind(source=str(project), target="/workspace")]
    found = protect(given, read(project), {}, files=False)
    assert [mount.target for mount in added(found, given)] == [
        *("/workspace/.github", "/workspace/.vscode", "/workspace/.ipynb_checkpoints"),
        "/workspace/.github/workflows",
    ]
    assert [f"{project}/moat.yaml can be changed" in notice for notice in found.notices] == [True]
