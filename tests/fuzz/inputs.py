"""What a sandbox could write: anything, and what is nearly right."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
"""Halves of characters, controls and marks among them."""

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def mutated(draw: st.DrawFn, *seeds: bytes) -> bytes:
    """One of ``seeds`` with pieces cut out, put in, doubled or changed."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 16)))
        piece = draw(st.binary(max_size=16) | st.just(bytes(data[at:end]) * 3))
        data[at:end] = piece
    return bytes(data)


@st.composite
def nearly(draw: st.DrawFn, *seeds: dict[str, Any]) -> dict[str, Any]:
    """One of ``seeds`` with some values, at any depth, replaced, missing or added."""
    value: dict[str, Any] = json.loads(json.dumps(draw(st.sampled_from(seeds))))
    for _ in range(draw(st.integers(0, 3))):
        place: Any = value
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], (dict, list)) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            if draw(st.integers(0, 4)) == 0:
                del place[key]
            else:
                place[key] = draw(JSON)
            break
    if draw(st.integers(0, 4)) == 0:
        value[draw(TEXT)] = draw(JSON)
    return value


@st.composite
def in_pieces(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> list[bytes]:
    data = draw(whole)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    bounds = [0, *cuts, len(data)]
    return [data[a:b] for a, b in pairwise(bounds) if b > a]


STEERS = frozenset("\x00\x07\x1b\x7f\x9b\x9d\u202e\u2066")


def harmless(text: str) -> None:
    assert not STEERS & set(text), ascii(text)
