"""Finds a project's moat.yaml, and reads its bytes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from moat_nb.config.yaml_nodes import MAX_BYTES
from moat_nb.errors import ConfigError, Problem

__all__ = ["FILE_NAMES", "find", "label_of", "read_file"]


FILE_NAMES = ("moat.yaml", "agent.yaml")
"""In order of preference; the second is Moat's older name."""


def find(start: Path) -> Path:
    """The absolute path of the nearest ``moat.yaml`` (else ``agent.yaml``) from ``start`` upward.

    ``start`` may be a directory, the YAML file itself, or a notebook beside it. Symlinked
    directories are resolved, a symlinked file is not. Raises ConfigError when there is none.
    """
    absolute = Path(os.path.abspath(start))  # noqa: PTH100 - Path.absolute() keeps the `..`
    if absolute.suffix in {".yaml", ".yml"} and os.path.lexists(absolute):
        return absolute.parent.resolve() / absolute.name
    if not os.path.lexists(absolute):
        raise ConfigError([Problem(where=str(start), what="no such file or directory")])
    # os.path, for Path.is_dir() raises where a link leads to what may not be looked at.
    is_directory = os.path.isdir(absolute)  # noqa: PTH112
    directory = (absolute if is_directory else absolute.parent).resolve()
    for parent in (directory, *directory.parents):
        for name in FILE_NAMES:
            if os.path.lexists(parent / name):
                return parent / name
    what = f"no moat.yaml in {directory} or above it"
    hint = "write one; an empty moat.yaml is a project with all defaults"
    raise ConfigError([Problem(where=str(start), what=what, hint=hint)])


def read_file(file: Path, label: str) -> bytes:
    """The file's bytes, at most one more than may be read. Raises ConfigError.

    A link is not followed, for a sandbox that can write the project could have made it, and
    neither a pipe nor a device is waited for.
    """
    try:
        with open(file, "rb", opener=_open) as stream:
            if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return stream.read(MAX_BYTES + 1)
    except OSError as error:
        if file.is_symlink():
            what = f"is a symbolic link to {file.readlink()}, and links are not followed"
            problem = Problem(where=label, what=what, hint="put the file itself there")
        else:
            problem = Problem(where=label, what=f"cannot be read: {error.strerror}")
        raise ConfigError([problem]) from None
    raise ConfigError([Problem(where=label, what="is not a regular file")])


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def label_of(file: Path) -> str:
    """The file as seen from the current directory when it is below that, else its full path."""
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)
