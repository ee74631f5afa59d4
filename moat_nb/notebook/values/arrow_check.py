"""Whether an Arrow stream of a sandbox's is nothing but data, and becomes about as large as it is
long, not a thousandfold.

An extension type is read by whatever class this process has registered for its name, and some
unpickle. So such a stream is refused before a schema is made of it.

pyarrow believes lengths: of compressed buffers, and of columns that have no buffers at all. So
the headers of record batches are read here first. They are flatbuffers: a table begins with the
distance back to its vtable, which has its size, the table's, and for each field where it lies in
the table (2 bytes each); a reference is a distance forward (4 bytes).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["MAX_CELLS", "check_stream"]

MAX_CELLS = 20_000_000
"""Values of all columns, those in lists and structs too; as Python objects some 2 GiB."""

OLDEST_PYARROW = (14, 0, 1)
"""Older ones unpickle types as soon as they read a stream (CVE-2023-47248)."""

EXTENSION = b"ARROW:extension:name"
"""The key in a field's metadata that makes it one of an extension type."""

# Numbers of fields in Arrow's Message.fbs.
HEADER = 2
DICTIONARY_DATA = 1
NODES, COMPRESSION = 1, 3
NODE_BYTES = 16
"""Of a FieldNode: its length, and how many nulls it has."""


def check_stream(stream: bytes) -> None:
    """Raises ValueError, struct.error or pyarrow's own error for what must not be read."""
    import pyarrow

    _check_pyarrow(pyarrow.__version__)
    _check_no_extension(stream)
    schema = pyarrow.ipc.open_stream(stream).schema
    # A million views of one long text are a million copies of it in pandas.
    if any("view" in str(field.type) for field in schema):
        raise ValueError("it has columns of views; cast them to string, binary or list")
    cells = 0
    for message in pyarrow.ipc.MessageReader.open_stream(stream):
        header = _message_header(message.metadata.to_pybytes())
        if message.type == "dictionary":
            header = header.child(DICTIONARY_DATA)
        elif message.type != "record batch":
            continue
        if header.place(COMPRESSION) is not None:
            raise ValueError("its buffers are compressed; write the stream without compression")
        cells += sum(header.lengths(NODES))
        if cells > MAX_CELLS:
            raise ValueError(f"it has more than {MAX_CELLS} values; write it to a file instead")


def _check_pyarrow(version: str) -> None:
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    if numbers < OLDEST_PYARROW:
        oldest = ".".join(map(str, OLDEST_PYARROW))
        raise ValueError(f"pyarrow {version} may run what it reads; install {oldest} or newer")


def _check_no_extension(stream: bytes) -> None:
    import pyarrow

    for message in pyarrow.ipc.MessageReader.open_stream(stream):
        if message.type == "schema" and EXTENSION in message.metadata.to_pybytes():
            raise ValueError("it has columns of extension types; cast them to plain ones")


@dataclass(frozen=True)
class _Table:
    """A flatbuffer's table at ``at``."""

    data: bytes
    at: int

    def place(self, number: int) -> int | None:
        """Where a field lies; None when the table has it not."""
        vtable = self.at - _read("<i", self.data, self.at)
        if vtable < 0 or 4 + 2 * number >= _read("<H", self.data, vtable):
            return None
        offset = _read("<H", self.data, vtable + 4 + 2 * number)
        return self.at + offset if offset else None

    def follow(self, number: int) -> int:
        place = self.place(number)
        if place is None:
            raise ValueError("a message without its header")
        return place + _read("<I", self.data, place)

    def child(self, number: int) -> _Table:
        return _Table(self.data, self.follow(number))

    def lengths(self, number: int) -> Iterator[int]:
        """The first number of each struct in a vector of FieldNodes."""
        start = self.follow(number)
        for node in range(_read("<I", self.data, start)):
            yield abs(_read("<q", self.data, start + 4 + NODE_BYTES * node))


def _message_header(data: bytes) -> _Table:
    return _Table(data, _read("<I", data, 0)).child(HEADER)


def _read(form: str, data: bytes, at: int) -> int:
    (value,) = struct.unpack_from(form, data, at)
    return int(value)
