"""The copy of a project: who changed what, and what comes to the other side."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from moat_nb.config.reader import load
from moat_nb.errors import MoatError
from moat_nb.host.machine import Host
from moat_nb.planning.workspace_copy import tree_of
from moat_nb.sandbox.workspace_copy import Difference, WorkspaceCopy

MOAT_YAML = """\
name: copied
workspace: {mode: volume}
mounts:
  - source: .
    target: /workspace
    exclude: [node_modules, .env, "**/__pycache__"]
  - source: /usr/share
    target: /workspace/shared
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    (made / "src/__pycache__").mkdir(parents=True)
    (made / "src/a.py").write_text("a = 1\n")
    (made / "src/__pycache__/a.pyc").write_text("bytes")
    (made / "node_modules/left-pad").mkdir(parents=True)
    (made / ".env").write_text("SECRET=1")
    (made / ".git/refs/__pycache__").mkdir(parents=True)
    (made / ".git/HEAD").write_text("ref: refs/heads/main\n")
    (made / "empty").mkdir()
    (made / "link").symlink_to("src/a.py")
    (made / "moat.yaml").write_text(MOAT_YAML)
    return made


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> WorkspaceCopy:
    host = replace(Host.current(), data_dir=tmp_path / "data")
    made = WorkspaceCopy.of(load(project), host)
    assert made is not None
    assert made.refresh() == ()
    return made


@pytest.fixture
def inside(copy: WorkspaceCopy) -> Path:
    """What a sandbox has at /workspace."""
    return tree_of(copy.directory)


def names(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}


def told(found: tuple[Difference, ...]) -> list[tuple[str, str]]:
    return [(one.what, one.path) for one in found]


def test_all_is_copied_but_the_excludes_and_of_git_everything(project: Path, inside: Path) -> None:
    left_out = {"node_modules/left-pad", "src/__pycache__/a.pyc"}
    assert names(inside) == names(project) - left_out
    assert (inside / ".env").read_text() == ""
    assert (inside / "link").readlink() == Path("src/a.py")


def test_where_nothing_changed_nothing_is_told(copy: WorkspaceCopy, inside: Path) -> None:
    (inside / "src/a.py").touch()
    (inside / "node_modules/new").write_text("excluded")
    (inside / "shared").mkdir()
    assert copy.differences() == ()
    assert copy.in_a_line() is None


def test_what_was_changed_comes_back_and_is_told_no_longer(
    copy: WorkspaceCopy, project: Path, inside: Path
) -> None:
    (inside / "src/a.py").write_text("a = 2\n")
    (inside / "out/deep").mkdir(parents=True)
    (inside / "out/deep/result.csv").write_text("1,2\n")
    (inside / "hollow").mkdir()
    (inside / "empty").rmdir()
    (inside / "link").unlink()
    found = copy.differences()
    assert told(found) == [
        ("removed", "empty"),
        ("added", "hollow"),
        ("removed", "link"),
        ("added", "out/deep/result.csv"),
        ("changed", "src/a.py"),
    ]
    assert copy.in_a_line() == (
        f"5 paths differ in the copy of {project}: `moat-nb diff` shows what, "
        "`moat-nb pull` brings it back"
    )
    assert told(copy.differences(["out", "hollow"])) == [
        ("added", "hollow"),
        ("added", "out/deep/result.csv"),
    ]
    pulled = copy.pull()
    assert (pulled.done, pulled.left, pulled.failed) == (found, (), ())
    assert (project / "src/a.py").read_text() == "a = 2\n"
    assert (project / "out/deep/result.csv").read_text() == "1,2\n"
    assert (project / "hollow").is_dir()
    assert not (project / "empty").exists()
    assert not (project / "link").is_symlink()
    assert (project / ".env").read_text() == "SECRET=1"
    assert copy.differences() == ()


def test_what_the_project_changed_comes_at_the_next_start(
    copy: WorkspaceCopy, project: Path, inside: Path
) -> None:
    (project / "src/a.py").write_text("a = 3\n")
    (project / "new.txt").write_text("new")
    (project / "empty").rmdir()
    (inside / "theirs.txt").write_text("theirs")
    assert copy.refresh() == ()
    assert (inside / "src/a.py").read_text() == "a = 3\n"
    assert (inside / "new.txt").read_text() == "new"
    assert not (inside / "empty").exists()
    assert told(copy.differences()) == [("added", "theirs.txt")]


def test_a_conflict_is_said_and_stays_until_it_is_forced(
    copy: WorkspaceCopy, project: Path, inside: Path
) -> None:
    (project / "src/a.py").write_text("mine\n")
    (inside / "src/a.py").write_text("theirs\n")
    (project / "both.txt").write_text("the same")
    (inside / "both.txt").write_text("the same")
    (told_of,) = copy.refresh()
    assert told_of.startswith("workspace: src/a.py was changed in the project and in its copy")
    assert (inside / "src/a.py").read_text() == "theirs\n"
    (one,) = copy.differences()
    assert (one.path, one.conflict) == ("src/a.py", True)
    assert copy.pull(["src/a.py"]).left == (one,)
    assert (project / "src/a.py").read_text() == "mine\n"
    assert copy.pull(force=True).done == (one,)
    assert (project / "src/a.py").read_text() == "theirs\n"


def test_a_file_that_the_project_removed_and_a_sandbox_changed_is_a_conflict(
    copy: WorkspaceCopy, project: Path, inside: Path
) -> None:
    (project / "src/a.py").unlink()
    (inside / "src/a.py").write_text("theirs\n")
    assert len(copy.refresh()) == 1
    (one,) = copy.differences()
    assert one.conflict
    assert copy.pull().done == ()
    assert not (project / "src/a.py").exists()


DANGEROUS = {
    ".git/config": "[core]\n\tfsmonitor = evil\n",
    ".git/hooks/pre-commit": "evil",
    ".vscode/tasks.json": "{}",
    "moat.yaml": MOAT_YAML.replace(", .env", ""),
}


@pytest.mark.parametrize("path", DANGEROUS)
def test_what_a_host_program_runs_comes_only_by_its_own_name(
    copy: WorkspaceCopy, project: Path, inside: Path, path: str
) -> None:
    before = names(project)
    text = (project / path).read_text() if (project / path).exists() else None
    (inside / path).parent.mkdir(exist_ok=True)
    (inside / path).write_text(DANGEROUS[path])
    (one,) = copy.differences()
    assert one.danger.startswith("host programs run it")
    assert copy.pull().left == (one,)
    assert copy.pull([path.rpartition("/")[0] or "src"]).done == ()
    assert copy.pull(force=True).left == (one,)
    assert names(project) == before
    assert text is None or (project / path).read_text() == text
    assert copy.pull([path]).done == (one,)
    assert (project / path).read_text() == DANGEROUS[path]


def test_a_link_that_leads_out_comes_only_by_its_own_name_and_is_not_followed(
    copy: WorkspaceCopy, project: Path, inside: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    shutil.rmtree(inside / "src")
    (inside / "src").symlink_to(tmp_path)
    (inside / "link").unlink()
    (inside / "link").symlink_to(secret)
    pulled = copy.pull()
    assert [(one.path, one.danger[:9]) for one in pulled.left] == [
        ("link", "leads out"),
        ("src", "leads out"),
        ("src/a.py", ""),  # gone for what is left
    ]
    assert (project / "src/a.py").exists()
    # A project's start does not go through it either.
    (project / "src/b.py").write_text("b")
    copy.refresh()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "project", "secret"]
    assert secret.read_text() == "secret"


def test_a_directory_of_the_projects_that_became_a_link_takes_nothing(
    copy: WorkspaceCopy, project: Path, inside: Path, tmp_path: Path
) -> None:
    """A sandbox in bind mode, or the user, may have made it one."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(project / "src")
    (project / "src").symlink_to(elsewhere)
    (inside / "src/new.py").write_text("new")
    pulled = copy.pull(force=True)
    assert [path for path, _ in pulled.failed] == ["src/new.py"]
    assert list(elsewhere.iterdir()) == []


def test_a_copy_that_did_not_end_is_begun_anew(
    copy: WorkspaceCopy, project: Path, inside: Path
) -> None:
    (copy.directory / "known.json").unlink()
    (inside / "half").write_text("half")
    assert copy.differences() == ()
    assert copy.pull().done == ()
    copy.refresh()
    assert not (inside / "half").exists()
    assert copy.differences() == ()


def test_what_is_kept_and_cannot_be_read_is_an_error_that_says_what_to_do(
    copy: WorkspaceCopy,
) -> None:
    (copy.directory / "known.json").write_text('{"a": 1}')
    with pytest.raises(MoatError, match="`moat-nb discard --yes`"):
        copy.refresh()
    copy.discard()
    copy.refresh()
    assert copy.differences() == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_it_is_the_kernels_users(copy: WorkspaceCopy, project: Path, inside: Path) -> None:
    assert copy.owner is not None
    for path in (inside, inside / "src", inside / "src/a.py", inside / "node_modules"):
        assert path.stat().st_uid == copy.owner.uid
    (inside / "made").write_text("made")
    os.chown(inside / "made", copy.owner.uid, copy.owner.gid)
    copy.pull()
    assert (project / "made").stat().st_uid == project.stat().st_uid


def test_names_that_are_no_text_are_kept(copy: WorkspaceCopy, project: Path, inside: Path) -> None:
    name = os.fsdecode(b"caf\xe9\n")
    (inside / name).write_text("x")
    assert told(copy.pull().done) == [("added", name)]
    assert (project / name).read_text() == "x"
    copy.refresh()
    assert copy.differences() == ()


def test_what_is_excluded_later_is_in_the_copy_no_longer(
    copy: WorkspaceCopy, project: Path, inside: Path
) -> None:
    (inside / "src/theirs").write_text("theirs")
    later = replace(copy, patterns=(*copy.patterns, "src", ".git"))
    assert later.differences() == ()
    assert later.refresh() == ()
    assert names(inside / "src") == {"theirs", "__pycache__"}
    assert (inside / ".git/HEAD").exists()
    assert names(project / "src") == {"a.py", "__pycache__", "__pycache__/a.pyc"}
    assert later.refresh() == ()


def test_a_tree_that_is_too_deep_is_told_with_what_to_do(copy: WorkspaceCopy, inside: Path) -> None:
    (inside / "/".join("d" * 70)).mkdir(parents=True)
    with pytest.raises(MoatError, match="too deep ones: `moat-nb discard` removes it"):
        copy.refresh()
    copy.discard()
    assert copy.refresh() == ()


def test_what_was_brought_back_from_a_new_directory_stays_in_the_copy(
    project: Path, inside: Path, copy: WorkspaceCopy
) -> None:
    (inside / "made").mkdir()
    (inside / "made/x").write_text("1")
    assert told(copy.pull().done) == [("added", "made/x")]
    for _ in range(2):
        assert copy.refresh() == ()
        assert (inside / "made/x").read_text() == "1"
        assert copy.differences() == ()
