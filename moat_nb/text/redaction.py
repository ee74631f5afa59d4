"""Removes secrets from a program's output before it is written down."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["MASK", "Redactor"]

MASK = b"***"


class Redactor:
    """Works on bytes that arrive in pieces. It holds back only what may be the beginning of a
    secret, until the next piece decides. Not thread-safe."""

    def __init__(self, secrets: Iterable[str]) -> None:
        encoded = {secret.encode(errors="surrogateescape") for secret in secrets if secret}
        # The longest first: of two that begin alike, the shorter would leave the other's end.
        self._secrets = sorted(encoded, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, self._secrets)))
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The bytes that can be shown by now."""
        if not self._secrets:
            return data
        data = self._held + data
        shown, at = bytearray(), 0
        while True:
            held = self._beginning(data, at)
            match = self._pattern.search(data, at)
            if match is None or match.start() >= held:
                break
            shown += data[at : match.start()] + MASK
            at = match.end()
        self._held = data[held:]
        return bytes(shown + data[at:held])

    def rest(self) -> bytes:
        """The bytes held back, once nothing follows them."""
        held, self._held = self._held, b""
        return self._without(held)

    def text(self, whole: str) -> str:
        """``whole``, a complete text, without the secrets."""
        return self._without(whole.encode(errors="surrogateescape")).decode(errors="replace")

    def _without(self, data: bytes) -> bytes:
        return self._pattern.sub(MASK, data) if self._secrets else data

    def _beginning(self, data: bytes, at: int) -> int:
        """Index, from ``at`` on, of an end of ``data`` that is the beginning of a secret; or the
        length of ``data``."""
        for start in range(max(at, len(data) - len(self._secrets[0]) + 1), len(data)):
            end = data[start:]
            if any(secret.startswith(end) and secret != end for secret in self._secrets):
                return start
        return len(data)
