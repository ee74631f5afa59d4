"""The jupyter_client provisioner: what a KernelManager calls to have its kernel in a sandbox.

One instance lives as long as its manager, over all restarts, and its methods may be called from
different event loops; so nothing here belongs to a loop, and what blocks runs in a thread.

The order of calls (jupyter_client 8): ``pre_launch``, ``launch_kernel``, ``post_launch``; then
``poll`` every 3 s; at the end ``send_signal`` (an interrupt), ``shutdown_requested`` unless
now=True, ``terminate``, ``kill``, ``wait``, ``cleanup``. Only ``cleanup`` says reliably whether a
restart follows, so the sandbox is kept until ``cleanup(restart=False)``.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from traitlets import Bool, Unicode

from moat_nb.errors import MoatError, SandboxGone
from moat_nb.host.run_directory import base_directory
from moat_nb.jupyter import safe_python
from moat_nb.jupyter.in_thread import in_thread
from moat_nb.jupyter.relay.process import RelayProcess, make_ahead, take
from moat_nb.jupyter.time_limits import TimeLimits, are_set
from moat_nb.jupyter.told import note_of
from moat_nb.planning.mount_paths import to_host, to_sandbox
from moat_nb.sandbox.connection import IPYKERNEL_ARGV, json_ready, new_connection
from moat_nb.sandbox.guest_client import Exit
from moat_nb.sandbox.pool import PAUSE_SECONDS

if TYPE_CHECKING:
    from moat_nb.sandbox.guest_client import Process
    from moat_nb.sandbox.sandbox import Sandbox

__all__ = ["MoatProvisioner"]

MAJOR, MINOR = sys.version_info[:2]
PYTHONS = frozenset({"python", f"python{sys.version_info[0]}", f"python{MAJOR}.{MINOR}"})

HOST_ONLY = frozenset(
    {"HOME", "JPY_PARENT_PID", "LOGNAME", "PATH", "PWD", "PYTHONEXECUTABLE", "PYTHONHOME"}
    | {"PYTHONPATH", "SHELL", "TMPDIR", "USER", "VIRTUAL_ENV"}
)
"""Variables that describe the host, whatever a client sets them to. ``JPY_PARENT_PID`` besides
makes ipykernel exit, as the parent that it names is not to be seen in a sandbox."""

LOOK_SECONDS = 2.0
"""Between two looks at moat.yaml: clients poll every three, and some more often."""


class MoatProvisioner(KernelProvisionerBase):
    project = Unicode(
        "", config=True, help="The directory of moat.yaml; empty: sought from the cwd upward."
    )
    runtime = Unicode("", config=True, help="docker, podman, bubblewrap or apple; empty: auto.")
    workspace = Unicode("", help="notebook, as kernel.workspace; a kernelspec says so.")
    directory = Unicode("", help="What that workspace is; empty: the cwd of the kernel.")
    approved = Bool(
        False,
        help="Whether who named the project has approved what it asks for: a hub's administrator.",
    )
    trust_output = Bool(
        False, help="Whether clients get what the kernel sends as it is; a kernelspec says so."
    )
    bound_output = Bool(
        False,
        config=True,
        help="Whether a relay bounds what comes, though it is trusted: a server's clients all "
        "share its memory.",
    )

    def __init__(self, *, sandbox: Sandbox | None = None, **traits: Any) -> None:
        super().__init__(**traits)
        self._sandbox = sandbox
        self._owns_sandbox = sandbox is None
        self._launching = threading.RLock()
        """Held while a kernel is started or its sandbox is stopped: a client's wish for another
        comes from a thread of its own."""
        self._waking = False
        self._process: Process | None = None
        self._relay: RelayProcess | None = None
        """Kept over restarts, and when a sandbox ended: clients stay connected to it."""
        self._limits: TimeLimits | None = None
        """Where there is a relay."""
        self._ending = False
        """The client has asked for its end, so that needs no explanation."""
        self._next_look = 0.0
        self._told_outdated = False
        self._cwd: str | None = None
        self._env: dict[str, str] = {}

    # -------- launch

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        self._process = None
        self._ending = False
        given = dict(kwargs.pop("env", os.environ))
        kwargs = await super().pre_launch(env=given, **kwargs)
        self._env = meant_for_kernel(kwargs["env"], os.environ, self.kernel_spec.env)
        self._cwd = kwargs.get("cwd") or self._cwd
        if self._cwd is None and self._owns_sandbox:
            self._cwd = str(Path.cwd())  # where a kernel without a sandbox would start
        kwargs["cmd"] = self._command(kwargs.pop("extra_arguments", []))
        return kwargs

    def _command(self, extra: list[str]) -> list[str]:
        argv = list(self.kernel_spec.argv)
        if safe_python.runs(argv, "moat_nb"):  # the shim's, for clients that know no provisioners
            argv = list(IPYKERNEL_ARGV)
        elif argv and (argv[0] == sys.executable or Path(argv[0]).name in PYTHONS):
            argv[0] = "python3"
        return argv + list(extra)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        first = self._sandbox is None
        try:
            await in_thread(self._launch_alone, cmd)
        except BaseException:
            # The manager never calls cleanup() when this raises. It may call this again, and then
            # what was read at the first start still holds.
            await in_thread(self._forget_sandbox if first else self._stop_sandbox)
            raise
        return self.connection_info

    def _launch_alone(self, cmd: list[str]) -> None:
        with self._launching:
            self._launch(cmd)

    def _launch(self, cmd: list[str]) -> None:
        self._cmd = cmd
        before = self._sandbox.id if self._sandbox is not None else None
        # It imports what it needs while the sandbox starts.
        wanted = self.bound_output or not self.trust_output
        if self._relay is None and self._owns_sandbox and wanted:
            self._have_relay()
        sandbox = self._running_sandbox()
        if self._relay is None and self._owns_sandbox and are_set(sandbox):
            self._have_relay()
        inner = new_connection(sandbox.next_socket_prefix())
        if self._relay is not None:
            self._open_relay(self._relay)
            self._relay.no_space = sandbox.no_space
            self._relay.connect(json_ready(inner))
            for notice in sandbox.first_notices if sandbox.id != before else ():
                self._relay.note(notice)  # nothing else in a notebook says it
        elif not self.connection_info:
            self.connection_info = {**inner, **self._encryption()}  # type: ignore[typeddict-item]
        else:
            inner = self.connection_info
        if self._process is not None:  # of a wake, which a restart came after
            self._process.kill()
        self._process = sandbox.spawn_kernel(
            list(sandbox.config.kernel.argv) or cmd,
            json_ready(inner),
            env=self._env,
            host_cwd=self._cwd,
        )
        if self._owns_sandbox:  # else who gave us the sandbox asks for himself
            say = functools.partial(self._say_how_it_ended, str(inner["ip"]))
            if self._limits is not None:
                self._limits.watch(sandbox, self._process)
            self._process.exited.add_done_callback(say)
        if self._relay is not None and sandbox.config.kernel.pool:
            ahead = threading.Timer(PAUSE_SECONDS, make_ahead, [self._relay.base])
            ahead.daemon = True
            ahead.start()

    def _have_relay(self) -> None:
        self._relay = take(base_directory(os.environ, os.getuid()))
        self._limits = TimeLimits(self._relay, self._wake)

    def _wake(self) -> None:
        """A client asks for something, and its sandbox was ended for its time: start another."""
        with self._launching:
            if self._ending or self._relay is None or not self._sleeps:
                return
            self._waking = True
            try:
                self._launch(self._cmd)
            except (MoatError, OSError) as error:
                self.log.warning("moat: no other sandbox was started: %s", error)
                self._relay.refused(f"no other sandbox was started: {error}")
            finally:
                self._waking = False

    @property
    def _sleeps(self) -> bool:
        """Whether its sandbox was ended for its time, and another is started when it is wanted."""
        sandbox = self._sandbox
        return self._relay is not None and sandbox is not None and sandbox.timed_out

    def _running_sandbox(self) -> Sandbox:
        """The one that is there, or a new one; of the moat.yaml that was read first, until the
        client shuts the kernel down."""
        from moat_nb.sandbox.sandbox import Sandbox

        sandbox = self._sandbox
        if sandbox is not None and (outdated := sandbox.outdated()) and self._owns_sandbox:
            self.log.warning("moat: %s", outdated)
        if sandbox is not None and sandbox.gone is None:
            return sandbox
        if sandbox is None:
            sandbox = self._sandbox = Sandbox.launch(
                self.project or self._cwd or ".",
                self.runtime or None,
                on_event=self._hear,
                directory=self.directory or self._cwd,
                workspace=self.workspace or None,
                approve=(lambda demands: True) if self.approved else None,
            )
        elif self._owns_sandbox:
            sandbox.relaunch()
        else:
            raise SandboxGone(str(sandbox.gone))
        for notice in sandbox.notices:
            self.log.info("moat: %s", notice)
        if self._relay is None:
            self.connection_info = {}
        return sandbox

    def _open_relay(self, relay: RelayProcess) -> None:
        if not self.connection_info:
            client = {**new_connection(relay.prefix), **self._encryption()}
            self.connection_info = client  # type: ignore[assignment]
            relay.open(json_ready(client), trusted=self.trust_output)

    def _say_how_it_ended(self, prefix: str, exited: Future[Exit]) -> None:
        """Into the client's log and into the notebook: a front end says no more than that the
        kernel has died."""
        how, relay = exited.result(), self._relay
        gone = self._sandbox.gone if self._sandbox is not None else None
        overdue = self._limits.overdue if self._limits is not None else None
        died = gone or overdue or f"the kernel ended: {how.told}"
        why = "" if self._ending or how.code == 0 else died
        if why and gone is None:
            self.log.warning("moat: %s", why)
        if relay is not None and why and self._sleeps:
            relay.asleep(prefix, why)
        elif relay is not None:
            relay.ended(prefix, why)

    def _encryption(self) -> dict[str, str]:
        """CurveZMQ's keys, where the manager asks for encryption and the kernelspec is fit for it.

        A manager that requires it has refused every other kernelspec before.
        """
        asked = getattr(self.parent, "transport_encryption", "disabled") != "disabled"
        supported = self.kernel_spec.metadata.get("supported_encryption", [])
        if not asked or "curve" not in ([supported] if isinstance(supported, str) else supported):
            return {}
        import zmq

        public, secret = zmq.curve_keypair()
        return {"curve_publickey": public.decode(), "curve_secretkey": secret.decode()}

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("pre_run", "refused"):
            self.log.info("moat: %s", text.rstrip())
        elif kind == "gone" and self._process is not None:
            self.log.warning("moat: %s", text)
        elif kind == "time" and self._limits is not None:
            self._limits.tell(text)
        elif (note := note_of(kind, text)) is not None and self._relay is not None:
            self._relay.note(note[0], weight=note[1])

    # -------- the process

    @property
    def has_process(self) -> bool:
        return self._process is not None

    @property
    def process(self) -> Process | None:
        """The kernel's, in its sandbox."""
        return self._process

    def ended(self) -> Exit | None:
        """How the kernel's process ended, or None while it runs; never blocks."""
        return self._process.poll() if self._process is not None else Exit(code=0)

    async def poll(self) -> int | None:
        self._look_at_file()
        how = self.ended()
        if how is None or (not self._ending and (self._waking or self._sleeps)):
            return None  # a manager would start another at once that nobody wants yet
        return how.code

    def _look_at_file(self) -> None:
        """Tell once that moat.yaml is another by now: nothing else in a notebook says so."""
        now = time.monotonic()
        if self._sandbox is None or self._relay is None or now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        outdated = self._sandbox.outdated()
        if outdated and not self._told_outdated:
            self._relay.note(outdated)
        self._told_outdated = outdated is not None

    async def wait(self) -> int | None:
        process = self._process
        if process is None:
            return 0
        how = await in_thread(process.wait)
        self._process = None
        return how.code

    async def send_signal(self, signum: int) -> None:
        if self._process is None or signum == 0:
            return
        # A kernel or a sandbox that is gone already is what the caller was after.
        with contextlib.suppress(SandboxGone):
            await in_thread(self._process.signal, signum)

    async def shutdown_requested(self, restart: bool = False) -> None:
        self._ending = True
        if self._process is not None and self._process.poll() is None:
            self._process.expect_end()

    async def kill(self, restart: bool = False) -> None:
        self._ending = True
        if self._process is not None:
            await in_thread(self._process.kill)

    async def terminate(self, restart: bool = False) -> None:
        self._ending = True
        await self.send_signal(signal.SIGTERM)

    async def cleanup(self, restart: bool = False) -> None:
        if not restart and self._owns_sandbox:
            await in_thread(self._forget_sandbox)

    def _forget_sandbox(self) -> None:
        with self._launching:
            self._stop_sandbox()
            self._sandbox = None

    def _stop_sandbox(self) -> None:
        with self._launching:
            if self._limits is not None:
                self._limits.end()
                self._limits = None
            relay, self._relay = self._relay, None
            self.connection_info = {}
            if relay is not None:
                relay.close()
            if self._sandbox is not None:
                self._sandbox.stop()

    # -------- what others ask

    @property
    def relay_pid(self) -> int | None:
        """The output relay's process, or None where there is none."""
        return None if self._relay is None else self._relay.pid

    async def get_provisioner_info(self) -> dict[str, Any]:
        info = await super().get_provisioner_info()
        info["connection_info"] = json_ready(self.connection_info)
        info["sandbox"] = self._sandbox.id if self._sandbox is not None else None
        return info

    async def load_provisioner_info(self, provisioner_info: dict[str, Any]) -> None:
        raise MoatError(
            "a sandbox ends with its launcher, so another process cannot take its kernel over"
        )

    def resolve_path(self, path: str) -> str | None:
        """The user's own file behind a path inside; None when there is none."""
        if self._sandbox is None:
            return None
        spec = self._sandbox.plan.spec
        cwd = to_sandbox(self._cwd, spec.mounts) if self._cwd else None
        found = to_host(path, cwd or spec.workdir, spec.mounts)
        return found if found is not None and Path(found).exists() else None


def meant_for_kernel(
    given: Mapping[str, str], inherited: Mapping[str, str], spec_env: Mapping[str, str]
) -> dict[str, str]:
    """What of ``given`` a client set for the kernel: not what it merely inherited of the host's.

    Clients hand over a copy of their whole environment with a few entries added; the kernelspec's
    own ``env`` is always meant.
    """
    return {
        name: value
        for name, value in given.items()
        if name in spec_env or (inherited.get(name) != value and name not in HOST_ONLY)
    }
