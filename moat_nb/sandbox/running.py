"""One start of a sandbox: what it makes, the proof that it holds, and its end."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout  # not the built-in one before 3.11
from dataclasses import dataclass, field, replace
from typing import Any

from moat_nb.egress.process import ProxyProcess
from moat_nb.errors import MoatError, ProofError, SandboxGone, StartError
from moat_nb.guest import protocol
from moat_nb.guest.settings import served_socket
from moat_nb.host.reaper import Reaper
from moat_nb.host.rotating_log import BoundedLog
from moat_nb.host.run_directory import Owner, RunDir, SandboxState, base_directory, sweep
from moat_nb.planning.network import BUNDLE, has_certificates
from moat_nb.planning.spaces import spaces
from moat_nb.planning.spec import ContainerSpec, Instance, SandboxSpec
from moat_nb.planning.walk import Budget
from moat_nb.runtimes.base import AttachStream
from moat_nb.sandbox.changes import in_a_line
from moat_nb.sandbox.clock import Clock
from moat_nb.sandbox.egress import set_up_proxy
from moat_nb.sandbox.fresh_copy import kept_while_it_starts
from moat_nb.sandbox.guest_client import STOPPED, GuestClient, Process
from moat_nb.sandbox.kernel_user import check_volumes, give_volumes, write_accounts
from moat_nb.sandbox.mount_check import Inode, inodes_of, verify_mounts
from moat_nb.sandbox.mount_points import make_mount_points
from moat_nb.sandbox.mount_proof import MountProof
from moat_nb.sandbox.network_proof import prove_closed
from moat_nb.sandbox.ports import OpenPorts
from moat_nb.sandbox.project import LaunchPlan
from moat_nb.sandbox.protected_watch import ProtectedWatch
from moat_nb.sandbox.refusals import RefusalNotices, refusal
from moat_nb.sandbox.sidecars import Sidecars
from moat_nb.sandbox.tunnel import LauncherTunnel
from moat_nb.sandbox.workspace import changes_of, watch_of, workspace_of
from moat_nb.sandbox.workspace_copy import WorkspaceCopy
from moat_nb.text.progress import Progress
from moat_nb.text.terminal import one_line

__all__ = ["CAME_UNDONE", "RunningSandbox"]

CAME_UNDONE = (
    "the exclude came undone: the directory was removed or renamed, and the host's own shows "
    "there now; reset the sandbox"
)

START_TIMEOUT = 60.0
"""Seconds from the engine's start to the guest's proof; it takes 0.25 where nothing is wrong."""

LOOK_BACK_SECONDS = 0.3
"""For the look through the workspace at the end; `moat-nb changes` takes longer if need be."""

FINISH_SECONDS, HURRIED_SECONDS = 8.0, 2.0
"""For the reaper, before it is left to itself: it works as long as the engine does. After a guest
that did not answer, who waits for the end has waited already."""


@dataclass(kw_only=True)
class RunningSandbox:
    """A container with the guest in it, and all that was made for it; it ends with :meth:`stop`."""

    plan: LaunchPlan
    reaper: Reaper
    spec: ContainerSpec
    """The plan's, with its image and instance."""
    run_dir: RunDir
    log: BoundedLog
    sidecars: Sidecars
    inodes: Mapping[str, Inode | None] = field(default_factory=dict)
    """Device and number, at the start, of each bind's source and of each host path that is excluded
    in a sidecar."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Values by variable; a spare has none until it is handed out."""
    attach_stream: AttachStream | None = None
    proxy: ProxyProcess | None = None
    """None where there is no proxy for it."""
    tunnel: LauncherTunnel | None = None
    """None where sandbox and launcher share the sockets' directory."""
    ports: OpenPorts = field(default_factory=OpenPorts)
    protected_watch: ProtectedWatch | None = None
    """None until somebody holds it: nothing runs in it before."""
    clock: Clock = field(init=False)
    """It runs while somebody holds the sandbox."""
    timed_out: bool = False
    """Whether its clock has ended it."""
    refusal_notices: RefusalNotices = field(default_factory=RefusalNotices)
    """Which refusals were told a moment ago, so that each is told once."""
    _guest: GuestClient | None = None
    proofs: tuple[MountProof, ...] = ()
    kernels: tuple[Process, ...] = ()
    """Those that run, and those that have ended since the last was started."""
    on_event: Callable[[str, str], None] = lambda kind, text: None
    """``on_event(kind, text)``: see :class:`moat_nb.sandbox.sandbox.Sandbox`."""
    _sockets: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.clock = Clock(
            options=self.plan.config.kernel,
            warn=self._warn_of_end,
            end=self._time_out,
            rest=self._give_up_spare,
        )

    @classmethod
    def start(cls, plan: LaunchPlan, progress: Progress, *, spare: bool = False) -> RunningSandbox:
        """Start it; when this raises, nothing is left. ``spare``: nobody waits for it yet."""
        owner = Owner.of(os.getpid())
        assert owner is not None
        base = base_directory(plan.environ, os.getuid())
        sweep(base)
        reaper = Reaper()
        running = None
        try:
            run_dir = RunDir.make(base, plan.spec.user, reaper)
            image = plan.runtime.prepare(plan.image, progress, reaper)
            sidecars = Sidecars.prepare(plan.sidecars, plan.runtime, progress)
            sidecars.fetch_secrets(plan.environ)
            instance = Instance.of(run_dir, str(owner), spare=spare)
            whole = SandboxSpec(kernel=replace(plan.spec, image=image), sidecars=sidecars.specs)
            sandbox = whole.instantiate(instance)
            running = cls(
                plan=plan,
                reaper=reaper,
                spec=sandbox.kernel,
                run_dir=run_dir,
                log=BoundedLog(run_dir.log),
                sidecars=sidecars,
            )
            running.ports = OpenPorts.open(plan.spec.ports, plan.spec.name, run_dir.id)
            plans = [(spec.mounts, spec.user) for spec in (running.spec, *plan.sidecar_specs)]
            make_mount_points(plans, reaper, run_dir, running._sandbox_state(owner, spare))
            write_accounts(plan.runtime, running.spec, run_dir, reaper)
            running._start_proxy()
            running._bring_up(sandbox, progress)
            served = dict.fromkeys(port for _, port in plan.spec.ports)
            running.open_sockets([served_socket(str(run_dir.sockets), port) for port in served])
            running.ports.serve(run_dir)
            sidecars.start(running.guest, run_dir.requests, progress)
        except BaseException:
            if running is None:
                reaper.finish(FINISH_SECONDS)
            else:
                running.stop()
            raise
        return running

    def _sandbox_state(self, owner: Owner, spare: bool) -> SandboxState:
        return SandboxState(
            id=self.run_dir.id,
            name=self.plan.spec.name,
            project=self.spec.project,
            runtime=self.spec.runtime,
            image=self.spec.image,
            container=self.spec.name,
            engine=self.plan.runtime.capabilities.elsewhere,
            started=time.time(),
            owner=owner,
            services=tuple(sidecar.name for sidecar in self.plan.sidecars),
            spare=spare,
            **workspace_of(self.plan, time.time()),
            file=str(self.plan.file.path),
            digest=self.plan.file.digest,
            ports=self.ports.urls,
        )

    def _start_proxy(self) -> None:
        if not self.spec.has_way_out:
            return
        made = set_up_proxy(self.run_dir, self.spec, self.plan.environ)
        if made is not None:
            self.proxy = ProxyProcess(*made, self._hear_proxy)

    def _bring_up(self, sandbox: SandboxSpec, progress: Progress) -> None:
        """Have its containers start, and the guest prove the kernels'."""
        progress.stage(f"starting {self.spec.name}")
        self.inodes = inodes_of(self.plan)
        with kept_while_it_starts(self.plan):
            streams = self.plan.runtime.start(sandbox, self.reaper)
        self.attach_stream = streams.kernel
        self.sidecars.attach(sandbox.sidecars, streams.sidecars, self.run_dir)
        places = tuple(spaces(self.plan.spec.mounts, self.plan.spec.limits))
        self._guest = GuestClient(self.attach_stream, self._hear, places)
        if self.spec.grace:
            self._guest.beat(self.spec.grace)
        if self.spec.tunnel:
            self._open_tunnel(self._guest)
        try:
            proofs = self._guest.ready.result(timeout=START_TIMEOUT)
        except FutureTimeout:
            raise StartError(f"the guest gave no sign in {START_TIMEOUT:.0f} s") from None
        if give_volumes(self.plan.runtime, self.spec, proofs, self.reaper):
            proofs = self._guest.prove()
        self._check(proofs)
        if self.spec.closed:
            prove_closed(*self._guest.outside.result(timeout=START_TIMEOUT))

    def _open_tunnel(self, guest: GuestClient) -> None:
        proxy = None if self.proxy is None else self.run_dir.proxy_socket
        self.tunnel = LauncherTunnel(guest.send_patiently, guest.abandon, proxy)
        guest.on_tunnel = self.tunnel.hear
        if has_certificates(self.spec.trust, self.spec.egress):
            # Before the guest imports what may read it. Of its end the proof that is awaited tells.
            with contextlib.suppress(SandboxGone):
                bundle = self.run_dir.certificates.read_bytes()
                guest.send(protocol.FILE, bundle, within=START_TIMEOUT, path=BUNDLE)

    def open_sockets(self, paths: Sequence[str]) -> Callable[[], object]:
        """Have sockets here lead to the same paths inside, where these are not mounted there; what
        is returned ends them. StartError."""
        return (lambda: None) if self.tunnel is None else self.tunnel.listen(paths)

    def _hear_proxy(self, record: Mapping[str, Any]) -> None:
        """Tell of a refusal in the cells that run, and to whoever listens."""
        words = refusal(record)
        if words is None or self._guest is None or not self.refusal_notices.is_new(words):
            return
        self.tell_cells(words)
        self._hear("refused", words)

    def _hear(self, kind: str, text: str) -> None:
        if kind == "installed":
            with contextlib.suppress(OSError):  # the sandbox is ending, or the disk is full
                self.run_dir.write_installed(text)
            return
        if kind == "gone":
            self.sidecars.close()
            if self.tunnel is not None:
                self.tunnel.close()
        elif kind == "sidecar_ended":
            self.tell_cells(text)
        self.on_event(kind, text)

    def listen(self, on_event: Callable[[str, str], None]) -> None:
        """Have ``on_event`` called with what happens from now on, and with the sidecars that ended
        already."""
        self.on_event = on_event
        self.sidecars.listen(self._hear)
        self.protected_watch = watch_of(self.plan, self._hear)
        self.protected_watch.start()
        self.clock.options = self.plan.config.kernel
        self.clock.start()

    def _warn_of_end(self, words: str) -> None:
        self._hear("time", words)

    def _time_out(self, reason: str) -> None:
        self.timed_out = True
        self.stop(reason)

    def _give_up_spare(self) -> None:
        """Nothing has run for long, and nobody seems to need it."""
        self.guest.spare_ready.clear()
        with contextlib.suppress(SandboxGone):
            self.guest.send(protocol.SPARE, prefix="", after=0)

    def tell_cells(self, words: str) -> None:
        """Where the user looks: in the cells that run."""
        if self._guest is not None:
            with contextlib.suppress(SandboxGone):
                self._guest.send(protocol.NOTE, text=f"moat: {words}")

    def _check(self, proofs: tuple[MountProof, ...]) -> None:
        mounts = self.spec.mounts
        excludes = {mount.target for mount in mounts.excludes}
        promised = excludes | {mount.target for mount in mounts.ways}
        if unproved := promised - {proof.path for proof in proofs}:
            raise ProofError(f"{one_line(min(unproved))}: the guest did not prove this exclude")
        check_volumes(self.spec, proofs)
        self.proofs = tuple(proof for proof in proofs if proof.path in excludes)
        another_kernel = (
            self.plan.runtime.capabilities.own_mount_table
            or self.spec.hardening.isolation is not None
        )
        if words := verify_mounts(
            self.plan.spec, self.guest.sources, comparable=not another_kernel
        ):
            raise ProofError(words)

    @property
    def env(self) -> dict[str, str]:
        """What each process in the sandbox gets beside its own: the file's, secrets, and where
        sidecars and its own ports are."""
        given = dict(self.plan.config.env)
        return {**given, **self.secrets, **self.sidecars.kernel_env, **self.ports.env}

    @property
    def guest(self) -> GuestClient:
        assert self._guest is not None
        return self._guest

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        **options: Any,
    ) -> Process:
        """Start a process with what each gets; ``options``: see :meth:`GuestClient.spawn`."""
        process = self.guest.spawn(
            argv, env={**self.env, **(env or {})}, cwd=cwd or self.spec.workdir, **options
        )
        self.clock.touch()
        if options.get("connection") is None:  # of a kernel's work its clients say more
            self.clock.begin(process)
        process.exited.add_done_callback(lambda _: self.clock.finish(process))
        return process

    def next_socket_prefix(self) -> str:
        """A path for one kernel's sockets, ``PREFIX-1`` to ``PREFIX-5``."""
        with self._lock:
            self._sockets += 1
            return str(self.run_dir.sockets / str(self._sockets))

    def keep_kernel(self, process: Process) -> None:
        with self._lock:
            running = (kernel for kernel in self.kernels if kernel.poll() is None)
            self.kernels = (*running, process)

    def mounts(self) -> tuple[MountProof, ...]:
        """What was proved of each exclude, with its use as it is now."""
        used, lost = self.guest.mount_usage(), self.guest.lost

        def now(proof: MountProof) -> MountProof:
            if proof.path in lost:
                return replace(proof, size=0, used=0, problem=CAME_UNDONE)
            size, amount = used.get(proof.path, (proof.size, proof.used))
            return replace(proof, size=size, used=amount)

        return tuple(map(now, self.proofs))

    def make_spare_kernel(self, *, after: float) -> None:
        """Have the guest make a kernel ahead of need, after so many seconds, unless it has one."""
        self.guest.spare_ready.clear()
        self.guest.send(protocol.SPARE, prefix=self.next_socket_prefix(), after=after)

    def prove_again(self, plan: LaunchPlan, progress: Progress) -> None:
        """That it still is what ``plan`` would start; StartError, ProofError or SandboxGone."""
        # The guest looks at the excludes while the engine is asked for the image.
        with ThreadPoolExecutor(1) as beside:
            proofs = beside.submit(self.guest.prove)
            if plan.runtime.prepare(plan.image, progress, self.reaper) != self.spec.image:
                raise StartError("its image is another now")
            self.sidecars.prove_again(progress)
            if inodes_of(plan) != self.inodes:
                raise StartError("a directory that it has is another now")
        self._check(proofs.result())

    def hand_out(self) -> None:
        """From now on it is no spare, for those who list sandboxes."""
        state = replace(self.run_dir.read_state(), spare=False, since=time.time())
        self.run_dir.write_state(state)

    def stop(self, why: str = STOPPED) -> None:
        """End it, and return when nothing of it is left. The reaper is waited for FINISH_SECONDS at
        most: then it alone waits for an engine that is stuck."""
        with self._lock:
            if self._guest is not None:
                self._guest.stopping = self._guest.stopping or why
            self.clock.stop()
            self.sidecars.stop()
            if self.attach_stream is not None:
                self.attach_stream.close()
            self._look_back()
            if self.tunnel is not None:
                self.tunnel.close()
            if self.proxy is not None:
                self.proxy.close()
            self.ports.close()
            abandoned = self._guest is not None and self._guest.abandoned is not None
            self.reaper.finish(HURRIED_SECONDS if abandoned else FINISH_SECONDS)
            if self._guest is not None:
                self._guest.thread.join(timeout=1 if abandoned else 5)
            self.sidecars.join()
            self.log.close()

    def _look_back(self) -> None:
        """When nothing of it runs any more: whether it leaves something dangerous."""
        watch, self.protected_watch = self.protected_watch, None
        if watch is None:
            return
        watch.close()
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            found = changes_of(self.run_dir.read_state(), Budget(seconds=LOOK_BACK_SECONDS))
            if words := in_a_line(found):
                self._hear("changes", words)
        here = not self.plan.runtime.capabilities.elsewhere
        if here and (copy := WorkspaceCopy.of(self.plan.config, self.plan.host)) is not None:
            with contextlib.suppress(MoatError):
                if words := replace(copy, seconds=LOOK_BACK_SECONDS).in_a_line():
                    self._hear("changes", words)
