"""The engines of this machine: their sockets, what each says of itself, and clients."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from moat_nb.host.cleanup import connect_http
from moat_nb.runtimes.base import BRIDGES
from moat_nb.runtimes.docker.endpoint import Endpoint
from moat_nb.runtimes.docker.forwarded import socket_of

if TYPE_CHECKING:
    import docker

__all__ = [
    "ANSWER_SECONDS",
    "ENGINE_TIMEOUT",
    "EngineFacts",
    "ask_facts",
    "connect",
    "engine_errors",
    "image_id",
    "sockets",
    "unlimited",
]

ENGINE_TIMEOUT = 60
"""Seconds for one answer of the engine; a build streams its own while it runs."""

ANSWER_SECONDS = 10
"""For what it is asked before anything is started: one that is frozen shall not hold up for long
who could start without it."""


@dataclass(frozen=True, kw_only=True)
class EngineFacts:
    """What ``render`` must know of the engine; the defaults are Docker Engine's."""

    podman: bool = False
    rootless: bool = False
    version: str = ""
    api: str = ""
    unlimited: tuple[str, ...] = ()
    """What the engine cannot limit, of ``memory``, ``processes``, ``CPU`` and ``swap``."""
    bridge: bool = True
    """Whether it has a network of its own to give to builds."""


def sockets(environ: Mapping[str, str], endpoint: Endpoint | None) -> dict[str, str]:
    """``{unix socket's path: "docker" or "podman"}``, in the order in which they are tried;
    ``endpoint`` is what the user's settings name. Raises EndpointError where that cannot be
    reached."""
    if endpoint is not None:
        return {socket_of(endpoint, environ): "docker"}
    run = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return {
        "/var/run/docker.sock": "docker",
        f"{run}/docker.sock": "docker",
        f"{run}/podman/podman.sock": "podman",
        "/run/podman/podman.sock": "podman",
    }


def connect(path: str) -> docker.APIClient:
    """An SDK client of the engine at a unix socket."""
    import docker

    return docker.APIClient(base_url=f"unix://{path}", version="auto", timeout=ENGINE_TIMEOUT)


def engine_errors() -> tuple[type[Exception], ...]:
    """What a call of the SDK raises when the engine refuses, hangs, or is not there."""
    import docker.errors
    import requests.exceptions

    return docker.errors.DockerException, requests.exceptions.RequestException, OSError


_known: dict[tuple[str, str], EngineFacts] = {}
"""By socket and what the engine says of itself when it is pinged: asking for all takes it 18 ms or
more, and one that was updated meanwhile says something else."""


def ask_facts(path: str) -> EngineFacts:
    """Asked without the SDK, whose import alone takes longer than a whole `moat-nb plan` may."""
    key = (path, _ping(path))
    if key not in _known:
        _known[key] = _ask_all(path)
    return _known[key]


def _ping(path: str) -> str:
    connection = connect_http(path, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/_ping")
        headers = connection.getresponse().getheaders()
    finally:
        connection.close()
    return str([(k, v) for k, v in headers if k not in ("Date", "X-Reference-Id")])


def _ask_all(path: str) -> EngineFacts:
    version = _get(path, "/version")
    info = _get(path, "/info")
    components = version.get("Components") or [{}]
    return EngineFacts(
        podman="podman" in str(components[0].get("Name", "")).lower(),
        rootless=any("rootless" in str(option) for option in info.get("SecurityOptions") or []),
        version=str(version.get("Version", "")),
        api=str(version.get("ApiVersion", "")),
        unlimited=unlimited(info),
        bridge=_has_bridge(path),
    )


def _has_bridge(path: str) -> bool:
    """Also where it may not be asked: a build looks again."""
    try:
        networks = _answer(path, "/networks")
        return bool(BRIDGES & {network["Name"] for network in networks})
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return True


def unlimited(info: Mapping[str, Any]) -> tuple[str, ...]:
    """What the engine says in its answer to ``/info`` that it cannot limit."""
    names = {
        "MemoryLimit": "memory",
        "SwapLimit": "swap",
        "PidsLimit": "processes",
        "CpuCfsQuota": "CPU",
    }
    # Podman leaves out what it takes for granted, so only a plain no counts.
    return tuple(name for key, name in names.items() if info.get(key) is False)


def image_id(path: str, name: str) -> str | None:
    """Of an image that is on the engine; None where it is not, or cannot be looked up.

    Without the SDK, which takes three times as long, beside its import.
    """
    try:
        return str(_get(path, f"/images/{quote(name, safe='/:@')}/json")["Id"])
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return None


def _get(path: str, what: str) -> dict[str, Any]:
    answer = _answer(path, what)
    if not isinstance(answer, dict):
        raise ValueError(f"GET {what} answered {answer!r:.60}")
    return answer


def _answer(path: str, what: str) -> Any:
    connection = connect_http(path, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", what)
        response = connection.getresponse()
        answer = json.loads(response.read())
    finally:
        connection.close()
    if response.status != HTTPStatus.OK:
        raise ValueError(f"GET {what} answered {answer!r:.60}")
    return answer
