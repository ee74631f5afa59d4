"""The Config: a parsed, validated ``moat.yaml`` as frozen values.

Nothing here knows of containers. ``reader.py`` makes these values from YAML; sizes are MiB where
the name ends in ``_mb``, as in Moat's own file, and durations are seconds.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from moat_nb.config.readiness import Ready
from moat_nb.host.machine import User

__all__ = [
    "WORKSPACE",
    "Config",
    "Container",
    "Dependency",
    "DependencyKind",
    "Exclude",
    "Hooks",
    "KernelOptions",
    "MountEntry",
    "Network",
    "Policy",
    "ProxyPolicy",
    "Rule",
    "Secret",
    "Service",
    "UnusedKey",
    "VolumeEntry",
]

WORKSPACE = "/workspace"
"""Where the project stands in every sandbox, as in Moat."""


@dataclass(frozen=True, kw_only=True)
class Exclude:
    """One item of ``mounts[].exclude``: a path or glob relative to the mount's target."""

    pattern: str
    where: str
    """``file:line:column`` of the item, for errors that only the filesystem can reveal."""
    kind: Literal["directory", "file"] | None = None
    """What it is where nothing is there yet: a directory if it was written with a slash at its end.
    None: as its name says."""


@dataclass(frozen=True, kw_only=True)
class MountEntry:
    source: Path
    """Absolute, ``~`` expanded, relative sources taken from the file's directory; no link in it
    has been followed."""
    target: str
    """Absolute POSIX path, normalised."""
    read_only: bool = False
    exclude: tuple[Exclude, ...] = ()
    where: str = ""
    copy_of: Path | None = None
    """What ``source`` is, or will be, a copy of; see :mod:`moat_nb.planning.workspace_copy`."""


@dataclass(frozen=True, kw_only=True)
class VolumeEntry:
    name: str
    target: str
    read_only: bool = False
    type: Literal["bind", "volume"] = "bind"
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class Secret:
    """``NAME: scheme://rest``. Holds the reference only; the value is fetched at launch."""

    name: str
    scheme: Literal["env", "op", "ssm"]
    reference: str
    where: str = ""


DependencyKind: TypeAlias = Literal[
    "python", "pip", "npm", "tool", "service", "agent", "unavailable", "unknown"
]


@dataclass(frozen=True, kw_only=True)
class Dependency:
    """One item of ``dependencies``.

    ``kind`` says who installs it: ``python`` picks the base image, ``pip`` and ``npm`` are
    package managers, ``tool`` is a command-line program (git, node, uv, ...), ``service`` is a
    sidecar. ``agent`` is a coding agent's own program, which means nothing to a kernel,
    ``unavailable`` a name of Moat's registry that cannot be had, and ``unknown`` a name that nobody
    knows, which is refused unless ``kernel.skip_dependencies`` has it.
    """

    kind: DependencyKind
    name: str
    version: str | None = None
    """``X.Y`` or ``N`` after the ``@``; for pip a PEP 440 specifier such as ``>=2,<3``, and a
    marker after a semicolon where ``kernel.requirements`` has one."""
    bundle: str | None = None
    """The name in the file that stands for this and others (``python-dev``)."""
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class Service:
    """A sidecar: one of the dependencies, or one of ``kernel.services``."""

    name: str
    version: str | None = None
    """Of the dependency."""
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Passwords may be among it; of a secret it has the reference."""
    secrets: tuple[Secret, ...] = ()
    """Those variables of ``env`` whose values are fetched at a start."""
    image: str | None = None
    """None only for a built-in service, which knows its own."""
    memory_mb: int | None = None
    wait: bool = True
    models: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    """Empty: the image's own."""
    ports: tuple[int, ...] = ()
    """Where it listens; empty for a built-in service, which knows its own."""
    mounts: tuple[MountEntry, ...] = ()
    volumes: tuple[VolumeEntry, ...] = ()
    user: User | None = None
    ready: Ready | None = None
    where: str = ""


ProxyPolicy: TypeAlias = Literal["permissive", "strict", "none"]
"""What the proxy knows, by which alone a sandbox reaches anything."""

Policy: TypeAlias = Literal[ProxyPolicy, "bridge"]
"""``bridge`` is the engine's ordinary network, without the proxy."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """``host`` (``*`` stands for one label), and its ordered ``allow|deny METHOD PATH`` lines."""

    host: str
    lines: tuple[tuple[Literal["allow", "deny"], str, str], ...] = ()
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class Network:
    """``policy`` is None when the file has no ``network:`` key at all."""

    policy: Policy | None = None
    rules: tuple[Rule, ...] = ()
    host_ports: tuple[int, ...] = ()
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class Hooks:
    post_build_root: str | None = None
    post_build: str | None = None
    pre_run: str | None = None


@dataclass(frozen=True, kw_only=True)
class Container:
    memory_mb: int | None = None
    cpus: float | None = None
    dns: tuple[str, ...] = ()
    ulimits: tuple[tuple[str, int, int], ...] = ()
    """``(name, soft, hard)``; -1 means unlimited."""
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class SlurmJob:
    """What srun asks for; None is left to Slurm."""

    partition: str | None = None
    time: str | None = None
    """As Slurm has it, such as ``2:00:00``."""
    mem_mb: int | None = None
    cpus: int | None = None
    gres: str | None = None

    def __str__(self) -> str:
        given = ((name, value) for name, value in vars(self).items() if value is not None)
        return ", ".join(f"{name} {value}" for name, value in given) or "its defaults"


@dataclass(frozen=True, kw_only=True)
class OtherMachine:
    """Where sandboxes are started in this one's place."""

    ssh: str = ""
    """``[USER@]HOST[:PORT]``, as ssh knows it."""
    slurm: SlurmJob | None = None
    """In its place: a node that Slurm gives."""
    python: str = "python3"
    """The interpreter there that kernels run on."""
    grace: float = 120.0
    """Seconds without a sign of the launcher after which a sandbox there ends."""

    def __str__(self) -> str:
        return "slurm" if self.slurm is not None else f"ssh://{self.ssh}"

    @property
    def wish(self) -> str:
        """What names it, and its Python, as a word of `--runtime`; a Python that is no path is left
        to the PATH there."""
        scheme, _, host = str(self).partition("://")
        return f"{scheme}://{host}{self.python}" if self.python.startswith("/") else str(self)


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """``kernel.kubernetes``: where, and as what, pods are made."""

    context: str | None = None
    """Of the kubeconfig; None for its current one."""
    namespace: str | None = None
    """None for the context's."""
    network: Literal["proved", "unenforced"] = "proved"
    """Whether a start is refused where the cluster lets a pod out."""
    grace: float = 120.0
    """Seconds without a sign of the launcher after which a pod ends by itself."""
    registry: str | None = None
    """Where images go that are built for it, ``HOST/PATH``."""
    storage_class: str | None = None
    """None for the cluster's default."""
    storage_mb: int = 10_240
    """Of each volume."""
    service_account: str | None = None
    """Whose token no pod gets."""
    runtime_class: str | None = None
    image_pull_secrets: tuple[str, ...] = ()
    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[tuple[tuple[str, str], ...], ...] = ()
    """Each as its fields."""
    resources: tuple[tuple[str, str], ...] = ()
    """``memory`` and ``cpu``: what a node must have free; others, such as ``nvidia.com/gpu``, are
    limits beside those of ``container``."""

    def __str__(self) -> str:
        context = self.context or "the current context"
        return f"{context}, namespace {self.namespace or 'of the context'}"


@dataclass(frozen=True, kw_only=True)
class KernelOptions:
    """Our own keys, under ``kernel:``; the defaults are moat-yaml's."""

    runtime: str | None = None
    on: OtherMachine | None = None
    """None for this machine."""
    kubernetes: ClusterOptions | None = None
    workspace: Literal["project", "notebook"] = "project"
    """Whether each kernel has the project's workspace, or the directory that it is started in."""
    packages: tuple[str, ...] = ()
    requirements: str | None = None
    """A file of the project, relative to its directory, that names packages as pip has them."""
    argv: tuple[str, ...] = ()
    """Empty: ipykernel. ``{connection_file}`` is substituted."""
    display_name: str | None = None
    language: str | None = None
    """None, for both: as ``argv`` says."""
    interrupt_mode: Literal["signal", "message"] = "signal"
    preload: tuple[str, ...] = ()
    skip_dependencies: tuple[str, ...] = ()
    require_dependencies: bool = False
    """Refuse a start without one of the dependencies, instead of telling it."""
    spare: bool = True
    """Whether a running sandbox keeps a kernel ready for the next start or restart."""
    pool: int = 0
    """How many sandboxes are kept started ahead of need."""
    tmpfs_size_mb: int = 1024
    home_size_mb: int | None = None
    """None, as of the next two: half of the memory."""
    tmp_size_mb: int | None = None
    shm_size_mb: int | None = None
    max_excludes: int = 5000
    """Of all mounts of one container; each is a mount of its own."""
    pids: int = 512
    require_limits: bool = False
    """Refuse a start whose memory nothing limits."""
    gpus: Literal["all"] | int | None = None
    isolation: Literal["gvisor"] | None = None
    protect: tuple[str, ...] = ()
    """Names beside the usual ones that stay read-only inside, relative to each mount."""
    unprotect: tuple[str, ...] = ()
    """Protected names that may be written after all, with what is below them."""
    cache: tuple[str, ...] = ()
    """Directories of HOME that outlast a sandbox, by the program's name."""
    spare_timeout: float = 600.0
    """Seconds without work after which a spare kernel, and the pool, are given up."""
    idle_timeout: float | None = None
    max_lifetime: float | None = None
    cell_timeout: float | None = None
    transport: Literal["auto", "ipc", "tcp", "stream"] = "auto"
    where: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    """``file:line:column`` of each key that the file gives."""

    @property
    def names_machine(self) -> bool:
        """Whether the file chooses another machine, or a cluster, which wants approval."""
        cluster = self.runtime == "kubernetes" or self.kubernetes is not None
        return cluster or self.on is not None

    @property
    def unenforced(self) -> bool:
        """Whether a network that leads out is no reason to refuse a start."""
        return self.kubernetes is not None and self.kubernetes.network == "unenforced"

    @property
    def forked(self) -> bool:
        """Whether kernels are ipykernel's, forked from the guest, so that one can be made ahead of
        need."""
        return not self.argv and self.transport != "tcp"


@dataclass(frozen=True, kw_only=True)
class UnusedKey:
    """What means nothing to a kernel, by its key: accepted, and listed by ``plan``."""

    name: str
    where: str


@dataclass(frozen=True, kw_only=True)
class Config:
    path: Path
    """The file; its directory is the project."""
    name: str
    mounts: tuple[MountEntry, ...] = ()
    """In the file's order, ``.:/workspace`` added in front unless the file mounts there."""
    volumes: tuple[VolumeEntry, ...] = ()
    workspace_mode: Literal["bind", "volume"] = "bind"
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[Secret, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    base_image: str | None = None
    services: tuple[Service, ...] = ()
    network: Network = Network()
    hooks: Hooks = Hooks()
    container: Container = Container()
    command: tuple[str, ...] = ()
    ports: tuple[tuple[str, int], ...] = ()
    runtime: Literal["docker", "apple"] | None = None
    kernel: KernelOptions = KernelOptions()
    unused: tuple[UnusedKey, ...] = ()
    where: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    """``file:line:column`` of each top-level key, for errors at launch."""
    digest: str = field(default="", compare=False, repr=False)
    """Of the file's bytes, as :func:`moat_nb.config.file.digest_of` makes it."""
    requirements_digest: str = field(default="", compare=False, repr=False)
    """The same of ``kernel.requirements``, once it was read."""

    @property
    def directory(self) -> Path:
        return self.path.parent

    def place(self, key: str) -> str:
        """``file:line:column`` of a key such as ``container.cpus``, or of the nearest above it that
        is known; the file's name where it is not given."""
        section, _, name = key.partition(".")
        sections = {"container": self.container.where, "network": self.network.where}
        nearest = self.kernel.where.get(name) if section == "kernel" else sections.get(section)
        return nearest or self.where.get(section) or self.path.name

    def place_of(self, target: str) -> str:
        """The same of what puts something at ``target``, a path inside: an exclude, else the mount
        or volume there or above."""
        excludes = {
            posixpath.join(mount.target, exclude.pattern): exclude.where
            for mount in self.mounts
            for exclude in mount.exclude
        }
        entries: list[MountEntry | VolumeEntry] = [*self.mounts, *self.volumes]
        entries.sort(key=lambda entry: len(entry.target))
        above = [e.where for e in entries if f"{target}/".startswith(f"{e.target}/")]
        return excludes.get(target) or (above[-1] if above else "") or self.path.name

    @property
    def wanted_services(self) -> tuple[Service, ...]:
        """Those that the kernel is not said to do without (``kernel.skip_dependencies``)."""
        skipped = self.kernel.skip_dependencies
        return tuple(service for service in self.services if service.name not in skipped)
