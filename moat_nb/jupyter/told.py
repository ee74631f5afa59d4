"""What cells tell of a sandbox's workspace at once: its files are the user's, and programs of the
host run some of them."""

from __future__ import annotations

from moat_nb.jupyter.relay.notes import ORDINARY
from moat_nb.sandbox.protected_watch import PROTECTED
from moat_nb.sandbox.running import CAME_UNDONE

__all__ = ["note_of"]

LOST = 0
"""The weight of what is told first: an exclude is none any more."""

OF_PROTECTED = dict.fromkeys(PROTECTED, 1) | {"protected_made": 10}
"""So many were made perhaps that one should not be seen; those nearest to the project's top, where
the user works, come first."""


def note_of(kind: str, text: str) -> tuple[str, int] | None:
    """The note and its weight for one of a sandbox's events; None for an event of another kind."""
    if kind == "mount_lost":
        return f"{text}: {CAME_UNDONE}", LOST
    if kind in OF_PROTECTED:
        return text, min(OF_PROTECTED[kind] + text.count("/"), ORDINARY - 1)
    return None
