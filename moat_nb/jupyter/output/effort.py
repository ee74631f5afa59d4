"""How much of one message is looked into: it may have thousands of texts, each of which is short
enough."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["bounded", "spend"]

MOST = 1 << 20
"""Characters of HTML, as what takes a parser half a second."""

_left: ContextVar[list[int] | None] = ContextVar("left", default=None)


@contextmanager
def bounded() -> Iterator[None]:
    """For one message."""
    token = _left.set([MOST])
    try:
        yield
    finally:
        _left.reset(token)


def spend(characters: int) -> bool:
    """Whether so many more may be looked into; always where nothing is bounded."""
    left = _left.get()
    if left is None:
        return True
    left[0] -= characters
    return left[0] >= 0
