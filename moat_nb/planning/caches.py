"""``kernel.cache``: directories of HOME that outlast a sandbox, for those of one project alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from moat_nb.config.model import Config
from moat_nb.errors import Problem
from moat_nb.host.machine import Host
from moat_nb.planning.mounts import Bind, is_within
from moat_nb.planning.spec import HOME

__all__ = [
    "CACHES",
    "cache_binds",
    "cache_environment",
    "cache_problems",
    "digest_of",
    "directory_of",
]

CACHES = {
    "huggingface": f"{HOME}/.cache/huggingface",
    "matplotlib": f"{HOME}/.cache/matplotlib",
    "pip": f"{HOME}/.cache/pip",
    "torch": f"{HOME}/.cache/torch",
}
"""Where each program keeps what it fetched or made, unless variables say otherwise."""


def directory_of(project: str, host: Host) -> Path:
    """Of the project's directory, whatever the project is called: a name can be anybody's."""
    return host.caches / digest_of(project)


def digest_of(project: str) -> str:
    """A name for what is kept for a directory."""
    return hashlib.sha256(os.fsencode(os.path.realpath(project))).hexdigest()[:32]


def cache_binds(config: Config, host: Host) -> tuple[Bind, ...]:
    below = directory_of(str(config.directory), host)
    return tuple(
        Bind(source=str(below / name), target=CACHES[name], role="cache")
        for name in sorted(set(config.kernel.cache))
    )


def cache_environment(config: Config) -> dict[str, str]:
    # Empty is the one value of this variable by which pip does not turn its cache off.
    return {"PIP_NO_CACHE_DIR": ""} if "pip" in config.kernel.cache else {}


def cache_problems(config: Config) -> Iterator[Problem]:
    """Where something of the file's is mounted at, above or in a cache."""
    targets = [mount.target for mount in config.mounts]
    targets += [volume.target for volume in config.volumes]
    for name in sorted(set(config.kernel.cache)):
        target = CACHES[name]
        for mounted in targets:
            if is_within(mounted, target) or is_within(target, mounted):
                yield Problem(
                    where=config.place("kernel.cache"),
                    what=f"kernel.cache: {name} is kept at {target}, and {mounted} is mounted",
                    hint=f"take {name} out of kernel.cache, or that mount out",
                )
