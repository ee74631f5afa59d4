"""The table of attacks, as docs/security.md has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.table import BEGIN, END, Table

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"
TABLE = Table(rows=[("b", "docker", "x|y", "\x1bz", "no"), ("a", "docker", "x", "x", "y")])


def test_the_table_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}old\n{END}after\n")
    for _ in range(2):
        TABLE.renew(page, "today")
    assert page.read_text() == (
        f"before\n{BEGIN}today\n\n"
        "| attack | runtime | expected | happened | control |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| a | docker | x | x | y |\n"
        "| b | docker | x\\|y | \N{REPLACEMENT CHARACTER}z | no |\n"
        f"{END}after\n"
    )


def test_the_page_has_a_place_for_it(tmp_path: Path) -> None:
    page = tmp_path / "security.md"
    page.write_text(SECURITY.read_text())
    TABLE.renew(page, "today")
    assert "| a | docker | x | x | y |" in page.read_text()
    page.write_text("no place")
    with pytest.raises(ValueError, match="no place"):
        TABLE.renew(page, "today")
