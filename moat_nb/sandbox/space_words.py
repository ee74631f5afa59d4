"""Which of a sandbox's places is full, in words that name the key which raises its limit.

What they hold is a guest's word, so only places of the plan are named.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from moat_nb.planning.spaces import SHM, Space
from moat_nb.text.tables import amount
from moat_nb.text.untrusted import number

__all__ = ["Held", "no_space", "parse", "why_killed"]

WORTH_TELLING = 16 << 20
"""Bytes that a tmpfs holds of a memory that has run out."""


class Held(NamedTuple):
    used: int
    """Bytes."""
    full: bool


def parse(found: Any) -> dict[str, Held]:
    """By path, from a guest's message; ValueError, KeyError or TypeError for anything else."""
    return {str(held["path"]): Held(number(held["used"]), bool(held["full"])) for held in found}


def no_space(spaces: Sequence[Space], held: Mapping[str, Held]) -> str:
    """Why a write has found no room: what is full, else what each can hold."""
    if full := _full(spaces, held):
        return full
    first: dict[str, Space] = {}  # by key: of many excludes one
    for space in spaces:
        first.setdefault(space.key, space)
    limits = "; ".join(str(space) for space in first.values() if space.size is not None)
    return f"no room was left in one of these, or on the host's disk: {limits}"


def why_killed(signum: int, *, oom: bool, spaces: Sequence[Space], held: Mapping[str, Held]) -> str:
    """What of it the limits explain; empty for nothing."""
    if oom:
        told = (
            f"{space.path} holds {amount(held[space.path].used)} of it"
            for space in spaces
            if space.size is not None
            and space.path in held
            and held[space.path].used >= WORTH_TELLING
        )
        return ", ".join(told)
    if signum == signal.SIGBUS:
        likely = (f"most likely {space.full}" for space in spaces if space.path == SHM)
        return _full(spaces, held) or next(likely, "")
    return ""


def _full(spaces: Sequence[Space], held: Mapping[str, Held]) -> str:
    return "; ".join(space.full for space in spaces if space.path in held and held[space.path].full)
