"""What pip may be asked for: packages of its indexes, by their names.

The host's pip fetches them with the user's rights. An address, or a name that pip takes for a file
of the directory that it runs in, would have it build what stands there: run its code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = ["requirement"]

# Of pip/_internal/utils/filetypes.py.
_ARCHIVES = (
    *(".zip", ".whl", ".tar", ".tgz", ".tbz", ".txz", ".tlz", ".gz", ".bz2", ".xz", ".lz"),
    ".lzma",
)


def requirement(text: str) -> Requirement:
    """PEP 508's requirement by name. Raises ValueError with the reason where it is none."""
    # 15 ms that only a file with requirements pays for.
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        found = Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(str(error).splitlines()[0]) from None
    if found.url:
        raise ValueError("it has an address")
    if any(part.lower().endswith(_ARCHIVES) for part in (found.name, str(found.specifier))):
        raise ValueError("pip would take it for a file")
    return found
