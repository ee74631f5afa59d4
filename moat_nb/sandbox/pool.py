"""Warm spares: sandboxes started ahead of need, each with a kernel that listens already.

A spare is known by the hash of the whole spec that it was started from, so that a changed
moat.yaml, a new exclude or another limit makes it another's; it is proved again when it is handed
out. It ends with its launcher, as every sandbox does.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from moat_nb.egress.upstream import READ_VARIABLES
from moat_nb.errors import MoatError
from moat_nb.runtimes.registry import ENGINE_VARIABLES
from moat_nb.sandbox.project import LaunchPlan
from moat_nb.sandbox.running import RunningSandbox
from moat_nb.text.progress import Progress, Silent
from moat_nb.text.terminal import LOGGER

__all__ = ["POOL", "Pool", "key_of"]

PAUSE_SECONDS = 1.0
"""From a kernel's start to the refilling: the first cells come before any spare."""

KERNEL_SECONDS = 120.0
"""How long a spare's kernel may take before something must be wrong with it. Nobody waits for it,
and its low priority is next to nothing on a machine that is busy."""


def key_of(plan: LaunchPlan) -> str:
    """The hash of all that a start of ``plan`` depends on, but secrets: no plan has them."""
    # Which mount points are missing is left out: a running spare has made them.
    specs = [
        replace(spec, mounts=replace(spec.mounts, missing=())).digest
        for spec in (plan.spec, *plan.sidecar_specs)
    ]
    outside = [plan.environ.get(name) for name in (*ENGINE_VARIABLES, *READ_VARIABLES)]
    # What a service is given on its stdin is in its config alone, and its env in no repr.
    services = [(service, service.env) for service in plan.config.services]
    # The values of services' secrets, as far as they are known without asking another program.
    outside += [
        plan.environ.get(secret.reference)
        for service in plan.config.services
        for secret in service.secrets
        if secret.scheme == "env"
    ]
    text = f"{specs} {plan.image} {outside} {services}"
    return hashlib.sha256(text.encode()).hexdigest()


class Pool:
    """The spares of one process; thread-safe."""

    def __init__(self) -> None:
        self._forget()
        # A forked child must not hand out what its parent holds the attach stream of.
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._spares: dict[str, list[RunningSandbox]] = {}
        self._filling: set[str] = set()
        self._lock = threading.Lock()

    @property
    def spares(self) -> tuple[RunningSandbox, ...]:
        """Those that are ready to be handed out."""
        with self._lock:
            return tuple(spare for each in self._spares.values() for spare in each)

    def take(self, plan: LaunchPlan, progress: Progress) -> RunningSandbox | None:
        """A spare that is what ``plan`` would start, proved now; None when there is none.

        Spares of the same project that are something else are ended.
        """
        key = key_of(plan)
        while (spare := self._pop(key, plan.spec.project)) is not None:
            try:
                spare.prove_again(plan, progress)
                spare.hand_out()
            except (MoatError, OSError) as error:
                LOGGER.info("a spare of %s was dropped: %s", plan.spec.name, error)
                _end([spare])
            else:
                return spare
        return None

    def _pop(self, key: str, project: str) -> RunningSandbox | None:
        with self._lock:
            old = [
                other
                for other, spares in self._spares.items()
                if other != key and spares[0].spec.project == project
            ]
            dropped = [spare for other in old for spare in self._spares.pop(other)]
            spares = self._spares.get(key, [])
            found = spares.pop(0) if spares else None
            if not spares:
                self._spares.pop(key, None)
        if dropped:
            _end(dropped)
        return found

    def refill(self, make_plan: Callable[[], LaunchPlan], project: str) -> None:
        """See to it, in the background, that there are as many spares as ``kernel.pool`` says.

        ``make_plan`` is asked then, and before each spare: what it mounts may have changed.
        """
        with self._lock:
            if project in self._filling:
                return
            self._filling.add(project)
        threading.Thread(
            target=self._fill, args=(make_plan, project), name="moat-pool", daemon=True
        ).start()

    def _fill(self, make_plan: Callable[[], LaunchPlan], project: str) -> None:
        time.sleep(PAUSE_SECONDS)
        try:
            while self._wants(plan := make_plan()):
                self._add(key_of(plan), _start(plan))
        except (MoatError, OSError) as error:
            LOGGER.warning("no spare was started: %s", error)
        finally:
            with self._lock:
                self._filling.discard(project)

    def _wants(self, plan: LaunchPlan) -> bool:
        with self._lock:
            return len(self._spares.get(key_of(plan), ())) < plan.config.kernel.pool

    def _add(self, key: str, spare: RunningSandbox) -> None:
        with self._lock:
            self._spares.setdefault(key, []).append(spare)
        seconds = spare.plan.config.kernel.spare_timeout
        timer = threading.Timer(seconds, self._give_up, (key, spare))
        timer.daemon = True
        timer.start()

    def _give_up(self, key: str, spare: RunningSandbox) -> None:
        """Nobody has needed it for long: end it, unless it was handed out meanwhile."""
        with self._lock:
            spares = self._spares.pop(key, [])
            left = [each for each in spares if each is not spare]
            if left:
                self._spares[key] = left
            if len(left) == len(spares):
                return
        spare.stop()

    def clear(self) -> None:
        """End all spares, and return when nothing is left of them."""
        with self._lock:
            spares = [spare for each in self._spares.values() for spare in each]
            self._spares.clear()
        for spare in spares:
            spare.stop()


def _start(plan: LaunchPlan) -> RunningSandbox:
    spare = RunningSandbox.start(plan, Silent(), spare=True)
    try:
        if plan.config.kernel.forked:
            spare.make_spare_kernel(after=0)
            if not spare.guest.spare_ready.wait(KERNEL_SECONDS):
                raise MoatError(f"its kernel was not ready after {KERNEL_SECONDS:.0f} s")
    except BaseException:
        spare.stop()
        raise
    return spare


def _end(spares: list[RunningSandbox]) -> None:
    """Without having the one who starts a sandbox wait for it."""

    def stop() -> None:
        for spare in spares:
            spare.stop()

    threading.Thread(target=stop, name="moat-pool-end").start()


POOL = Pool()
