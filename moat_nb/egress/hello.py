"""The server's name in a TLS ClientHello (RFC 8446, RFC 6066), read before anything is passed on.

The bytes are a sandbox's: every length is checked against what is there.
"""

from __future__ import annotations

from dataclasses import dataclass

from moat_nb.egress.verdict import Malformed

__all__ = ["HANDSHAKE", "MAX_HELLO", "server_name"]

HANDSHAKE = 22
"""The first byte of a TLS record that holds a handshake message."""
MAX_HELLO = 1 << 15
"""Bytes. A browser's, with a post-quantum key, has 2 KiB."""

_MAX_RECORD = 1 << 14
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_HOST_NAME = 0


class _Short(Exception):
    """A length points beyond what is there, or stops short of it."""


def server_name(data: bytes) -> str | None:
    """The name that ``data`` begins to ask for, or None while more bytes are needed.

    An empty text where the ClientHello names no server; Malformed where it is none.
    """
    try:
        message = _message(data)
    except _Short:
        if len(data) > MAX_HELLO:
            raise Malformed("its TLS ClientHello is too long") from None
        return None
    try:
        return _name_in(message)
    except _Short:
        raise Malformed("its TLS ClientHello contradicts itself") from None


def _message(data: bytes) -> bytes:
    """The ClientHello's body, put together from the records that it may be spread over."""
    records, message = _Bytes(data), bytearray()
    while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4], "big"):
        kind, major = records.number(1), records.number(1)
        records.number(1)
        size = records.number(2)
        if kind != HANDSHAKE or major != 3 or not 0 < size <= _MAX_RECORD:
            raise Malformed("it does not begin with a TLS ClientHello")
        message += records.take(size)
        if message[0] != _CLIENT_HELLO:
            raise Malformed("it does not begin with a TLS ClientHello")
    return bytes(message[4 : 4 + int.from_bytes(message[1:4], "big")])


def _name_in(message: bytes) -> str:
    hello = _Bytes(message)
    hello.take(2 + 32)  # version, random
    for width in (1, 2, 1):  # session, cipher suites, compression
        hello.take(hello.number(width))
    names = []
    extensions = _Bytes(hello.take(hello.number(2))) if hello.left else _Bytes(b"")
    if hello.left:
        raise _Short
    while extensions.left:
        kind = extensions.number(2)
        content = extensions.take(extensions.number(2))
        if kind == _SERVER_NAME:
            names.append(_only_name(content))
    if len(names) > 1:
        raise Malformed("its TLS ClientHello names its server twice")
    return names[0] if names else ""


def _only_name(content: bytes) -> str:
    extension = _Bytes(content)
    entries = _Bytes(extension.take(extension.number(2)))
    kind = entries.number(1)
    name = entries.take(entries.number(2))
    if kind != _HOST_NAME or entries.left or extension.left:
        raise Malformed("its TLS ClientHello names more than one server")
    return name.decode("latin-1")


@dataclass
class _Bytes:
    data: bytes
    at: int = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise _Short
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")
