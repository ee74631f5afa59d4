"""What a sandbox says of its memory and its kernels' CPU, checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from moat_nb.text.untrusted import number, text

__all__ = ["Sample", "Usage"]

MAX_KERNELS = 4096
MAX_SAMPLES = 60
"""Of one kernel, as in guest/usage.py."""
MAX_ID = 20


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Of one kernel and what it started."""

    age: float
    """Seconds since it was taken."""
    memory: int
    """Resident bytes; what a kernel shares with others counts in full."""
    cpu: float | None
    """CPUs that it kept busy since the sample before, so 1.0 is one whole; None for the first."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    memory: int | None = None
    """Bytes that all of the sandbox uses, its tmpfs too; None where no cgroup tells."""
    kernels: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)
    """By a process's id, the oldest sample first."""

    @classmethod
    def parse(cls, message: Mapping[str, Any], measured: int | None = None) -> Usage:
        """From a guest's message; ValueError, KeyError or TypeError when it is no such thing.

        ``measured``: the memory as this process sees it, which counts before the guest's word.
        """
        memory, kernels = message["memory"], message["kernels"]
        if not isinstance(kernels, list) or len(kernels) > MAX_KERNELS:
            raise ValueError("no list of kernels")
        return cls(
            memory=measured if measured is not None or memory is None else number(memory),
            kernels={text(one["id"], MAX_ID): _samples(one["samples"]) for one in kernels},
        )


def _samples(found: Any) -> tuple[Sample, ...]:
    if not isinstance(found, list) or not 0 < len(found) <= MAX_SAMPLES:
        raise ValueError("no list of samples")
    rows = [tuple(number(value) for value in row) for row in found]
    if any(len(row) != len(("age", "memory", "cpu")) for row in rows):
        raise ValueError("a sample of another length")
    if any(before[0] <= after[0] for before, after in pairwise(rows)):
        raise ValueError("samples that are not in order")
    return tuple(
        Sample(age=row[0] / 1000, memory=row[1], cpu=cpu)
        for row, cpu in zip(rows, _rates(rows), strict=True)
    )


def _rates(rows: Sequence[tuple[int, ...]]) -> Iterator[float | None]:
    yield None
    for (age, _, cpu), (later, _, more) in pairwise(rows):
        # What ended without being waited for took its time with it.
        yield max(0, more - cpu) / (age - later)
