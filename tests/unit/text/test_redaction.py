"""redaction.py: secrets are taken out of bytes, however these arrive."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.text.redaction import Redactor

letters = st.text(alphabet="ab", min_size=1, max_size=4)


def shown(secrets: tuple[str, ...], *pieces: str) -> str:
    redactor = Redactor(secrets)
    return "".join(redactor.feed(piece.encode()).decode() for piece in pieces) + (
        redactor.rest().decode()
    )


@pytest.mark.parametrize(
    ("secrets", "pieces", "text"),
    [
        (("hunter2",), ["a hunter2 b"], "a *** b"),
        (("hunter2",), ["a hun", "t", "er2 b"], "a *** b"),
        (("hunter2",), ["a hun", "ted hunter", "3"], "a hunted hunter3"),
        (("hunter2",), ["a hunt"], "a hunt"),
        (("hunter", "hunter2"), ["hunter", "2 hunter"], "*** ***"),
        (("aba",), ["xab", "aba"], "x***ba"),
        (("h\u00fcter",), ["h\u00fcter"], "***"),
        ((), ["hunter2"], "hunter2"),
        (("",), ["hunter2"], "hunter2"),
    ],
)
def test_a_secret_is_taken_out(secrets: tuple[str, ...], pieces: list[str], text: str) -> None:
    assert shown(secrets, *pieces) == text


@given(st.lists(letters, min_size=1, max_size=3), st.lists(letters, max_size=6))
def test_pieces_show_what_the_whole_does_and_that_holds_no_secret(
    secrets: list[str], pieces: list[str]
) -> None:
    text = shown(tuple(secrets), *pieces)
    assert text == shown(tuple(secrets), "".join(pieces))
    for part in text.split("***"):
        assert not any(secret in part for secret in secrets)


def test_nothing_is_held_back_but_what_may_be_the_beginning_of_a_secret() -> None:
    redactor = Redactor(("hunter2",))
    assert redactor.feed(b"the end\n") == b"the end\n"
    assert redactor.feed(b"the hun") == b"the "
    assert redactor.feed(b"t is on\n") == b"hunt is on\n"
    assert re.escape("hunter2").encode() not in redactor.rest()
