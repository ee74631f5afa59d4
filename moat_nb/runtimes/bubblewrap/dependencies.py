"""Dependencies on a runtime that installs nothing: each is looked for on the host."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from moat_nb.config.model import Config, Dependency
from moat_nb.config.registry import PROGRAMS
from moat_nb.errors import Problem
from moat_nb.planning.lacks import NO_ENGINE, lack_of, lack_of_hook, wanted

__all__ = ["missing_dependencies"]

NODE_MODULES = ("/usr/lib/node_modules", "/usr/local/lib/node_modules")
"""Where npm puts global packages, of the directories that a sandbox sees."""


def missing_dependencies(config: Config, path: str) -> tuple[Problem, ...]:
    """What of ``config``'s dependencies the launcher's interpreter and ``path`` (a PATH) lack.

    A kernel does without each that is a Lack, but never with another Python.
    """
    problems: list[Problem] = [*_hook_of_root(config)]
    for item in wanted(config):
        if item.kind == "python":
            problems += _another_python(item)
        else:
            problems += (lack_of(item, why, hint) for why, hint in _lacks(item, path))
    where = config.kernel.where.get("packages", config.path.name)
    for requirement in config.kernel.packages:
        problems += [
            Problem(where=where, what=f"kernel.packages: {requirement}: {what}", hint=hint)
            for what, hint in _lacks_distribution(requirement)
        ]
    return tuple(problems)


def _hook_of_root(config: Config) -> Iterator[Problem]:
    """``post_build`` is run at each start, in place of the build that there is not."""
    if config.hooks.post_build_root is not None:
        why = "bubblewrap builds no image, and runs nothing as root"
        hint = "install on this machine what it does, or use docker"
        yield lack_of_hook(config, "post_build_root", why, hint)


def _another_python(item: Dependency) -> Iterator[Problem]:
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if item.version is not None and not f"{item.version}.".startswith(f"{here}."):
        what = f"python: bubblewrap runs the launcher's own python, which is {here}"
        hint = f"install moat-nb under python{item.version}, or use docker"
        yield Problem(where=item.where, what=what, hint=hint, supported=False)


def _lacks(item: Dependency, path: str) -> Iterator[tuple[str, str]]:
    """Why it is not here and the hint, if it is not."""
    if item.kind == "pip":
        for why, hint in _lacks_distribution(f"{item.name}{item.version or ''}"):
            yield why, f"`%pip install` it in a cell, or {hint}"
    elif item.kind == "npm":
        if not any(Path(directory, item.name).is_dir() for directory in NODE_MODULES):
            yield "not among npm's global packages", "install those by npm install --global"
    elif item.name.startswith("docker"):
        yield NO_ENGINE
    elif item.kind != "service" and not _has_program(item.name, path):
        yield "not on this machine, and bubblewrap installs nothing", "install it, or use docker"


def _has_program(name: str, path: str) -> bool:
    name = re.split("[:/]", name)[-1].partition("@")[0]  # of go:example.org/tool@latest
    return any(shutil.which(program, path=path) for program in PROGRAMS.get(name, (name,)))


def _lacks_distribution(text: str) -> Iterator[tuple[str, str]]:
    from packaging.requirements import Requirement

    requirement = Requirement(text)
    if requirement.marker is not None and not requirement.marker.evaluate():
        return
    asked = f"{requirement.name}{requirement.specifier}"
    hint = f"install it by {sys.executable} -m pip install {shlex.quote(asked)}"
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        yield "not installed for the launcher's python", hint
        return
    if not requirement.specifier.contains(version, prereleases=True):
        yield f"here in version {version}, not {requirement.specifier}", hint
