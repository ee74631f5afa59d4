"""A directory for the time of a block, which a launcher that is killed does not leave behind."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from moat_nb.host.reaper import Reaper

__all__ = ["scratch_directory"]


@contextlib.contextmanager
def scratch_directory(prefix: str, parent: str | None = None) -> Iterator[Path]:
    """A new directory of mode 0700 below ``parent``, or where temporary files lie."""
    directory = Path(parent or tempfile.gettempdir(), prefix + secrets.token_hex(8))
    reaper = Reaper()
    try:
        reaper.directory(str(directory))
        directory.mkdir(mode=0o700)
        yield directory
    finally:
        reaper.finish()
