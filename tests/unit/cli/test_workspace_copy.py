"""`moat-nb diff`, `pull` and `discard`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from moat_nb.cli.main import main
from moat_nb.config.reader import load
from moat_nb.host.machine import Host
from moat_nb.planning.workspace_copy import tree_of
from moat_nb.sandbox.workspace_copy import WorkspaceCopy

YAML = "name: c\nworkspace: {mode: volume}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    made = tmp_path / "project"
    (made / "src").mkdir(parents=True)
    (made / "src/a.py").write_text("a = 1\n")
    (made / "moat.yaml").write_text(YAML)
    monkeypatch.chdir(made)
    return made


@pytest.fixture
def inside(project: Path) -> Path:
    copy = WorkspaceCopy.of(load(project), Host.current())
    assert copy is not None
    replace(copy, owner=None).refresh()
    return tree_of(copy.directory)


def test_where_there_is_no_copy_it_is_said_how_to_have_one(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "moat.yaml").write_text("name: c\n")
    for command in ("diff", "pull", "discard"):
        assert main([command]) == 1
        assert "`workspace: {mode: volume}` gives them a copy" in capsys.readouterr().err


def test_a_text_is_shown_as_it_differs_and_made_harmless(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (inside / "src/a.py").write_text("a = 1\nb = '\x1b]0;owned\x07'\n")
    (inside / "binary").write_bytes(bytes(range(256)))
    assert main(["diff"]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[:5] == [
        "WHAT     NOTE  PATH",
        "added          binary",
        "changed        src/a.py",
        "--- a/src/a.py",
        "+++ b/src/a.py",
    ]
    assert "+b = '" in shown and "\x1b" not in shown and "\x07" not in shown
    assert main(["diff", "--names", "src"]) == 0
    assert capsys.readouterr().out == "WHAT     NOTE  PATH\nchanged        src/a.py\n"


def test_paths_are_those_of_the_directory_where_it_is_typed(
    project: Path, inside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (inside / "src/a.py").write_text("a = 2\n")
    (inside / "b.py").write_text("b\n")
    monkeypatch.chdir(project / "src")
    assert main(["pull", "a.py"]) == 0
    assert (project / "src/a.py").read_text() == "a = 2\n"
    assert not (project / "b.py").exists()
    assert main(["pull", "/etc/passwd"]) == 1
    assert f"/etc/passwd is not in {project}" in capsys.readouterr().err
    assert main(["pull", ".."]) == 0
    assert (project / "b.py").exists()
    assert main(["diff"]) == 0
    assert capsys.readouterr().out.endswith(f"the copy has what {project} has\n")


def test_what_is_left_is_told_with_the_way_to_have_it(
    project: Path, inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (inside / "src/a.py").write_text("theirs\n")
    (project / "src/a.py").write_text("mine\n")
    (inside / ".vscode").mkdir()
    (inside / ".vscode/tasks.json").write_text("{}")
    assert main(["pull"]) == 1
    told = capsys.readouterr().err
    assert "you changed it too" in told and "host programs run it" in told
    assert told.splitlines()[-1] == (
        "`moat-nb diff` shows them; `moat-nb pull PATH` takes one whose path you give; "
        "--force takes the copy's in place of yours"
    )
    assert main(["pull", "--force", "src", ".vscode/tasks.json"]) == 0
    assert (project / "src/a.py").read_text() == "theirs\n"
    assert (project / ".vscode/tasks.json").exists()


def test_a_copy_is_not_removed_with_work_in_it_unless_that_is_said(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (inside / "work").write_text("work")
    assert main(["discard"]) == 1
    assert "1 path differs in the copy of" in capsys.readouterr().err
    assert inside.is_dir()
    assert main(["discard", "--yes"]) == 0
    assert not inside.exists()
    assert main(["diff"]) == 0
