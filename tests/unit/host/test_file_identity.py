"""A directory is the same when it was moved, and another when it was made anew."""

from __future__ import annotations

from pathlib import Path

from moat_nb.host.file_identity import identity, is_still


def test_it_stays_over_a_move_and_not_over_a_removal(tmp_path: Path) -> None:
    directory = tmp_path / "a"
    directory.mkdir()
    before = identity(str(directory))
    assert before is not None
    directory.rename(tmp_path / "b")
    (tmp_path / "b/file").touch()
    assert identity(str(tmp_path / "b")) == before
    assert is_still(str(tmp_path / "b"), before)
    assert identity(str(directory)) is None
    assert not is_still(str(directory), before)
    (tmp_path / "b/file").unlink()
    (tmp_path / "b").rmdir()
    directory.mkdir()
    assert identity(str(directory)) not in (None, before)
