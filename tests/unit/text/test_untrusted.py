"""What a sandbox says, held to its type and range."""

from __future__ import annotations

import pytest

from moat_nb.text.untrusted import number, text


@pytest.mark.parametrize("value", [True, -1, 1 << 63, 1.0, "1", None, "x" * 9999])
def test_what_is_no_amount_is_refused_in_few_words(value: object) -> None:
    with pytest.raises(ValueError, match="is not a number that was asked for") as raised:
        number(value)
    assert len(str(raised.value)) < 100


def test_an_amount_is_itself() -> None:
    assert [number(value) for value in (0, (1 << 63) - 1)] == [0, (1 << 63) - 1]


def test_a_text_is_cut_and_in_one_line() -> None:
    assert text("abcdef", 3) == "abc"
    assert text("a\x1b[2J\nb", 99).isprintable()
    with pytest.raises(ValueError, match="is not a text"):
        text(b"a", 9)
