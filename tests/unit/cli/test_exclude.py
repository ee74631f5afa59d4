"""`moat-nb exclude`, run as its users run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.helpers import moat

TEXT = """\
# a project
mounts:
  - source: .   # here
    target: /workspace
    exclude: [node_modules/, .venv]  # large
  - ./data:/data:ro
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "moat.yaml"
    path.write_text(TEXT)
    return path


def exclude(file: Path, *words: str) -> tuple[int, str, str]:
    done = moat("exclude", *words, cwd=file.parent)
    return done.returncode, done.stdout, done.stderr


def test_add_saves_and_shows_what_changed(file: Path) -> None:
    code, said, _ = exclude(file, "add", ".env", "node_modules", "**/__pycache__")
    line = '    exclude: [node_modules/, .venv, .env, "**/__pycache__"]  # large\n'
    assert file.read_text() == TEXT.replace("    exclude: [node_modules/, .venv]  # large\n", line)
    assert said.startswith("--- moat.yaml\n+++ moat.yaml (new)\n")
    assert f"+{line}" in said
    assert code == 0


def test_remove_takes_any_spelling_and_keeps_the_rest(file: Path) -> None:
    assert exclude(file, "remove", "./node_modules")[0] == 0
    assert file.read_text() == TEXT.replace("node_modules/, .venv", ".venv")


def test_a_dry_run_shows_the_same_and_writes_nothing(file: Path) -> None:
    code, said, _ = exclude(file, "add", "-n", ".env")
    assert (code, "+    exclude: [node_modules/, .venv, .env]" in said) == (0, True)
    assert file.read_text() == TEXT


def test_what_is_so_already_is_said_and_not_written(file: Path) -> None:
    before = file.stat()
    code, said, hint = exclude(file, "add", "node_modules")
    assert (code, said, hint) == (0, "", "moat.yaml: nothing to change\n")
    assert file.stat().st_ino == before.st_ino


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "../x"], "exclude of /workspace: '../x' must not contain '..'"),
        (["add", ".venv/bin"], "'.venv/bin' is redundant with '.venv'"),
        (["remove", "node_module"], "'node_module' is not among the excludes of /workspace; did"),
        (["remove", "x"], "moat.yaml: 'x' is not among the excludes of /workspace"),
        (["add", "x", "--target", "/y"], "/y: the file has no mount there; its mounts are at"),
        (["add", "x", "--target", "/data"], "has to become an object"),
        (["add", "x", "--project", "nowhere"], "nowhere: no such file or directory"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_written(
    file: Path, words: list[str], said: str
) -> None:
    code, out, err = exclude(file, *words)
    assert (code, out) == (1, "")
    assert said in err
    assert file.read_text() == TEXT


def test_what_no_start_accepts_is_refused_and_what_mends_the_file_is_not(file: Path) -> None:
    (file.parent / "link").symlink_to(".venv")
    for option in ([], ["--dry-run"]):
        code, out, err = exclude(file, "add", "link", *option)
        assert (code, out) == (1, "")
        assert "moat.yaml:5:37: /workspace/link passes through a symbolic link" in err
    assert file.read_text() == TEXT
    file.write_text(f"workspace: {{mode: volume}}\n{TEXT}")
    assert "moat.yaml:6:37: '.git' leaves .git out" in exclude(file, "add", ".git")[2]
    file.write_text(TEXT.replace(".venv]", ".venv, ../x]"))
    assert exclude(file, "remove", "../x")[0] == 0
    assert file.read_text() == TEXT


def test_a_string_mount_is_rewritten_with_consent(file: Path) -> None:
    assert "consent with --objects" in exclude(file, "add", "raw", "--target", "/data")[2]
    assert exclude(file, "add", "raw", "--target", "/data", "--objects")[0] == 0
    assert file.read_text() == TEXT.replace(
        "./data:/data:ro\n",
        "source: ./data\n    target: /data\n    mode: ro\n    exclude:\n      - raw\n",
    )


def test_list_shows_each_exclude_with_its_mount_and_place(file: Path) -> None:
    assert exclude(file, "list")[1].splitlines() == [
        "TARGET      EXCLUDE       WHERE",
        "/workspace  node_modules  moat.yaml:5:15",
        "/workspace  .venv         moat.yaml:5:30",
    ]
    listed = json.loads(exclude(file, "list", "--json")[1])
    assert listed["file"] == str(file)
    assert [(mount["target"], mount["exclude"]) for mount in listed["mounts"]] == [
        ("/workspace", ["node_modules", ".venv"]),
        ("/data", []),
    ]


def test_list_is_silent_where_nothing_is_excluded(file: Path) -> None:
    file.write_text("")
    assert exclude(file, "list") == (0, "", "")
