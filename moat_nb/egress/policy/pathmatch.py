"""Matches the possible readings of a path with the patterns of ``network.rules``. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from moat_nb.egress.policy.verdict import Malformed

__all__ = ["WHOLE_SERVER", "path_matches", "readings"]

MOST_TEXTS = 16
"""Texts that one path may become by decoding and cutting, step by step. Most paths have one; a path
encoded twice, with parameters, has six."""

WHOLE_SERVER = ("*",)
"""The one reading of the target ``*``; every path begins with a slash."""

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PARAMETERS = re.compile(r";[^/]*")
# A lax decoder of UTF-8 takes sequences that are longer than their letter needs, and looks at the
# low bits alone of the bytes that follow.
_0, _1 = r"[\x00\x40\x80\xc0]", r"[\x00\x01\x40\x41\x80\x81\xc0\xc1]"
_LONG = re.compile(
    rf"(?:[\xc0\xc1]|\xe0{_1}|\xf0{_0}{_1}|\xf8{_0}{{2}}{_1}|\xfc{_0}{{3}}{_1}).", re.DOTALL
)
_BY_NUMBER = re.compile(r"%u([0-9A-Fa-f]{4})")
_LOOK_ALIKES = {
    char.encode().decode("latin-1"): plain
    for char, plain in {
        **{"\uff0e": ".", "\u2024": ".", "\u2025": "..", "\uff0f": "/", "\u2044": "/"},
        **{"\u2215": "/", "\uff3c": "/", "\u2216": "/", "\uff1b": ";", "\uff05": "%"},
    }.items()
}
"""As servers write them that turn letters into their nearest ASCII."""
_LOOK_ALIKE = re.compile("|".join(_LOOK_ALIKES))
_DIVIDES = frozenset("./\\;%")


def path_matches(pattern: str, segments: Sequence[str]) -> bool:
    """``*`` stands for one segment, ``**`` for any number of them. ``**`` may stand for none only
    at the very front: ``/a/**`` is not ``/a``, as in Moat's ``netrules/pathmatch.go``."""
    reached = {0}
    """Numbers of segments that the pattern's part so far may have taken."""
    front = True
    for wanted in _resolved(_full(pattern.split("/"))):
        if wanted == "**":
            first = min(reached, default=len(segments)) + (0 if front else 1)
            reached = set(range(first, len(segments) + 1))
        else:
            reached = {
                taken + 1
                for taken in reached
                if taken < len(segments) and wanted in ("*", segments[taken])
            }
        front = False
    return len(segments) in reached


def readings(target: str) -> list[tuple[str, ...]]:
    """The ways in which servers may split ``target``, a path with or without a query.

    Most paths have one. ``%2F`` is a letter or a separator, and a decoded text may be decoded
    again, by decoders that are lax too (``%c0%ae``, ``%u002e``, a full-width dot). A segment's
    parameters (``;x``) are part of it or not. ``..`` is resolved or not, and takes the segment
    before it, even an empty one. Malformed where there are too many ways.
    """
    if target == "*":
        return [WHOLE_SERVER]
    found: dict[tuple[str, ...], None] = {}
    for text in _texts(target.partition("?")[0].encode("latin-1", "replace")):
        segments = text.split("/")[1:]
        found[_resolved(_full(segments))] = None
        found[_full(_resolved(segments))] = None
        found[_full(segments)] = None
    return list(found)


def _texts(path: bytes) -> list[str]:
    """All results of decoding ``path`` and cutting its parameters, in any order."""
    texts = [_ESCAPE.sub(_unescape_unreserved, path).decode("latin-1")]
    for text in texts:  # the list grows meanwhile
        decoded = unquote_to_bytes(text.encode("latin-1")).decode("latin-1").replace("\\", "/")
        cut = _PARAMETERS.sub("", text)
        texts += [new for new in dict.fromkeys((decoded, cut, _loose(text))) if new not in texts]
        if len(texts) > MOST_TEXTS:
            raise Malformed("the request's path can be read in too many ways")
    return texts


def _loose(text: str) -> str:
    """What decoders make of ``text`` that take more than UTF-8 for a dot or a separator."""
    text = _BY_NUMBER.sub(lambda found: _as_utf8(chr(int(found[1], 16))), text)
    text = _LONG.sub(_shortest, text)
    return _LOOK_ALIKE.sub(lambda found: _LOOK_ALIKES[found[0]], text).replace("\\", "/")


def _as_utf8(char: str) -> str:
    return char.encode("utf-8", "surrogatepass").decode("latin-1")


def _shortest(sequence: re.Match[str]) -> str:
    before, last = map(ord, sequence[0][-2:])
    char = chr((before & 1) << 6 | last & 0x3F)
    return char if char in _DIVIDES else sequence[0]


def _unescape_unreserved(escape: re.Match[bytes]) -> bytes:
    byte = int(escape[1], 16)
    return bytes([byte]) if byte in _UNRESERVED else escape[0].upper()


def _full(segments: Sequence[str]) -> tuple[str, ...]:
    """Without the empty ones."""
    return tuple(segment for segment in segments if segment)


def _resolved(segments: Sequence[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return tuple(kept)
