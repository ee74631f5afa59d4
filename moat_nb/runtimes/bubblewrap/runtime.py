"""bubblewrap >= 0.7: a sandbox on the host's own files, with no engine and no image.

The sandbox holds what is bound and nothing else: the host's programs below /usr, the launcher's
interpreter read-only, the plan's mounts, a fresh HOME, /tmp, /proc and /dev, and no network.
bubblewrap runs as the workspace's owner, never as root.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moat_nb.errors import Problem, StartError
from moat_nb.host.cgroups import Cgroup
from moat_nb.host.machine import MOAT_USER, Host, User
from moat_nb.planning.accounts import group, passwd
from moat_nb.planning.capabilities import Capabilities
from moat_nb.planning.limits import MIB
from moat_nb.planning.mounts import TMPFS_MODE, Bind, EmptyFile, Mount, Tmpfs, Volume
from moat_nb.planning.network import HOSTNAME
from moat_nb.planning.spec import GUEST_PATH, ContainerSpec, SandboxSpec
from moat_nb.runtimes.base import UNLIMITED_FILES, Availability, Runtime, SandboxStreams
from moat_nb.runtimes.bubblewrap import covers, etc, seccomp, staging
from moat_nb.runtimes.bubblewrap.dependencies import missing_dependencies
from moat_nb.runtimes.bubblewrap.late import Late, late
from moat_nb.runtimes.bubblewrap.machine import (
    NAMESPACES,
    OUTSIDE,
    BubblewrapFacts,
    discover,
    hint,
    probe,
)
from moat_nb.runtimes.bubblewrap.stream import SandboxStream
from moat_nb.runtimes.bubblewrap.unsupported import needs_image, unsupported
from moat_nb.runtimes.pipes import memory_file, spawn
from moat_nb.runtimes.rlimits import above_own, rlimits

if TYPE_CHECKING:
    from moat_nb.config.model import Config
    from moat_nb.host.reaper import Reaper
    from moat_nb.planning.image import ImagePlan
    from moat_nb.text.progress import Progress

__all__ = ["UNLIMITED", "Bubblewrap"]

OLDEST = (0, 7)
"""The first bubblewrap with ``--size``; before it a tmpfs could take half of the host's RAM."""

UNLIMITED = "there is no systemd with cgroup v2 and no cgroup that this process may make"
"""Why nothing limits memory."""
LIMITED_ELSEWHERE = "log in with a systemd session, launch as root, use docker, or take it out"

_JOIN = """\
while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 1; shift; done
shift
exec "$@"
"""
"""Before anything else runs, so that no process of the sandbox is ever outside of its cgroup."""

_INSTALL = "install it: apt-get install bubblewrap (or dnf, pacman, apk)"


class Bubblewrap(Runtime):
    """The runtime; ``facts`` are found by :func:`discover` when first needed."""

    capabilities = Capabilities(
        name="bubblewrap", images=False, sidecars=False, parents_are_roots=False
    )

    def __init__(
        self, host: Host, facts: BubblewrapFacts | None = None, *, no_engine: str = ""
    ) -> None:
        """``no_engine``: what to do so that the engine that is there can be used."""
        self.host = host
        self._no_engine = no_engine
        self._given = facts

    @functools.cached_property
    def facts(self) -> BubblewrapFacts:
        return self._given or discover(self.host)

    def available(self) -> Availability:
        facts = self.facts
        found = f"bubblewrap {'.'.join(map(str, facts.version))}"
        if facts.bwrap is None:
            return Availability(usable=False, detail="bwrap is not installed", hint=_INSTALL)
        if facts.version < OLDEST:
            newer = f"install {'.'.join(map(str, OLDEST))} or newer"
            return Availability(usable=False, detail=f"{found} is too old", hint=newer)
        needed = ("prlimit",) if self.host.user.uid else ("prlimit", "setpriv", "unshare")
        missing = [name for name in needed if getattr(facts, name) is None]
        if missing:
            detail = f"{', '.join(missing)}: not installed"
            return Availability(usable=False, detail=detail, hint="install util-linux")
        if facts.machine not in seccomp.MACHINES:
            detail = f"no seccomp filter for {facts.machine}"
            return Availability(usable=False, detail=detail, hint="use docker")
        failure = probe(self._drop(MOAT_USER), facts)
        if failure:
            return Availability(usable=False, detail=f"{found}: {failure}", hint=hint())
        return Availability(usable=True, detail=f"{found}, {self._limiter}")

    @property
    def _limiter(self) -> str:
        if self.facts.place is not None:
            return f"limits by a cgroup (v{self.facts.place.version}) of its own"
        return "memory is not limited" if self.facts.limiter == "none" else "limits by systemd-run"

    def prepare(self, image: ImagePlan | None, progress: Progress, reaper: Reaper) -> None:
        """Nothing: what the host lacks, :meth:`check` has named."""

    def check(self, spec: ContainerSpec, config: Config) -> tuple[Problem, ...]:
        path = os.pathsep.join((str(Path(self.host.executable).parent), OUTSIDE["PATH"]))
        refused = (
            Problem(where=config.place(key), what=f"bubblewrap: {what}", hint=hint, supported=False)
            for key, what, hint in (
                *needs_image(config),
                *unsupported(spec),
                *self._unsupported_here(spec),
            )
        )
        volumes = (
            Problem(
                where=config.place_of(mount.target),
                what=f"bubblewrap: volume {mount.name}: there are no named volumes",
                hint="use type bind, or docker",
                supported=False,
            )
            for mount in spec.mounts
            if isinstance(mount, Volume)
        )
        found = (*refused, *volumes, *missing_dependencies(config, path))
        return tuple(replace(one, hint=self._with_the_engine(one.hint)) for one in found)

    def _with_the_engine(self, hint: str) -> str:
        """ "use docker" is no help to who is refused by the one that is there."""
        if not self._no_engine:
            return hint
        here = f"docker, which is here ({self._no_engine})"
        return re.sub(r"(?<=use )docker\b|(?<=or )docker\b", lambda found: here, hint)

    def notices(self, spec: ContainerSpec, image: ImagePlan | None = None) -> tuple[str, ...]:
        """Which limits are in force here, for the user."""
        memory, pids = f"{spec.limits.memory // MIB} MiB", spec.limits.pids
        if self.facts.limiter != "none":
            holder = "a cgroup" if self.facts.limiter == "cgroup" else "a systemd scope"
            return (f"limits: {holder} holds all processes to {memory} and {pids} tasks",)
        return (
            f"limits: memory is not limited, as {UNLIMITED}: {memory} of data are each process's "
            f"own, and neither shared memory nor tmpfs counts; {pids} processes and threads in "
            "all. kernel.require_limits refuses such a start",
        )

    def remarks(self, spec: ContainerSpec) -> tuple[str, ...]:
        seen = (*(words[2] for words in self.facts.system), *(m.target for m in spec.mounts))
        return (UNLIMITED_FILES, *etc.remarks(seen))

    def render(self, sandbox: SandboxSpec) -> tuple[dict[str, Any], ...]:
        """The command line, and what bubblewrap reads from descriptors.

        ``argv``: the command line; ``arguments``: the options behind ``--args``, which other
        users of the machine cannot read in /proc; ``files``: the generated files' text; ``late``,
        if any: what is covered after that. ``<name>`` stands for a descriptor. Sources that
        ``staging.py`` moves are named by their own paths.
        """
        spec = sandbox.kernel
        fds = {name: f"<{name}>" for name in ("arguments", "seccomp", *_files(spec))}
        left = late(self._mounts(spec))
        words: dict[str, Any] = {
            "argv": self._argv(spec, (), fds, left),
            "arguments": list(self._arguments(spec, fds, {}, left)),
            "files": _files(spec),
        }
        if left:
            words["late"] = sorted(left.targets)
        return (words,)

    def start(self, sandbox: SandboxSpec, reaper: Reaper) -> SandboxStreams:
        """Start it. The reaper removes its cgroup; the sandbox itself dies with its pipes."""
        spec = sandbox.kernel
        cgroup = self._cgroup(spec)
        if cgroup is not None:
            self._make(cgroup, spec, reaper)
        places, stage = self._stage(spec)
        contents = {name: text.encode() for name, text in _files(spec).items()}
        contents["seccomp"] = seccomp.program(self.facts.machine)
        left = late(self._mounts(spec))
        with contextlib.ExitStack() as stack:
            fds = {name: memory_file(stack, data) for name, data in contents.items()}
            info = left.info(stack, fds)
            arguments = self._arguments(spec, fds, places, left)
            words = b"".join(os.fsencode(word) + b"\0" for word in arguments)
            fds["arguments"] = memory_file(stack, words)
            environ = {**OUTSIDE, **dict(self.facts.bus)}
            argv = self._argv(spec, stage, fds, left)
            process = spawn(argv, environ, [int(fd) for fd in fds.values()])
            if left:
                left.mount(process, info, spec.user)
        stream = SandboxStream(process, cgroup, spec.limits.memory)
        return SandboxStreams(kernel=stream)

    def _cgroup(self, spec: ContainerSpec) -> Cgroup | None:
        place = self.facts.place
        return None if place is None else place.named(spec.name.rpartition("-")[2])

    def _make(self, cgroup: Cgroup, spec: ContainerSpec, reaper: Reaper) -> None:
        for path in cgroup.directories:
            reaper.cgroup(path)
        limits = spec.limits
        try:
            cgroup.make(memory=limits.memory, pids=limits.pids, cpus=limits.cpus)
        except OSError as error:
            raise StartError(
                f"bubblewrap: the sandbox's cgroup cannot be made: {error}; `moat-nb doctor` shows "
                "what limits this machine gives"
            ) from error

    def _argv(
        self, spec: ContainerSpec, stage: tuple[str, ...], fds: Mapping[str, str], left: Late
    ) -> list[str]:
        bwrap = [self.facts.bwrap or "bwrap", "--args", fds["arguments"], "--"]
        if left:
            bwrap += ["/bin/sh", "-c", covers.WAIT, "moat-wait"]
        limits = [self.facts.prlimit or "prlimit", *self._rlimits(spec), "--"]
        return [*self._scope(spec), *stage, *self._drop(spec.user), *bwrap, *limits, *spec.command]

    def _scope(self, spec: ContainerSpec) -> list[str]:
        if (cgroup := self._cgroup(spec)) is not None:
            return ["sh", "-c", _JOIN, "moat-join", *cgroup.directories, "--"]
        if self.facts.limiter == "none" or self.facts.systemd_run is None:
            return []
        level = ["--user"] if self.facts.limiter == "systemd-run-user" else []
        limits = spec.limits
        properties = [f"MemoryMax={limits.memory}", "MemorySwapMax=0", f"TasksMax={limits.pids}"]
        if limits.cpus is not None:
            properties.append(f"CPUQuota={limits.cpus * 100:g}%")
        options = [word for item in properties for word in ("-p", item)]
        return [self.facts.systemd_run, *level, "--scope", "--quiet", "--collect", *options, "--"]

    def _rlimits(self, spec: ContainerSpec) -> list[str]:
        """For prlimit, *inside* the sandbox, where the processes of its user namespace count.

        RLIMIT_DATA and not RLIMIT_AS: node and others reserve far more address space than they
        use.
        """
        limits = spec.limits
        caps = {} if self.facts.limiter != "none" else {"data": limits.memory, "nproc": limits.pids}
        if self.facts.place is not None and not self.facts.place.limits("pids"):
            caps["nproc"] = limits.pids
        return [f"--{name}={values}" for name, values in rlimits(limits, **caps).items()]

    def _drop(self, user: User) -> list[str]:
        """Words in front of bubblewrap that make root the sandbox's user."""
        if self.host.user.uid != 0:
            return []
        ids = ["--reuid", str(user.uid), "--regid", str(user.gid), "--clear-groups"]
        return [self.facts.setpriv or "setpriv", *ids, "--no-new-privs", "--"]

    def _arguments(
        self,
        spec: ContainerSpec,
        fds: Mapping[str, str],
        places: Mapping[str, str],
        left: Late,
    ) -> Iterator[str]:
        if "info" in fds:
            yield from ("--info-fd", fds["info"])
        # The guest is PID 1: no signal from inside reaches it.
        yield from (*NAMESPACES, "--as-pid-1", "--new-session", "--die-with-parent")
        yield from ("--cap-drop", "ALL")
        yield from (*self.facts.disable_userns, "--hostname", HOSTNAME, "--seccomp", fds["seccomp"])
        for words in self.facts.system:
            yield from words
        for name in _files(spec):
            yield from ("--perms", "0644", "--ro-bind-data", fds[name], f"/etc/{name}")
        yield from ("--proc", "/proc", "--dev", "/dev")
        yield from _tmpfs("/dev/shm", spec.limits.shm)
        yield from ("--remount-ro", "/dev")
        for mount in self._mounts(spec):
            if mount.target not in left.targets:
                yield from self._mount(mount, places)
        if spec.hardening.read_only_root:
            yield from ("--remount-ro", "/")
        yield "--clearenv"
        for name, value in spec.env:
            yield from ("--setenv", name, value)
        yield from ("--chdir", spec.workdir)

    def _mounts(self, spec: ContainerSpec) -> tuple[Mount, ...]:
        """The plan, and the guest in its place among it."""
        guest = Bind(source=f"{self.facts.package}/guest", target=GUEST_PATH, read_only=True)
        return spec.mounts.with_mounts(guest).mounts

    def _mount(self, mount: Mount, places: Mapping[str, str]) -> tuple[str, ...]:
        if isinstance(mount, Tmpfs):
            return _tmpfs(mount.target, mount.size)
        source = self._source(mount)
        read_only = isinstance(mount, EmptyFile) or (isinstance(mount, Bind) and mount.read_only)
        bind = "--ro-bind" if read_only else "--bind"
        return bind, places.get(source, source), mount.target

    def _source(self, mount: Mount) -> str:
        return mount.source if isinstance(mount, Bind) else f"{self.facts.package}/runtimes/empty"

    def _stage(self, spec: ContainerSpec) -> tuple[dict[str, str], tuple[str, ...]]:
        """As :func:`staging.stage`; the parts of a prefix are moved together where they can be."""
        parts = {m.source for m in spec.mounts if isinstance(m, Bind) and m.role == "interpreter"}
        roots = {source: source for source in self._unreachable(spec)}
        for source in parts & roots.keys():
            prefix = Path(source).parent
            if staging.may_pass(prefix.stat(), spec.user):
                roots[source] = str(prefix)
        places, words = staging.stage(roots.values())
        return {s: f"{places[root]}{s.removeprefix(root)}" for s, root in roots.items()}, words

    def _unreachable(self, spec: ContainerSpec) -> list[str]:
        """The sources that the sandbox's user cannot reach and root can; StartError for others."""
        mounts = [mount for mount in self._mounts(spec) if not isinstance(mount, Tmpfs)]
        sources = [self._source(mount) for mount in mounts]
        for source in sources:
            try:
                Path(source).stat()
            except OSError as error:
                raise StartError(
                    f"{source}: bubblewrap cannot bind it for user {self.host.user}: "
                    f"{error.strerror}; make it readable, or take it out of moat.yaml"
                ) from error
        if self.host.user.uid != 0:
            return []
        return [source for source in sources if not staging.reachable(source, spec.user)]

    def _unsupported_here(self, spec: ContainerSpec) -> Iterator[tuple[str, str, str]]:
        user, launcher = spec.user, self.host.user
        if user.uid == 0:
            what = "the kernel's user is root, which owns the host's files too"
            yield "", what, "use another user"
        elif launcher.uid != 0 and user != launcher:
            yield "", f"user {user}: only root can start as another user", f"launch as {user}"
        if spec.limits.cpus is not None and not self.facts.limits_cpu:
            yield (
                "container.cpus",
                f"container.cpus {spec.limits.cpus:g} cannot be honoured: {UNLIMITED}, or none has "
                "a cpu controller",
                "take cpus out, or use docker",
            )
        if spec.limits.required and self.facts.limiter == "none":
            key = "kernel.require_limits"
            yield key, f"{key}: memory cannot be limited here: {UNLIMITED}", LIMITED_ELSEWHERE
        if spec.limits.pids < 8 and self.facts.limiter != "none":
            what = f"kernel.pids {spec.limits.pids} is too few to start"
            yield "kernel.pids", what, "give 8 or more"
        for name, hard, allowed in above_own(spec.limits):
            what = f"container.ulimits {name}: hard {hard} is above {allowed}, the launcher's own"
            yield "container.ulimits", what, f"give {allowed} or less, or raise the launcher's"


def _files(spec: ContainerSpec) -> dict[str, str]:
    """The generated files of /etc."""
    return {
        "passwd": passwd(spec.user),
        "group": group(spec.user),
        "hosts": f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost\n",
    }


def _tmpfs(target: str, size: int) -> tuple[str, ...]:
    return "--perms", f"{TMPFS_MODE:o}", "--size", str(size), "--tmpfs", target
