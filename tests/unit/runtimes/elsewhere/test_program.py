"""What travels to another machine."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from moat_nb.runtimes.elsewhere.program import Packed, command, packed
from tests.unit.runtimes.elsewhere.conftest import Connect


def test_the_archive_has_what_a_sandbox_needs_and_no_more() -> None:
    with tarfile.open(fileobj=io.BytesIO(packed().archive())) as tar:
        names = tar.getnames()
    assert {"moat_nb/guest/__main__.py", "moat_nb/runtimes/empty", "yaml/__init__.py"} <= {*names}
    rooms = {name.split("/")[1] for name in names if name.startswith("moat_nb/")}
    assert not rooms & {"jupyter", "sandbox", "cli", "notebook", "grading"}
    assert not [name for name in names if name.startswith("/") or ".." in name]
    assert Packed().digest == packed().digest


def test_it_travels_once_and_older_versions_of_it_go(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "cache" / "moat-nb" / "elsewhere"
    kept.mkdir(parents=True)
    for number in range(5):
        (kept / f"old{number}").mkdir()
        os.utime(kept / f"old{number}", (1, 1) if number < 3 else None)
    connect().ask("facts")
    place = kept / packed().digest
    assert place.stat().st_mode & 0o777 == 0o700
    (place / "mark").touch()
    monkeypatch.setattr(Packed, "archive", None)  # it is not asked for again
    connect().ask("facts")
    assert (place / "mark").exists()
    assert len([*kept.iterdir()]) == 3


def test_it_needs_nothing_of_that_machine_but_python(there: dict[str, str]) -> None:
    """With -S no package of this interpreter's is to be found."""
    from moat_nb.runtimes.elsewhere.frames import MARK, START, framed

    words = command(sys.executable).replace(" -I -B ", " -I -S -B ")
    archive = framed(packed().archive())
    done = subprocess.run(
        ["sh", "-c", words], env=there, input=archive, capture_output=True, check=False
    )
    assert done.stdout.endswith(MARK + START + b"\n"), done.stderr


def test_a_program_that_does_not_come_whole_is_not_run(
    there: dict[str, str], tmp_path: Path
) -> None:
    words = command(sys.executable)
    done = subprocess.run(
        ["sh", "-c", words], env=there, input=b"\0\0\1\0short", capture_output=True, check=False
    )
    assert b"did not come whole" in done.stderr
    assert not (tmp_path / "cache" / "moat-nb" / "elsewhere" / packed().digest).exists()
