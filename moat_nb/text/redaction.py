"""Secrets taken out of what a program prints, before any of it is written down."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["MASK", "Redactor"]

MASK = b"***"


class Redactor:
    """For bytes that arrive in pieces: what may be the beginning of a secret is held back until it
    is known, and nothing else is. Not thread-safe."""

    def __init__(self, secrets: Iterable[str]) -> None:
        words = {secret.encode(errors="surrogateescape") for secret in secrets if secret}
        # Of two that begin alike the longer one: the shorter would leave the other's end.
        self._secrets = sorted(words, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, self._secrets)))
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What can be shown by now."""
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
        """What was held back, as nothing follows it."""
        held, self._held = self._held, b""
        return self._without(held)

    def text(self, words: str) -> str:
        """``words``, which are whole, without the secrets."""
        return self._without(words.encode(errors="surrogateescape")).decode(errors="replace")

    def _without(self, data: bytes) -> bytes:
        return self._pattern.sub(MASK, data) if self._secrets else data

    def _beginning(self, data: bytes, at: int) -> int:
        """Where, from ``at`` on, the end of ``data`` begins that a secret could begin with."""
        for start in range(max(at, len(data) - len(self._secrets[0]) + 1), len(data)):
            end = data[start:]
            if any(secret.startswith(end) and secret != end for secret in self._secrets):
                return start
        return len(data)
