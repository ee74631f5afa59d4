"""``kernel``: the keys that are moat_nb's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from moat_nb.config.cursor import Cursor
from moat_nb.config.custom_services import SERVICES
from moat_nb.config.kubernetes import KubernetesKeys, cluster_options
from moat_nb.config.model import Dependency, KernelOptions
from moat_nb.config.other_machine import ON, other_machine
from moat_nb.config.requirement import requirement
from moat_nb.config.services import skipped
from moat_nb.config.shapes import (
    Block,
    Boolean,
    Choice,
    Either,
    Integer,
    Keys,
    ListOf,
    Number,
    Text,
    Word,
    key,
)
from moat_nb.config.yaml_nodes import shown

__all__ = ["KernelKeys", "kernel"]

_Transport: TypeAlias = Literal["auto", "ipc", "tcp", "stream"]
_Workspace: TypeAlias = Literal["project", "notebook"]
_Interrupt: TypeAlias = Literal["signal", "message"]

_CONNECTION_FILE = "{connection_file}"
_MODULE = Word(
    pattern=re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"),
    rule="a module's name",
)

_NAME = Word(
    pattern=re.compile(r"(?!(?:.*/)?\.{1,2}(?:/|$))[^/\x00-\x1f\x7f]+(?:/[^/\x00-\x1f\x7f]+)*"),
    rule="a path relative to a mount, such as .vscode or tools/run.sh",
)

_FILE = Word(
    pattern=re.compile(r"(?!(?:.*/)?\.{1,2}(?:/|$))[^/\x00-\x1f\x7f:]+(?:/[^/\x00-\x1f\x7f:]+)*"),
    rule="a path below this file's directory, such as requirements.txt",
)

_SHOWN = Word(
    pattern=re.compile(r"\w[\w .,:+#()/-]{0,99}"),
    rule="a name of up to 100 letters, digits, spaces and . , : + # ( ) / -",
)

# Above the maxima a number is in the wrong unit, or would take the machine down.
_SECONDS = Number(maximum=10 * 365 * 86400)
_GPU_COUNT = Integer(minimum=1, maximum=64)
_SIZE = Integer(minimum=1, maximum=1 << 24, unit="MB")
_PIDS = Integer(
    minimum=16,  # init, guest, and one kernel with its threads
    maximum=1 << 22,  # the kernel's own PID_MAX_LIMIT
)


class KernelKeys(Keys):
    runtime = key(
        Choice(options=("auto", "docker", "podman", "bubblewrap", "apple", "kubernetes")),
        "What runs the sandbox; auto takes what answers on this machine.",
        default="auto",
    )
    on = key(
        ON,
        "Another machine, which ssh leads to or Slurm gives, where bubblewrap runs the sandbox.",
    )
    kubernetes = key(Block(KubernetesKeys), "Where, and as what, runtime: kubernetes makes pods.")
    workspace = key(
        Choice[_Workspace](options=get_args(_Workspace)),
        "notebook: /workspace is the directory that a kernel is started in, and nothing above it.",
        default=KernelOptions.workspace,
    )
    packages = key(ListOf(item=Text()), "Requirements that pip installs, such as numpy>=2.")
    requirements = key(
        _FILE,
        "A file such as requirements.txt, whose packages are dependencies; relative to this file.",
    )
    argv = key(
        ListOf(item=Text(empty=True)),
        "The kernel's command line, one word of which holds {connection_file}; ipykernel unless"
        " given.",
        default=KernelOptions.argv,
    )
    display_name = key(
        _SHOWN, "What front ends call the kernel; its language and the name above unless given."
    )
    language = key(_SHOWN, "The kernel's language; what the program of argv says unless given.")
    interrupt_mode = key(
        Choice[_Interrupt](options=get_args(_Interrupt)),
        "message: for a kernel of argv that is interrupted by one, and not by SIGINT.",
        default=KernelOptions.interrupt_mode,
    )
    preload = key(
        ListOf(item=_MODULE),
        "Python modules imported ahead, so that each kernel starts with them.",
        default=KernelOptions.preload,
    )
    skip_dependencies = key(
        ListOf(item=Text()), "Dependencies that this kernel does without, by name."
    )
    require_dependencies = key(
        Boolean(),
        "Whether a start is refused without one of the dependencies, which is told otherwise.",
        default=KernelOptions.require_dependencies,
    )
    spare = key(
        Boolean(),
        "Whether a running sandbox keeps a kernel ready for the next start or restart.",
        default=KernelOptions.spare,
    )
    pool = key(
        Integer(minimum=0, maximum=64),
        "How many sandboxes are kept started ahead of need.",
        default=KernelOptions.pool,
    )
    cache = key(
        ListOf(item=Choice(options=("pip", "huggingface", "torch", "matplotlib"))),
        "Programs whose caches outlast a sandbox, for the next ones of this project.",
        default=KernelOptions.cache,
    )
    spare_timeout = key(
        _SECONDS,
        "Seconds without work after which a spare kernel and the pool's sandboxes are given up.",
        default=KernelOptions.spare_timeout,
    )
    tmpfs_size = key(
        _SIZE,
        "MB that each excluded directory, and each other tmpfs, can hold.",
        default=KernelOptions.tmpfs_size_mb,
    )
    home_size = key(_SIZE, "MB that HOME can hold; half of the memory unless given.")
    tmp_size = key(_SIZE, "MB that /tmp can hold; half of the memory unless given.")
    shm_size = key(
        _SIZE, "MB that shared memory, /dev/shm, can hold; half of the memory unless given."
    )
    max_excludes = key(
        Integer(minimum=1, maximum=20_000),
        "How many paths the excludes may match; each is a mount of its own.",
        default=KernelOptions.max_excludes,
    )
    services = key(SERVICES, "Services from any image, and more about those of the dependencies.")
    pids = key(_PIDS, "How many processes and threads there may be.", default=KernelOptions.pids)
    require_limits = key(
        Boolean(),
        "Whether a start is refused where nothing limits the memory of all of the sandbox.",
        default=KernelOptions.require_limits,
    )
    gpus = key(
        Either((Choice(options=("all", "none")), _GPU_COUNT)), "How many GPUs, or all of them."
    )
    isolation = key(
        Choice[Literal["gvisor"]](options=("gvisor",)), "gvisor: a kernel of the sandbox's own."
    )
    protect = key(
        ListOf(item=_NAME),
        "Further names, relative to each mount, that the sandbox cannot change.",
        default=KernelOptions.protect,
    )
    unprotect = key(
        ListOf(item=_NAME),
        "Protected names that the sandbox may change after all, with what is below them.",
        default=KernelOptions.unprotect,
    )
    idle_timeout = key(
        _SECONDS,
        "Seconds without a cell or command after which the sandbox ends.",
    )
    max_lifetime = key(_SECONDS, "Seconds after which the sandbox ends, whatever runs.")
    cell_timeout = key(_SECONDS, "Seconds that a cell may take before it is interrupted.")
    transport = key(
        Choice[_Transport](options=get_args(_Transport)),
        "tcp: for a kernel that knows nothing else, ports of the sandbox's loopback. "
        "stream: its stdin and stdout carry all connections.",
        default=KernelOptions.transport,
    )


def kernel(cursor: Cursor, dependencies: Sequence[Dependency]) -> KernelOptions:
    fields = cursor.fields(KernelKeys.names())
    runtime = fields.read(KernelKeys.runtime)
    return KernelOptions(
        runtime=None if runtime == "auto" else runtime,
        on=other_machine(fields.at(KernelKeys.on), runtime),
        kubernetes=cluster_options(fields.at(KernelKeys.kubernetes), runtime),
        workspace=fields.read(KernelKeys.workspace),
        packages=_requirements(fields.at(KernelKeys.packages)),
        requirements=fields.read(KernelKeys.requirements),
        argv=_argv(fields.at(KernelKeys.argv)),
        display_name=fields.read(KernelKeys.display_name),
        language=fields.read(KernelKeys.language),
        interrupt_mode=fields.read(KernelKeys.interrupt_mode),
        preload=fields.read(KernelKeys.preload),
        skip_dependencies=skipped(fields.at(KernelKeys.skip_dependencies), dependencies),
        require_dependencies=fields.read(KernelKeys.require_dependencies),
        spare=fields.read(KernelKeys.spare),
        pool=fields.read(KernelKeys.pool),
        cache=fields.read(KernelKeys.cache),
        spare_timeout=fields.read(KernelKeys.spare_timeout),
        tmpfs_size_mb=fields.read(KernelKeys.tmpfs_size),
        home_size_mb=fields.read(KernelKeys.home_size),
        tmp_size_mb=fields.read(KernelKeys.tmp_size),
        shm_size_mb=fields.read(KernelKeys.shm_size),
        max_excludes=fields.read(KernelKeys.max_excludes),
        pids=fields.read(KernelKeys.pids),
        require_limits=fields.read(KernelKeys.require_limits),
        gpus=_gpus(fields.at(KernelKeys.gpus)),
        isolation=fields.read(KernelKeys.isolation),
        protect=fields.read(KernelKeys.protect),
        unprotect=fields.read(KernelKeys.unprotect),
        idle_timeout=fields.read(KernelKeys.idle_timeout),
        max_lifetime=fields.read(KernelKeys.max_lifetime),
        cell_timeout=fields.read(KernelKeys.cell_timeout),
        transport=fields.read(KernelKeys.transport),
        where=fields.where(),
    )


def _requirements(cursor: Cursor) -> tuple[str, ...]:
    found = []
    for item in cursor.items():
        text = item.text("")
        try:
            found += [str(requirement(text))] if text else []
        except ValueError as error:
            item.fail(f"{shown(text)} is not a requirement of pip: {error}", "write NAME>=1,<2")
    return tuple(found)


def _argv(cursor: Cursor) -> tuple[str, ...]:
    argv = KernelKeys.argv.read(cursor)
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
    return _GPU_COUNT.read(cursor, None)
