"""``kernel.requirements``: a file of pip's, as dependencies.

A sandbox may have written it, so it is read to a bound, no link is followed, and of pip's language
only names and versions are taken.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from moat_nb.config import file
from moat_nb.config.model import Config, Dependency
from moat_nb.config.requirement import requirement
from moat_nb.config.yaml_nodes import shown
from moat_nb.errors import ConfigError, Problem

__all__ = ["outdated", "with_requirements"]

MAX_BYTES = 1 << 18
MAX_LINES = 2000


def with_requirements(config: Config) -> Config:
    """``config`` with what the file asks for among its dependencies; ConfigError with all that is
    wrong in it."""
    name = config.kernel.requirements
    if name is None:
        return config
    text = _text(config, name)
    found = [*_dependencies(name, text)]
    if problems := [one for one in found if isinstance(one, Problem)]:
        raise ConfigError(problems)
    added = (one for one in found if isinstance(one, Dependency))
    return replace(
        config,
        dependencies=(*config.dependencies, *added),
        requirements_digest=file.digest_of(text.encode()),
    )


def outdated(config: Config) -> str | None:
    """What to tell a user of a sandbox with ``config`` whose moat.yaml, or the file that it names,
    is another by now; None while neither is."""
    name = config.kernel.requirements
    told = file.outdated(config.path, config.digest)
    if told is not None or name is None:
        return told
    with contextlib.suppress(ConfigError):
        if file.digest_of(_text(config, name).encode()) == config.requirements_digest:
            return None
    return file.changed(name)


def _text(config: Config, name: str) -> str:
    try:
        with os.fdopen(_open(config.directory, name), "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _refused(config, f"{name} cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise _refused(config, f"{name} is larger than {MAX_BYTES} bytes")
    return data.decode(errors="replace")


def _open(directory: Path, name: str) -> int:
    """The regular file ``name`` below ``directory``, by no link on the way."""
    at = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    *above, last = name.split("/")
    for part in (*above, last):
        kind = 0 if part is last else os.O_DIRECTORY
        try:
            new = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | kind, dir_fd=at)
        finally:
            os.close(at)
        at = new
    if not stat.S_ISREG(os.fstat(at).st_mode):
        os.close(at)
        raise OSError(0, "it is no regular file")
    return at


def _refused(config: Config, what: str) -> ConfigError:
    hint = "it is a file of the project, and no link leads to it"
    where = config.place("kernel.requirements")
    return ConfigError([Problem(where=where, what=f"kernel.requirements: {what}", hint=hint)])


def _dependencies(name: str, text: str) -> Iterator[Dependency | Problem]:
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        yield Problem(where=name, what=f"has more than {MAX_LINES} lines")
        return
    number, carried = 0, ""
    for at, line in enumerate(lines, start=1):
        number = number if carried else at
        carried += line
        if line.endswith("\\"):
            carried = carried[:-1] + " "
            continue
        words, carried = re.sub(r"(^|\s)#.*", "", carried).strip(), ""
        if words:
            yield _dependency(words, f"{name}:{number}:1")


def _dependency(words: str, where: str) -> Dependency | Problem:
    hint = "write packages as NAME==VERSION, one a line"
    asked = re.split(r"\s--hash\b", words)[0].strip()  # wheels are taken by name and version
    if asked.startswith("-"):
        what = f"{shown(asked)}: options of pip's are not taken"
        return Problem(where=where, what=what, hint=hint)
    try:
        found = requirement(asked)
    except ValueError as error:
        what = f"{shown(asked)} is not a requirement by name: {error}"
        return Problem(where=where, what=what, hint=hint)
    extras = f"[{','.join(sorted(found.extras))}]" if found.extras else ""
    marker = f"; {found.marker}" if found.marker else ""
    return Dependency(
        kind="pip",
        name=found.name + extras,
        version=f"{found.specifier}{marker}" or None,
        where=where,
    )
