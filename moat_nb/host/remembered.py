"""What an engine said of an image, kept until the next boot: asking takes a container."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from collections.abc import Callable
from pathlib import Path

__all__ = ["remembered"]


def remembered(directory: Path, key: str, ask: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    """What ``ask`` says, from ``directory`` where it was asked with this ``key`` before."""
    path = directory / hashlib.sha256(key.encode()).hexdigest()[:32]
    with contextlib.suppress(OSError, ValueError, TypeError):
        return tuple(map(str, json.loads(path.read_text())))
    found = ask()
    # Without it the next start asks again. Others read it at any time, so it appears whole.
    new = directory / f"{path.name}.{secrets.token_hex(4)}"
    with contextlib.suppress(OSError):
        directory.mkdir(mode=0o700, exist_ok=True)
        new.write_text(json.dumps(found))
        new.replace(path)
    return found
