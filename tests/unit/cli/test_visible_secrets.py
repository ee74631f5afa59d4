"""The line about files that look like secrets and can be read inside."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_nb.cli.visible_secrets import warning
from moat_nb.sandbox.project import plan_project
from tests.unit.cli.helpers import moat
from tests.unit.excludes.looks import make

HIDE = "can be read inside; to hide: moat-nb exclude add"


@pytest.mark.parametrize(
    ("files", "text", "expected"),
    [
        ([".env"], "", f".env looks like a secret and {HIDE} .env"),
        ([".env", "a/id_rsa"], "", f".env, a/id_rsa look like secrets and {HIDE} .env a/id_rsa"),
        (["a/x.pem", "b.pem"], "", f"**/*.pem looks like a secret and {HIDE} '**/*.pem'"),
        ([f".env.{n}" for n in range(8)], "", " and 3 more look like secrets"),
        ([".env", "main.py"], "{source: ., target: /workspace, exclude: [.env]}", ""),
        (["node_modules/.env", ".env.example"], "", ""),
        (["sub/.env"], "{source: sub, target: /data}", f"{HIDE} sub/.env"),
        (
            ["sub/.env"],
            "{source: ., target: /workspace, exclude: [sub]}, {source: sub, target: /data}",
            f".env looks like a secret and {HIDE} .env --target /data",
        ),
    ],
)
def test_what_looks_like_a_secret_is_named_with_the_mend(
    tmp_path: Path, files: list[str], text: str, expected: str
) -> None:
    make(tmp_path, *files)
    (tmp_path / "moat.yaml").write_text(f"mounts: [{text}]\n" if text else "")
    said = warning(plan_project(tmp_path, "docker"))
    assert said.endswith(expected) if said.endswith(expected) else expected in said
    assert bool(said) == bool(expected)
    assert "\n" not in said


def test_plan_and_install_say_it_once_and_the_mend_mends_it(tmp_path: Path) -> None:
    make(tmp_path, ".env")
    (tmp_path / "moat.yaml").write_text("")
    line = f"moat-nb: .env looks like a secret and {HIDE} .env\n"
    words = ("--runtime", "bubblewrap")
    assert moat("plan", "--json", *words, cwd=tmp_path).stderr == line
    done = moat("install", "--prefix", tmp_path / "p", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, line)
    assert moat("exclude", "add", ".env", cwd=tmp_path).returncode == 0
    assert moat("plan", *words, cwd=tmp_path).stderr == ""
