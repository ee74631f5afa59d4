"""Who is let in at a port of a sandbox: the first request's head says.

A sandbox's server must be no part of the browser's 127.0.0.1 or localhost. Cookies heed no port: it
would be sent those of a Jupyter server there, and its pages could act with them. So a browser is
let in by the port's own name alone, which no other server has. Programs that are no browser and
bring no cookie are let in by 127.0.0.1 too, as few of them find names below localhost.

A browser keeps the connections of each name apart, so the first request speaks for its connection,
and what follows it need not be HTTP.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from moat_nb.host.ports.options import Door

__all__ = ["Answer", "answer_to", "no_answer"]

HERE = ("127.0.0.1", "localhost")

_REQUEST = re.compile(rb"([A-Z-]{1,20}) (/[!-~\x80-\xff]*|\*) HTTP/1\.[01]")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*)")
_HOST = re.compile(rb"([A-Za-z0-9.-]{1,253})(:[0-9]{1,5})?")

OF_BROWSERS = ("cookie", "origin", "referer", "upgrade-insecure-requests")
"""And each that begins with ``sec-``, and a user agent that calls itself Mozilla, as every
browser's does: no page can take all of them from the request for another page."""

REASONS = {
    307: "Temporary Redirect",
    400: "Bad Request",
    421: "Misdirected Request",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the process says itself, in place of the sandbox's server."""

    status: int
    text: str
    location: str = ""

    def encode(self) -> bytes:
        body = f"moat-nb: {self.text}\n".encode()
        lines = [
            f"HTTP/1.1 {self.status} {REASONS[self.status]}",
            "Content-Type: text/plain; charset=utf-8",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
        ]
        if self.location:
            lines.append(f"Location: {self.location}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answer_to(head: bytes, door: Door) -> Answer | None:
    """None where the connection is the sandbox's; ``head`` has its empty line."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    request, found = _REQUEST.fullmatch(first), [_FIELD.fullmatch(line) for line in lines]
    fields = [(m[1].decode().lower(), m[2].strip()) for m in found if m is not None]
    hosts = [_HOST.fullmatch(value) for name, value in fields if name == "host"]
    if request is None or None in found or len(hosts) != 1 or hosts[0] is None:
        return Answer(status=400, text="this is no request of HTTP/1.1 to a host")
    host = hosts[0][1].decode().lower()
    if host == door.host:
        return None
    if host not in HERE:
        return Answer(status=421, text="there is no such host here")
    if not _of_browser(fields):
        return None
    target = request[2].decode("latin-1")
    # Another site's page is not led on: it could make requests there, and knows no name for them.
    elsewhere = ("sec-fetch-site", b"cross-site") in fields
    asks = request[1] in (b"GET", b"HEAD") and target.isascii() and not elsewhere
    return Answer(
        status=307 if asks else 421,
        text=f"browsers find port {door.name} of this sandbox at {door.url}",
        location=f"{door.url}{target}" if asks else "",
    )


def _of_browser(fields: list[tuple[str, bytes]]) -> bool:
    return any(
        name in OF_BROWSERS
        or name.startswith("sec-")
        or (name == "user-agent" and b"mozilla" in value.lower())
        for name, value in fields
    )


def no_answer(door: Door) -> Answer:
    """Where the sandbox took the connection and said nothing."""
    return Answer(
        status=502,
        text=f"nothing answers at port {door.inside} of the sandbox ({door.name}): its server has "
        f"to listen at 127.0.0.1:{door.inside} or 0.0.0.0:{door.inside} in there",
    )
