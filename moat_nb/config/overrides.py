"""Changes to a Config for one start: what a CLI option or a keyword of ``launch`` asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from moat_nb.config.model import Config
from moat_nb.config.mounts import with_mounts

__all__ = ["override"]


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

    ``mounts`` are ``"source:target[:ro]"``, validated as the file's are (ConfigError).
    """
    if image is not None:
        config = replace(config, base_image=image)
    if memory_mb is not None:
        config = replace(config, container=replace(config.container, memory_mb=memory_mb))
    if cpus is not None:
        config = replace(config, container=replace(config.container, cpus=cpus))
    if pool is not None:
        config = replace(config, kernel=replace(config.kernel, pool=pool))
    if env:
        config = replace(config, env=tuple({**dict(config.env), **env}.items()))
    return with_mounts(config, mounts, home=home) if mounts else config
