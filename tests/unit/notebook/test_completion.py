"""The Tab key behind `%moat` and `%%moat`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from IPython.core.completer import CompletionContext

from moat_nb.notebook.completion import Matcher
from moat_nb.notebook.magics import MoatMagics
from moat_nb.notebook.subcommands import SUBCOMMANDS


class Names(NamedTuple):
    """What completion asks of a notebook's sessions."""

    names: tuple[str, ...]


@pytest.fixture
def matcher() -> Matcher:
    sessions: Any = Names(("box", "bench"))
    return Matcher(sessions, MoatMagics.moat_cell.parser, lambda: ["frame", "other"])


def completed(matcher: Matcher, text: str, *, line: int = 0) -> list[str]:
    """What is offered at the end of ``text``, which stands in the cell's line ``line``."""
    context = CompletionContext(
        token=text.rsplit(" ", maxsplit=1)[-1],
        full_text="\n" * line + text,
        cursor_position=len(text),
        cursor_line=line,
        limit=None,
    )
    return [found.text for found in matcher.match(context)["completions"]]


@pytest.mark.parametrize("text", ["moat ", "x = 1", "%time moat", "print('%moat ')", "%moatx "])
def test_a_line_that_is_not_ours_is_left_to_others(matcher: Matcher, text: str) -> None:
    assert completed(matcher, text) == []
    context = CompletionContext(
        token="", full_text=text, cursor_position=len(text), cursor_line=0, limit=None
    )
    assert "suppress" not in matcher.match(context)


def test_a_subcommand_is_completed_and_nothing_behind_an_unknown_one(matcher: Matcher) -> None:
    assert completed(matcher, "%moat ") == list(SUBCOMMANDS)
    assert completed(matcher, "%moat sta") == [name for name in SUBCOMMANDS if name[:3] == "sta"]
    assert completed(matcher, "%moat nonsense -") == []


def test_a_cells_magic_is_completed_in_its_first_line_only(matcher: Matcher) -> None:
    assert "--in" in completed(matcher, "%%moat --i")
    assert completed(matcher, "%%moat --i", line=1) == []
    assert completed(matcher, "%moat st", line=1) != []


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("%%moat b", ["box", "bench"]),
        ("%%moat box --in fr", ["frame"]),
        ("%%moat --out o", ["other"]),
        ("%moat reset be", ["bench"]),
    ],
)
def test_sandboxes_and_variables_are_offered_where_they_are_meant(
    matcher: Matcher, text: str, offered: list[str]
) -> None:
    assert completed(matcher, text) == offered


def test_a_path_is_completed_with_the_slash_of_a_directory_and_hidden_ones_when_asked_for(
    matcher: Matcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("data", ".data", "docs/inner"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "data.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert completed(matcher, "%moat run -- cat d") == ["data/", "data.csv", "docs/"]
    assert completed(matcher, "%moat run -- cat .d") == [".data/"]
    assert completed(matcher, "%moat run -- ls docs/") == ["docs/inner/"]
    assert completed(matcher, "%moat run -- ls nowhere/") == []
