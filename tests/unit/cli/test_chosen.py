"""Which sandbox is meant, from where the command is typed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from moat_nb.cli import chosen as cli_chosen
from moat_nb.cli import sandboxes as cli_sandboxes
from moat_nb.cli.chosen import all_of, chosen
from moat_nb.cli.sandboxes import stop
from moat_nb.errors import MoatError
from moat_nb.host.run_directory import Owner, RunDir
from tests.unit.sandboxes import DEAD, sandbox_state

Go = Callable[[str], None]


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    """Go to one of two projects; each has sandboxes, one of them a spare, and a third has none."""
    base = tmp_path / "run"
    monkeypatch.setattr(cli_chosen, "base_directory", lambda environ, uid: base)
    for project in ("one/sub", "two", "three", "none"):
        (tmp_path / project).mkdir(parents=True)
    for project in ("one", "two", "three"):
        (tmp_path / project / "moat.yaml").write_text("")
    times = {"aaaaaaaa": ("one", 1.0), "bbbbbbbb": ("one", 2.0), "cccccccc": ("two", 3.0)}
    for id, (name, started) in times.items():
        run_dir = RunDir(base / id)
        run_dir.path.mkdir(parents=True)
        state = sandbox_state(id, name, DEAD, started=started)
        run_dir.write_state(replace(state, project=str(tmp_path / name)))
    me = Owner.of(os.getpid())
    spare = replace(sandbox_state("dddddddd", "one", me), project=str(tmp_path / "one"), spare=True)
    (base / "dddddddd").mkdir()
    RunDir(base / "dddddddd").write_state(spare)
    return lambda place: monkeypatch.chdir(tmp_path / place)


@pytest.mark.parametrize(
    ("place", "which", "id"),
    [
        ("one", None, "bbbbbbbb"),
        ("one/sub", None, "bbbbbbbb"),
        ("two", None, "cccccccc"),
        ("none", None, "cccccccc"),
        ("three", "aaaaaaaa", "aaaaaaaa"),
        ("three", "two", "cccccccc"),
        ("three", "../one", "bbbbbbbb"),
        ("two", ".", "cccccccc"),
    ],
)
def test_the_newest_of_the_project_here_is_meant_unless_one_is_named(
    go: Go, place: str, which: str | None, id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    go(place)
    assert chosen(which, "a log").run_dir.id == id
    said = capsys.readouterr().err
    assert said.startswith(f"moat-nb: {id} (") if which is None else said == ""


def test_a_project_without_one_has_none_of_anothers(go: Go) -> None:
    go("three")
    with pytest.raises(MoatError, match="of other projects there are: "):
        chosen(None, "a log")
    with pytest.raises(MoatError, match="project"):
        chosen(".", "a log")


def test_a_directory_means_all_of_its_project(go: Go) -> None:
    go("none")
    assert [one.run_dir.id for one in all_of("../one")][-2:] == ["aaaaaaaa", "bbbbbbbb"]
    assert [one.run_dir.id for one in all_of("two")] == ["cccccccc"]


def test_stopping_all_asks_before_it_ends_another_projects(
    go: Go, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended: list[str] = []
    monkeypatch.setattr(cli_sandboxes, "_stop", lambda one: ended.append(one.run_dir.id) or "x")
    go("two")
    with pytest.raises(MoatError, match=r"nothing was stopped; `moat-nb stop \.` ends those of"):
        stop(None)
    assert ended == []
    said = capsys.readouterr().err
    assert "aaaaaaaa (one)  " in said and "cccccccc" not in said and "say --yes" in said
    assert stop(".") == 0
    assert ended == ["cccccccc"]
    assert stop(None, yes=True) == 0
    assert ended[1:] == ["dddddddd", "aaaaaaaa", "bbbbbbbb", "cccccccc"]
