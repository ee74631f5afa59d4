"""Pulls and builds on an engine, with what it tells read for progress, errors and cleaning up.

Docker's classic builder and Podman are understood; both send ``{"stream": text}`` and end with
``{"error": text}`` when they fail. BuildKit is not asked for: Podman has none, and the engine's
API gives it only to clients that bring a session protocol of its own.

Our steps run the base image's own programs, as root of a container that the engine makes with the
capabilities that it gives to all. So a build has the limits of memory and CPUs that the kernels
have, and a network only where a step needs one. Neither builder limits the number of processes.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import secrets
import shutil
import ssl
import tarfile
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from moat_nb.errors import ImageError
from moat_nb.planning.image import FILES
from moat_nb.planning.limits import Limits
from moat_nb.planning.spec import LABEL
from moat_nb.runtimes.base import BRIDGES
from moat_nb.runtimes.images import wheels
from moat_nb.text.tables import amount
from moat_nb.text.terminal import for_terminal

if TYPE_CHECKING:
    from docker import DockerClient

    from moat_nb.host.reaper import Reaper
    from moat_nb.text.progress import Progress

__all__ = ["BuildLog", "BuildRequest", "PullTally", "build", "pull"]

INTERRUPT_SECONDS = 30.0
"""For an engine to end a step whose build was given up: 0.3 s were seen on Docker 20.10."""

LEAST_MEMORY = 1 << 30
"""Bytes for a build, however little the kernels have: apt and compilers need more than some do."""

CPU_PERIOD = 100_000
"""Microseconds."""

KILLED = re.compile(r"returned a non-zero code: 137|exit status 137")

_STEP = re.compile(r"step (\d+)/(\d+) ?: (.*)", re.IGNORECASE)
_LAYER = re.compile(r" ?-{2,3}> (Using cache ?)?([0-9a-f]{11,64})?")
_CHATTER = re.compile(
    r" ---> (Running in|\[Warning\])|Removing intermediate container "
    r"|Successfully (built [0-9a-f]{12}|tagged \S+)$"
)
_UNPRINTABLE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0e-\x1f\x7f]")


class PullTally:
    """Bytes of a pull over all its layers; ``error`` is the engine's word if it failed."""

    def __init__(self, progress: Progress) -> None:
        self.error: str | None = None
        self._progress = progress
        self._layers: dict[str, tuple[int, int]] = {}

    def read(self, event: dict[str, Any]) -> None:
        self.error = event.get("error", self.error)
        layer, status = event.get("id"), event.get("status")
        detail = event.get("progressDetail") or {}
        if layer and status == "Downloading" and detail.get("total"):
            self._layers[layer] = detail["current"], detail["total"]
        elif layer in self._layers and status == "Download complete":
            total = self._layers[layer][1]
            self._layers[layer] = total, total
        else:
            return
        done, total = (sum(numbers) for numbers in zip(*self._layers.values(), strict=True))
        self._progress.update(done, total)


class BuildLog:
    """Follows one build: the step it is at, that step's last lines, the layers it made."""

    def __init__(self, progress: Progress) -> None:
        self.error: str | None = None
        self.layers: list[str] = []
        """Ids of the layers that this build made itself, oldest first, as far as it can be
        told: a step's own output comes in the same stream and may look the same."""
        self._progress = progress
        self._step = ""
        self._tail: deque[str] = deque(maxlen=wheels.TAIL_LINES)
        self._made_here = False

    def read(self, event: dict[str, Any]) -> None:
        self.error = event.get("error", self.error)
        for line in event.get("stream", "").splitlines():
            self._read_line(_UNPRINTABLE.sub("", line))

    def _read_line(self, line: str) -> None:
        if step := _STEP.fullmatch(line):
            number, count = int(step[1]), int(step[2])
            self._step = f"at step {number}/{count}: {step[3]}"
            # The first step is FROM, whose layer is the base image: not ours to remove.
            self._made_here = number > 1
            self._tail.clear()
            self._progress.update(number - 1, count)
        elif layer := _LAYER.fullmatch(line):
            self._made_here = self._made_here and not layer[1]
            if layer[2] and self._made_here:
                self.layers.append(layer[2])
        elif line.strip() and not _CHATTER.match(line):
            self._tail.append(line)
            self._progress.log(line)

    def describe(self, failure: str) -> str:
        """Where it failed, the step's own last lines, and the engine's word."""
        lines = [self._step, *self._tail, failure] if self._step else [failure]
        return "\n".join(for_terminal(line).rstrip() for line in lines)

    def discard_layers(self, client: DockerClient, patience: float = 0) -> None:
        """Remove the layers of a build that failed; parents that others use stay.

        ``patience`` is how long, in seconds, the engine may take to end a step that it is at.
        """
        give_up = time.monotonic() + patience
        for layer in reversed(self.layers):
            while not _remove(layer, client) and time.monotonic() < give_up:
                time.sleep(0.1)


def _remove(layer: str, client: DockerClient) -> bool:
    """False when something uses it. What is not an untagged layer of ours is let be."""
    from docker.errors import APIError

    try:
        found = client.api.inspect_image(layer)
        labels = found["Config"]["Labels"] or {}
        if not found["RepoTags"] and f"{LABEL}.image" in labels:
            client.api.remove_image(layer, noprune=True)
    except APIError as error:
        return error.status_code != http.client.CONFLICT
    return True


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """One build."""

    tag: str
    dockerfile: str
    """Labels its first layer as an image of ours; a failed build removes no other layers."""
    requirements: tuple[str, ...] = ()
    """What to fetch wheels of; the Dockerfile copies :data:`FILES`."""
    optional: tuple[str, ...] = ()
    """Further ones, of which wheels are fetched where there are some."""
    there: frozenset[str] = frozenset()
    """Names of wheels that the image before has: they are not copied."""
    labels: Callable[[Sequence[str]], dict[str, str]] = lambda wheels: {}
    """The image's, given the names of the wheels that were copied."""
    network_steps: tuple[str, ...] = ()
    """What needs the network, in words; empty: the build has none."""
    limits: Limits | None = None
    """The kernels'; None where there are none."""

    @property
    def memory(self) -> int | None:
        """Bytes that a step may use."""
        return None if self.limits is None else max(self.limits.memory, LEAST_MEMORY)


def pull(image: str, client: DockerClient, progress: Progress) -> str | None:
    """Pull ``image``; what the engine said if it failed."""
    from docker.errors import APIError
    from docker.utils import parse_repository_tag

    progress.stage(f"pulling {image}")
    repository, tag = parse_repository_tag(image)
    tally = PullTally(progress)
    try:
        # Without a tag an engine pulls all that a repository has.
        for event in client.api.pull(repository, tag=tag or "latest", stream=True, decode=True):
            tally.read(event)
    except APIError as error:
        return str(error.explanation)
    return tally.error


def build(
    request: BuildRequest,
    target: wheels.Target | None,
    client: DockerClient,
    progress: Progress,
    reaper: Reaper | None,
) -> None:
    """Build ``request``; ``target`` is needed when it has requirements.

    Raises ImageError with the failing step's own words; no container, layer or directory stays
    behind. ``reaper`` sees to the directory of the wheels if the launcher is killed.
    """
    # A file without a name: nothing of it can be left behind.
    names: list[str] = []
    with tempfile.TemporaryFile() as context:
        with tarfile.open(fileobj=context, mode="w") as tar:
            _add_text(tar, "Dockerfile", request.dockerfile.encode())
            if target is not None:
                _add_text(tar, f"{FILES}/ca.pem", _trusted())
                names = _add_wheels(tar, request, target, progress, reaper)
        context.seek(0)
        _run(request, names, context, client, progress)


def _add_text(tar: tarfile.TarFile, name: str, text: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(text)
    tar.addfile(entry, io.BytesIO(text))


def _trusted() -> bytes:
    """The bundle of certificates that this machine's python trusts, if it is a file."""
    bundle = ssl.get_default_verify_paths().cafile
    return Path(bundle).read_bytes() if bundle else b""


def _add_wheels(
    tar: tarfile.TarFile,
    request: BuildRequest,
    target: wheels.Target,
    progress: Progress,
    reaper: Reaper | None,
) -> list[str]:
    """Fetch them all, and copy those that are not there; the names of these."""
    directory = Path(tempfile.gettempdir(), f"moat-nb-wheels-{secrets.token_hex(8)}")
    if reaper is not None:
        reaper.directory(str(directory))
    directory.mkdir(mode=0o700)
    try:
        progress.stage(f"fetching wheels for {target}")
        wheels.download(["pip", *request.requirements], target, directory, progress)
        for name in request.optional:
            with contextlib.suppress(ImageError):
                wheels.download([name], target, directory, progress)
        (pip,) = directory.glob("pip-*.whl")
        new = [one for one in sorted(directory.glob("*.whl")) if one.name not in request.there]
        for wheel in sorted({*new, pip}):
            tar.add(wheel, f"{FILES}/wheels/{wheel.name}", filter=_anonymous)
        link = tarfile.TarInfo(f"{FILES}/pip.whl")
        link.type, link.linkname = tarfile.SYMTYPE, f"wheels/{pip.name}"
        tar.addfile(link)
        return [wheel.name for wheel in new]
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same for every user and umask, so that the engine's layer cache holds."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o644
    return entry


def _run(
    request: BuildRequest,
    names: Sequence[str],
    context: IO[bytes],
    client: DockerClient,
    progress: Progress,
) -> None:
    from docker.errors import APIError

    log = BuildLog(progress)
    try:
        stream = _begin(request, context, names, client, progress)
        with contextlib.closing(stream):
            for event in stream:
                log.read(event)
        failure = log.error
    except APIError as error:
        failure = str(error.explanation)
    except BaseException:
        log.discard_layers(client, patience=INTERRUPT_SECONDS)
        raise
    if failure is not None:
        log.discard_layers(client)
        if request.memory is not None and KILLED.search(failure):
            failure += (
                f"\nThe step was killed: a build has {amount(request.memory)} of memory; "
                "container.memory gives it more"
            )
        raise ImageError(f"building {request.tag} failed {log.describe(failure)}")


def _begin(
    request: BuildRequest,
    context: IO[bytes],
    names: Sequence[str],
    client: DockerClient,
    progress: Progress,
) -> Any:
    """The events of a build that has begun."""
    steps = ", ".join(request.network_steps)
    network = _network_mode(client) if steps else "none"
    which = "the host's network, as the engine has none of its own" if network else "network"
    progress.stage(f"building {request.tag}" + (f" with {which}, for {steps}" if steps else ""))
    memory = request.memory
    with _quota(request, client):
        return client.api.build(
            fileobj=context,
            custom_context=True,
            tag=request.tag,
            rm=True,
            forcerm=True,
            labels=request.labels(names),
            network_mode=network,
            use_config_proxy=bool(steps),
            # As many bytes of both together: no swap.
            container_limits={} if memory is None else {"memory": memory, "memswap": memory},
            decode=True,
        )


@contextlib.contextmanager
def _quota(request: BuildRequest, client: DockerClient) -> Iterator[None]:
    """Limits the CPUs of a build that is begun meanwhile. The engine's API knows how, and the SDK
    does not; but its client is a session of requests, whose parameters all requests have."""
    before: Any = client.api.params
    if request.limits is not None and request.limits.cpus is not None:
        quota = int(request.limits.cpus * CPU_PERIOD)
        client.api.params = {**before, "cpuperiod": CPU_PERIOD, "cpuquota": quota}
    try:
        yield
    finally:
        client.api.params = before


def _network_mode(client: DockerClient) -> str | None:
    """None, the engine's own network, whose steps do not reach the host's loopback; else the
    host's, which alone an engine without one can lend."""
    return None if BRIDGES & {network["Name"] for network in client.api.networks()} else "host"
