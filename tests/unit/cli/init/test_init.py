"""`moat-nb init`, run as its users run it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.helpers import NOWHERE, moat
from tests.unit.excludes.looks import make

RUNTIMES = ("docker", "podman", "bubblewrap")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A project as people have it, in a directory with a name as people give it."""
    directory = tmp_path / "My Project (2)"
    make(directory, ".env", "node_modules/x", "a/b.pem", "c.pem", ".mypy_cache/", "k é.pem")
    (directory / "requirements.txt").write_text("packaging>=20\nno-such-package==1\n-r x\n")
    (directory / "package.json").write_text("{}")
    return directory


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_it_writes_plans_without_an_error(place: Path, runtime: str) -> None:
    done = moat("init", "--yes", "--runtime", runtime, cwd=place)
    assert (done.returncode, done.stdout) == (0, "wrote moat.yaml\n")
    text = (place / "moat.yaml").read_text()
    for line in ("name: my-project-2\n", "      - .env  ", '      - "**/*.pem"', "- node_modules "):
        assert line in text
    assert "# as well, perhaps: .mypy_cache\n" in text
    assert "  - pip:packaging>=20\n" in text
    refused = "  # - pip:no-such-package==1 # no-such-package: not installed for" in text
    assert refused == (runtime == "bubblewrap")
    assert ("`%pip install 'no-such-package==1'` in a cell" in done.stderr) == refused
    assert "requirements.txt: -r x: options of pip's" in done.stderr
    assert f"it starts on {runtime}" in done.stderr
    planned = moat("plan", cwd=place)
    assert planned.returncode == 0
    # No engine answers there.
    lacking = f"moat-nb: it would not start now: {runtime}: "
    told = planned.stderr.splitlines()
    assert [line[: len(lacking)] for line in told] == [lacking] * (runtime != "bubblewrap")
    assert "covers an excluded file" in planned.stdout


@pytest.mark.parametrize("name", ["moat.yaml", "agent.yaml"])
def test_no_file_is_replaced_and_no_link_written_through(place: Path, name: str) -> None:
    (place / name).symlink_to("../elsewhere")
    done = moat("init", "--yes", cwd=place)
    assert done.returncode == 1
    assert f"{name}: is there already" in done.stderr
    assert not (place.parent / "elsewhere").exists()
    (place / name).unlink()
    (place / name).write_text("# mine\n")
    assert moat("init", "--yes", place).returncode == 1
    assert (place / name).read_text() == "# mine\n"


def test_where_no_project_can_be_nothing_is_written(tmp_path: Path) -> None:
    done = moat("init", "--yes", tmp_path, env={"HOME": str(tmp_path)})
    assert done.returncode == 1
    assert "moat.yaml:" in done.stderr and "home directory" in done.stderr
    assert moat("init", tmp_path / "none").stderr.endswith("none: is not a directory\n")
    assert list(tmp_path.iterdir()) == []


def test_a_file_above_is_told_of(place: Path) -> None:
    (place.parent / "moat.yaml").write_text("")
    done = moat("init", "--yes", cwd=place)
    assert f"it takes the place of {place.parent}/moat.yaml for what is here" in done.stderr


@pytest.mark.parametrize(("answer", "written"), [("n", False), ("", True), ("y", True)])
def test_a_terminal_shows_the_text_and_asks(tmp_path: Path, answer: str, written: bool) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "moat_nb", "init", str(tmp_path)],
        **dict.fromkeys(("stdin", "stdout", "stderr"), follower),
        env={**os.environ, **NOWHERE},
    )
    os.close(follower)
    os.write(leader, f"{answer}\n".encode())
    said = b""
    while b"moat-nb: next:" not in said and b"nothing was written" not in said:
        said += os.read(leader, 4096)
    assert process.wait() == (0 if written else 1)
    os.close(leader)
    assert b"name: " in said and b"write this to moat.yaml? [Y/n]" in said
    assert (tmp_path / "moat.yaml").exists() == written
