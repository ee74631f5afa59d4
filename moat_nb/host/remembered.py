"""What an engine said of an image, kept until the next boot: asking takes a container."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from moat_nb.host.whole_file import write_whole

__all__ = ["remembered"]


def remembered(directory: Path, key: str, ask: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    """What ``ask`` says, from ``directory`` where it was asked with this ``key`` before."""
    path = directory / hashlib.sha256(key.encode()).hexdigest()[:32]
    with contextlib.suppress(OSError, ValueError, TypeError):
        return tuple(map(str, json.loads(path.read_text())))
    found = ask()
    # Without it the next start asks again. Others read it at any time, so it appears whole.
    with contextlib.suppress(OSError):
        directory.mkdir(mode=0o700, exist_ok=True)
        write_whole(path, json.dumps(found))
    return found
