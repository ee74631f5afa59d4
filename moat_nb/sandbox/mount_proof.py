"""What the guest found at each exclude, checked field by field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moat_nb.errors import ProofError
from moat_nb.sandbox.mount_check import Source
from moat_nb.text.terminal import one_line
from moat_nb.text.untrusted import MAX_PATH, number, text

__all__ = ["MountProof", "parse_sources", "parse_use", "path_of", "refuse_broken"]


@dataclass(frozen=True, kw_only=True)
class MountProof:
    """What the guest found when it tried an exclude; sizes in bytes."""

    path: str
    type: str
    mode: int
    writable: bool
    executable: bool
    size: int
    used: int
    problem: str | None = None

    @classmethod
    def parse(cls, found: Any) -> MountProof:
        """From a guest's message; ValueError, KeyError or TypeError when it is no such thing."""
        problem = found["problem"]
        return cls(
            path=path_of(found["path"]),
            type=text(found["type"], 64),
            mode=number(found.get("mode", 0)),
            writable=bool(found.get("writable", False)),
            executable=bool(found.get("executable", False)),
            size=number(found.get("size", 0)),
            used=number(found.get("used", 0)),
            problem=None if problem is None else text(problem, 1000),
        )


def path_of(value: Any) -> str:
    """Compared as it is with the paths of the plan, and made harmless where it is shown."""
    if not isinstance(value, str) or len(value) > MAX_PATH:
        raise ValueError("a path that is none")
    return value


def parse_use(found: Any) -> tuple[str, tuple[int, int]]:
    return path_of(found["path"]), (number(found["size"]), number(found["used"]))


def parse_sources(message: dict[str, Any]) -> dict[str, Source]:
    # Compared as they are, and not shown: a path may hold what does not print.
    found = message.get("sources", {}).items()
    return {str(point): Source(str(a), str(b), bool(c)) for point, (a, b, c) in found}


def refuse_broken(mounts: tuple[MountProof, ...]) -> None:
    broken = [_broken_promise(mount) for mount in mounts if mount.problem is not None]
    if broken:
        raise ProofError("\n".join(broken))


def _broken_promise(mount: MountProof) -> str:
    return (
        f"{one_line(mount.path)}: the exclude does not hold: {mount.problem}; the sandbox was not "
        "started. `moat-nb doctor` shows what this engine can do; bubblewrap "
        "(`--runtime bubblewrap`) needs no engine"
    )
