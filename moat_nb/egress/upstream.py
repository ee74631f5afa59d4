"""The launcher's own proxy, as its environment names it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from moat_nb.egress.options import REACHABLE

__all__ = ["READ_VARIABLES", "UPSTREAM", "Upstream", "first"]

_PORTS = {"http": 80, "https": 443}
_PROBLEM = (
    "HTTPS_PROXY of the launcher is not http://HOST:PORT or https://HOST:PORT; "
    "percent-encode what stands before an @ in it"
)
"""Quotes nothing of the value: a password with a slash looks like a host and a path, and the
sandbox gets this text."""


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """The proxy that the launcher's environment names."""

    host: str = ""
    port: int = 0
    tls: bool = False
    authorization: str | None = field(default=None, repr=False)
    problem: str = ""
    """Why it cannot be used. Then no host is reached: going around the proxy may be forbidden."""

    @classmethod
    def parse(cls, url: str) -> Upstream:
        """``[http://][user:password@]host[:port]``."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.scheme in _PORTS and (parts.port or _PORTS[parts.scheme])
        except ValueError:
            return cls(problem=_PROBLEM)
        # With an @ behind it, the "host" is the beginning of a user or a password.
        if not port or not parts.hostname or "@" in parts.path + parts.query + parts.fragment:
            return cls(problem=_PROBLEM)
        tls = parts.scheme == "https"
        return cls(host=parts.hostname, port=port, tls=tls, authorization=_authorization(parts))

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        if self.authorization is None:
            return []
        return [(b"proxy-authorization", self.authorization.encode())]


def _authorization(parts: SplitResult) -> str | None:
    if parts.username is None:
        return None
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {b64encode(credentials.encode()).decode()}"


UPSTREAM = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY")
UNPROXIED = ("no_proxy", "NO_PROXY")
READ_VARIABLES = (REACHABLE, *UPSTREAM, *UNPROXIED)
"""The launcher's variables that say how its proxies reach the world."""


def first(environ: Mapping[str, str], names: Iterable[str]) -> str:
    """The first of these variables that is set and not empty, or an empty text."""
    return next(filter(None, map(environ.get, names)), "")
