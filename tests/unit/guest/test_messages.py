"""Messages as bytes: what is put in comes out, whatever pieces it comes in."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.guest.messages import LONGEST_BODY, Decoder, encode

LINE = 1000

FIELDS = st.dictionaries(st.sampled_from("abc"), st.integers() | st.text(max_size=5), max_size=3)
MESSAGES = st.lists(st.tuples(FIELDS, st.none() | st.binary(max_size=50)), max_size=5)


@given(MESSAGES, st.lists(st.integers(0, 600), max_size=10))
def test_messages_come_out_as_they_went_in(
    messages: list[tuple[dict[str, Any], bytes | None]], cuts: list[int]
) -> None:
    data = b"".join(encode("kind", body, **fields) for fields, body in messages)
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    decoder = Decoder(LINE)
    found = [
        message
        for low, high in itertools.pairwise(bounds)
        for message in decoder.feed(data[low:high])
    ]
    assert found == [
        {"type": "kind", **fields, **({} if body is None else {"body": body})}
        for fields, body in messages
    ]


def test_a_line_is_as_a_reader_of_lines_expects_it() -> None:
    assert json.loads(encode("note", text="a\nb")) == {"type": "note", "text": "a\nb"}
    assert encode("note", text="a\nb").count(b"\n") == 1


@pytest.mark.parametrize(
    "data",
    [
        b"x" * (LINE + 1),
        b"1" * (LINE + 1) + b"\n",
        b"[]\n",
        b"nothing\n",
        b'{"size": -1}\n',
        b'{"size": 1.0}\n',
        b'{"size": true}\n',
        b'{"size": "1"}\n',
        b'{"body": "mine"}\n',
        json.dumps({"size": LONGEST_BODY + 1}).encode() + b"\n",
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        list(Decoder(LINE).feed(data))
