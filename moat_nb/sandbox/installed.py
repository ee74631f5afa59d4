"""What was installed in a sandbox's own virtual environment, as the guest found it.

Every name there is a sandbox's: what is no name and version of a package, as pip writes them, is
left out. Nothing that is kept can be a path, an address or an option of pip's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Installed", "as_text", "of_file"]

MOST = 2000
"""Packages; the guest sends no more."""
LONGEST_NAME, LONGEST_VERSION = 100, 60


@dataclass(frozen=True, kw_only=True, order=True)
class Installed:
    name: str
    """Normalised, as PyPI has it."""
    version: str
    requested: bool
    """Somebody asked for it; else something that was asked for needs it."""

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}"


def as_text(found: Any) -> str:
    """The guest's list of names of ``.dist-info`` and whether they were asked for, checked, as
    :func:`of_file` reads it; ValueError or TypeError for what is no such list."""
    if not isinstance(found, list):
        raise TypeError("no list of packages")
    return json.dumps([asdict(one) for one in _checked(found[:MOST])])


def of_file(path: Path) -> tuple[Installed, ...]:
    """What a launcher has kept of its sandbox, by name; nothing when it has kept nothing."""
    try:
        kept = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return ()
    return tuple(sorted(Installed(**one) for one in kept))


def _checked(found: Iterable[Any]) -> Iterator[Installed]:
    # 15 ms that only a sandbox pays for in which something was installed.
    from packaging.utils import InvalidName, canonicalize_name
    from packaging.version import InvalidVersion, Version

    for stem, requested in found:
        if not isinstance(stem, str):
            raise TypeError("no name of a package")
        name, _, version = stem.rpartition("-")
        if len(name) > LONGEST_NAME or len(version) > LONGEST_VERSION or not stem.isascii():
            continue
        try:
            yield Installed(
                name=canonicalize_name(name, validate=True),
                version=str(Version(version)),
                requested=requested is True,
            )
        except (InvalidName, InvalidVersion):
            continue
