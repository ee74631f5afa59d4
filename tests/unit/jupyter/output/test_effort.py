"""One message with many texts, each of which is short enough."""

from __future__ import annotations

from moat_nb.jupyter.output.effort import MOST, bounded, spend
from moat_nb.jupyter.output.markdown import is_readable
from moat_nb.jupyter.output.sanitise import LONGEST, plain_html


def test_of_one_message_so_much_is_looked_into_and_of_the_next_again() -> None:
    text = "a" * LONGEST
    for _ in range(2):
        with bounded():
            shown = [plain_html(text) for _ in range(MOST // LONGEST + 1)]
            assert shown == [*[text] * (MOST // LONGEST), None]
            assert not is_readable("*a*")
    assert plain_html(text) == text


def test_marks_of_markdown_are_dearer() -> None:
    with bounded():
        read = [is_readable("*" * 10_000) for _ in range(10)]
    assert read[0] and not read[-1]


def test_else_nothing_is_bounded() -> None:
    assert all(spend(MOST) for _ in range(3))
