"""Apple's ``container`` >= 1.0, one virtual machine a container, over its command line and pipes.

Every option used here is in the ``container run`` section of apple/container's
docs/command-reference.md at 1.0.0, but for ``--network none``, which only its source shows
(NetworkClient.noNetworkName, since 0.6.0); a version without it refuses an unknown network, so
the promise of no network is kept or the sandbox does not start.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from moat_nb.errors import Problem
from moat_nb.host.machine import Host
from moat_nb.host.package import PACKAGE
from moat_nb.planning.capabilities import Capabilities
from moat_nb.planning.image import ImagePlan, image_plan
from moat_nb.planning.limits import MIB
from moat_nb.planning.mounts import TMPFS_MODE, Bind, EmptyFile, Mount, Tmpfs, Volume
from moat_nb.planning.spec import GUEST_PATH, ContainerSpec, SandboxSpec
from moat_nb.runtimes.base import UNLIMITED_FILES, Availability, Runtime, SandboxStreams
from moat_nb.runtimes.pipes import PipeStream, spawn
from moat_nb.runtimes.rlimits import rlimits

if TYPE_CHECKING:
    from moat_nb.config.model import Config
    from moat_nb.host.reaper import Reaper
    from moat_nb.host.run_directory import SandboxState
    from moat_nb.text.progress import Progress

__all__ = ["Apple", "end", "is_running"]

OLDEST = (1, 0, 0)
"""The first version with ``--shm-size`` and ``--ulimit``; ``--cap-drop`` came with 0.12.0."""

PROBE_SECONDS = 0.5
REMOVE_SECONDS = 10.0

GUEST = str(PACKAGE / "guest")

_SEPARATORS = ",="
"""What ends a value of ``--mount``, for which there is no escape."""


class Apple(Runtime):
    """The runtime; ``program`` is the ``container`` command."""

    capabilities = Capabilities(
        name="apple",
        sidecars=False,
        shares_unix_sockets=False,
        own_mount_table=True,
        binds_files=False,
    )

    def __init__(self, host: Host, program: str = "container") -> None:
        self.host = host
        self.program = program

    def available(self) -> Availability:
        hint = "on a Mac, install container 1.0 or newer from github.com/apple/container/releases"
        if shutil.which(self.program) is None:
            detail = f"{self.program}: not installed"
            return Availability(usable=False, detail=detail, hint=hint)
        words = self._run("--version", seconds=PROBE_SECONDS)
        match = re.search(r"(\d+)\.(\d+)\.(\d+)", words or "")
        if match is None:
            return Availability(usable=False, detail=f"{self.program} does not answer", hint=hint)
        version = tuple(int(number) for number in match.groups())
        if version < OLDEST:
            detail = f"container {match[0]} is too old"
            return Availability(usable=False, detail=detail, hint=hint)
        if self._run("system", "status", seconds=PROBE_SECONDS) is None:
            detail = f"container {match[0]}: its services are not running"
            return Availability(usable=False, detail=detail, hint="run container system start")
        return Availability(usable=True, detail=f"container {match[0]}")

    def prepare(self, image: ImagePlan | None, progress: Progress, reaper: Reaper) -> str:
        """The base image, which has all that is asked for: none is built here yet."""
        assert image is not None
        return image.base

    def notices(self, spec: ContainerSpec, image: ImagePlan | None = None) -> tuple[str, ...]:
        """What the user must be told of the limits here."""
        return (
            f"limits: the virtual machine has {spec.limits.memory // MIB} MiB; "
            f"{spec.limits.pids} processes for the kernel's user",
            "apple: there is no no-new-privileges and no seccomp filter; all capabilities are "
            "dropped, and the virtual machine's Linux kernel is the sandbox's own",
        )

    def remarks(self, spec: ContainerSpec) -> tuple[str, ...]:
        return (UNLIMITED_FILES,)

    def check(self, spec: ContainerSpec, config: Config) -> tuple[Problem, ...]:
        return tuple(
            Problem(where=where, what=f"apple: {what}", hint=hint, supported=False)
            for where, what, hint in (*_needs_build(config), *_unsupported(spec, config))
        )

    def render(self, sandbox: SandboxSpec) -> tuple[list[str], ...]:
        """The whole command line."""
        spec = sandbox.kernel
        return ([self.program, "run", *_options(spec), str(spec.image), *spec.command[1:]],)

    def start(self, sandbox: SandboxSpec, reaper: Reaper) -> SandboxStreams:
        """Start it. The reaper speaks to engines' sockets and there is none: ``--rm`` removes
        the container when the guest ends, and the guest ends with the pipes."""
        (argv,) = self.render(sandbox)
        return SandboxStreams(kernel=_Container(spawn(argv, os.environ), self, sandbox.kernel.name))

    def remove(self, name: str) -> None:
        """End a container that did not end by itself; harmless when it did."""
        self._run("delete", "--force", name, seconds=REMOVE_SECONDS)

    def _run(self, *words: str, seconds: float) -> str | None:
        """What the command printed; None when it failed or took longer."""
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(
                [self.program, *words], capture_output=True, check=True, text=True, timeout=seconds
            ).stdout
        return None


def is_running(state: SandboxState, sockets: Path, environ: Mapping[str, str]) -> bool:
    """True: only the launcher of a container can tell quickly."""
    return True


def end(state: SandboxState, sockets: Path, environ: Mapping[str, str]) -> bool:
    """Remove the container of ``state``, whose launcher is another process; True."""
    Apple(Host.current()).remove(state.container)
    return True


class _Container(PipeStream):
    """An attach stream whose child is the client alone: the container runs under a service."""

    def __init__(self, process: subprocess.Popen[bytes], runtime: Apple, name: str) -> None:
        super().__init__(process)
        self._runtime = runtime
        self._name = name

    def close(self) -> None:
        super().close()
        self._runtime.remove(self._name)

    def kill(self) -> None:
        super().kill()
        self._runtime.remove(self._name)


def _options(spec: ContainerSpec) -> Iterator[str]:
    limits = spec.limits
    yield from ("--name", spec.name, "--rm", "--interactive", "--init", "--progress", "none")
    yield from ("--network", "none", "--no-dns")
    yield from ("--user", str(spec.user), "--workdir", spec.workdir)
    for capability in spec.hardening.cap_drop:
        yield from ("--cap-drop", capability)
    if spec.hardening.read_only_root:
        yield "--read-only"
    yield from ("--memory", _mib(limits.memory), "--shm-size", _mib(limits.shm))
    if limits.cpus is not None:
        yield from ("--cpus", f"{limits.cpus:g}")
    # There is no limit of processes but this one, which holds as the kernel's user is not root.
    for name, values in rlimits(limits, nproc=limits.pids).items():
        yield from ("--ulimit", f"{name}={values}")
    for name, value in spec.env:
        yield from ("--env", f"{name}={value}")
    for name, value in spec.labels:
        yield from ("--label", f"{name}={value}")
    for mount in _mounts(spec):
        yield from ("--mount", _mount(mount))
    yield from ("--entrypoint", spec.command[0])


def _mounts(spec: ContainerSpec) -> tuple[Mount, ...]:
    return spec.mounts.with_mounts(Bind(source=GUEST, target=GUEST_PATH, read_only=True)).mounts


def _mount(mount: Mount) -> str:
    if isinstance(mount, Tmpfs):
        mode = f"mode={TMPFS_MODE:o}"
        return f"type=tmpfs,destination={mount.target},{mode},size={_mib(mount.size)}"
    assert isinstance(mount, Bind)
    read_only = ",readonly" if mount.read_only else ""
    return f"type=bind,source={mount.source},target={mount.target}{read_only}"


def _mib(size: int) -> str:
    """Sizes have a granularity of 1 MiB there."""
    return f"{max(1, size // MIB)}M"


def _needs_build(config: Config) -> Iterator[tuple[str, str, str]]:
    if config.base_image is not None and image_plan(config).only_ipykernel:
        return
    key = "base_image" if config.base_image is None else "dependencies"
    yield (
        config.place(key),
        "images are not built here yet",
        "build one that has ipykernel and the dependencies, name it as base_image, and take the "
        "dependencies out",
    )


def _unsupported(spec: ContainerSpec, config: Config) -> Iterator[tuple[str, str, str]]:
    """Where, what ``container`` cannot honour, and what to do instead."""
    docker = "use docker"
    if spec.user.uid == 0:
        what = "the kernel's user is root, whom no process limit holds"
        yield config.path.name, what, "use another user"
    for mount in spec.mounts:
        where = config.place_of(mount.target)
        if isinstance(mount, EmptyFile):
            yield where, f"exclude {mount.target}: a single file cannot be covered", docker
        if isinstance(mount, Volume):
            what = f"volume {mount.name}: belongs to root when new"
            yield where, what, "use type bind, or docker"
        if isinstance(mount, Bind) and Path(mount.source).is_file():
            what = f"{mount.source}: a single file cannot be bound"
            yield where, what, "bind the directory it is in, or use docker"
        for path in (mount.target, mount.source if isinstance(mount, Bind) else ""):
            if set(path) & set(_SEPARATORS):
                yield where, f"mount {path}: a path with ',' or '=' cannot be given", "rename it"
    cpus = spec.limits.cpus
    if cpus is not None and (cpus < 1 or cpus != int(cpus)):
        what = f"container.cpus {cpus:g}: only whole processors"
        yield config.place("container.cpus"), what, "give a whole number"
    if spec.gpus is not None:
        what = f"kernel.gpus {spec.gpus}: there are no GPUs in the virtual machine"
        yield config.place("kernel.gpus"), what, docker
    if spec.network == "bridge":
        yield config.network.where, "network.policy bridge: there is no network", "drop it"
    if spec.ports:
        yield config.place("ports"), "ports: what listens for them needs Linux", "take ports out"
    if spec.dns:
        what = f"container.dns {', '.join(spec.dns)}: there is no network"
        yield config.place("container.dns"), what, "take dns out"
    if spec.hardening.isolation is not None:
        what = f"kernel.isolation {spec.hardening.isolation}: each has a kernel already"
        yield config.place("kernel.isolation"), what, "drop it"
