"""What a command in the sandbox writes, until it is shown."""

from __future__ import annotations

import queue

import pytest

from moat_nb.notebook.commands import MAX_WAITING, Pieces


def test_output_that_nobody_takes_is_counted_and_not_kept() -> None:
    pieces, half = Pieces(), bytes(MAX_WAITING // 2)
    for number in (1, 2, 1):
        pieces.put(number, half)
    assert pieces.lost == len(half)
    assert [pieces.get(0)[0], pieces.get(0)[0]] == [1, 2]
    with pytest.raises(queue.Empty):
        pieces.get(0)
    pieces.put(2, half)
    assert pieces.get(0) == (2, half) and pieces.lost == len(half)
