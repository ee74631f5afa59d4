"""Limits of one process or user, where a runtime has no cgroup to set them on."""

from __future__ import annotations

import resource
from collections.abc import Iterator

from moat_nb.planning.limits import Limits

__all__ = ["above_own", "rlimits"]


def rlimits(limits: Limits, **caps: int) -> dict[str, str]:
    """``{name: "soft:hard"}`` of ``limits.ulimits``, none above its cap, in order of names.

    Names are those of ``ulimit``, without RLIMIT_; -1 is unlimited. A cap holds as well for a
    name that ``ulimits`` does not have.
    """
    merged = {name: (soft, hard) for name, soft, hard in limits.ulimits}
    for name, cap in caps.items():
        soft, hard = merged.get(name, (cap, cap))
        merged[name] = _lower(soft, cap), _lower(hard, cap)
    return {name: f"{_word(soft)}:{_word(hard)}" for name, (soft, hard) in sorted(merged.items())}


def above_own(limits: Limits) -> Iterator[tuple[str, str, str]]:
    """``(name, hard, allowed)`` of each ulimit above this process's own, which a sandbox
    without an engine has no right to raise."""
    for name, _, hard in limits.ulimits:
        number = getattr(resource, f"RLIMIT_{name.upper()}", None)
        own = -1 if number is None else resource.getrlimit(number)[1]
        if own != resource.RLIM_INFINITY and (hard == -1 or hard > own):
            yield name, _word(hard), _word(own)


def _lower(limit: int, cap: int) -> int:
    return cap if limit == -1 else min(limit, cap)


def _word(value: int) -> str:
    return "unlimited" if value == -1 else str(value)
