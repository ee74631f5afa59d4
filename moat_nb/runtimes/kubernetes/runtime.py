"""The runtime of ``kernel.runtime: kubernetes``: each sandbox is a Pod."""

from __future__ import annotations

import contextlib
import functools
import io
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from moat_nb.config.model import ClusterOptions, Config
from moat_nb.errors import ImageError, MoatError, Problem, StartError
from moat_nb.guest import protocol
from moat_nb.guest.messages import encode
from moat_nb.host.machine import Host
from moat_nb.host.package import PACKAGE
from moat_nb.host.reaper import Reaper
from moat_nb.host.whole_file import write_whole
from moat_nb.planning.capabilities import Capabilities
from moat_nb.planning.image import ImagePlan, image_plan
from moat_nb.planning.kernel import kernel_user
from moat_nb.planning.mounts import Volume
from moat_nb.planning.services import END
from moat_nb.planning.spec import SOCKETS_LABEL, ContainerSpec, SandboxSpec
from moat_nb.runtimes.base import AttachStream, Availability, Runtime, SandboxStreams
from moat_nb.runtimes.kubernetes.cluster import Cluster
from moat_nb.runtimes.kubernetes.containers import PodContainers
from moat_nb.runtimes.kubernetes.ended import how_it_ended
from moat_nb.runtimes.kubernetes.push import pushed
from moat_nb.runtimes.kubernetes.render import (
    BRIDGE,
    KERNEL,
    PodOptions,
    container_name,
    object_name,
    pod,
)
from moat_nb.runtimes.kubernetes.stop import NOTE, deletion, note_of, owner_of
from moat_nb.runtimes.kubernetes.stream import PodStream
from moat_nb.runtimes.kubernetes.volumes import Claims
from moat_nb.text.progress import Progress, Silent
from moat_nb.text.terminal import one_line

__all__ = ["Kubernetes"]

MEMORY = 8 << 30
"""What the default limit is half of: no machine is chosen yet."""
TOLD_SECONDS = 4.0
"""For a node to tell how a container ended, each second or two."""

OPEN = (
    "network: kernel.kubernetes.network is unenforced: the pod may reach whatever its cluster lets "
    "it, past the rules of network:"
)
PIDS = "how many processes there may be is for the nodes to say (podPidsLimit), not for a Pod"


class Kubernetes(Runtime):
    def __init__(self, config: Config, environ: Mapping[str, str], *, ask: bool = True) -> None:
        """``ask``: whether the cluster may be asked anything."""
        self._config = config
        self._environ = dict(environ)
        self._may_ask = ask
        self.options = config.kernel.kubernetes or ClusterOptions()
        self.cluster = Cluster.of(self.options, environ)
        self._containers = PodContainers(self.cluster, environ)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            name="kubernetes",
            shares_unix_sockets=False,
            own_mount_table=True,
            elsewhere=self.cluster.where,
            grace=self.options.grace,
            has_network=True,
            memory=MEMORY,
            cpus=sys.maxsize,
            unasked=not self._may_ask,
        )

    @property
    def pods(self) -> PodOptions:
        return PodOptions(
            cluster=self.options,
            owner=owner_of(),
            lifetime=self._config.kernel.max_lifetime,
        )

    @property
    def containers(self) -> PodContainers:
        return self._containers

    @property
    def volumes(self) -> Claims:
        self._refuse_unasked()
        user = kernel_user(self._config, Host.current())
        return Claims(self.cluster, self.pods, user, self._image, self._environ)

    @functools.cache  # noqa: B019 - a runtime lives as long as its plan
    def _image(self) -> str:
        """Raises ImageError."""
        reaper = Reaper()
        try:
            return self.prepare(image_plan(self._config), Silent(), reaper)
        finally:
            reaper.finish()

    def available(self) -> Availability:
        if not self._may_ask:
            return Availability(usable=True, detail="not asked, as nobody has approved it yet")
        try:
            name = self.cluster.version
        except MoatError as error:
            hint = "`kubectl version` should answer"
            return Availability(usable=False, detail=str(error), hint=hint, named=True)
        return Availability(usable=True, detail=f"{name} at {self.cluster.where}", named=True)

    def prepare(self, image: ImagePlan | None, progress: Progress, reaper: Reaper) -> str:
        assert image is not None
        if not self._is_built(image):
            return image.base
        if self.options.registry is None:
            raise ImageError("an image must be built, and kernel.kubernetes.registry names none")
        return pushed(image, self.options.registry, self._environ, progress, reaper)

    def check(self, spec: ContainerSpec, config: Config) -> tuple[Problem, ...]:
        return tuple(
            Problem(where=config.place(key), what=f"{key}: {what}", hint=hint, supported=False)
            for key, what, hint in self._refused(spec, config)
        )

    def _refused(self, spec: ContainerSpec, config: Config) -> Iterator[tuple[str, str, str]]:
        if spec.gpus == "all":
            yield "kernel.gpus", "all: a Pod asks for a number", "say how many"
        if spec.hardening.isolation is not None:
            hint = "name the nodes' runtime class by kernel.kubernetes.runtime_class"
            yield "kernel.isolation", "a Pod has what its runtime class says", hint
        if "pids" in config.kernel.where:
            yield "kernel.pids", PIDS, "take it out"
        if spec.dns:
            yield "container.dns", "a Pod has its cluster's name servers", "take it out"
        image = image_plan(config)
        if self._is_built(image) and self.options.registry is None:
            hint = (
                "name a registry that the nodes pull from (kernel.kubernetes.registry), or a "
                "base_image that has it all, and take out what it has"
            )
            what = f"an image must be built, for {_asked(image, config)}, and no registry is named"
            yield "kernel.kubernetes", what, hint

    def notices(self, spec: ContainerSpec, image: ImagePlan | None = None) -> tuple[str, ...]:
        words = [OPEN] if self.options.network == "unenforced" else []
        if not self._may_ask:
            asks = "`moat-nb plan --runtime kubernetes` does"
            words.append(f"{self.cluster.where} was not asked whether it is there: {asks}")
        return tuple(words)

    def remarks(self, spec: ContainerSpec) -> tuple[str, ...]:
        return (f"kernel.pids: {PIDS}",)

    def _is_built(self, image: ImagePlan) -> bool:
        """Where ipykernel alone is asked for, a base image that a user names must have it: nothing
        here looks."""
        has_it = image.only_ipykernel and self._config.base_image is not None
        return bool(image.dockerfile) and not has_it

    def render(self, spec: SandboxSpec) -> tuple[Any, ...]:
        words = pod(spec, self.pods)
        return (words, *words["spec"]["containers"][1:])

    # -------- a start

    def start(self, spec: SandboxSpec, reaper: Reaper) -> SandboxStreams:
        self._refuse_unasked()
        kernel = spec.kernel
        name = object_name(kernel.name)
        for each in spec.containers:
            if each.user.uid == 0:
                raise StartError(f"{each.name}: a Pod runs nothing as root; name another user")
            self._have_claims(each)
            self._containers.place(each.name, name, container_name(each))
        # First the note: what starts can be ended by it.
        note = note_of(self.cluster, name)
        sockets = Path(dict(kernel.labels)[SOCKETS_LABEL])
        write_whole(sockets.parent / NOTE, note)
        done = reaper.command(deletion(note), self._environ)
        try:
            made = self.cluster.make_pod(pod(spec, self.pods))
            self.cluster.until_it_runs(made, KERNEL)
            stream = self._stream(name, done)
        except BaseException:
            with contextlib.suppress(MoatError):  # the reaper goes on
                self.cluster.delete_pod(name, at_once=True)
            raise
        pool = ThreadPoolExecutor(len(spec.sidecars) or 1, thread_name_prefix="moat-sidecar")
        sidecars = [pool.submit(self._attach, made, each) for each in spec.sidecars]
        pool.shutdown(wait=False)
        return SandboxStreams(kernel=stream, sidecars=tuple(sidecars))

    def _attach(self, made: dict[str, Any], spec: ContainerSpec) -> AttachStream:
        name, container = made["metadata"]["name"], container_name(spec)
        self.cluster.until_it_runs(made, container)
        client = self.cluster.attach(name, container)
        return PodStream(client, END, lambda at_once: None, self._why(name), patient=False)

    def _have_claims(self, spec: ContainerSpec) -> None:
        for mount in spec.mounts:
            if not isinstance(mount, Volume):
                continue
            there = self.cluster.claim(object_name(mount.name)) is not None
            if not there and mount.copy_of:
                raise StartError(f"the copy of {mount.copy_of} is another now; start it again")
            if not there:
                self.volumes.make_empty(mount.name, spec.user)

    def _stream(self, name: str, done: Any) -> AttachStream:
        client = self.cluster.run(name, KERNEL, BRIDGE)

        def end(at_once: bool) -> None:
            self.cluster.delete_pod(name, at_once=at_once)
            done()

        stream = PodStream(client, encode(protocol.END), end, self._why(name))
        try:
            packed = _guest()
            stream.send(len(packed).to_bytes(8, "big") + packed)
        except OSError as error:
            words = one_line(stream.last_words()) or str(error)
            stream.kill()
            raise StartError(f"{name}: {words}") from error
        return stream

    def _why(self, name: str) -> Callable[[], str]:
        """Asks how a pod has ended, in words."""

        def why() -> str:
            give_up = time.monotonic() + TOLD_SECONDS
            while True:
                try:
                    found = self.cluster.pod(name)
                except StartError as error:
                    return str(error)
                if found is None:
                    return "the pod was deleted"
                if (words := how_it_ended(found)) or time.monotonic() > give_up:
                    return words
                time.sleep(0.3)

        return why

    def _refuse_unasked(self) -> None:
        if not self._may_ask:
            raise StartError(f"{self.cluster.where}: nobody has approved it; run `moat-nb allow`")


def _asked(image: ImagePlan, config: Config) -> str:
    """What a build is for."""
    own = [] if config.base_image is not None else ["want of a base_image"]
    python = [] if image.python is None else [f"python@{image.python.version}"]
    return ", ".join((*own, *python, *image.requirements, *image.network_steps, *image.proved))


@functools.cache
def _guest() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for file in sorted((PACKAGE / "guest").glob("*.py")):
            tar.add(file, file.name)
    return packed.getvalue()
