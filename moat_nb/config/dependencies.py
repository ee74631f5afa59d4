"""Dependency strings (``python@3.11``, ``pip:pandas>=2``, ``postgres@17``) as values.

A name that Moat knows and moat_nb cannot install, or that neither knows, is ``unknown`` and no
error here: one file serves both programs, and the image's builder refuses what it cannot install.
Only a near-miss of a known name is refused at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from moat_nb.config.model import Dependency
from moat_nb.config.yaml_nodes import nearest, shown
from moat_nb.errors import Problem

__all__ = ["APT_PACKAGES", "FORM", "SERVICES", "TOOLS", "parse"]

SERVICES = ("postgres", "mysql", "redis", "ollama")

_SAME_NAME = (
    *("bats", "build-essential", "bzip2", "cmake", "curl", "ffmpeg", "fzf", "g++", "gcc"),
    *("gfortran", "git", "git-lfs", "gnupg", "graphviz", "htop", "imagemagick", "jq", "less"),
    *("make", "nano", "ninja-build", "openssh-client", "pandoc", "patch", "pkg-config"),
    *("procps", "ripgrep", "rsync", "sqlite3", "tree", "unzip", "vim", "wget", "xz-utils"),
    "zip",
)

APT_PACKAGES: Mapping[str, str] = {
    **{name: name for name in _SAME_NAME},
    "mysql-client": "default-mysql-client",
    "psql": "postgresql-client",
    "redis-cli": "redis-tools",
}
"""Debian's package for each command-line tool that comes from there, by the name in moat.yaml."""

TOOLS = frozenset({*APT_PACKAGES, "node", "uv"})
"""Names of kind ``tool``; node and uv come as wheels from PyPI, so their versions can be chosen."""

_VERSIONED_TOOLS = {"node", "uv"}

# Moat's registry (internal/deps/registry.yaml and its documentation), less what is known above.
_MOAT_ONLY = (
    *("act", "air", "aws", "bat", "black", "buf", "bun", "claude-code", "cli-essentials"),
    *("codex-cli", "copilot-cli", "delta", "docker", "eslint", "fd", "gcloud", "gemini-cli"),
    *("gh", "go", "go-extras", "gofumpt", "golangci-lint", "gopls", "goreleaser", "govulncheck"),
    *("helm", "k8s", "kubectl", "lazygit", "mockgen", "mypy", "node-dev", "playwright", "pnpm"),
    *("prettier", "protoc", "pyright", "pytest", "python-dev", "ruff", "rust", "sqlc", "task"),
    *("terraform", "typescript", "typescript-language-server", "yarn", "yq"),
)

_KNOWN = frozenset({"python", *SERVICES, *TOOLS, *_MOAT_ONLY})
_PREFIXES = ("pip", "npm", "docker")

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/:@-]*")
_PYTHON_VERSION = re.compile(r"3\.[0-9]{1,2}(\.[0-9]{1,2})?")
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,3}")
# npm's own rule for names; the version is one word, safe on a shell's command line.
_NPM = re.compile(
    r"(?P<name>(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*)(@(?P<version>[~^]?[A-Za-z0-9._+-]+))?"
)

FORM = re.compile(rf"\s*(pip:.+|npm:{_NPM.pattern}|(?!pip:|npm:){_WORD.pattern})\s*")
"""What every dependency looks like; :func:`parse` refuses more, and says why."""


def parse(text: str, *, where: str) -> Dependency | Problem:
    """One dependency, or what is wrong with it; ``where`` is ``file:line:column``."""
    text = text.strip()
    prefix, colon, rest = text.partition(":")
    if colon and prefix == "pip":
        return _pip(rest, where)
    if colon and prefix == "npm":
        return _npm(rest, where)
    if not _WORD.fullmatch(text):
        return Problem(
            where=where,
            what=f"{shown(text)} is not a dependency",
            hint="write name, name@version, pip:NAME or npm:NAME",
        )
    if colon:
        return _prefixed(text, prefix, where)
    name, at, version = text.partition("@")
    return _named(name, version if at else None, where)


def _named(name: str, version: str | None, where: str) -> Dependency | Problem:
    if name not in _KNOWN:
        near = nearest(name, _KNOWN)
        if near:
            return _near_miss(name, near, where)
    wrong = _wrong_version(name, version)
    if wrong:
        return Problem(where=where, what=f"{shown(f'{name}@{version}')}: {wrong[0]}", hint=wrong[1])
    if name == "python":
        return Dependency(kind="python", name=name, version=version, where=where)
    if name in SERVICES:
        return Dependency(kind="service", name=name, version=version, where=where)
    if name in TOOLS:
        return Dependency(kind="tool", name=name, version=version, where=where)
    return Dependency(kind="unknown", name=name, version=version, where=where)


def _wrong_version(name: str, version: str | None) -> tuple[str, str] | None:
    """The rule that a known name's version breaks, and what to do about it."""
    if version is None:
        return None
    if name == "python" and not _PYTHON_VERSION.fullmatch(version):
        return "a Python version is X.Y", "write python@3.12, for one"
    if name in APT_PACKAGES:
        return "Debian chooses the version of its packages", f"write {name}"
    if name in {*SERVICES, *_VERSIONED_TOOLS} and not _VERSION.fullmatch(version):
        return "a version is numbers with dots between", f"write {name} or {name}@N"
    if not version:
        return "no version after the @", f"write {name} or {name}@VERSION"
    return None


def _prefixed(text: str, prefix: str, where: str) -> Dependency | Problem:
    near = nearest(prefix, _PREFIXES)
    if near and near != prefix:
        return _near_miss(f"{prefix}:", f"{near}:", where)
    return Dependency(kind="unknown", name=text, where=where)


def _near_miss(name: str, near: str, where: str) -> Problem:
    return Problem(
        where=where, what=f"unknown dependency {shown(name)}", hint=f"did you mean {near!r}?"
    )


def _pip(text: str, where: str) -> Dependency | Problem:
    # 15 ms that only a file with pip: dependencies pays for.
    from packaging.requirements import InvalidRequirement, Requirement

    what = f"{shown(f'pip:{text}')} is not a requirement of pip"
    hint = "write pip:NAME, pip:NAME[EXTRA] or pip:NAME>=1,<2"
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        return Problem(where=where, what=f"{what}: {reason}", hint=hint)
    if requirement.url or requirement.marker:
        part = "an address" if requirement.url else "a marker"
        return Problem(where=where, what=f"{what} that may stand here: it has {part}", hint=hint)
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return Dependency(
        kind="pip",
        name=requirement.name + extras,
        version=str(requirement.specifier) or None,
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
