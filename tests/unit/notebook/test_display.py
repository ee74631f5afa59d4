"""Displays that are updated."""

from __future__ import annotations

from moat_nb.notebook.display import MAX_DISPLAYS, DisplayIds


def test_a_display_that_is_shown_again_can_be_updated_longer_than_others() -> None:
    ids = DisplayIds()
    first = ids.make("first")
    for number in range(MAX_DISPLAYS - 1):
        ids.make(str(number))
    assert ids.make("first") == first
    ids.make("one more")
    assert ids.get("first") == first and ids.get("0") is None
