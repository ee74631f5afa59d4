"""Docker Engine >= 20.10 and Podman >= 4.3, over the docker SDK and a unix socket."""

from __future__ import annotations

import contextlib
import http.client
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moat_nb.config.model import Config
from moat_nb.errors import ImageError, Problem, RuntimeUnavailable, StartError
from moat_nb.host.reaper import Reaper
from moat_nb.host.remembered import remembered
from moat_nb.planning.capabilities import Capabilities
from moat_nb.planning.image import ImagePlan
from moat_nb.planning.mounts import Volume
from moat_nb.planning.spec import ContainerSpec, SandboxSpec
from moat_nb.runtimes.base import (
    UNLIMITED_FILES,
    AttachStream,
    Availability,
    ImageConfig,
    SandboxStreams,
)
from moat_nb.runtimes.docker import containers, volumes
from moat_nb.runtimes.docker.archives import EngineVolumes, send_guest
from moat_nb.runtimes.docker.attach import DockerStream
from moat_nb.runtimes.docker.endpoint import Endpoint, EndpointError, endpoint_of
from moat_nb.runtimes.docker.engine import (
    ANSWER_SECONDS,
    ENGINE_TIMEOUT,
    EngineFacts,
    ask_facts,
    engine_errors,
    image_id,
    sockets,
)
from moat_nb.runtimes.docker.render import GUEST_VOLUME, bodies
from moat_nb.runtimes.images.ensure import ensure_image, existing_image
from moat_nb.text.progress import Progress

if TYPE_CHECKING:
    import docker

__all__ = ["Docker"]

MISSING = "start the engine, and be in its group (`id -nG` shows yours)"
NOT_PODMAN = "have DOCKER_HOST name Podman's socket"
THERE = (
    "start the engine there, and have your user there be in its group; the address may end in the "
    "path of its socket (ssh://HOST/PATH)"
)
DENIED = (
    "you may not open {path}: `sudo usermod -aG {group} $USER` and a new login let you (who is in "
    "that group can do all that root can), or use rootless Docker or Podman"
)
ROOTS = "you may not open {path}, which is root's alone: use rootless Docker or Podman"
HOSTS_NETWORK = (
    "the image's build has the host's own network, with the servers on its 127.0.0.1, as this "
    "engine has no bridge; a base_image that has all that is asked for needs no build"
)
BUSY = "it is busy or stuck: try again, and look into its log if that does not help"


class Docker:
    """``name`` is docker or podman: a wish, as one socket may be served by either."""

    def __init__(
        self, name: str, environ: Mapping[str, str], facts: EngineFacts | None = None
    ) -> None:
        self._environ = environ
        self._endpoint: Endpoint | None = None
        self._misnamed: EndpointError | None = None
        try:
            self._endpoint = endpoint_of(environ)
        except EndpointError as error:
            self._misnamed = error
        self.capabilities = _capabilities(name, self._endpoint)
        self._facts = facts
        self.socket: str | None = None

    def available(self) -> Availability:
        failures, hints, denied = [], set(), ""
        endpoint = self._endpoint
        if self._misnamed is not None:
            return _misnamed(self._misnamed)
        try:
            found = sockets(self._environ, endpoint)
        except EndpointError as error:
            return _misnamed(error)
        for path, kind in found.items():
            if self.name == "podman" and kind == "docker" and endpoint is None:
                continue
            at = endpoint.url if endpoint is not None and endpoint.elsewhere else path
            try:
                self._facts = ask_facts(path)
            except (OSError, http.client.HTTPException, ValueError) as error:
                failures.append(f"{at}: {_reason(error)}")
                missing = MISSING if at == path else THERE
                hints.add(BUSY if isinstance(error, TimeoutError) else missing)
                if isinstance(error, PermissionError):
                    denied = denied or _denied(path)
                continue
            if self.name == "podman" and not self._facts.podman:
                failures.append(f"{at}: it is Docker Engine, not Podman")
                hints.add(NOT_PODMAN)
                continue
            self.socket = path
            engine = "Podman" if self._facts.podman else "Docker Engine"
            by = f", by {endpoint.said}" if endpoint is not None and at != path else ""
            detail = f"{engine} {self._facts.version} at {at}{by}"
            return Availability(usable=True, detail=detail, socket=path)
        return Availability(
            usable=False,
            detail="; ".join(failures) or "no socket of an engine",
            hint=denied or "; or ".join(sorted(hints)) or MISSING,
            named=bool(self.capabilities.elsewhere),
            denied=bool(denied),
        )

    def prepare(self, image: ImagePlan | None, progress: Progress, reaper: Reaper) -> str:
        assert image is not None
        path = self._socket()
        if (found := existing_image(image, partial(image_id, path))) is not None:
            return found
        client = self.connect()
        try:
            return ensure_image(
                image, client, progress, reaper, socket=path, unlimited=self._known.unlimited
            )
        except engine_errors() as error:
            raise ImageError(f"{self.name} at {self.socket}: {error}") from error
        finally:
            client.close()

    @property
    def name(self) -> str:
        return self.capabilities.name

    def check(self, spec: ContainerSpec, config: Config) -> tuple[Problem, ...]:
        """The engine itself refuses what it cannot do, at the start; but limits it drops."""
        if not (spec.limits.required and "memory" in self._known.unlimited):
            return ()
        key = "kernel.require_limits"
        what = f"{key}: this engine cannot limit memory"
        hint = "give it the memory controller (`moat-nb doctor` says how), or take it out"
        return (Problem(where=config.place(key), what=what, hint=hint, supported=False),)

    def notices(self, spec: ContainerSpec, image: ImagePlan | None = None) -> tuple[str, ...]:
        what = ", ".join(name for name in self._known.unlimited if name != "swap")
        limits = (f"limits: this engine cannot limit {what}",) if what else ()
        hosts = image is not None and image.network_steps and not self._known.bridge
        return (*limits, HOSTS_NETWORK) if hosts else limits

    def remarks(self, spec: ContainerSpec) -> tuple[str, ...]:
        limited = not (self._known.podman or spec.hardening.isolation == "gvisor")
        return () if limited else (UNLIMITED_FILES,)

    @property
    def _known(self) -> EngineFacts:
        """The engine's facts; before it was asked, or when there is none, what its name says."""
        return self._facts or EngineFacts(podman=self.name == "podman")

    def connect(self) -> docker.DockerClient:
        """To the engine that answers; RuntimeUnavailable when there is none."""
        path = self._socket()
        assert self._facts is not None
        import docker

        # Told its version, the SDK does not ask for it at every start.
        return docker.DockerClient(
            base_url=f"unix://{path}", version=self._facts.api, timeout=ENGINE_TIMEOUT
        )

    def _socket(self) -> str:
        """That of the engine that answers; RuntimeUnavailable when there is none."""
        # What leads to an engine elsewhere ends where nobody was connected for a while.
        if self.socket is None or (self.capabilities.elsewhere and not Path(self.socket).exists()):
            found = self.available()
            if not found.usable:
                raise RuntimeUnavailable(f"{self.name}: {found.detail}; {found.hint}")
        assert self.socket is not None
        return self.socket

    def render(self, spec: SandboxSpec) -> tuple[dict[str, Any], ...]:
        return bodies(spec, self._known)

    def start(self, spec: SandboxSpec, reaper: Reaper) -> SandboxStreams:
        self._socket()  # asks the engine for the facts that are rendered
        for mount in spec.kernel.mounts:
            if isinstance(mount, Volume) and mount.copy_of and not self.volumes.token(mount.name):
                raise StartError(f"the copy of {mount.copy_of} is another now; start it again")
        kernel, *sidecars = self.render(spec)
        stream = self._start(kernel, reaper)
        pool = ThreadPoolExecutor(len(sidecars) or 1, thread_name_prefix="moat-sidecar")
        streams = [pool.submit(self._start, sidecar, reaper) for sidecar in sidecars]
        pool.shutdown(wait=False)
        return SandboxStreams(kernel=stream, sidecars=tuple(streams))

    def _start(self, words: dict[str, Any], reaper: Reaper) -> AttachStream:
        """One container, from its rendering."""
        import docker.errors

        name, body = words["name"], words["body"]

        try:
            with contextlib.ExitStack() as undo:
                client = self.connect().api
                undo.callback(client.close)
                reaper.container(self._socket(), name)
                client.create_container_from_config(body, name)
                if GUEST_VOLUME in body["HostConfig"]["Mounts"]:
                    send_guest(client, name)
                attach_stream = DockerStream(client, self._socket(), name)
                undo.callback(attach_stream.close)
                client.start(name)
                undo.pop_all()
        except docker.errors.ImageNotFound as error:
            image = body["Image"]
            raise ImageError(f"the image {image} is missing: {error.explanation}") from error
        except docker.errors.APIError as error:
            raise StartError(f"{self.name} refused: {error.explanation}") from error
        except engine_errors() as error:
            raise StartError(f"{self.name} at {self.socket}: {error}") from error
        return attach_stream

    @property
    def volumes(self) -> EngineVolumes:
        return EngineVolumes(self._socket(), self._client, rootless=self._known.rootless)

    # -------- Containers

    @property
    def containers(self) -> Docker:
        return self

    def image_config(self, image: str, progress: Progress) -> ImageConfig:
        with self._client() as client:
            return containers.look_up(client, image, progress)

    def exec(self, container: str, argv: tuple[str, ...]) -> str:
        with self._client() as client:
            return containers.begin(client, container, argv)

    def exit_code(self, id: str) -> int | None:
        with self._client() as client:
            return containers.exit_code(client, id)

    def files(
        self, image: str, paths: tuple[str, ...], name: str, reaper: Reaper, known: Path
    ) -> tuple[str, ...]:
        def ask() -> tuple[str, ...]:
            reaper.container(self._socket(), name)
            with self._client() as client:
                return containers.files(client, image, paths, name)

        if (id := image_id(self._socket(), image)) is None:
            raise ImageError(f"the image {image} is missing")
        return remembered(known, " ".join((id, *paths)), ask)

    def give(self, volume: str, spec: ContainerSpec, reaper: Reaper) -> None:
        name = f"{spec.name}-volume"
        reaper.container(self._socket(), name)
        with self._client() as client:
            volumes.give(client, volume, spec, name)

    @contextlib.contextmanager
    def _client(self) -> Iterator[docker.DockerClient]:
        client = self.connect()
        try:
            yield client
        except engine_errors() as error:
            raise StartError(f"{self.name} at {self.socket}: {error}") from error
        finally:
            client.close()


def _capabilities(name: str, endpoint: Endpoint | None) -> Capabilities:
    """Of an engine elsewhere, or in a virtual machine, they are other ones."""
    elsewhere = "" if endpoint is None else endpoint.elsewhere
    virtual = sys.platform == "darwin" or (endpoint is not None and endpoint.virtual)
    apart = bool(elsewhere or virtual)
    return Capabilities(
        name=name, shares_unix_sockets=not apart, own_mount_table=apart, elsewhere=elsewhere
    )


def _misnamed(error: EndpointError) -> Availability:
    return Availability(usable=False, detail=str(error), hint=error.hint, named=True)


def _denied(path: str) -> str:
    """What to do about a socket that is not this user's to open; empty where none can be seen."""
    try:
        group = Path(path).group()
    except OSError:
        return ""
    except KeyError:  # of an engine in a container, say
        group = "docker"
    return (ROOTS if group == "root" else DENIED).format(path=path, group=group)


def _reason(error: Exception) -> str:
    text = str(error)
    if isinstance(error, TimeoutError):
        return f"it does not answer for {ANSWER_SECONDS} s"
    if "Permission denied" in text:
        return "permission denied"
    if isinstance(error, ConnectionError) or "No such file" in text:
        return "nothing answers there"
    return text
