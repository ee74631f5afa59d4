"""The engines of the matrix, as values: what each is made of and how it is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

__all__ = ["ENGINES", "PACKAGES", "Kind"]

PACKAGES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bookworm": ("docker.io", "podman", "runc", "runsc", "tini"),
        "trixie": ("docker.io", "podman", "runc", "tini"),
        "testing": ("docker.io", "podman", "runc", "tini"),
    }
)
"""What is installed of each Debian suite: runc beside podman, as crun refuses machines whose
cgroups are hybrid; tini as the init of containers, and of the engines themselves."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    name: str
    suite: str
    """Of :data:`PACKAGES`."""
    runtime: Literal["docker", "podman"]
    keys: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What every moat.yaml says on this engine."""

    def command(self, socket: str) -> tuple[str, ...]:
        """The engine in the foreground, without a network; it keeps all at its usual places."""
        if self.runtime == "podman":
            return (
                *("podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs"),
                *("--events-backend", "file", "system", "service", "--time=0", f"unix://{socket}"),
            )
        return (
            *("dockerd", "--host", f"unix://{socket}"),
            *("--bridge=none", "--iptables=false", "--ip-masq=false"),
        )

    def title(self, version: str) -> str:
        """A column's head: the engine, and the release that answered without Debian's suffix."""
        name = "Podman" if self.runtime == "podman" else "Docker"
        isolated = f" {self.keys['kernel']['isolation']}" if "kernel" in self.keys else ""
        return f"{name} {version.partition('+')[0]}{isolated}"

    def files(self) -> dict[str, str]:
        """``{path: text}`` of the configuration that an engine reads at fixed places."""
        return {
            "/etc/docker/daemon.json": _RUNSC,
            "/etc/containers/containers.conf": _CONTAINERS,
        }


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

ENGINES = (
    Kind(name="docker-bookworm", suite="bookworm", runtime="docker"),
    Kind(name="docker-trixie", suite="trixie", runtime="docker"),
    Kind(name="docker-testing", suite="testing", runtime="docker"),
    Kind(
        name="podman-bookworm",
        suite="bookworm",
        runtime="podman",
        # It sets nproc to 1048576 beside any other limit, which a root without CAP_SYS_RESOURCE,
        # such as a container's, may not.
        keys={"container": {"ulimits": {"nproc": {"soft": 4096, "hard": 4096}}}},
    ),
    Kind(name="podman-trixie", suite="trixie", runtime="podman"),
    Kind(name="podman-testing", suite="testing", runtime="podman"),
    Kind(
        name="docker-gvisor",
        suite="bookworm",
        runtime="docker",
        keys={"kernel": {"isolation": "gvisor"}},
    ),
)
"""All of the matrix but bubblewrap, which needs no engine."""
