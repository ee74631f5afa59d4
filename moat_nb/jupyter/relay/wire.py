"""Jupyter's messages as frames: read from a hostile kernel, written with a signature of our own.

https://jupyter-client.readthedocs.io/en/stable/messaging.html#the-wire-protocol
"""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import orjson

__all__ = [
    "Message",
    "Signer",
    "header_of",
    "made_header",
    "own_parts",
    "parts_of",
    "read",
    "signed_anew",
]

DELIMITER = b"<IDS|MSG>"
PARTS = 4
"""Header, parent header, metadata and content, each JSON."""

MAX_IDENTITIES = 8
MAX_IDENTITY = 1024
MAX_BUFFERS = 4096
LONGEST_FIELD = 512

MOST_VALUES = 4_000_000
"""Of a message, by the characters that part them. Each costs a parser, and whoever looks at it, as
much as a long text does."""
TOO_MANY = f"moat: an output of more than {MOST_VALUES:,} values is not shown"

HEADER_FIELDS = ("msg_id", "msg_type", "username", "session", "date", "version", "subshell_id")

VERSION = "5.4"


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One message; ``header`` and ``parent`` have texts of a bounded length and nothing else."""

    identities: Sequence[bytes] = ()
    header: dict[str, Any]
    parent: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)
    content: dict[str, Any]
    buffers: Sequence[bytes] = ()

    @property
    def kind(self) -> str:
        kind: str = self.header["msg_type"]
        return kind

    def frames(self, signer: Signer) -> list[bytes] | None:
        """None for what JSON cannot say, or not so deeply nested."""
        try:
            return self._frames(signer)
        except (ValueError, RecursionError):
            return None

    def _frames(self, signer: Signer) -> list[bytes]:
        parts = [
            _packed(self.header),
            _packed(self.parent),
            _packed(self.metadata),
            _packed(self.content),
        ]
        return [*self.identities, DELIMITER, signer.sign(parts), *parts, *self.buffers]


class Signer:
    """Signs messages with one connection's key; an empty key signs nothing, as Jupyter has it."""

    def __init__(self, key: bytes, scheme: str = "hmac-sha256") -> None:
        name = scheme.removeprefix("hmac-")
        self._start = hmac.new(key, digestmod=getattr(hashlib, name)) if key else None

    def sign(self, parts: Sequence[bytes]) -> bytes:
        if self._start is None:
            return b""
        digest = self._start.copy()
        for part in parts:
            digest.update(part)
        return digest.hexdigest().encode()

    def signed(self, signature: bytes, parts: Sequence[bytes]) -> bool:
        return hmac.compare_digest(self.sign(parts), signature)


def parts_of(frames: Sequence[bytes]) -> tuple[int, bytes, Sequence[bytes]] | None:
    """Where the delimiter is, the signature, and the four parts; None for what is no message."""
    try:
        at = frames.index(DELIMITER, 0, MAX_IDENTITIES + 1)
    except ValueError:
        return None
    if len(frames) < at + 2 + PARTS:
        return None
    return at, frames[at + 1], frames[at + 2 : at + 2 + PARTS]


def own_parts(
    frames: Sequence[bytes], signer: Signer
) -> tuple[Sequence[bytes], Sequence[bytes]] | None:
    """The identities and the parts of a message that its sender has signed; None for others."""
    split = parts_of(frames)
    if split is None or not signer.signed(split[1], split[2]):
        return None
    return frames[: split[0]], split[2]


def header_of(parts: Sequence[bytes]) -> dict[str, Any]:
    """Of a client's message; empty when it is none that a kernel could read."""
    try:
        header = json.loads(parts[0])
    except (ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}


def read(frames: Sequence[bytes]) -> Message | None:
    """A kernel's message, or None for what is none. The kernel has the key, so its signature says
    nothing and is not looked at."""
    split = parts_of(frames)
    if split is None:
        return None
    at, _, parts = split
    identities, buffers = frames[:at], frames[at + 2 + PARTS :]
    if any(len(identity) > MAX_IDENTITY for identity in identities) or len(buffers) > MAX_BUFFERS:
        return None
    *heads, last = map(_has_too_many, parts)
    if any(heads):
        return None
    try:
        header, parent, metadata = map(_unpacked, parts[:-1])
        content = _unpacked(parts[-1]) if not last else _in_place_of(header)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(part, dict) for part in (header, parent, metadata, content)):
        return None
    header, parent = _fields(header), _fields(parent)
    if not {"msg_id", "msg_type"} <= header.keys():
        return None
    return Message(
        identities=identities,
        header=header,
        parent=parent,
        metadata=metadata,
        content=content,
        buffers=buffers,
    )


def signed_anew(frames: list[bytes], signer: Signer) -> list[bytes]:
    """The frames of what :func:`parts_of` takes for a message, with another signature."""
    split = parts_of(frames)
    assert split is not None
    at, _, parts = split
    return [*frames[: at + 1], signer.sign(parts), *frames[at + 2 :]]


def made_header(kind: str, session: str) -> dict[str, str]:
    """The header of a message that we make ourselves."""
    return {
        "msg_id": uuid.uuid4().hex,
        "msg_type": kind,
        "username": "moat",
        "session": session,
        "date": datetime.now(timezone.utc).isoformat(),
        "version": VERSION,
    }


def _has_too_many(part: bytes) -> bool:
    return len(part) > MOST_VALUES and sum(map(part.count, (b",", b"[", b"{"))) > MOST_VALUES


def _in_place_of(header: Any) -> Any:
    """What is shown in place of too much; None where that was no output."""
    kind = header.get("msg_type") if isinstance(header, dict) else None
    if kind == "stream":
        return {"name": "stderr", "text": f"{TOO_MANY}\n"}
    if kind in ("display_data", "execute_result"):
        return {"data": {"text/plain": TOO_MANY}, "metadata": {}, "execution_count": None}
    return None


def _fields(header: dict[str, Any]) -> dict[str, str]:
    # A half of a character has no bytes in UTF-8, and some clients fail over it.
    fields = {
        name: value
        for name in HEADER_FIELDS
        if isinstance(value := header.get(name), str)
        and len(value) <= LONGEST_FIELD
        and (value.isascii() or value.isprintable())
    }
    if "date" in fields and not _is_date(fields["date"]):
        del fields["date"]
    return fields


def _is_date(text: str) -> bool:
    """Whether clients, which take what looks like a date for one, can read it."""
    try:
        datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError:
        return False
    return True


def _unpacked(part: bytes) -> Any:
    """ValueError or RecursionError for what is no JSON. Numbers are those that JavaScript has."""
    try:
        return orjson.loads(part)
    except ValueError:
        return json.loads(part)  # which takes halves of characters, and NaN


def _packed(part: dict[str, Any]) -> bytes:
    """NaN is null. ValueError or RecursionError for NaN beside a half of a character, and for what
    is nested too deeply."""
    try:
        return orjson.dumps(part)
    except TypeError:
        return json.dumps(part, separators=(",", ":"), allow_nan=False).encode()
