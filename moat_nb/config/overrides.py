"""Changes to a Config for one start, from CLI options or keywords of ``launch``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from moat_nb.config.model import Config
from moat_nb.config.mounts import with_mounts
from moat_nb.config.reader import read_config
from moat_nb.errors import ConfigError, Problem, collected

__all__ = ["OPTIONS", "override"]

OPTIONS = frozenset({"image", "memory_mb", "cpus", "env", "mounts", "pool"})
"""The keywords of :func:`override`."""


def override(
    config: Config,
    *,
    home: Path,
    image: str | None = None,
    memory_mb: int | None = None,
    cpus: float | None = None,
    env: Mapping[str, str] | None = None,
    mounts: Sequence[str] = (),
    pool: int | None = None,
) -> Config:
    """``config`` with these in place of the file's; ``env`` and ``mounts`` are added to it.

    ``mounts`` are ``"source:target[:ro]"``. All pass the validators of the file; ConfigError holds
    all that is wrong, each by the name of its option.
    """
    problems: list[Problem] = []
    asked = {
        "image": None if image is None else {"base_image": image},
        "memory_mb": None if memory_mb is None else {"container": {"memory": memory_mb}},
        "cpus": None if cpus is None else {"container": {"cpus": cpus}},
        "pool": None if pool is None else {"kernel": {"pool": pool}},
        "env": {"env": dict(env)} if env else None,
    }
    read: dict[str, Config] = {}
    for name, words in asked.items():
        if words is not None:
            with collected(problems):
                read[name] = _read(name, words, config, home)
    for name in sorted({secret.name for secret in config.secrets} & {*(env or ())}):
        what = f"{name} is a secret of {config.path.name}"
        problems.append(Problem(where="env", what=what, hint="give it another name"))
    if mounts:
        with collected(problems):
            config = with_mounts(config, mounts, home=home)
    if problems:
        raise ConfigError(problems)
    return _with(config, read)


def _with(config: Config, read: Mapping[str, Config]) -> Config:
    """``config`` with what was ``read``, by the name of its option."""
    container, kernel = config.container, config.kernel
    if "image" in read:
        config = replace(config, base_image=read["image"].base_image)
    if "memory_mb" in read:
        container = replace(container, memory_mb=read["memory_mb"].container.memory_mb)
    if "cpus" in read:
        container = replace(container, cpus=read["cpus"].container.cpus)
    if "pool" in read:
        kernel = replace(kernel, pool=read["pool"].kernel.pool)
    if "env" in read:
        config = replace(config, env=tuple({**dict(config.env), **dict(read["env"].env)}.items()))
    return replace(config, container=container, kernel=kernel)


def _read(name: str, words: dict[str, Any], config: Config, home: Path) -> Config:
    """``words`` as the file's reader takes them; its problems stand at the option ``name``."""
    try:
        text = json.dumps(words)  # which is YAML too
    except (TypeError, ValueError) as error:
        raise ConfigError([Problem(where=name, what=str(error))]) from None
    try:
        return read_config(text.encode(), path=config.path, home=home)
    except ConfigError as error:
        raise ConfigError(replace(problem, where=name) for problem in error.problems) from None
