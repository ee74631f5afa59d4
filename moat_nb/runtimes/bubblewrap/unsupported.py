"""What no bubblewrap can honour, whatever the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from moat_nb.planning.spec import ContainerSpec

if TYPE_CHECKING:
    from moat_nb.config.model import Config

__all__ = ["needs_image", "unsupported"]

LONGEST_VARIABLE = 128 << 10
"""Bytes of ``NAME=value`` and the zero behind it: MAX_ARG_STRLEN of linux/binfmts.h."""


def needs_image(config: Config) -> Iterator[tuple[str, str, str]]:
    if config.base_image is not None:
        yield "base_image", "base_image: there are no images", "use docker, or take it out"


def unsupported(spec: ContainerSpec) -> Iterator[tuple[str, str, str]]:
    """The key, what no bubblewrap can honour, and what to do instead."""
    docker = "use docker"
    if spec.gpus is not None:
        what = f"kernel.gpus {spec.gpus}: the host's devices are not passed on"
        yield "kernel.gpus", what, docker
    if spec.network == "bridge":
        what = "network.policy bridge: there is no engine, so none of its networks"
        yield "network.policy", what, docker
    if spec.hardening.isolation is not None:
        what = f"kernel.isolation {spec.hardening.isolation}: needs an engine"
        yield "kernel.isolation", what, docker
    if spec.hardening.cap_drop != ("ALL",) or not spec.hardening.no_new_privileges:
        yield "", "capabilities and setuid programs cannot be had without root", docker
    for name, value in spec.env:
        if "\0" in name + value:
            what = f"{name} holds a NUL character, which ends an argument"
            yield "env", what, "take it out"
        elif len(os.fsencode(f"{name}={value}")) >= LONGEST_VARIABLE:
            what = f"{name} has {len(value)} characters, and a program takes 128 KiB at most"
            yield "env", what, "hand it over in a file"
