"""What goes to and comes from an engine's volumes as tar: the guest's files, and copies of
projects. A container that never starts has the volume mounted meanwhile."""

from __future__ import annotations

import contextlib
import io
import secrets
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from moat_nb.host.machine import User
from moat_nb.host.package import PACKAGE
from moat_nb.host.reaper import Reaper
from moat_nb.planning.spec import GUEST_PATH, LABEL
from moat_nb.runtimes.base import ARCHIVE_TOP

if TYPE_CHECKING:
    import docker

__all__ = ["EMPTY_IMAGE", "EngineVolumes", "send_guest"]

EMPTY_IMAGE = "moat-nb/empty:1"
"""An image without a file, which is made where it is missing: nothing is started from it."""

TOKEN = f"{LABEL}.token"

ROLE = "volume"
"""Of a container that has a volume to be filled or read."""

STARTING_SECONDS = 600
"""From a container's creation to its start, at most."""


def send_guest(client: docker.APIClient, container: str) -> None:
    """Fill a container's volume for the guest before it starts."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for file in sorted((PACKAGE / "guest").glob("*.py")):
            member = tarfile.TarInfo(file.name)
            member.size, member.mode = file.stat().st_size, 0o644
            with file.open("rb") as content:
                tar.addfile(member, content)
    client.put_archive(container, GUEST_PATH, packed.getvalue())


class EngineVolumes:
    """The volumes of the engine at a unix socket; ``connect`` makes a client for each call. Raises
    StartError with the engine's words."""

    def __init__(
        self,
        socket: str,
        connect: Callable[[], AbstractContextManager[docker.DockerClient]],
        *,
        rootless: bool = False,
    ) -> None:
        self._socket = socket
        self._connect = connect
        self._rootless = rootless

    def owner(self, user: User) -> User:
        """Whose its files must be, for who is ``user`` in a container: 0 is the user outside."""
        return User(0, 0) if self._rootless else user

    def token(self, name: str) -> str | None:
        """What the volume was made with; None where there is none of ours."""
        from docker.errors import NotFound

        with self._connect() as client, contextlib.suppress(NotFound):
            labels = client.api.inspect_volume(name).get("Labels") or {}
            return labels.get(TOKEN)
        return None

    def in_use(self, name: str) -> bool:
        """Whether a container that runs, or is just being started, has it."""
        with self._connect() as client:
            return any(not _is_stale(found) for found in _containers_with(client.api, name))

    def make(self, name: str, token: str) -> None:
        with self._connect() as client:
            client.api.create_volume(name, labels={TOKEN: token})

    def remove(self, name: str) -> None:
        """Harmless where it is missing; StartError where a container has it."""
        from docker.errors import NotFound

        with self._connect() as client:
            for found in _containers_with(client.api, name):
                if _is_stale(found):
                    with contextlib.suppress(NotFound):
                        client.api.remove_container(found["Id"], force=True, v=True)
            with contextlib.suppress(NotFound):
                client.api.remove_volume(name)

    def put(self, name: str, archive: Iterable[bytes]) -> None:
        """Unpack a tar whose paths begin with :data:`ARCHIVE_TOP`, over what is there."""
        with self._held(name) as (client, container):
            client.api.put_archive(container, "/", archive)

    @contextlib.contextmanager
    def get(self, name: str) -> Iterator[Iterator[bytes]]:
        """All that it holds as a tar, whose paths begin with :data:`ARCHIVE_TOP`."""
        with self._held(name) as (client, container):
            stream, _ = client.api.get_archive(container, f"/{ARCHIVE_TOP}")
            with contextlib.closing(stream):
                yield stream

    @contextlib.contextmanager
    def _held(self, volume: str) -> Iterator[tuple[docker.DockerClient, str]]:
        from docker.types import Mount

        with self._connect() as client:
            api = client.api
            if not api.images(EMPTY_IMAGE):
                with io.BytesIO() as nothing:
                    tarfile.open(fileobj=nothing, mode="w").close()
                    repository, _, tag = EMPTY_IMAGE.partition(":")
                    api.import_image_from_data(nothing.getvalue(), repository, tag)
            name = f"moat-volume-{secrets.token_hex(4)}"
            reaper = Reaper()
            try:
                reaper.container(self._socket, name)
                api.create_container(
                    EMPTY_IMAGE,
                    ["/nothing"],
                    name=name,
                    labels={f"{LABEL}.role": ROLE},
                    host_config=api.create_host_config(
                        network_mode="none",
                        mounts=[Mount(f"/{ARCHIVE_TOP}", volume, type="volume", no_copy=True)],
                    ),
                    use_config_proxy=False,
                )
                yield client, name
            finally:
                reaper.finish()


def _containers_with(client: docker.APIClient, volume: str) -> list[dict[str, Any]]:
    found = client.containers(all=True, filters={"volume": volume})
    # The engine looks for names with that in them, too.
    return [c for c in found if any(mount.get("Name") == volume for mount in c["Mounts"])]


def _is_stale(container: dict[str, Any]) -> bool:
    """Of ours, never started and never to be: who made it has lost its engine meanwhile."""
    role = container["Labels"].get(f"{LABEL}.role")
    if role is None or container["State"] != "created":
        return False
    return role == ROLE or time.time() - float(container["Created"]) > STARTING_SECONDS
