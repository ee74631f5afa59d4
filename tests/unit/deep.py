"""Directories nested deeper than any path is long."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["nest"]


def nest(top: Path, name: str, depth: int) -> None:
    """Make ``name/name/...`` below ``top``."""
    directory = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=directory)
        below = os.open(name, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = below
    os.close(directory)
