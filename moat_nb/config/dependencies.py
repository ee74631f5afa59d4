"""Dependency strings (``python@3.11``, ``pip:pandas>=2``, ``postgres@17``) as values.

A name that nobody knows is ``unknown`` here and refused once the whole file is read, unless
``kernel.skip_dependencies`` names it. What cannot be had of the names that Moat knows is no error:
a plan says it, and the kernel starts without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from moat_nb.config.model import Dependency, DependencyKind
from moat_nb.config.registry import (
    AGENTS,
    APT_PACKAGES,
    BUNDLES,
    KNOWN,
    NOT_TO_BE_HAD,
    NPM_PACKAGES,
    OTHERS,
    SERVICES,
    SYNONYMS,
    TOOLS,
)
from moat_nb.config.requirement import requirement
from moat_nb.config.yaml_nodes import nearest, shown
from moat_nb.errors import Problem

__all__ = ["FORM", "parse", "unknown_problems"]

_KINDS: Mapping[str, DependencyKind] = {
    "python": "python",
    **dict.fromkeys(SERVICES, "service"),
    **dict.fromkeys(TOOLS, "tool"),
    **dict.fromkeys(AGENTS, "agent"),
    **dict.fromkeys(NOT_TO_BE_HAD, "unavailable"),
}

_PREFIXES = ("pip", "npm", "uv", *OTHERS)

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/:@-]*")
_PYTHON_VERSION = re.compile(r"3\.[0-9]{1,2}(\.[0-9]{1,2})?")
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,3}")
_ANY_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# npm's own rule for names; the version is one word, safe on a shell's command line.
_NPM = re.compile(
    r"(?P<name>(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*)(@(?P<version>[~^]?[A-Za-z0-9._+-]+))?"
)
# Moat's only way to pin; pip's own `NAME @ ADDRESS` has a slash or a colon in what follows.
_PIP_PINNED = re.compile(r"(?P<name>[^@]*[^@\s])@(?P<version>[A-Za-z0-9][A-Za-z0-9._+!-]*)")
_REQUIREMENTS_FILE = re.compile(r"[^:@]*\.(txt|in)")
_OTHER_FILE = re.compile(r"(environment|conda|pyproject|poetry|Pipfile|setup)[^:@]*\.[a-z]+")

FORM = re.compile(rf"\s*((pip|uv):.+|npm:{_NPM.pattern}|(?!pip:|uv:|npm:){_WORD.pattern})\s*")
"""What every dependency looks like; :func:`parse` refuses more, and says why."""


def parse(text: str, *, where: str) -> tuple[Dependency, ...] | Problem:
    """One dependency, the several that a bundle stands for, or what is wrong; ``where`` is
    ``file:line:column``."""
    text = text.strip()
    prefix, colon, rest = text.partition(":")
    if colon and prefix in ("pip", "uv"):
        found = _pip(prefix, rest, where)
    elif colon and prefix == "npm":
        found = _npm(rest, where)
    elif not _WORD.fullmatch(text):
        return _no_dependency(text, where)
    elif colon:
        found = _prefixed(text, prefix, where)
    else:
        name, at, version = text.partition("@")
        if name in BUNDLES:
            return _bundle(name, at, where)
        found = _named(name, version if at else None, where)
    return found if isinstance(found, Problem) else (found,)


def unknown_problems(
    dependencies: Iterable[Dependency], skipped: Iterable[str]
) -> Iterator[Problem]:
    """Names that nobody knows, each with what was probably meant."""
    known_to_be_skipped = frozenset(skipped)
    for item in dependencies:
        if item.kind == "unknown" and item.name not in known_to_be_skipped:
            what = f"unknown dependency {shown(item.name)}"
            yield Problem(where=item.where, what=what, hint=_meant(item.name))


def _meant(name: str) -> str:
    near = SYNONYMS.get(name) or nearest(name, KNOWN)
    if near:
        return f"did you mean {near!r}?"
    if _REQUIREMENTS_FILE.fullmatch(name):
        return f"write kernel: {{requirements: {name}}}, or pip:NAME for one package"
    if _OTHER_FILE.fullmatch(name):
        return f"write what {name} asks for as pip:NAME; `moat-nb init` does, for most files"
    return (
        f"write pip:{name} for a package of PyPI, npm:{name} for one of npm, or list it in "
        "kernel.skip_dependencies if the kernel can do without it"
    )


def _no_dependency(text: str, where: str) -> Problem:
    # `pandas>=2` and `pandas[all]` are what pip takes.
    name = re.match(r"[A-Za-z][A-Za-z0-9._-]*\s*[\[<>=~!]", text)
    forms = "write name, name@version, pip:NAME or npm:NAME"
    return Problem(
        where=where,
        what=f"{shown(text)} is not a dependency",
        hint=f"write pip:{text[:60]}" if name else forms,
    )


def _bundle(name: str, at: str, where: str) -> tuple[Dependency, ...] | Problem:
    if at:
        what = f"{name} stands for several programs, which have no version in common"
        return Problem(where=where, what=what, hint=f"write {name}")
    members = (_named(member, None, where, bundle=name) for member in BUNDLES[name])
    return tuple(member for member in members if isinstance(member, Dependency))


def _named(
    name: str, version: str | None, where: str, *, bundle: str | None = None
) -> Dependency | Problem:
    wrong = _wrong_version(name, version)
    if wrong:
        return Problem(where=where, what=f"{shown(f'{name}@{version}')}: {wrong[0]}", hint=wrong[1])
    kind = _KINDS.get(name, "unknown")
    return Dependency(kind=kind, name=name, version=version, bundle=bundle, where=where)


def _wrong_version(name: str, version: str | None) -> tuple[str, str] | None:
    """The rule that a name's version breaks, and what to do about it."""
    if version is None:
        return None
    if name == "python" and not _PYTHON_VERSION.fullmatch(version):
        return "a Python version is X.Y", "write python@3.12, for one"
    numbered = name in SERVICES or name in TOOLS.difference(APT_PACKAGES, NPM_PACKAGES)
    if numbered and not _VERSION.fullmatch(version):
        return "a version is numbers with dots between", f"write {name} or {name}@N"
    if not version:
        return "no version after the @", f"write {name} or {name}@VERSION"
    if not _ANY_VERSION.fullmatch(version):
        return "a version has letters, digits, and . _ or - between", f"write {name}"
    return None


def _prefixed(text: str, prefix: str, where: str) -> Dependency | Problem:
    if prefix in OTHERS:
        return Dependency(kind="unavailable", name=text, where=where)
    near = nearest(prefix, _PREFIXES)
    if near:
        what = f"unknown dependency {shown(f'{prefix}:')}"
        return Problem(where=where, what=what, hint=f"did you mean '{near}:'?")
    return Dependency(kind="unknown", name=text, where=where)


def _pip(prefix: str, text: str, where: str) -> Dependency | Problem:
    what = f"{shown(f'{prefix}:{text}')} is not a requirement of pip"
    hint = "write pip:NAME, pip:NAME@VERSION, pip:NAME[EXTRA] or pip:NAME>=1,<2"
    pinned = _PIP_PINNED.fullmatch(text)
    try:
        asked = requirement(f"{pinned['name']}=={pinned['version']}" if pinned else text)
    except ValueError as error:
        return Problem(where=where, what=f"{what}: {error}", hint=hint)
    if asked.marker:
        return Problem(where=where, what=f"{what} that may stand here: it has a marker", hint=hint)
    extras = f"[{','.join(sorted(asked.extras))}]" if asked.extras else ""
    return Dependency(
        kind="pip",
        name=asked.name + extras,
        version=str(asked.specifier) or None,
        where=where,
    )


def _npm(text: str, where: str) -> Dependency | Problem:
    found = _NPM.fullmatch(text)
    if found is None:
        return Problem(
            where=where,
            what=f"{shown(f'npm:{text}')} is not a package of npm",
            hint="write npm:NAME, npm:@SCOPE/NAME or either with @VERSION",
        )
    return Dependency(kind="npm", name=found["name"], version=found["version"], where=where)
