"""What was asked once is not asked again."""

from __future__ import annotations

from pathlib import Path

from moat_nb.host.remembered import remembered


def test_what_was_asked_is_remembered_by_its_key(tmp_path: Path) -> None:
    asked = []

    def ask() -> tuple[str, ...]:
        asked.append(1)
        return ("root:x\n", "\u00e9")

    known = tmp_path / "images"
    assert [remembered(known, key, ask) for key in "aab"] == [("root:x\n", "\u00e9")] * 3
    assert len(asked) == 2
    assert len(list(known.iterdir())) == 2


def test_what_cannot_be_kept_or_read_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert remembered(tmp_path / "file", "a", lambda: ("x",)) == ("x",)
    remembered(tmp_path / "images", "a", lambda: ("x",))
    (path,) = (tmp_path / "images").iterdir()
    path.write_text("{")
    assert remembered(tmp_path / "images", "a", lambda: ("y",)) == ("y",)
