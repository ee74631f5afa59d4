"""Kernels as jupyter_client sees them, started in a sandbox that is already there."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.channels import ZMQSocketChannel
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from jupyter_core.utils import ensure_event_loop

from moat_nb.errors import SandboxGone
from moat_nb.jupyter.bounds import BoundedSockets
from moat_nb.jupyter.provisioner import MoatProvisioner
from moat_nb.jupyter.time_limits import CellTimer
from moat_nb.sandbox.connection import IPYKERNEL_ARGV

if TYPE_CHECKING:
    from moat_nb.sandbox.clock import Clock
    from moat_nb.sandbox.guest_client import Exit
    from moat_nb.sandbox.sandbox import Sandbox

__all__ = ["Kernel", "own_event_loop"]

READY_TIMEOUT = 60.0


class Kernel(BoundedSockets, KernelManager):
    """A KernelManager whose kernel runs in a given sandbox; ``kc`` is a connected client.

    A message of more than 64 MiB breaks the connection that it comes over, for good: who waits for
    what such a cell says needs a timeout, and another ``client()`` then.

    ``restart_kernel`` and ``shutdown_kernel`` leave the sandbox as it is. A context manager that
    shuts the kernel down.
    """

    kc: BlockingKernelClient
    sandbox: Sandbox
    times_cells: bool

    @classmethod
    def launch(cls, sandbox: Sandbox, *, times_cells: bool = True, **options: Any) -> Kernel:
        """Start the kernel's process, without waiting until it answers; the channels of ``kc``
        are not started either. ``times_cells``: whether what ``kc`` asks to execute is interrupted
        after ``kernel.cell_timeout``; else who uses it sees to that."""
        kernel = cls()
        kernel.sandbox, kernel.times_cells = sandbox, times_cells
        kernel._kernel_spec = KernelSpec(
            argv=list(IPYKERNEL_ARGV),
            display_name=f"moat: {sandbox.config.name}",
            language="python",
        )
        kernel.kernel_id = str(uuid.uuid4())
        kernel.provisioner = MoatProvisioner(
            sandbox=sandbox,
            kernel_id=kernel.kernel_id,
            kernel_spec=kernel._kernel_spec,
            parent=kernel,
        )
        kernel.start_kernel(**options)
        kernel.kc = kernel.client()
        return kernel

    @classmethod
    def start(cls, sandbox: Sandbox, **options: Any) -> Kernel:
        """Start a kernel and wait until it answers. ``options`` are ``start_kernel``'s.

        Raises SandboxGone with the reason when it ends before.
        """
        kernel = cls.launch(sandbox, **options)
        try:
            kernel.kc.start_channels()
            kernel.kc.wait_for_ready(timeout=READY_TIMEOUT)
        except BaseException as error:
            why = kernel.why_ended()
            kernel.close()
            if why is not None and isinstance(error, RuntimeError):
                raise SandboxGone(why) from error
            raise
        return kernel

    def ended(self) -> Exit | None:
        """How its process ended, or None while it runs; never blocks."""
        assert isinstance(self.provisioner, MoatProvisioner)
        return self.provisioner.ended()

    def why_ended(self) -> str | None:
        """Why it does not run any more: out of memory, its exit code or signal, with its last
        lines on stderr, or the end of its sandbox. None while it runs."""
        how = self.ended()
        if how is None:
            return None
        return self.sandbox.gone or f"the kernel ended: {how.told}"

    def client(self, **options: Any) -> BlockingKernelClient:
        """One whose requests are work in the sandbox, until their replies are received."""
        client: BlockingKernelClient = super().client(**options)
        client.shell_channel_class = counting(self.sandbox.clock, self._timer())
        return client

    def _timer(self) -> CellTimer | None:
        assert isinstance(self.provisioner, MoatProvisioner)
        process = self.provisioner.process
        if process is None or not self.times_cells:
            return None
        clock = self.sandbox.clock
        return CellTimer(process, self.sandbox.config.kernel.cell_timeout, clock.warn)

    def close(self) -> None:
        """Disconnect the client and shut the kernel down at once."""
        self.kc.stop_channels()
        self.shutdown_kernel(now=True)

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def own_event_loop() -> Iterator[None]:
    """For a thread that has kernels: jupyter_client's blocking calls make a loop for each thread,
    and close none."""
    try:
        yield
    finally:
        ensure_event_loop().close()


def counting(clock: Clock, timer: CellTimer | None) -> type[ZMQSocketChannel]:
    """A shell channel by which cells are work, from the request until the reply is received."""

    class Shell(ZMQSocketChannel):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._cells: set[str] = set()

        def send(self, msg: dict[str, Any]) -> None:
            header = msg["header"]
            clock.touch()
            if header["msg_type"] == "execute_request":
                self._cells.add(header["msg_id"])
                if len(self._cells) == 1:
                    self._begin()
            super().send(msg)

        def _recv(self, **options: Any) -> dict[str, Any]:
            received = super()._recv(**options)
            answered = received["parent_header"].get("msg_id")
            if answered in self._cells:
                self._cells.discard(answered)
                self._begin() if self._cells else self._end()
            return received

        def stop(self) -> None:
            self._end()
            super().stop()

        def _begin(self) -> None:
            clock.begin(self)
            if timer is not None:
                timer.begin()

        def _end(self) -> None:
            clock.finish(self)
            if timer is not None:
                timer.cancel()

    return Shell
