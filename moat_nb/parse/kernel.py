"""``kernel``: the keys that are moat_nb's own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from moat_nb.config import Dependency, KernelOptions
from moat_nb.parse.cursor import Cursor
from moat_nb.parse.document import shown
from moat_nb.parse.services import skipped

__all__ = ["kernel"]

RUNTIMES = ("auto", "docker", "podman", "bubblewrap", "apple", "kubernetes")

_KEYS = (
    *("runtime", "packages", "argv", "preload", "skip_dependencies", "spare", "pool", "tmpfs_size"),
    *(
        "services",
        "pids",
        "gpus",
        "isolation",
        "idle_timeout",
        "max_lifetime",
        "cell_timeout",
        "transport",
    ),
)
_CONNECTION_FILE = "{connection_file}"
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")

# Above these a number is in the wrong unit, or would take the machine down.
_POOL_MAX = 64
_TMPFS_MAX_MB = 1 << 24
_PIDS_MAX = 1 << 22  # the kernel's own PID_MAX_LIMIT
_PIDS_MIN = 16  # init, guest, and one kernel with its threads
_GPUS_MAX = 64
_SECONDS_MAX = 10 * 365 * 86400


def kernel(cursor: Cursor, dependencies: Iterable[Dependency]) -> KernelOptions:
    fields = cursor.fields(_KEYS)
    default = KernelOptions()
    runtime = fields["runtime"].choice(RUNTIMES)
    isolations: tuple[Literal["gvisor"], ...] = ("gvisor",)
    transports: tuple[Literal["auto", "ipc", "tcp"], ...] = ("auto", "ipc", "tcp")

    def seconds(name: str) -> float | None:
        return fields[name].number(None, maximum=_SECONDS_MAX)

    return KernelOptions(
        runtime=None if runtime == "auto" else runtime,
        packages=_requirements(fields["packages"]),
        argv=_argv(fields["argv"]),
        preload=tuple(
            name
            for item in fields["preload"].items()
            if (name := item.matching("", _MODULE, "a module's name"))
        ),
        skip_dependencies=skipped(fields["skip_dependencies"], dependencies),
        spare=fields["spare"].boolean(default.spare),
        pool=fields["pool"].integer(default.pool, minimum=0, maximum=_POOL_MAX),
        tmpfs_size_mb=fields["tmpfs_size"].integer(
            default.tmpfs_size_mb, minimum=1, maximum=_TMPFS_MAX_MB
        ),
        pids=fields["pids"].integer(default.pids, minimum=_PIDS_MIN, maximum=_PIDS_MAX),
        gpus=_gpus(fields["gpus"]),
        isolation=fields["isolation"].choice(isolations),
        idle_timeout=seconds("idle_timeout"),
        max_lifetime=seconds("max_lifetime"),
        cell_timeout=seconds("cell_timeout"),
        transport=fields["transport"].choice(transports) or default.transport,
        where=fields.where(),
    )


def _requirements(cursor: Cursor) -> tuple[str, ...]:
    if not cursor.given:
        return ()
    # 15 ms that only a file with packages pays for.
    from packaging.requirements import InvalidRequirement, Requirement

    found = []
    for item in cursor.items():
        text = item.text("")
        try:
            found += [str(Requirement(text))] if text else []
        except InvalidRequirement as error:
            reason = str(error).splitlines()[0]
            item.fail(f"{shown(text)} is not a requirement of pip: {reason}", "write NAME>=1,<2")
    return tuple(found)


def _argv(cursor: Cursor) -> tuple[str, ...]:
    argv = cursor.texts()
    if argv and not any(_CONNECTION_FILE in word for word in argv):
        cursor.fail(
            f"no word holds {_CONNECTION_FILE}, without which no client finds the kernel",
            f'write, for one, ["ir", "{_CONNECTION_FILE}"]',
        )
    return argv


def _gpus(cursor: Cursor) -> Literal["all"] | int | None:
    if cursor.node is not None and cursor.node.text == "all":
        return "all"
    if cursor.node is not None and cursor.node.text == "none":
        return None
    return cursor.integer(None, minimum=1, maximum=_GPUS_MAX)
