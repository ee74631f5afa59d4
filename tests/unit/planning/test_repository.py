"""repository.py: what git needs of a worktree's repository; the repositories are git's own."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from moat_nb.host.machine import Host
from moat_nb.planning.mounts import Bind, EmptyFile, MountPlan, Tmpfs
from moat_nb.planning.repository import git_variables, with_repository

SAFE = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}


def git(directory: Path, *words: str) -> None:
    identity = ("-c", "user.name=A", "-c", "user.email=a@b", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *identity, *words], cwd=directory, check=True, capture_output=True)


@pytest.fixture
def main(tmp_path: Path) -> Path:
    main = tmp_path / "main"
    main.mkdir()
    git(main, "init")
    git(main, "commit", "--allow-empty", "-m", "1")
    git(main, "worktree", "add", "../tree")
    return main


@pytest.fixture
def on(host: Host, tmp_path: Path) -> Host:
    return replace(host, home=tmp_path / "home")


def plan(tree: Path, *more: Bind | Tmpfs | EmptyFile) -> MountPlan:
    return MountPlan(mounts=(Bind(source=str(tree), target="/workspace"), *more))


def shown(plan: MountPlan) -> dict[str, str]:
    found = [mount for mount in plan if isinstance(mount, Bind) and mount.role == "git"]
    assert all(bind.read_only for bind in found)
    return {bind.target: bind.source for bind in found}


def test_a_worktree_is_shown_its_repository_at_its_own_place(main: Path, on: Host) -> None:
    directory = str(main / ".git")
    assert shown(with_repository(plan(main.parent / "tree"), on)) == {directory: directory}
    # Git 2.48 can write relative paths.
    (main.parent / "tree" / ".git").write_text("gitdir: ../main/.git/worktrees/tree\n")
    assert shown(with_repository(plan(main.parent / "tree"), on)) == {"/main/.git": directory}


def test_a_submodules_directory_is_shown_and_no_more(main: Path, on: Host) -> None:
    git(main, "init", "../library")
    git(main.parent / "library", "commit", "--allow-empty", "-m", "1")
    git(main, "submodule", "add", "../library", "lib")
    found = shown(with_repository(plan(main / "lib"), on))
    assert found == {"/.git/modules/lib": str(main / ".git/modules/lib")}


def test_a_directory_that_does_not_name_the_worktree_is_not_shown(main: Path, on: Host) -> None:
    """What a sandbox wrote into `.git` counts for nothing by itself."""
    victim = main.parent / "victim"
    victim.mkdir()
    git(victim, "init")
    other = main.parent / "other"
    other.mkdir()
    for named in (victim / ".git", main / ".git/worktrees/tree", main.parent, Path("/etc")):
        (other / ".git").write_text(f"gitdir: {named}\n")
        assert shown(with_repository(plan(other), on)) == {}


def test_nothing_is_shown_where_git_needs_nothing_or_an_exclude_hides_it(
    main: Path, on: Host
) -> None:
    tree = main.parent / "tree"
    assert shown(with_repository(plan(main), on)) == {}
    assert shown(with_repository(plan(tree, EmptyFile(target="/workspace/.git")), on)) == {}
    cover = Tmpfs(target=str(main), size=1)
    assert shown(with_repository(plan(tree, cover), on)) == {}
    assert shown(with_repository(MountPlan(mounts=()), on)) == {}


def test_the_home_directory_is_never_shown(main: Path, on: Host) -> None:
    """Of who keeps dotfiles in a bare repository there."""
    home = replace(on, home=main / ".git")
    assert shown(with_repository(plan(main.parent / "tree"), home)) == {}


def test_name_and_address_are_the_hosts_and_nothing_else_is(tmp_path: Path) -> None:
    assert git_variables(tmp_path) == SAFE
    (tmp_path / ".gitconfig").write_text(
        '[user]\n\tname = Ada "King" \n email=ada@example.org # mine\n[user "x"]\nsigningkey = K\n'
        "[credential]\nhelper = store\n"
    )
    assert git_variables(None) == SAFE
    assert git_variables(tmp_path) == SAFE | {
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_AUTHOR_NAME": "Ada King",
        "GIT_COMMITTER_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "Ada King",
    }
