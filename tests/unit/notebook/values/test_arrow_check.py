"""Which streams of Arrow are read."""

from __future__ import annotations

import base64
import io
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.notebook.values.arrow_check import MAX_CELLS, check_stream
from moat_nb.notebook.values.codec import unpack


def stream(table: pyarrow.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    chosen = pyarrow.ipc.IpcWriteOptions(**options)
    with pyarrow.ipc.new_stream(sink, table.schema, options=chosen) as writer:
        writer.write_table(table)
    return sink.getvalue()


@pytest.mark.parametrize(
    "table",
    [
        pyarrow.table({"n": [1, 2], "s": ["x", None], "l": [[1], [2, 3]]}),
        pyarrow.table({"d": pyarrow.array(["x", "y", "x"]).dictionary_encode()}),
        pyarrow.table({"n": pyarrow.nulls(10)}),
        pyarrow.table({}),
    ],
)
def test_an_ordinary_stream_is_read(table: pyarrow.Table) -> None:
    check_stream(stream(table))


RUNS = pyarrow.RunEndEncodedArray.from_arrays(pyarrow.array([MAX_CELLS + 1]), pyarrow.array(["x"]))


@pytest.mark.parametrize(
    ("table", "options", "words"),
    [
        (pyarrow.table({"n": [0] * 1000}), {"compression": "zstd"}, "compressed"),
        (pyarrow.table({"n": pyarrow.nulls(MAX_CELLS + 1)}), {}, "more than"),
        (pyarrow.table({"n": RUNS}), {}, "more than"),
        (pyarrow.table({"n": pyarrow.array(["x"], pyarrow.string_view())}), {}, "views"),
    ],
)
def test_a_short_stream_of_a_huge_table_is_refused(
    table: pyarrow.Table, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        check_stream(stream(table, **options))


class Registered(pyarrow.ExtensionType):  # type: ignore[misc] # pyarrow has no types
    """As ray registers one that unpickles its values."""

    read = False

    def __init__(self) -> None:
        super().__init__(pyarrow.binary(), "moat.test")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: Any, text: bytes) -> Registered:
        cls.read = True
        return cls()


@pytest.mark.parametrize(
    "wrap", [lambda array: array, lambda a: pyarrow.StructArray.from_arrays([a], ["x"])]
)
def test_a_type_that_this_process_would_read_its_own_way_is_refused_unread(wrap: Any) -> None:
    array = pyarrow.ExtensionArray.from_storage(
        Registered(), pyarrow.array([b"x"], pyarrow.binary())
    )
    made = stream(pyarrow.table({"n": [1], "x": wrap(array)}))
    pyarrow.register_extension_type(Registered())
    try:
        Registered.read = False
        with pytest.raises(ValueError, match="extension types"):
            check_stream(made)
        assert not Registered.read
    finally:
        pyarrow.unregister_extension_type("moat.test")


@pytest.mark.parametrize(
    ("version", "safe"),
    [("14.0.0", False), ("9.0", False), ("14.0.1", True), ("26.0.1.dev3", True), ("15.0", True)],
)
def test_a_pyarrow_that_unpickles_is_not_used(
    monkeypatch: pytest.MonkeyPatch, version: str, safe: bool
) -> None:
    made = stream(pyarrow.table({"n": [1]}))
    monkeypatch.setattr(pyarrow, "__version__", version)
    if safe:
        check_stream(made)
    else:
        with pytest.raises(ValueError, match=r"install 14\.0\.1 or newer"):
            check_stream(made)


@given(st.data())
def test_a_damaged_stream_raises_an_exception_or_is_read(data: st.DataObject) -> None:
    """Never a crash, whichever bytes are changed."""
    whole = bytearray(stream(pyarrow.table({"n": [1, 2, 3], "s": ["x", None, "yz"]})))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    text = base64.b64encode(bytes(whole)).decode()
    try:
        unpack({"form": "arrow", "text": text, "kind": "pyarrow.Table"}, check_stream)
    except Exception as error:
        assert not isinstance(error, MemoryError) or "malloc" in str(error)
