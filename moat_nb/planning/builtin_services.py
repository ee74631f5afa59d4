"""What is known of the built-in services: images, ports, users, data, passwords, variables.

The variables that an image's entrypoint reads are those that its page on Docker Hub documents
(postgres, mysql, redis) or its FAQ (ollama); the uid and the directories are those of the images'
own Dockerfiles (docker-library/postgres, docker-library/mysql, docker-library/redis).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from urllib.parse import quote

from moat_nb.config.model import Service
from moat_nb.config.readiness import Command, Port, Ready
from moat_nb.host.machine import User
from moat_nb.planning.spec import HOME

__all__ = [
    "ADDRESS",
    "BUILTIN_SERVICES",
    "MODELS",
    "NO_SECRETS",
    "REGISTRY",
    "BuiltinService",
    "ResolvedService",
    "ServiceInputs",
    "resolve",
]

ADDRESS = "127.0.0.1"
"""Where every sidecar is for the kernel; its name in /etc/hosts is this address too."""

NO_SECRETS: Mapping[str, str] = MappingProxyType({})

IMAGE_USER = User(999, 999)
"""Who the official postgres, mysql and redis images (Debian's) run their server as."""


@dataclass(frozen=True, kw_only=True)
class ServiceInputs:
    """What one start gives a service on its stdin. It holds the password, so its repr is empty."""

    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """To the sidecar's entrypoint."""
    stdin: str = field(default="", repr=False)
    """What the entrypoint's program reads."""
    kernel: Mapping[str, str] = field(default_factory=dict, repr=False)
    """To each kernel and command in the sandbox."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """The passwords among them: what the sidecar prints is shown without these."""


@dataclass(frozen=True, kw_only=True)
class BuiltinService:
    image: str
    """A repository of Docker Hub's."""
    version: str
    """The tag where moat.yaml names none."""
    port: int
    user: User | None
    """One of the image's own; None for the kernel's."""
    ready: Callable[[Mapping[str, str]], Ready]
    """From the file's env."""
    data: tuple[str, ...]
    """Directories that it writes: each a tmpfs, unless a volume or a mount stands there."""
    command: tuple[str, ...] = ()
    inputs: Callable[[Mapping[str, str], str], ServiceInputs]
    """From the file's env and a new password."""


def variables(name: str, port: int | None, **more: str) -> dict[str, str]:
    """``MOAT_<NAME>_HOST``, ``_PORT`` and ``more``, by the word that follows."""
    prefix = "MOAT_" + name.upper().replace("-", "_").replace(".", "_")
    words = {"HOST": ADDRESS, **({"PORT": str(port)} if port is not None else {}), **more}
    return {f"{prefix}_{word}": value for word, value in words.items()}


def _postgres(given: Mapping[str, str], new_password: str) -> ServiceInputs:
    password = given.get("POSTGRES_PASSWORD") or new_password
    user = given.get("POSTGRES_USER") or "postgres"
    database = given.get("POSTGRES_DB") or user
    # A directory below the mount: initdb wants one that nobody else may enter.
    env = {"PGDATA": f"{PG_HOME}/data/pgdata", **given, "POSTGRES_PASSWORD": password}
    # Without a word initdb trusts whoever comes from 127.0.0.1, and here all do; what the
    # entrypoint makes of POSTGRES_HOST_AUTH_METHOD stands below that line, and is never reached.
    method = given.get("POSTGRES_HOST_AUTH_METHOD") or "scram-sha-256"
    env.setdefault("POSTGRES_INITDB_ARGS", f"--auth-host={shlex.quote(method)}")
    url = _url("postgresql", user, password, 5432, database)
    more = {"USER": user, "PASSWORD": password, "DB": database, "URL": url}
    kernel = variables("postgres", 5432, **more)
    return ServiceInputs(env=env, kernel=kernel, secrets=(password,))


def _postgres_ready(given: Mapping[str, str]) -> Ready:
    # Not the port alone: it is open before the server lets anyone in.
    user = given.get("POSTGRES_USER") or "postgres"
    database = given.get("POSTGRES_DB") or user
    who = ("--username", user, "--dbname", database)
    return Command(argv=("pg_isready", "--quiet", "--host", ADDRESS, *who))


def _mysql(given: Mapping[str, str], new_password: str) -> ServiceInputs:
    user = given.get("MYSQL_USER") or "root"
    own = "MYSQL_ROOT_PASSWORD" if user == "root" else "MYSQL_PASSWORD"
    password = given.get(own) or new_password
    database = given.get("MYSQL_DATABASE") or "moat"
    root = given.get("MYSQL_ROOT_PASSWORD") or new_password
    env = {**given, "MYSQL_ROOT_PASSWORD": root, "MYSQL_DATABASE": database, own: password}
    url = _url("mysql", user, password, 3306, database)
    more = {"USER": user, "PASSWORD": password, "DB": database, "URL": url}
    kernel = variables("mysql", 3306, **more)
    return ServiceInputs(env=env, kernel=kernel, secrets=(password, root))


def _redis(given: Mapping[str, str], new_password: str) -> ServiceInputs:
    # The image knows no variable for it, and a command line is read by all; so is its config
    # read from stdin. REDIS_PASSWORD is the name that other images of Redis have for it.
    password = given.get("REDIS_PASSWORD") or new_password
    env = {name: value for name, value in given.items() if name != "REDIS_PASSWORD"}
    # JSON's quoting is what redis.conf knows: \" \\ \n and the like, byte for byte otherwise.
    # A snapshot that fails for want of memory must not have all writes refused, as is its default.
    stdin = (
        f"requirepass {json.dumps(password, ensure_ascii=False)}\n"
        "dir /data\n"
        "stop-writes-on-bgsave-error no\n"
    )
    more = {"PASSWORD": password, "URL": f"redis://:{quote(password, safe='')}@{ADDRESS}:6379"}
    kernel = variables("redis", 6379, **more)
    return ServiceInputs(env=env, stdin=stdin, kernel=kernel, secrets=(password,))


def _ollama(given: Mapping[str, str], new_password: str) -> ServiceInputs:
    env = {
        "OLLAMA_HOST": f"{ADDRESS}:11434",
        "OLLAMA_MODELS": MODELS,
        # At its start a server removes pieces of models, which another may be pulling there.
        "OLLAMA_NOPRUNE": "1",
        "HOME": HOME,
        **given,
    }
    url = {"URL": f"http://{ADDRESS}:11434"}
    return ServiceInputs(env=env, kernel=variables("ollama", 11434, **url))


def _ministack(given: Mapping[str, str], new_password: str) -> ServiceInputs:
    url = {"URL": f"http://{ADDRESS}:4566"}
    return ServiceInputs(env={"HOME": "/tmp", **given}, kernel=variables("ministack", 4566, **url))


def _url(scheme: str, user: str, password: str, port: int, database: str) -> str:
    user, password, database = (quote(word, safe="") for word in (user, password, database))
    return f"{scheme}://{user}:{password}@{ADDRESS}:{port}/{database}"


PG_HOME = "/var/lib/postgresql"
"""The tmpfs stands here, as the image's own volume does from 18 on, whose entrypoint refuses a
mount at PG_HOME/data; that is where the volume is up to 17."""

MODELS = "/models"
"""Where ollama keeps them."""

REGISTRY = "registry.ollama.ai"
"""Where a model's name leads that has no host in it; it redirects to the hosts of its storage."""

BUILTIN_SERVICES: Mapping[str, BuiltinService] = {
    "postgres": BuiltinService(
        image="postgres",
        version="17",
        port=5432,
        user=IMAGE_USER,
        ready=_postgres_ready,
        data=(PG_HOME, "/var/run/postgresql"),
        inputs=_postgres,
    ),
    "mysql": BuiltinService(
        image="mysql",
        version="8",
        port=3306,
        user=IMAGE_USER,
        # The server that the entrypoint starts for itself at first has no port.
        ready=lambda env: Port(port=3306, timeout=120.0),
        data=("/var/lib/mysql", "/var/run/mysqld"),
        inputs=_mysql,
    ),
    "redis": BuiltinService(
        image="redis",
        version="7",
        port=6379,
        user=IMAGE_USER,
        ready=lambda env: Port(port=6379),
        data=("/data",),
        command=("redis-server", "-"),
        inputs=_redis,
    ),
    "ollama": BuiltinService(
        image="ollama/ollama",
        version="latest",
        port=11434,
        # The image has only root, and the certificates are for the kernel's user to read.
        user=None,
        ready=lambda env: Port(port=11434),
        data=(MODELS,),
        inputs=_ollama,
    ),
    "ministack": BuiltinService(
        image="ministackorg/ministack",
        version="1.3",
        port=4566,
        user=None,  # the image has root alone, and needs none of root's rights
        ready=lambda env: Port(port=4566),
        data=("/tmp",),
        inputs=_ministack,
    ),
}


@dataclass(frozen=True, kw_only=True)
class ResolvedService:
    """A service of the file's, with what is known of it where it is a built-in one."""

    entry: Service = field(repr=False)
    """The file's. Its env may hold passwords."""
    image: str
    """The tag, by which the engine knows it or pulls it."""
    command: tuple[str, ...]
    """What follows the image's entrypoint; empty for the image's own command."""
    user: User | None
    """One of the image's own; None for the kernel's."""
    ports: tuple[int, ...]
    """Where it listens, in the sandbox."""
    ready: Ready | None
    """None: it counts as ready once it is started."""
    data: tuple[str, ...]
    """Directories that it writes: each a tmpfs, unless a volume or a mount stands there."""
    builtin: BuiltinService | None = field(repr=False)

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def where(self) -> str:
        return self.entry.where

    @property
    def env(self) -> dict[str, str]:
        """The file's."""
        return dict(self.entry.env)

    def inputs(
        self, password: str, way_out: Mapping[str, str], secrets: Mapping[str, str] = NO_SECRETS
    ) -> ServiceInputs:
        """What a start gives it; ``way_out`` are variables for a built-in one, below its own.

        ``secrets`` are the values of the entry's, by variable.
        """
        env = {**self.env, **secrets}
        if self.builtin is None:
            inputs = ServiceInputs(env=env, kernel=_address(self.entry))
        else:
            inputs = self.builtin.inputs(env, password)
            inputs = replace(inputs, env={**way_out, **inputs.env})
        # Neither the sidecar's log nor an error is to have them.
        hidden = dict.fromkeys((*inputs.secrets, *filter(None, secrets.values())))
        return replace(inputs, secrets=tuple(hidden))

    def new_passwords(self) -> tuple[str, ...]:
        """The variables of its entrypoint that are another at each start."""
        # Of a secret the reference stands for the value.
        one, other = (self.inputs(password, {}).env for password in "ab")
        return tuple(name for name in one if one[name] != other[name])


def resolve(service: Service) -> ResolvedService:
    """The file's entry, which goes before what is built in under its name."""
    builtin = BUILTIN_SERVICES.get(service.name)
    if builtin is None:
        assert service.image is not None  # as the reader has it
        return ResolvedService(
            entry=service,
            image=service.image,
            command=service.command,
            user=service.user,
            ports=service.ports,
            ready=service.ready or (Port(port=service.ports[0]) if service.ports else None),
            data=(),
            builtin=None,
        )
    return ResolvedService(
        entry=service,
        image=service.image or f"{builtin.image}:{service.version or builtin.version}",
        command=service.command or builtin.command,
        user=service.user or builtin.user,
        ports=(builtin.port, *service.ports),
        ready=service.ready or builtin.ready(dict(service.env)),
        data=builtin.data,
        builtin=builtin,
    )


def _address(service: Service) -> Mapping[str, str]:
    """What kernels are told of a service of ``kernel.services``: where it is."""
    return variables(service.name, service.ports[0] if service.ports else None)
