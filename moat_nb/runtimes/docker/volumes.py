"""Named volumes, which an engine makes as root's.

A container of a moment, with the kernels' limits, no network and no right but to change owners,
gives one away. It runs the python3 of the kernels' image, whose build ran as root too.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from moat_nb.errors import StartError
from moat_nb.planning.spec import LABEL, ContainerSpec
from moat_nb.text.terminal import one_line

if TYPE_CHECKING:
    import docker

__all__ = ["give"]

PLACE = "/volume"

GIVE = f"""\
import os, sys
owner = os.stat("{PLACE}").st_uid
if owner:
    sys.exit(f"it belongs to uid {{owner}}")
os.chown("{PLACE}", int(sys.argv[1]), int(sys.argv[2]))
"""
"""What is another user's stays his: on one engine users may have projects of one name."""

SECONDS = 60


def give(client: docker.DockerClient, volume: str, spec: ContainerSpec, name: str) -> None:
    """Make ``volume``, if it is root's, the user's of ``spec``; StartError."""
    from docker.types import Mount

    api, user = client.api, spec.user
    api.create_container(
        spec.image,
        entrypoint=["python3", "-I", "-B", "-c", GIVE, str(user.uid), str(user.gid)],
        command=[],
        user="0:0",
        name=name,
        labels={f"{LABEL}.role": "volume"},
        host_config=api.create_host_config(
            network_mode="none",
            cap_drop=["ALL"],
            cap_add=["CHOWN"],
            security_opt=["no-new-privileges:true"],
            read_only=True,
            mem_limit=spec.limits.memory,
            memswap_limit=spec.limits.memory,
            pids_limit=spec.limits.pids,
            mounts=[Mount(PLACE, volume, type="volume", no_copy=True)],
        ),
        use_config_proxy=False,
    )
    try:
        api.start(name)
        code = api.wait(name, timeout=SECONDS)["StatusCode"]
        # In parts, of which the first is enough: a line of a stranger's program may have no end.
        said: Any = api.logs(name, tail=1, stream=True)
        # The stream's own close() leaves the socket to the garbage collector.
        with contextlib.closing(said._response):
            words = next(iter(said), b"").decode(errors="replace")
    finally:
        api.remove_container(name, force=True)
    if code != 0:
        raise StartError(
            f"the volume {volume} cannot be written by the kernel, {user}: {one_line(words)}; "
            f"remove it (`docker volume rm {volume}`), or chown it"
        )
