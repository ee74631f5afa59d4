"""What a project's own files say that it needs, as dependencies of moat.yaml.

The files may be anybody's: they are read to a bound, no link is followed, and nothing of them is
run. What cannot be a dependency is said, and left.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier
from packaging.utils import canonicalize_name

from moat_nb.config.requirement import requirement
from moat_nb.host.regular_file import open_regular

__all__ = ["Wanted", "look"]

MAX_BYTES = 1 << 20
MAX_DEPENDENCIES = 200

FRONT_ENDS = frozenset({"jupyter", "jupyterlab", "notebook", "moat-nb"})
"""They run on the launcher's side; a kernel has no use of them."""

_Found = Iterator["str | Left"]


@dataclass(frozen=True, kw_only=True)
class Left:
    """What a file asks for and moat.yaml cannot have."""

    what: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Wanted:
    dependencies: tuple[str, ...] = ()
    """As moat.yaml has them."""
    files: tuple[str, ...] = ()
    """That they are from."""
    left: tuple[str, ...] = ()
    """What was not taken, each with the reason."""


def look(directory: Path) -> Wanted:
    """What the files of ``directory`` ask for; of two that name the same the first counts."""
    dependencies: dict[str, str] = {}
    files, left = [], []
    for name, read in _READERS.items():
        text = _text(directory / name)
        if text is None:
            continue
        for found in read(text):
            if isinstance(found, Left):
                left.append(f"{name}: {found.what}: {found.why}")
            elif len(dependencies) < MAX_DEPENDENCIES:
                dependencies.setdefault(_key(found), found)
                files.append(name)
    return Wanted(
        dependencies=tuple(dependencies.values()),
        files=tuple(dict.fromkeys(files)),
        left=tuple(left),
    )


def _key(dependency: str) -> str:
    """The same for all that ask for one package."""
    prefix, colon, rest = dependency.partition(":")
    return f"{prefix}:{canonicalize_name(Requirement(rest).name)}" if colon else dependency


def _text(path: Path) -> str | None:
    """None where there is no such file, or one that is not to be read."""
    with suppress(OSError), open_regular(path) as stream:
        data = stream.read(MAX_BYTES + 1)
        return None if len(data) > MAX_BYTES else data.decode(errors="replace")
    return None


# ---------------------------------------------------------------- pip's


def _requirements(text: str) -> _Found:
    for line in text.replace("\\\n", " ").splitlines():
        words = re.sub(r"(^|\s)#.*", "", line).strip()
        if words.startswith("-"):
            yield Left(what=words, why="options of pip's do not go into moat.yaml")
        elif words:
            yield from _requirement(re.split(r"\s--", words)[0])  # its hashes


def _requirement(text: str) -> _Found:
    try:
        asked = requirement(text)
    except ValueError as error:
        yield Left(what=text, why=f"is not a requirement by name: {error}")
        return
    if canonicalize_name(asked.name) in FRONT_ENDS:
        yield Left(what=asked.name, why="is not for the kernel")
    elif asked.marker is None or asked.marker.evaluate({"extra": ""}):
        asked.marker = None
        yield f"pip:{asked}"


def _pyproject(text: str) -> _Found:
    reader = _toml()
    if reader is None:
        yield Left(what="all", why="a Python before 3.11 reads no TOML")
        return
    try:
        words = reader(text)
    except ValueError:
        yield Left(what="all", why="is not TOML")
        return
    for item in _strings(_at(words, "project", "dependencies")):
        yield from _requirement(item)
    poetry = _at(words, "tool", "poetry", "dependencies")
    for name, wish in poetry.items() if isinstance(poetry, dict) else ():
        if name != "python":
            yield from _requirement(_of_poetry(name, wish))


def _of_poetry(name: str, wish: object) -> str:
    """A requirement; without a version where that is one that pip does not know (``^1.2``)."""
    version = wish.get("version", "") if isinstance(wish, dict) else wish
    try:
        return str(Requirement(f"{name}{version}"))
    except (InvalidRequirement, InvalidSpecifier):
        return name


def _toml() -> Callable[[str], Any] | None:
    for module in ("tomllib", "tomli"):
        try:
            return getattr(importlib.import_module(module), "loads", None)
        except ImportError:
            continue
    return None


# ---------------------------------------------------------------- others'


def _package_json(text: str) -> _Found:
    try:
        json.loads(text)
    except ValueError:
        yield Left(what="all", why="is not JSON")
        return
    # Its packages go into node_modules by `npm install`, inside.
    yield "node"


def _environment(text: str) -> _Found:
    yield Left(what="all", why="conda's environments are not read")


_READERS: dict[str, Callable[[str], _Found]] = {
    "requirements.txt": _requirements,
    "pyproject.toml": _pyproject,
    "package.json": _package_json,
    "environment.yml": _environment,
}


def _at(words: object, *keys: str) -> object:
    for key in keys:
        words = words.get(key) if isinstance(words, dict) else None
    return words


def _strings(found: object) -> Iterable[str]:
    return (one for one in found if isinstance(one, str)) if isinstance(found, list) else ()
