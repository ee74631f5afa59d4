"""Finds a project's moat.yaml, and reads its bytes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from moat_nb.config.ownership import distrust
from moat_nb.config.yaml_nodes import MAX_BYTES
from moat_nb.errors import ConfigError, Problem

__all__ = ["FILE_NAMES", "changed", "digest_of", "find", "label_of", "outdated", "read_file"]


FILE_NAMES = ("moat.yaml", "agent.yaml")
"""In order of preference; the second is Moat's older name."""


def find(start: Path, home: Path | None = None) -> Path:
    """The absolute path of the nearest ``moat.yaml`` (else ``agent.yaml``) from ``start`` upward.

    ``start`` may be a directory, the YAML file itself, or a notebook beside it. Symlinked
    directories are resolved, a symlinked file is not. The search ends at ``home`` (the launcher's
    unless given) and where another filesystem begins: what is above is seldom the user's own.
    Raises ConfigError when there is none.
    """
    absolute = Path(os.path.abspath(start))  # noqa: PTH100 - Path.absolute() keeps the `..`
    # os.path, for Path.is_dir() raises where a link leads to what may not be looked at.
    is_directory = os.path.isdir(absolute)  # noqa: PTH112
    is_there = os.path.lexists(absolute)
    if absolute.suffix in {".yaml", ".yml"} and is_there and not is_directory:
        return absolute.parent.resolve() / absolute.name
    if not is_there:
        raise ConfigError([Problem(where=str(start), what="no such file or directory")])
    directory = (absolute if is_directory else absolute.parent).resolve()
    last = directory
    for last in _upward(directory, home or Path.home()):
        for name in FILE_NAMES:
            if os.path.lexists(last / name):
                return last / name
    what = f"no moat.yaml in {directory} or above it, up to {last}"
    hint = "`moat-nb init` writes one for what is in the project"
    raise ConfigError([Problem(where=str(start), what=what, hint=hint)])


def _upward(directory: Path, home: Path) -> Iterator[Path]:
    last, device = Path(os.path.realpath(home)), directory.stat().st_dev
    for parent in (directory, *directory.parents):
        if parent.stat().st_dev != device:
            return
        yield parent
        if parent == last:
            return


def read_file(file: Path, label: str) -> bytes:
    """The file's bytes, at most one more than may be read. Raises ConfigError.

    A link is not followed, for a sandbox that can write the project could have made it, and
    neither a pipe nor a device is waited for. What another user may have written is refused.
    """
    try:
        with open(file, "rb", opener=_open) as stream:
            status = os.fstat(stream.fileno())
            if stat.S_ISREG(status.st_mode):
                if problem := distrust(file, status, label, uid=os.getuid()):
                    raise ConfigError([problem])
                return stream.read(MAX_BYTES + 1)
    except OSError as error:
        if file.is_symlink():
            what = f"is a symbolic link to {file.readlink()}, and links are not followed"
            problem = Problem(where=label, what=what, hint="put the file itself there")
        else:
            problem = Problem(where=label, what=f"cannot be read: {error.strerror}")
        raise ConfigError([problem]) from None
    raise ConfigError([Problem(where=label, what="is not a regular file")])


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def outdated(file: Path, digest: str) -> str | None:
    """What to tell a user of a sandbox whose moat.yaml had this digest; None while it still has."""
    with contextlib.suppress(ConfigError):
        if digest_of(read_file(file, file.name)) == digest:
            return None
    return changed(file.name)


def changed(name: str) -> str:
    return (
        f"{name} has changed since this sandbox started, which has the old one; shut the "
        "kernel down and start it to have the new one (with the magics: `%moat reset`)"
    )


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def label_of(file: Path) -> str:
    """The file as seen from the current directory when it is below that, else its full path."""
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)
