"""git_config.py: what is read by hand is what git reads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from moat_nb.planning.git_config import git_config, settings


@pytest.mark.parametrize(
    "text",
    [
        "[core]\n\thooksPath = a b\n",
        "[core]\nhooksPath = hk # ours\n",
        "[core]\nhooksPath = hk; ours\n",
        '[core] hooksPath = "h#k" ; ours\n',
        '[core]\nhooksPath = " h"k"; "\n',
        '[core]\nhooksPath = a\\\\b\\"c\n',
        "[core]\nhooksPath = a\\\nb\n",
        "[core]\n# no more \\\nhooksPath = a\n",
        "[CORE]\r\nHOOKSPATH=a\r\n",
        "\ufeff[core]\nhooksPath=a=b[c]",
        "[core]\nbare\nhooksPath = a\n",
        '[core]\nx = "\\\nhooksPath = b"\nhooksPath = c\n',
        "[core] ; [other]\nhooksPath = a\n",
        '[a "]"]\n[core]\nhooksPath = a\n',
    ],
)
def test_a_value_is_read_as_git_reads_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text, newline="")
    command = ["git", "config", "--file", str(file), "--get", "core.hooksPath"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert settings(text) == (("core.hookspath", done.stdout.removesuffix("\n")),)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('[includeIf "gitdir:/x/"] path = "~/y"\n', [("includeif.path", "~/y")]),
        ("[INCLUDE]\nPath=x", [("include.path", "x")]),
        ('[remote "path"]\n path = x\n[core]\n# hooksPath = y\n', []),
        ("", []),
    ],
)
def test_the_settings_that_name_paths_are_read(text: str, found: list[tuple[str, str]]) -> None:
    assert list(settings(text)) == found


def test_configs_that_include_each_other_and_what_is_no_file_end(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[include]\npath=config\npath=directory\n[core]hooksPath=h")
    (tmp_path / "directory").mkdir()
    found = git_config(str(tmp_path))
    assert set(found.included) == {f"{tmp_path}/config", f"{tmp_path}/directory"}
    assert set(found.hooks) == {f"{tmp_path}/h"}


def test_a_file_that_names_another_work_tree_takes_none_away(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[core]\nhooksPath=h\nworktree=w\n")
    (tmp_path / "gitdir").write_text("/a/.git\n")
    found = git_config(str(tmp_path), "/tree")
    assert set(found.hooks) == {"/tree/h", "/a/h", f"{tmp_path}/w/h"}


def test_a_zero_in_a_config_is_no_part_of_a_path(tmp_path: Path) -> None:
    (tmp_path / "config").write_bytes(b"[core]\nhooksPath=h\0k\n")
    assert git_config(str(tmp_path)).hooks == (f"{tmp_path}/hk",)
