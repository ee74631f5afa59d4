"""The engines of the matrix, as values: what each is made of and how it is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

__all__ = ["ENGINES", "PACKAGES", "Kind"]

PACKAGES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bookworm": ("docker.io", "podman", "runc", "crun", "runsc", "dash", "tini", "mount"),
        "trixie": ("docker.io", "podman", "runc", "tini", "mount"),
        "testing": ("docker.io", "podman", "runc", "tini", "mount"),
    }
)
"""What is installed of each Debian suite; tini is the init of containers, and of the engines,
and umount puts this machine's files out of their sight."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    name: str
    suite: str
    """Of :data:`PACKAGES`."""
    runtime: Literal["docker", "podman"]
    oci: Literal["runc", "crun", "runsc"] = "runc"
    keys: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What every moat.yaml says on this engine."""

    def command(self, socket: str) -> tuple[str, ...]:
        """The engine in the foreground, without a network; it keeps all at its usual places."""
        if self.runtime == "podman":
            return (
                *("podman", "--runtime", self.oci, "--cgroup-manager", "cgroupfs"),
                *("--events-backend", "file", "system", "service", "--time=0", f"unix://{socket}"),
            )
        return (
            *("dockerd", "--host", f"unix://{socket}"),
            *("--bridge=none", "--iptables=false", "--ip-masq=false"),
        )

    def environ(self) -> dict[str, str]:
        # Podman forgets there what images it was given, in /var/tmp of the machine otherwise.
        return {"TMPDIR": "/var/lib/containers"} if self.runtime == "podman" else {}

    def title(self, version: str) -> str:
        """A column's head, with the release that answered, without Debian's suffix."""
        return f"{self.runtime.title()} {version.partition('+')[0]} {self.oci}"

    def files(self) -> dict[str, str]:
        """``{path: text}`` of the configuration that an engine reads at fixed places."""
        return {
            "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
            "/etc/docker/daemon.json": _RUNSC if self.oci == "runsc" else "{}",
            "/etc/containers/containers.conf": _CONTAINERS,
        }


# Without a network, as 2022's runsc takes a new kernel's network namespaces for the host's own.
_RUNSC = """{"runtimes": {"runsc": {
  "path": "/usr/bin/runsc",
  "runtimeArgs": ["--platform=ptrace", "--network=none", "--host-uds=all"]
}}}
"""
_CONTAINERS = """[containers]
init_path = "/usr/bin/tini-static"
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
init_path = "/usr/bin/tini-static"
"""
"""The init's place moved from one section to the other; 5.8 raises the limit of a build's open
files by itself, which a machine with a lower one refuses."""

_NPROC = {"container": {"ulimits": {"nproc": {"soft": 4096, "hard": 4096}}}}
"""Podman 4.3 sets it to 1048576 beside any other limit, which a root without CAP_SYS_RESOURCE,
such as a container's, may not."""

ENGINES = (
    Kind(name="docker-bookworm", suite="bookworm", runtime="docker"),
    Kind(name="docker-trixie", suite="trixie", runtime="docker"),
    Kind(name="docker-testing", suite="testing", runtime="docker"),
    Kind(
        name="podman-bookworm",
        suite="bookworm",
        runtime="podman",
        oci="crun",
        keys=_NPROC,
    ),
    Kind(name="podman-bookworm-runc", suite="bookworm", runtime="podman", keys=_NPROC),
    Kind(name="podman-trixie", suite="trixie", runtime="podman"),
    Kind(name="podman-testing", suite="testing", runtime="podman"),
    Kind(
        name="docker-gvisor",
        suite="bookworm",
        runtime="docker",
        oci="runsc",
        keys={"kernel": {"isolation": "gvisor"}},
    ),
)
"""All of the matrix but bubblewrap, which needs no engine."""
