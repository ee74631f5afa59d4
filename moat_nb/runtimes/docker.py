"""Docker Engine >= 20.10 and Podman >= 4.3, over the docker SDK and a unix socket."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import moat_nb
from moat_nb.config.model import Config
from moat_nb.errors import ImageError, RuntimeUnavailable, StartError
from moat_nb.host.machine import User
from moat_nb.host.reaper import Janitor
from moat_nb.planning.image import ensure_image, existing_image, image_plan
from moat_nb.planning.limits import MIB
from moat_nb.planning.mounts import TMPFS_MODE, Bind, EmptyFile, Tmpfs, Volume
from moat_nb.planning.spec import GUEST_PATH, ContainerSpec
from moat_nb.runtimes import UNLIMITED_FILES, Availability
from moat_nb.runtimes.docker_facts import (
    ENGINE_TIMEOUT,
    EngineFacts,
    ask_facts,
    engine_errors,
    image_id,
    sockets,
)
from moat_nb.text.progress import Progress

if TYPE_CHECKING:
    import docker

__all__ = ["Docker"]

PACKAGE = Path(moat_nb.__file__).parent
STDERR_TAIL = 64 << 10
INODES_PER_MIB = 256
"""Twice what ``npm install`` of small files needs (4 KiB a file), so inodes cannot be used to
exhaust memory that ``size`` does not count."""


class Docker:
    """``name`` is docker or podman: a wish, as one socket may be served by either."""

    def __init__(
        self, name: str, environ: Mapping[str, str], facts: EngineFacts | None = None
    ) -> None:
        self.name = name
        self._environ = environ
        self._facts = facts
        self.socket: str | None = None

    def available(self) -> Availability:
        failures = []
        for path, kind in sockets(self._environ).items():
            if self.name == "podman" and kind == "docker" and "DOCKER_HOST" not in self._environ:
                continue
            if not path.startswith("/"):
                return Availability(
                    usable=False,
                    detail=f"DOCKER_HOST is {path}: an engine on another machine",
                    mend="only engines on a unix socket of this machine are supported yet",
                )
            try:
                self._facts = ask_facts(path)
            except (OSError, http.client.HTTPException, ValueError) as error:
                failures.append(f"{path}: {_reason(error)}")
                continue
            if self.name == "podman" and not self._facts.podman:
                failures.append(f"{path}: it is Docker Engine, not Podman")
                continue
            self.socket = path
            engine = "Podman" if self._facts.podman else "Docker Engine"
            return Availability(usable=True, detail=f"{engine} {self._facts.version} at {path}")
        return Availability(
            usable=False,
            detail="; ".join(failures) or "no socket of an engine",
            mend="start the engine, and be in its group (`id -nG` shows yours)",
        )

    def prepare(self, config: Config, progress: Progress, janitor: Janitor) -> str:
        plan, path = image_plan(config), self._socket()
        if (found := existing_image(plan, partial(image_id, path))) is not None:
            return found
        client = self.connect()
        try:
            return ensure_image(plan, client, progress, janitor)
        except engine_errors() as error:
            raise ImageError(f"{self.name} at {self.socket}: {error}") from error
        finally:
            client.close()

    def notices(self, spec: ContainerSpec) -> tuple[str, ...]:
        return ()

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
        if self.socket is None:
            found = self.available()
            if not found.usable:
                raise RuntimeUnavailable(f"{self.name}: {found.detail}; {found.mend}")
        assert self.socket is not None
        return self.socket

    def render(self, spec: ContainerSpec) -> dict[str, Any]:
        """The body of ``POST /containers/create``, and the name it goes under."""
        return {"name": spec.name, "body": _body(spec, self._known)}

    def start(self, spec: ContainerSpec, janitor: Janitor) -> DockerLeash:
        import docker.errors

        try:
            with contextlib.ExitStack() as undo:
                client = self.connect().api
                undo.callback(client.close)
                words = self.render(spec)
                assert self.socket is not None
                janitor.container(self.socket, spec.name)
                client.create_container_from_config(words["body"], words["name"])
                leash = DockerLeash(client, spec.name)
                undo.callback(leash.close)
                client.start(spec.name)
                undo.pop_all()
        except docker.errors.ImageNotFound as error:
            raise ImageError(f"the image {spec.image} is missing: {error.explanation}") from error
        except docker.errors.APIError as error:
            raise StartError(f"{self.name} refused: {error.explanation}") from error
        except engine_errors() as error:
            raise StartError(f"{self.name} at {self.socket}: {error}") from error
        return leash


def _reason(error: Exception) -> str:
    text = str(error)
    if "Permission denied" in text:
        return "permission denied"
    if "No such file" in text or "Connection refused" in text:
        return "nothing answers there"
    return text


# ---------------------------------------------------------------- rendering


def _body(spec: ContainerSpec, facts: EngineFacts) -> dict[str, Any]:
    body: dict[str, Any] = {
        "Image": spec.image,
        "Cmd": list(spec.command),
        "Entrypoint": [],
        "User": str(_user(spec, facts)),
        "Env": [f"{name}={value}" for name, value in spec.env],
        "WorkingDir": spec.workdir,
        "Labels": dict(spec.labels),
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "NetworkDisabled": False,
        "HostConfig": _host_config(spec, facts),
    }
    if not spec.network.startswith("container:"):  # else it is that container's
        body["Hostname"] = "moat"
    return body


def _user(spec: ContainerSpec, facts: EngineFacts) -> User:
    # In a rootless engine uid 0 inside is the user outside: files it writes are the user's.
    return User(0, 0) if facts.rootless and not spec.keep_user else spec.user


def _host_config(spec: ContainerSpec, facts: EngineFacts) -> dict[str, Any]:
    limits, hardening = spec.limits, spec.hardening
    config: dict[str, Any] = {
        "AutoRemove": True,
        "Init": True,
        "NetworkMode": spec.network,
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "CapDrop": list(hardening.cap_drop),
        "SecurityOpt": ["no-new-privileges:true"] if hardening.no_new_privileges else [],
        "ReadonlyRootfs": hardening.read_only_root,
        "PidsLimit": limits.pids,
        "Memory": limits.memory,
        "MemorySwap": limits.memory,
        "ShmSize": limits.shm,
        "Ulimits": [
            {"Name": name, "Soft": soft, "Hard": hard} for name, soft, hard in limits.ulimits
        ],
        # The leash runs over stdout, and kernels' own output over the leash: the launcher keeps
        # a bounded log of it, so the engine need not keep another.
        "LogConfig": {"Type": "none"},
        "Mounts": _mounts(spec),
        "Tmpfs": _tmpfs(spec, facts),
    }
    if limits.cpus is not None:
        config["NanoCpus"] = round(limits.cpus * 1e9)
    if spec.hosts:
        config["ExtraHosts"] = [f"{name}:127.0.0.1" for name in spec.hosts]
    if spec.dns:
        config["Dns"] = list(spec.dns)
    if spec.gpus is not None:
        count = -1 if spec.gpus == "all" else spec.gpus
        config["DeviceRequests"] = [{"Count": count, "Capabilities": [["gpu"]]}]
    if hardening.isolation == "gvisor":
        config["Runtime"] = "runsc"
    return config


def _mounts(spec: ContainerSpec) -> list[dict[str, Any]]:
    """``Mounts``, not ``Binds``: a missing source is then an error, not a new directory."""
    guest = Bind(source=str(PACKAGE / "guest"), target=GUEST_PATH, read_only=True)
    rendered = []
    for mount in (*((guest,) if spec.role == "kernel" else ()), *spec.mounts):
        if isinstance(mount, EmptyFile):
            empty = str(PACKAGE / "empty")
            mount = Bind(source=empty, target=mount.target, read_only=True)  # noqa: PLW2901
        if isinstance(mount, Bind):
            rendered.append(
                {
                    "Type": "bind",
                    "Source": mount.source,
                    "Target": mount.target,
                    "ReadOnly": mount.read_only,
                }
            )
        elif isinstance(mount, Volume):
            rendered.append(
                {
                    "Type": "volume",
                    "Source": mount.name,
                    "Target": mount.target,
                    "ReadOnly": mount.read_only,
                }
            )
    return rendered


def _tmpfs(spec: ContainerSpec, facts: EngineFacts) -> dict[str, str]:
    """``HostConfig.Tmpfs``: the one form that every engine mounts as it is told.

    ``TmpfsOptions`` loses ``exec`` below API 1.46, and without ``uid=`` runc below 1.1.8 leaves
    a tmpfs over an existing directory 0755 root, which the guest could not put right. Podman
    refuses ``uid=`` and would copy the covered directory's files in without ``notmpcopyup``.
    """
    user = _user(spec, facts)
    tail = "notmpcopyup" if facts.podman else f"uid={user.uid},gid={user.gid}"
    rendered = {}
    for mount in spec.mounts:
        if isinstance(mount, Tmpfs):
            options = f"rw,exec,nosuid,nodev,mode={TMPFS_MODE:o},size={mount.size},{tail}"
            if not facts.podman:
                options += f",nr_inodes={mount.size // MIB * INODES_PER_MIB}"
            rendered[mount.target] = options
    return rendered


# ---------------------------------------------------------------- the leash


class DockerLeash:
    """The attach stream of a container that was made with ``StdinOnce``.

    Attached before the start, so that nothing is missed; the engine frames stdout and stderr
    with eight bytes: the stream's number, three zeros, and the length (big endian).
    """

    def __init__(self, client: docker.APIClient, name: str) -> None:
        self._client = client
        params = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        wrapper = client.attach_socket(name, params=params)
        self._wrapper = wrapper
        self._socket: socket.socket = getattr(wrapper, "_sock", wrapper)
        self._socket.settimeout(None)
        self._left = 0
        self._stream = 0
        self._stderr = bytearray()
        self._status: int | None = None
        self._waiter = threading.Thread(
            target=self._wait, args=(name,), name="moat-wait", daemon=True
        )
        self._waiter.start()

    def _wait(self, name: str) -> None:
        # Asked for before the start: AutoRemove takes the exit code away with the container.
        try:
            answer = self._client.wait(name, timeout=None, condition="removed")
            self._status = answer.get("StatusCode")
        except engine_errors():
            self._status = None
        finally:
            self._client.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> bytes:
        while True:
            if self._left == 0:
                header = self._exactly(8)
                if not header:
                    return b""
                self._stream, self._left = struct.unpack(">BxxxL", header)
                continue
            data = self._socket.recv(min(self._left, 1 << 16))
            if not data:
                return b""
            self._left -= len(data)
            if self._stream == 1:
                return data
            self._stderr += data
            del self._stderr[:-STDERR_TAIL]

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._socket.recv(count - len(data))
            if not part:
                return b""
            data += part
        return data

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        # The SDK's wrapper counts as a user of the socket: until it is closed, so is nothing.
        self._socket.close()
        self._wrapper.close()

    def last_words(self) -> str:
        self._waiter.join(timeout=30)
        words = []
        if self._status is not None:
            oom = " (SIGKILL; out of memory, or killed)" if self._status == 137 else ""
            words.append(f"the container exited with {self._status}{oom}")
        if tail := bytes(self._stderr).decode(errors="replace").strip():
            words.append("\n".join(tail.splitlines()[-20:]))
        return "\n".join(words)
