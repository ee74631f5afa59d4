"""The sidecars of one sandbox: started in parallel, waited for, watched, and ended with it."""

from __future__ import annotations

import contextlib
import secrets
import signal
import string
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from moat_nb.config.readiness import Command, Port
from moat_nb.egress.records import read
from moat_nb.errors import ImageError, SandboxGone, StartError
from moat_nb.planning.mounts import Bind, Volume
from moat_nb.planning.services import SidecarPlan
from moat_nb.planning.spec import ContainerSpec
from moat_nb.sandbox.model_pull import Pull, hint, taking_turns
from moat_nb.sandbox.secrets import fetch_of_services
from moat_nb.sandbox.sidecar import Cancelled, Sidecar
from moat_nb.text.progress import Progress

if TYPE_CHECKING:
    from moat_nb.host.run_directory import RunDir
    from moat_nb.runtimes.base import AttachStream, Containers, ImageConfig, Runtime
    from moat_nb.sandbox.guest_client import GuestClient, Output, Process

__all__ = ["Sidecars"]

PASSWORD_LENGTH = 32
PASSWORD_ALPHABET = string.ascii_letters + string.digits

LOOK_SECONDS = 0.05
"""Between two looks at a sidecar that is not ready yet."""

END_SECONDS = 10.0
"""For a server's end to be told, which its broken connection shows before its container is gone."""

STOP_SECONDS = 10.0
"""For sidecars with a volume to close their files; they are killed after half of it."""

PROBE = """
import socket, sys, time
while True:
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1).close()
        break
    except OSError:
        time.sleep(0.02)
"""
"""Run in the sandbox, whose loopback is the sidecars'."""


class Sidecars:
    """All of one start, or none of them: an iterable of those that were started."""

    def __init__(
        self, plans: tuple[SidecarPlan, ...], runtime: Runtime, images: dict[str, ImageConfig]
    ) -> None:
        self._plans = plans
        self._secrets: Mapping[str, Mapping[str, str]] = {}
        self._runtime = runtime
        self._images = images
        self._running: tuple[Sidecar, ...] = ()
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._hear: Callable[[str, str], None] | None = None
        self._unheard: list[Sidecar] = []

    @classmethod
    def prepare(
        cls, plans: tuple[SidecarPlan, ...], runtime: Runtime, progress: Progress
    ) -> Sidecars:
        """Have their images on the engine; ImageError with the place of one that is nowhere."""
        return cls(plans, runtime, _look_up(plans, runtime, progress))

    def fetch_secrets(self, environ: Mapping[str, str]) -> None:
        """Before :meth:`attach`; ConfigError with every secret that could not be had."""
        self._secrets = fetch_of_services([plan.service.entry for plan in self._plans], environ)

    def __iter__(self) -> Iterator[Sidecar]:
        return iter(self._running)

    @property
    def kernel_env(self) -> dict[str, str]:
        """What the kernels are told: ``MOAT_POSTGRES_URL`` and the like, passwords in them."""
        return {name: value for one in self for name, value in one.kernel_env.items()}

    @property
    def specs(self) -> tuple[ContainerSpec, ...]:
        """With what their images say of themselves; StartError where that cannot be had."""
        return tuple(map(self._spec, self._plans))

    # -------- starting

    def attach(
        self,
        specs: tuple[ContainerSpec, ...],
        streams: tuple[Future[AttachStream], ...],
        run_dir: RunDir,
    ) -> None:
        """Hold those that the runtime starts; their programs do not run yet.

        ``specs`` are :attr:`specs` as instantiated with the sandbox, ``streams`` their own.
        """
        self._running = tuple(
            Sidecar(
                plan,
                spec,
                plan.inputs(_new_password(), self._secrets[plan.name]),
                run_dir.service_log(plan.name),
                self._ended,
                stream,
            )
            for plan, spec, stream in zip(self._plans, specs, streams, strict=True)
        )

    def start(self, guest: GuestClient, requests: Path, progress: Progress) -> None:
        """Have their programs run in the sandbox that is proved, and wait for those to be waited
        for.

        Raises StartError or ProofError with its place, state and last lines; :meth:`stop` ends
        them then.
        """
        if not self._running:
            return
        with ThreadPoolExecutor(len(self._running), thread_name_prefix="moat-sidecar") as pool:
            futures = {pool.submit(self._start, one, guest, requests): one for one in self}
            try:
                _follow(futures, progress)
            finally:
                self._cancelled.set()
        failures = [failure for future in futures if (failure := future.exception()) is not None]
        if failures:
            # The one that had the others cancelled; where there is none, the sandbox has ended.
            raise min(failures, key=lambda failure: isinstance(failure, Cancelled))

    def _spec(self, plan: SidecarPlan) -> ContainerSpec:
        image = self._images[plan.name]
        return plan.on(image.entrypoint, image.command, image.stop_signal, image.volumes)

    def _start(self, sidecar: Sidecar, guest: GuestClient, requests: Path) -> None:
        sidecar.start(self._cancelled)
        ready = sidecar.plan.ready
        if not sidecar.plan.wait or ready is None:
            return
        give_up = time.monotonic() + ready.timeout
        with _check(sidecar, guest, self._runtime) as is_ready:
            while not is_ready():
                if time.monotonic() > give_up:
                    what = f"was not ready in {ready.timeout:g} s: {ready}, has not come true"
                    raise StartError(sidecar.describe(what))
                self._look_again(sidecar, "ended before it was ready")
        for model in sidecar.plan.models:
            self._pull(sidecar, Pull(model), guest, requests)

    def _look_again(self, sidecar: Sidecar, ended: str) -> None:
        """In a moment, unless there is no more use in it: StartError then."""
        if sidecar.gone is not None:
            raise StartError(sidecar.describe(ended))
        if self._cancelled.wait(LOOK_SECONDS):
            raise sidecar.given_up()

    def _pull(self, sidecar: Sidecar, pull: Pull, guest: GuestClient, requests: Path) -> None:
        """Have its server pull a model, however long that takes."""
        sidecar.pull = pull
        (port, *_) = sidecar.plan.ports
        ended = f"ended while it pulled {pull.model}"
        look_again = partial(self._look_again, sidecar, ended)
        with (
            taking_turns(sidecar.spec.mounts, look_again),
            _running(guest, pull.argv(port), pull.hear) as process,
        ):
            while (how := process.poll()) is None:
                look_again()
        problem = pull.problem(how)
        if problem is None:
            return
        if how.code != 0 and sidecar.ends_within(END_SECONDS):
            raise StartError(sidecar.describe(ended))
        what = f"could not pull {pull.model}: {problem}{hint(read(requests))}"
        raise StartError(sidecar.describe(what))

    # -------- watching

    def listen(self, hear: Callable[[str, str], None]) -> None:
        """Have ``hear("sidecar_ended", words)`` called for each that ends by itself, and for those
        that have already."""
        with self._lock:
            self._hear = hear
            unheard, self._unheard = self._unheard, []
        for sidecar in unheard:
            hear("sidecar_ended", sidecar.describe("ended"))

    def _ended(self, sidecar: Sidecar) -> None:
        with self._lock:
            hear = self._hear
            if hear is None:
                self._unheard.append(sidecar)
        if hear is not None:
            hear("sidecar_ended", sidecar.describe("ended"))

    def prove_again(self, progress: Progress) -> None:
        """That they run, on the images that their plans name now; StartError when not."""
        if _look_up(self._plans, self._runtime, progress) != self._images:
            raise StartError("a sidecar's image is another now")
        for sidecar in self:
            if sidecar.gone is not None:
                raise StartError(sidecar.describe("ended"))

    # -------- stopping

    def close(self) -> None:
        """Have them end, without waiting for it."""
        self._cancelled.set()
        for sidecar in self:
            sidecar.close()

    def stop(self) -> None:
        """Have them end, and return when none is being started any more; those whose files stay
        are waited for, so that they are whole."""
        self.close()
        wait([sidecar.stream for sidecar in self])
        give_up = time.monotonic() + STOP_SECONDS
        for sidecar in self:
            kept = (mount for mount in sidecar.spec.mounts if isinstance(mount, (Bind, Volume)))
            if not all(mount.read_only for mount in kept):
                sidecar.join(max(0.0, give_up - time.monotonic()))

    def join(self) -> None:
        """Once their containers are removed."""
        for sidecar in self:
            sidecar.join(timeout=5)


def _new_password() -> str:
    return "".join(secrets.choice(PASSWORD_ALPHABET) for _ in range(PASSWORD_LENGTH))


def _look_up(
    plans: tuple[SidecarPlan, ...], runtime: Runtime, progress: Progress
) -> dict[str, ImageConfig]:
    images = {}
    for plan in plans:
        try:
            images[plan.name] = runtime.containers.image_config(plan.service.image, progress)
        except ImageError as error:
            raise ImageError(f"{plan.where}: {plan.name}: {error}") from error
    return images


def _follow(futures: dict[Future[None], Sidecar], progress: Progress) -> None:
    """Show what is waited for, until all have started or one has failed."""
    shown = ""
    while True:
        done, pending = wait(futures, timeout=0.2, return_when=FIRST_EXCEPTION)
        if not pending or any(future.exception() for future in done):
            return
        waited_for = [one for future, one in futures.items() if future in pending]
        text = _words(waited_for)
        if text != shown:
            progress.stage(text)
            shown = text
        for one in waited_for:
            progress.log(one.pull.status if one.pull else one.last_lines().rpartition("\n")[2])
            if one.pull and any(one.pull.amount):
                progress.update(*one.pull.amount)


def _words(waited_for: list[Sidecar]) -> str:
    pulls = [f"{one.name}: pulling {one.pull.model}" for one in waited_for if one.pull]
    others = ", ".join(one.name for one in waited_for if not one.pull)
    return "; ".join([*([f"waiting for {others}"] if others else []), *pulls])


@contextlib.contextmanager
def _check(sidecar: Sidecar, guest: GuestClient, runtime: Runtime) -> Iterator[Callable[[], bool]]:
    """A question to ask until it is answered with yes."""
    ready = sidecar.plan.ready
    if isinstance(ready, Port):
        with _running(guest, ["python3", "-I", "-S", "-c", PROBE, str(ready.port)]) as process:
            yield lambda: (how := process.poll()) is not None and how.code == 0
    elif isinstance(ready, Command):
        yield CommandCheck(runtime.containers, sidecar.spec.name, ready.argv).is_ready
    else:
        yield lambda: sidecar.printed.found


@contextlib.contextmanager
def _running(guest: GuestClient, argv: list[str], hear: Output | None = None) -> Iterator[Process]:
    """A program in the sandbox, which is not to outlive the interest in it."""
    process = guest.spawn(argv, env={}, cwd="/", on_output=hear)
    try:
        yield process
    finally:
        with contextlib.suppress(SandboxGone):
            process.signal(signal.SIGKILL)


class CommandCheck:
    """Runs a command in a sidecar again and again, one at a time."""

    def __init__(self, containers: Containers, container: str, argv: tuple[str, ...]) -> None:
        self._containers = containers
        self._container = container
        self._argv = argv
        self._running: str | None = None

    def is_ready(self) -> bool:
        """Whether the last one ended with 0; starts another otherwise. Never waits for one."""
        try:
            if self._running is None:
                self._running = self._containers.exec(self._container, self._argv)
            code = self._containers.exit_code(self._running)
        except StartError:
            code = 1  # the container ends, which its attach stream tells
        if code is not None:
            self._running = None
        return code == 0
