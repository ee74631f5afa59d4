"""The Sandbox: it plans, starts, resets and asks a RunningSandbox, and is what users hold."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

from moat_nb.config.model import Config
from moat_nb.config.overrides import OPTIONS
from moat_nb.egress.records import Record, read
from moat_nb.errors import CommandError, SandboxGone
from moat_nb.host.rotating_log import BoundedLog
from moat_nb.planning.requirements import outdated
from moat_nb.planning.spec import ContainerSpec
from moat_nb.sandbox.approval import Approve
from moat_nb.sandbox.changes import Changes
from moat_nb.sandbox.clock import Clock
from moat_nb.sandbox.guest_client import GuestClient, Output, Process
from moat_nb.sandbox.hooks import run_hooks
from moat_nb.sandbox.kernels import spawn_kernel
from moat_nb.sandbox.mount_proof import MountProof
from moat_nb.sandbox.planner import Planner
from moat_nb.sandbox.pool import POOL
from moat_nb.sandbox.project import LaunchPlan
from moat_nb.sandbox.protected_watch import PROTECTED
from moat_nb.sandbox.running import CAME_UNDONE, RunningSandbox
from moat_nb.sandbox.secrets import fetch
from moat_nb.sandbox.sidecar import Sidecar
from moat_nb.sandbox.usage import Usage
from moat_nb.sandbox.view import SandboxView, of_sandbox, view_of
from moat_nb.sandbox.workspace import changes_of
from moat_nb.text.progress import Progress, for_user
from moat_nb.text.summary import mimebundle
from moat_nb.text.terminal import LOGGER, printable

__all__ = ["Sandbox"]


class Sandbox:
    """A running sandbox. Made by :meth:`launch`; a context manager that stops it.

    Its methods block, may be called from any thread, and raise SandboxGone once it has ended.
    ``on_event(kind, text)`` hears ``pre_run`` with what hooks.pre_run prints (otherwise it goes to
    stderr), ``mount_lost`` with an exclude's path, ``sidecar_ended`` with which, how and its last
    lines, ``protected_made``, ``protected_lost``, ``protected_changed`` with what became of a
    protected name, ``protected_full`` where not all is watched, ``changes`` with the worst that it
    left when it ended, ``time`` with when its end comes, ``refused`` with what the network's rules
    did not allow and how to allow it, and ``gone`` with the reason, from a thread.
    """

    def __init__(
        self,
        plan: Callable[[Config | None], LaunchPlan],
        *,
        progress: Callable[[], Progress] = for_user,
        on_event: Callable[[str, str], None] | None = None,
        pooled: bool = True,
        before_start: Callable[[LaunchPlan], None] = lambda plan: None,
    ) -> None:
        self._new_plan = plan
        self._before_start = before_start
        self._new_progress = progress
        self._on_event = on_event
        self._pooled = pooled
        self._refusals: list[Callable[[str], None]] = []
        if not callable(plan):
            raise TypeError("Sandbox is made by Sandbox.launch(path)")
        first = plan(None)
        self._running = self._start(first, fetch(first.config.secrets, first.environ))

    @classmethod
    def launch(
        cls,
        path: Path | str = ".",
        runtime: str | None = None,
        *,
        progress: Callable[[], Progress] = for_user,
        on_event: Callable[[str, str], None] | None = None,
        environ: Mapping[str, str] | None = None,
        kernels: bool = True,
        pooled: bool = True,
        before_start: Callable[[LaunchPlan], None] = lambda plan: None,
        approve: Approve | None = None,
        directory: Path | str | None = None,
        **overrides: Any,
    ) -> Self:
        """Start the sandbox of the nearest ``moat.yaml`` at or above ``path``.

        ``overrides`` change the file's settings for this start: ``image`` (a tag), ``memory_mb``,
        ``cpus``, ``env`` (a mapping, added), ``mounts`` (``"source:target[:ro]"`` strings, added),
        ``pool`` and ``spare`` (as ``kernel.pool``, ``kernel.spare``), ``workspace`` ("notebook", as
        ``kernel.workspace``, for any ``directory``).
        ``directory`` is where a kernel's client starts it; ``path`` unless given.
        ``progress`` makes the display of a start that takes long; by default a bar on a terminal
        or in a notebook, after 2 s.

        ``kernels=False`` is for commands alone: nothing is imported ahead of kernels to come.
        ``pooled=False`` neither takes a spare of ``kernel.pool`` nor has one started.
        ``before_start`` is called with what will be started, before each start and reset.

        ``approve(demands)`` is called when the file asks more of the host than was approved for the
        project, with a line for each thing; what it says True to is kept as approved. By default
        that is an error which names `moat-nb allow`. What ``overrides`` ask is the caller's own.

        Raises ConfigError, ApprovalNeeded, RuntimeUnavailable, ImageError, StartError or
        ProofError; nothing that was started stays behind then.
        """
        if unknown := sorted(overrides.keys() - OPTIONS):
            there = ", ".join(sorted(OPTIONS))
            raise TypeError(f"Sandbox.launch() has no option {unknown[0]!r}; there are {there}")
        path = Path(path).absolute()  # the process may have another directory at a reset
        plan = Planner(
            path=path,
            runtime=runtime,
            directory=Path(directory or (path if path.is_dir() else path.parent)).absolute(),
            overrides=overrides,
            environ=dict(os.environ if environ is None else environ),
            kernels=kernels,
            approve=approve,
            progress=progress,
        )
        pooled = pooled and kernels
        return cls(
            plan, progress=progress, on_event=on_event, pooled=pooled, before_start=before_start
        )

    # -------- starting and stopping

    def _start(self, plan: LaunchPlan, secrets: Mapping[str, str]) -> RunningSandbox:
        self._before_start(plan)
        progress = self._new_progress()
        running = None
        try:
            if self._pooled:
                running = POOL.take(plan, progress)
            if running is None:
                running = RunningSandbox.start(plan, progress)
            running.plan, running.secrets = plan, secrets
            running.listen(self._hear)
            run_hooks(running, progress, partial(self._hear, "pre_run"))
        except BaseException:
            if running is not None:
                running.stop()
            raise
        finally:
            progress.close()
        return running

    def _hear(self, kind: str, text: str) -> None:
        if kind != "pre_run":
            text = printable(text)
        if kind == "mount_lost":
            LOGGER.warning("%s: %s", text, CAME_UNDONE)
        elif kind in ("sidecar_ended", "changes", "time", *PROTECTED):
            LOGGER.warning("%s", text)
        elif kind == "refused":
            for tell in tuple(self._refusals):
                tell(text)
        if self._on_event is not None:
            self._on_event(kind, text)
        elif kind == "time":
            self._running.tell_cells(text)
        elif kind == "pre_run":
            sys.stderr.write(text)

    def stop(self) -> None:
        """End the sandbox with all that runs in it, and return when nothing is left of it."""
        self._running.stop()

    def reset(self, *, before: Callable[[], None] | None = None) -> None:
        """A new container with empty tmpfs, as moat.yaml says now. Where that is wrong this raises
        and nothing ends; else ``before`` is called before anything does."""
        new = self._new_plan(None)
        secrets = fetch(new.config.secrets, new.environ)
        if before is not None:
            before()
        self.stop()
        # Planned once more: the mount points that it had made on the host are gone with it.
        self._running = self._start(self._new_plan(new.file), secrets)

    def relaunch(self) -> None:
        """A new container in place of this one, of the moat.yaml that was read at its start.

        For a start that nobody asked for, as a client's after a crash: the sandbox can have ended
        itself, and can have written another moat.yaml before.
        """
        self.stop()
        plan = self._new_plan(self.plan.file)
        self._running = self._start(plan, fetch(plan.config.secrets, plan.environ))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *how: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "running" if self.gone is None else "gone"
        return f"<Sandbox {self._running.spec.name} on {self.spec.runtime}, {state}>"

    def _repr_mimebundle_(self, **options: object) -> dict[str, str]:
        """Its state, mounts, limits and kernels as they are now; asks the guest."""
        return mimebundle(of_sandbox(self.view()))

    # -------- what it is

    @property
    def plan(self) -> LaunchPlan:
        """What it was started by, without what this start alone has."""
        return self._running.plan

    @property
    def config(self) -> Config:
        return self.plan.config

    def outdated(self) -> str | None:
        """That its moat.yaml, or its requirements, changed, in words; None while they have not."""
        return outdated(self.plan.config)

    @property
    def spec(self) -> ContainerSpec:
        return self._running.spec

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user must be told of this start."""
        return (*self.spec.notices, *self._running.ports.notices())

    @property
    def first_notices(self) -> tuple[str, ...]:
        """What a notebook shows in its first cell: what is lacking, and where its ports are."""
        return (*self.plan.without, *self._running.ports.notices())

    @property
    def urls(self) -> dict[str, str]:
        """By name, where a browser of this machine finds each of the file's ``ports``."""
        return dict(self._running.ports.urls)

    @property
    def id(self) -> str:
        return self._running.run_dir.id

    @property
    def sockets(self) -> Path:
        """The host directory for kernels' sockets; at the same path inside."""
        return self._running.run_dir.sockets

    @property
    def gone(self) -> str | None:
        """Why it ended, or None while it runs."""
        return self._guest.gone

    @property
    def timed_out(self) -> bool:
        """Whether ``kernel.idle_timeout`` or ``kernel.max_lifetime`` has ended it."""
        return self._running.timed_out

    @property
    def clock(self) -> Clock:
        return self._running.clock

    @property
    def sidecars(self) -> tuple[Sidecar, ...]:
        """The services beside it, as its moat.yaml has them; those that ended too."""
        return tuple(self._running.sidecars)

    @property
    def log(self) -> BoundedLog:
        return self._running.log

    @property
    def _guest(self) -> GuestClient:
        return self._running.guest

    def requests(self) -> tuple[Record, ...]:
        """Requests that have ended, the oldest first, of many the last; none with policy bridge."""
        return read(self._running.run_dir.requests)

    def changes(self) -> Changes:
        """What changed since its start in what it can write to, the dangerous first."""
        return changes_of(self._running.run_dir.read_state())

    @contextlib.contextmanager
    def refusals(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Have ``tell`` hear what is refused meanwhile, each in a line, from a thread."""
        self.begin_cell()
        self._refusals.append(tell)
        try:
            yield
        finally:
            self._refusals.remove(tell)

    def begin_cell(self) -> None:
        """From now on a refusal is told again though it was told a moment ago."""
        self._running.refusal_notices.forget()

    def mounts(self) -> tuple[MountProof, ...]:
        """What the guest proved of each exclude, with its use as it is now.

        One that came undone has a ``problem`` that says so, and no size.
        """
        return self._running.mounts()

    def usage(self) -> Usage:
        """The memory in use, and each kernel's memory and CPU over the last two minutes."""
        return self._guest.usage()

    def no_space(self) -> str:
        """Why a write inside has found no room just now, in words."""
        return self._guest.no_space()

    @property
    def kernels(self) -> tuple[Process, ...]:
        """Those that run, and those that have ended since the last was started."""
        return self._running.kernels

    def view(self) -> SandboxView:
        """What it is at this moment; of one that has ended, its mounts and how it and its kernels
        ended."""
        usage, answers = Usage(), False
        proofs: tuple[MountProof, ...] = ()
        with contextlib.suppress(SandboxGone):
            proofs, usage = self.mounts(), self.usage()
            answers = True
        return view_of(self._running, proofs, usage, answers=answers)

    # -------- what runs in it

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        **options: Any,
    ) -> Process:
        """Start a process. ``options``: see :meth:`GuestClient.spawn`; ``cwd`` is a path inside."""
        return self._running.spawn(argv, env=env, cwd=cwd, **options)

    def run(
        self,
        argv: Sequence[str],
        check: bool = False,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        on_output: Output | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end.

        Its output is in the result's ``stdout`` and ``stderr`` (bytes), or goes to
        ``on_output(stream, data)`` as it comes. ``check`` raises CommandError for an exit code
        other than 0. A command that cannot be started raises StartError.
        """
        pieces: dict[int, list[bytes]] = {1: [], 2: []}

        def collect(stream: int, data: bytes) -> None:
            pieces[stream].append(data)

        how = self.spawn(argv, cwd=cwd, env=env, on_output=on_output or collect).wait()
        if self.gone is not None:
            raise SandboxGone(self.gone)
        stdout, stderr = b"".join(pieces[1]), b"".join(pieces[2])
        if check and how.code != 0:
            words = stderr.decode(errors="replace")
            raise CommandError(argv, how.code, words, str(how))
        return subprocess.CompletedProcess(list(argv), how.code, stdout, stderr)

    def spawn_kernel(
        self,
        argv: Sequence[str],
        connection: Mapping[str, Any],
        *,
        env: Mapping[str, str],
        host_cwd: str | None,
    ) -> Process:
        """Start a kernel for a client; see :func:`moat_nb.sandbox.kernels.spawn_kernel`."""
        running = self._running
        process = spawn_kernel(running, argv, connection, env=env, host_cwd=host_cwd)
        if self._pooled and running.plan.config.kernel.pool:
            POOL.refill(partial(self._new_plan, running.plan.file), running.spec.project)
        return process

    def await_spare(self, timeout: float = 30.0) -> bool:
        """Wait until a kernel is ready for the next start or restart; whether one is, after so
        many seconds. One is made a second after a kernel's start (``kernel.spare``)."""
        return self._guest.spare_ready.wait(timeout)

    def next_socket_prefix(self) -> str:
        """A path for one kernel's sockets, ``PREFIX-1`` to ``PREFIX-5``."""
        return self._running.next_socket_prefix()
