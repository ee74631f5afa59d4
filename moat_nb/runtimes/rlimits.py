"""Limits of one process or user, where a runtime has no cgroup to set them on."""

from __future__ import annotations

from moat_nb.planning.limits import Limits

__all__ = ["rlimits"]


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


def _lower(limit: int, cap: int) -> int:
    return cap if limit == -1 else min(limit, cap)


def _word(value: int) -> str:
    return "unlimited" if value == -1 else str(value)
