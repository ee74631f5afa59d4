"""Which engine the user's own settings name, as Docker's command line reads them: ``DOCKER_HOST``,
``DOCKER_CONTEXT``, else the context that ``docker context use`` chose."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from moat_nb.errors import MoatError

__all__ = ["VARIABLES", "Endpoint", "EndpointError", "Tls", "endpoint_of"]

VARIABLES = (
    *("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"),
    *("DOCKER_CONTEXT", "DOCKER_CONFIG"),
)
"""That are read here."""

REMOTE_SOCKET = "/var/run/docker.sock"
"""Where an engine listens on a machine that is reached by ssh, unless the address says."""

VIRTUAL = frozenset({".docker", ".colima", ".lima", ".orbstack", ".rd"})
"""Directories with the sockets of Docker Desktop, colima, lima, OrbStack and Rancher Desktop."""

TLS_PORT, PLAIN_PORT = 2376, 2375

MOST_BYTES = 1 << 20


class EndpointError(MoatError):
    """The settings name no engine that can be used; ``hint`` says what to do."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.hint = hint


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Paths of PEM files; empty for none."""

    ca: str = ""
    cert: str = ""
    key: str = ""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    url: str
    said: str
    """By what it was named."""
    socket: str = ""
    """A unix socket of this machine; else the engine is elsewhere."""
    ssh: tuple[str, ...] = ()
    """Words of ssh's command line that lead there."""
    address: tuple[str, int] | None = None
    """A host and a port."""
    tls: Tls | None = None

    @property
    def elsewhere(self) -> str:
        """How to name its machine; empty for this one."""
        return "" if self.socket or _is_here(self.address) else self.url

    @property
    def virtual(self) -> bool:
        """Whether it is one of those that run in a virtual machine of their own, which shows this
        machine's directories, and in them no socket that leads out."""
        return not VIRTUAL.isdisjoint(Path(self.socket).parts)

    @property
    def digest(self) -> str:
        """A name for it, short enough for a socket's path."""
        words = json.dumps({**asdict(self), "said": ""}, sort_keys=True)
        return hashlib.sha256(words.encode()).hexdigest()[:6]


def endpoint_of(environ: Mapping[str, str]) -> Endpoint | None:
    """None where nothing is named: the usual sockets are tried then. Raises EndpointError."""
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - which raises for nobody
    settings = Path(environ.get("DOCKER_CONFIG") or f"{home}/.docker").absolute()
    if url := environ.get("DOCKER_HOST"):
        tls = None
        if environ.get("DOCKER_TLS_VERIFY"):
            tls = _tls_in(Path(environ.get("DOCKER_CERT_PATH") or settings).absolute())
        return _parse(url, "DOCKER_HOST", tls)
    name = environ.get("DOCKER_CONTEXT")
    said = "DOCKER_CONTEXT"
    if not name:
        name, said = _read(settings / "config.json").get("currentContext"), "docker context"
    if not isinstance(name, str) or name in ("", "default"):
        return None
    return _of_context(name, f"{said} {name}", settings / "contexts")


def _of_context(name: str, said: str, contexts: Path) -> Endpoint:
    """From the files that `docker context create` writes."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    found = _read(contexts / "meta" / digest / "meta.json")
    try:
        url = str(found["Endpoints"]["docker"]["Host"])
    except (KeyError, TypeError):
        hint = "`docker context ls` shows those that are there"
        raise EndpointError(f"{said}: there is no such context", hint) from None
    certificates = contexts / "tls" / digest / "docker"
    return _parse(url, said, _tls_in(certificates) if certificates.is_dir() else None)


def _read(path: Path) -> dict[str, Any]:
    """Empty for what is not there, or no such file."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(MOST_BYTES))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _tls_in(directory: Path) -> Tls:
    def path(name: str) -> str:
        file = directory / name
        return str(file) if file.is_file() else ""

    return Tls(ca=path("ca.pem"), cert=path("cert.pem"), key=path("key.pem"))


def _parse(url: str, said: str, tls: Tls | None) -> Endpoint:
    if url.startswith("/"):
        return Endpoint(url=f"unix://{url}", said=said, socket=url)
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme == "unix" and rest.startswith("/"):
        return Endpoint(url=url, said=said, socket=rest)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise EndpointError(f"{said} is {url}: {error}", _WAYS) from None
    if scheme == "ssh" and host and parts.password is None:
        # As it is written: a Host of ssh's own settings may have capitals.
        name = parts.netloc.rpartition("@")[2]
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        user = ("-l", unquote(parts.username)) if parts.username else ()
        by = () if port is None else ("-p", str(port))
        where = unquote(parts.path) if parts.path not in ("", "/") else REMOTE_SOCKET
        if not name.startswith("-") and ":" not in where:
            return Endpoint(url=url, said=said, ssh=(*user, *by, "--", name, where))
    if scheme in ("tcp", "https") and host:
        at = host, port or (PLAIN_PORT if tls is None and scheme == "tcp" else TLS_PORT)
        if tls is None and scheme == "https":
            tls = Tls()
        if tls is None and not _is_here(at):
            raise EndpointError(
                f"{said} is {url}: without TLS, whoever is on the way can do all that root can",
                "set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH, or use ssh://",
            )
        return Endpoint(url=url, said=said, address=at, tls=tls)
    raise EndpointError(f"{said} is {url}, which names no engine", _WAYS)


_WAYS = "it is unix:///PATH, ssh://[USER@]HOST[:PORT][/PATH], or tcp://HOST:PORT with TLS"


def _is_here(address: tuple[str, int] | None) -> bool:
    if address is None:
        return False
    try:
        return address[0] == "localhost" or ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return False
