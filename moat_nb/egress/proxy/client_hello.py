"""Reads the server's name in a TLS ClientHello (RFC 6066) before anything is passed on.

The bytes are a sandbox's, so OpenSSL parses them. It plays a server that ends the handshake as soon
as it knows the name. That needs no certificate, and its answer is dropped.
"""

from __future__ import annotations

import contextlib
import ssl
import sys
from collections.abc import Iterator

from moat_nb.egress.policy.verdict import Malformed

__all__ = ["HANDSHAKE", "MAX_HELLO", "server_name"]

HANDSHAKE = 22
"""The first byte of a TLS record that holds a handshake message."""
MAX_HELLO = 1 << 15
"""Bytes. A browser's, with a post-quantum key, has 2 KiB."""


class _Hello(ssl.SSLObject):
    asked_for: str | None = None
    """Empty where the ClientHello names no server; None before it was read."""


def server_name(data: bytes) -> str | None:
    """The name that ``data`` begins to ask for, or None while more bytes are needed.

    An empty text where the ClientHello names no server; Malformed where it is none, or one that
    OpenSSL refuses before it looks at the name (no TLS 1.0 or later, no cipher of TLS 1.3 that it
    knows), or for the name: two of them, a NUL, a letter that is not ASCII.
    """
    # OpenSSL alone would take an SSLv2 hello, and an empty record, which RFC 8446 forbids.
    if data[:1] not in (b"", bytes([HANDSHAKE])) or data[3:5] == bytes(2):
        raise Malformed("it does not begin with a TLS ClientHello")
    incoming = ssl.MemoryBIO()
    incoming.write(data[:MAX_HELLO])  # what is longer is refused however it was cut
    hello = _CONTEXT.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
    assert isinstance(hello, _Hello)
    try:
        with _without_unraisable():
            hello.do_handshake()
    except ssl.SSLWantReadError:
        if len(data) > MAX_HELLO:
            raise Malformed("its TLS ClientHello is too long") from None
    except ssl.SSLError as error:
        if hello.asked_for is None:
            reason = f"it does not begin with a TLS ClientHello that can be read: {error.reason}"
            raise Malformed(reason) from None
    return hello.asked_for


def _on_name(hello: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int:
    assert isinstance(hello, _Hello)
    hello.asked_for = name or ""
    return ssl.ALERT_DESCRIPTION_ACCESS_DENIED


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Old protocols are for the host to refuse. TLS 1.0 by its own name would be warned of, and
    # OpenSSL has it at security level 0 only.
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.sslobject_class = _Hello
    context.sni_callback = _on_name
    return context


_CONTEXT = _context()


@contextlib.contextmanager
def _without_unraisable() -> Iterator[None]:
    """Print nothing of an error inside a callback: ssl's own for a name that is not ASCII, which
    then ends the handshake before ``_on_name`` is called."""
    before, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = before
