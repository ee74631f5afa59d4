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

from moat_nb.config.model import WORKSPACE, Config, Dependency, Hooks
from moat_nb.config.registry import APT_PACKAGES, LINKS, NPM_PACKAGES, WHEELS
from moat_nb.host.machine import MOAT_USER
from moat_nb.planning.lacks import NO_ENGINE, Lack, lack_of, wanted
from moat_nb.planning.limits import Limits
from moat_nb.planning.spec import HOME, LABEL

__all__ = ["IMAGE_LABEL", "PROJECT_LABEL", "REPOSITORY", "SKELETON", "ImagePlan", "image_plan"]

REPOSITORY = "moat-nb"
"""Our images are ``moat-nb/<name>:<hash>``; `clean` finds all of them by it, also those that
are a base image's second name and so have no label of ours."""

IMAGE_LABEL = f"{LABEL}.image"
PROJECT_LABEL = f"{LABEL}.project"
PYTHON_LABEL = f"{LABEL}.python"

FILES = "moat"
"""The directory in a build's context: ``wheels/``, ``pip.whl``, which is a link to pip's own, and
``ca.pem``, the certificates that this machine trusts."""

IPYKERNEL_REQUIREMENT = "ipykernel>=6"

FAST_JSON = "orjson"
"""jupyter_client writes messages with it where it is there, which the relay's figures rest on
(docs/performance.md). Not each Python and machine has a wheel of it."""

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

_IF_THERE = '"$@" 2>/dev/null || :'
"""Why pip could not is not told: the image is whole without it."""

_PROVE = (
    'for name; do command -v "$name" >/dev/null'
    ' || { echo "moat: kernel.require_dependencies: the image has no $name"; exit 1; }; done'
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
    base_place: str = ""
    """Of base_image in the file."""
    limits: Limits | None = None
    """The kernels', by which a build is limited too; no part of what the image is."""
    requirements: tuple[str, ...] = ()
    apt: tuple[str, ...] = ()
    npm: tuple[str, ...] = ()
    hooks: Hooks = field(default_factory=Hooks)
    links: tuple[tuple[str, str], ...] = ()
    """Programs of Debian's that get their own names: ``(name, Debian's)``."""
    python: Dependency | None = None
    """The version that base_image must have; None where the base image is chosen for it."""
    proved: tuple[str, ...] = ()
    """Programs that only base_image can have, without which its build fails."""
    lacks: tuple[Lack, ...] = ()
    """What no image of ours has."""
    remarks: tuple[str, ...] = ()
    """What is installed otherwise than it was asked for."""

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
        return (*words, *self.remarks)

    @property
    def dockerfile(self) -> str:
        """The whole text; empty when the base image is used as it is."""
        steps = list(self._steps())
        if not steps:
            return ""
        head = (f"FROM {self.base}", f"LABEL {IMAGE_LABEL}=1", "USER 0:0", f"RUN {_MOAT_USER}")
        return "\n".join((*head, f"WORKDIR {WORKSPACE}", *steps, f"USER {MOAT_USER}", ""))

    def _steps(self) -> Iterator[str]:
        if self.python is not None:
            # Another version asked for is another image, whose python3 is looked at again.
            yield f"LABEL {PYTHON_LABEL}={self.python.version}"
        if self.apt:
            yield f"RUN {_APT.format(packages=' '.join(self.apt))}"
        for name, other in self.links:
            yield _run("ln", "--symbolic", "--force", f"/usr/bin/{other}", f"/usr/local/bin/{name}")
        yield from self._pip_steps()
        if self.npm:
            yield _run(*_NPM, *self.npm)
        if self.proved:
            yield _run("/bin/sh", "-ec", _PROVE, "moat", *self.proved)
        if self.hooks.post_build_root:
            yield _run("/bin/sh", "-ec", self.hooks.post_build_root)
        if self.hooks.post_build:
            yield f"ENV HOME={HOME}"
            yield f"USER {MOAT_USER}"
            yield _run("/bin/sh", "-ec", self.hooks.post_build)
        if self.has_hooks:
            yield "USER 0:0"
            yield f"RUN {_KEEP_HOME}"

    def _pip_steps(self) -> Iterator[str]:
        if self.requirements:
            yield f"COPY {FILES} /opt/moat"
            yield _run(*_INSTALL, *self.requirements)
        for name in self.optional:
            yield _run("/bin/sh", "-c", _IF_THERE, "moat", *_INSTALL, name)

    def grown_dockerfile(self, before: str) -> str:
        """The same of the image ``before``, which lacks some of pip's packages and nothing else."""
        steps = list(self._pip_steps())
        if self.proved:
            steps.append(_run("/bin/sh", "-ec", _PROVE, "moat", *self.proved))
        head = (f"FROM {before}", f"LABEL {IMAGE_LABEL}=1", "USER 0:0")
        return "\n".join((*head, *steps, f"USER {MOAT_USER}", ""))

    def tag(self, base_id: str) -> str:
        """The image's whole name, given the id of its base image."""
        content = f"{base_id.removeprefix('sha256:')}\n{self.dockerfile}"
        return f"{self.repository}:{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    @property
    def optional(self) -> tuple[str, ...]:
        """Requirements that are installed where there is a wheel."""
        return (FAST_JSON,) if IPYKERNEL_REQUIREMENT in self.requirements else ()

    @property
    def only_ipykernel(self) -> bool:
        asked = self.network_steps or self.proved
        return self.requirements == (IPYKERNEL_REQUIREMENT,) and not asked


def _run(*argv: str) -> str:
    # The JSON form: no shell reads the words, and a hook of several lines stays one instruction.
    return f"RUN {json.dumps(argv)}"


def image_plan(
    config: Config, *, launcher_python: str = f"{sys.version_info[0]}.{sys.version_info[1]}"
) -> ImagePlan:
    """The image that ``config`` asks for; pure.

    ``launcher_python`` (``X.Y``) is the version when neither base_image nor python is given.
    """
    by_kind: dict[str, list[Dependency]] = {}
    for item in wanted(config):
        by_kind.setdefault(item.kind, []).append(item)
    tools = by_kind.get("tool", [])
    apt = [tool for tool in tools if tool.name in APT_PACKAGES]
    npm = [tool for tool in tools if tool.name in NPM_PACKAGES]
    packages = sorted({*map(_npm_package, npm), *map(_npm_package, by_kind.get("npm", []))})
    elsewhere = by_kind.get("unavailable", [])
    proves = config.base_image is not None and config.kernel.require_dependencies
    python = next((item for item in by_kind.get("python", []) if item.version), None)
    version = launcher_python if python is None else python.version
    return ImagePlan(
        name=config.name,
        config=str(config.path),
        base=config.base_image or f"python:{version}-slim",
        base_place=config.place("base_image"),
        requirements=_requirements(config, tools, by_kind.get("pip", []), bool(packages)),
        apt=tuple(sorted({name for tool in apt for name in APT_PACKAGES[tool.name]})),
        npm=tuple(packages),
        hooks=Hooks(
            post_build_root=config.hooks.post_build_root, post_build=config.hooks.post_build
        ),
        links=tuple((tool.name, LINKS[tool.name]) for tool in apt if tool.name in LINKS),
        python=python if config.base_image is not None else None,
        proved=tuple(item.name for item in elsewhere) if proves else (),
        lacks=() if proves else tuple(_not_to_be_had(config, elsewhere)),
        remarks=tuple(_other_versions(apt)),
    )


def _not_to_be_had(config: Config, items: list[Dependency]) -> Iterator[Lack]:
    for item in items:
        if item.name.startswith("docker"):
            why, hint = NO_ENGINE
        elif config.base_image is not None:
            why = f"neither Debian, PyPI nor npm has it, unless {config.base_image} does"
            hint = "kernel: {require_dependencies: true} looks"
        else:
            why = "neither Debian, PyPI nor npm has it"
            hint = "install it by hooks.post_build_root, or name an image with it as base_image"
        yield lack_of(item, why, hint)


def _other_versions(items: list[Dependency]) -> Iterator[str]:
    asked = [f"{item.name}@{item.version}" for item in items if item.version]
    if asked:
        yield f"Debian's own version is installed in place of {', '.join(asked)}"


def _requirements(
    config: Config, tools: list[Dependency], pip: list[Dependency], needs_node: bool
) -> tuple[str, ...]:
    """pip's requirements, sorted, so that the order in the file makes no other image."""
    argv = config.kernel.argv
    python_kernel = not argv or any("ipykernel" in word for word in argv)
    from_wheels = {item.name: item.version for item in tools if item.name in WHEELS}
    if needs_node:
        from_wheels.setdefault("node", None)
    found = {
        WHEELS[name] + (f"=={version}.*" if version else "")
        for name, version in from_wheels.items()
    }
    found.update(f"{item.name}{item.version or ''}" for item in pip)
    found.update(config.kernel.packages)
    if python_kernel:
        found.add(IPYKERNEL_REQUIREMENT)
    return tuple(sorted(found))


def _npm_package(item: Dependency) -> str:
    name = NPM_PACKAGES.get(item.name, item.name) if item.kind == "tool" else item.name
    return f"{name}@{item.version}" if item.version else name
