"""Dependencies on a runtime that installs nothing: each is looked for on the host."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from moat_nb.config.model import Config, Dependency
from moat_nb.errors import Problem

__all__ = ["missing_dependencies"]

PROGRAMS = {
    "build-essential": "cc",
    "gnupg": "gpg",
    "graphviz": "dot",
    "imagemagick": "convert",
    "ninja-build": "ninja",
    "openssh-client": "ssh",
    "procps": "ps",
    "ripgrep": "rg",
    "xz-utils": "xz",
}
"""The program to look for, where a dependency is a package of another name."""

NODE_MODULES = ("/usr/lib/node_modules", "/usr/local/lib/node_modules")
"""Where npm puts global packages, of the directories that a sandbox sees."""


def missing_dependencies(config: Config, path: str) -> tuple[Problem, ...]:
    """What of ``config``'s dependencies the launcher's interpreter and ``path`` (a PATH) lack."""
    skipped = set(config.kernel.skip_dependencies)
    problems = []
    for item in config.dependencies:
        if item.name not in skipped:
            problems += [
                Problem(where=item.where, what=f"{item.name}: {what}", hint=hint)
                for what, hint in _lacks(item, path)
            ]
    where = config.kernel.where.get("packages", config.path.name)
    for requirement in config.kernel.packages:
        problems += [
            Problem(where=where, what=f"kernel.packages: {requirement}: {what}", hint=hint)
            for what, hint in _lacks_distribution(requirement)
        ]
    return tuple(problems)


def _lacks(item: Dependency, path: str) -> Iterator[tuple[str, str]]:
    """What is wrong and the hint, if anything is."""
    if item.kind == "python":
        here = f"{sys.version_info[0]}.{sys.version_info[1]}"
        if item.version is not None and item.version != here:
            yield (
                f"bubblewrap runs the launcher's own python, which is {here}",
                f"install moat-nb under python{item.version}, or use docker",
            )
    elif item.kind == "pip":
        yield from _lacks_distribution(f"{item.name}{item.version or ''}")
    elif item.kind == "npm":
        if not any(Path(directory, item.name).is_dir() for directory in NODE_MODULES):
            yield "not among npm's global packages", f"npm install --global {item.name}"
    elif item.kind != "service" and not _has_program(item.name, path):
        yield (
            "not found on this machine, and bubblewrap installs nothing",
            "install it, use docker, or list it in kernel.skip_dependencies",
        )


def _has_program(name: str, path: str) -> bool:
    return shutil.which(PROGRAMS.get(name, name), path=path) is not None


def _lacks_distribution(text: str) -> Iterator[tuple[str, str]]:
    from packaging.requirements import Requirement

    requirement = Requirement(text)
    hint = f"{sys.executable} -m pip install '{text}'"
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        yield "not installed for the launcher's python", hint
        return
    if not requirement.specifier.contains(version, prereleases=True):
        yield f"here in version {version}, not {requirement.specifier}", hint
