"""Changes to a Config for one start, from CLI options or keywords of ``launch``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from moat_nb.config.model import Config
from moat_nb.config.mounts import with_mounts
from moat_nb.config.reader import read_config
from moat_nb.errors import ConfigError, Problem, collected

__all__ = ["OPTIONS", "override"]

OPTIONS = frozenset({"image", "memory_mb", "cpus", "env", "mounts", "pool", "spare", "workspace"})
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
    spare: bool | None = None,
    workspace: str | None = None,
) -> Config:
    """``config`` with these in place of the file's; ``env`` and ``mounts`` are added to it.

    ``mounts`` are ``"source:target[:ro]"``. All pass the validators of the file; ConfigError holds
    all that is wrong, each by the name of its option.
    """
    problems: list[Problem] = []
    asked: dict[str, tuple[str, Any]] = {
        "image": ("base_image: {}", image),
        "memory_mb": ("container: {{memory: {}}}", memory_mb),
        "cpus": ("container: {{cpus: {}}}", cpus),
        "pool": ("kernel: {{pool: {}}}", pool),
        "spare": ("kernel: {{spare: {}}}", spare),
        "workspace": ("kernel: {{workspace: {}}}", workspace),
        "env": ("env: {}", env or None),
    }
    read: dict[str, Config] = {}
    for name, (form, value) in asked.items():
        if value is not None:
            with collected(problems):
                if name in ("memory_mb", "cpus") and value == 0:
                    # In a file it counts as not given, as in Moat.
                    raise _wrong(name, "0 is no limit", "leave it out for the default")
                text = form.format(_mapping(value) if name == "env" else _scalar(name, value))
                read[name] = _read(name, text, config, home)
    if "env" in read:
        for name in sorted(
            {secret.name for secret in config.secrets} & dict(read["env"].env).keys()
        ):
            what = f"{name} is a secret of {config.path.name}"
            problems.append(Problem(where="env", what=what, hint="give it another name"))
    with collected(problems):
        config = _mounted(config, mounts, home)
    if problems:
        raise ConfigError(problems)
    return _with(config, read)


def _mounted(config: Config, mounts: Any, home: Path) -> Config:
    given = () if mounts is None else mounts
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise _wrong("mounts", "is no list", 'give ["source:target"]')
    for text in given:
        if not isinstance(text, str):
            raise _wrong("mounts", f"{text!r} is not text", 'give "source:target[:ro]"')
        if "\0" in text or not _encodes(text):
            raise _wrong("mounts", f"{text!r} holds a character that no path can have")
    return with_mounts(config, given, home=home) if given else config


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
    if "spare" in read:
        kernel = replace(kernel, spare=read["spare"].kernel.spare)
    if "workspace" in read:
        kernel = replace(kernel, workspace=read["workspace"].kernel.workspace)
    if "env" in read:
        config = replace(config, env=tuple({**dict(config.env), **dict(read["env"].env)}.items()))
    return replace(config, container=container, kernel=kernel)


def _read(name: str, text: str, config: Config, home: Path) -> Config:
    """``text`` as the file's reader takes it; its problems stand at the option ``name``."""
    try:
        return read_config(text.encode(), path=config.path, home=home)
    except ConfigError as error:
        raise ConfigError(replace(problem, where=name) for problem in error.problems) from None


def _mapping(env: Any) -> str:
    if not isinstance(env, Mapping):
        raise _wrong("env", "is no mapping", 'give {"NAME": "value"}')
    for word in (word for pair in env.items() for word in pair):
        if not isinstance(word, str):
            raise _wrong("env", f"{word!r} is not text", "write names and values as text")
    pairs = (f"{_quoted('env', name)}: {_quoted('env', value)}" for name, value in env.items())
    return "{" + ", ".join(pairs) + "}"


def _scalar(name: str, value: Any) -> str:
    """A value as YAML that means the same."""
    if isinstance(value, str):
        return _quoted(name, value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real) and math.isfinite(value):
        # The reader takes no exponent, and 18 digits behind the point; engines count in 1e-9.
        return f"{float(value):.12f}"
    raise _wrong(name, f"{value!r} is neither text nor a number")


def _quoted(name: str, text: str) -> str:
    if not _encodes(text):
        raise _wrong(name, f"{text!r} holds half a character (a lone surrogate)")
    plain = (c if " " <= c <= "~" and c not in '"\\' else f"\\U{ord(c):08X}" for c in text)
    return '"' + "".join(plain) + '"'


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _wrong(name: str, what: str, hint: str = "") -> ConfigError:
    return ConfigError([Problem(where=name, what=what, hint=hint)])
