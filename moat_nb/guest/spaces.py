"""The places inside that can be full: how much each holds, and whether it has room for more."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Sequence

ROOM = 64 << 10
"""Bytes: what has fewer left has refused a write, or refuses the next."""


def look(paths: Sequence[str]) -> List[Dict[str, Any]]:
    """Bytes that each holds and whether it is full, without those that cannot be looked at."""
    found = []
    for path in paths:
        try:
            space = os.statvfs(path)
        except OSError:
            continue
        used = (space.f_blocks - space.f_bfree) * space.f_frsize
        no_bytes = space.f_blocks > 0 and space.f_bavail * space.f_frsize < ROOM
        no_files = space.f_files > 0 and space.f_favail == 0
        found.append({"path": path, "used": used, "full": no_bytes or no_files})
    return found
