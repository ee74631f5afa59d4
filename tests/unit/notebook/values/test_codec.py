"""Values as text and back, and what is refused of what a sandbox sends."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.notebook.values import codec
from moat_nb.notebook.values.arrow_check import MAX_CELLS, check_stream
from moat_nb.notebook.values.codec import pack, unpack
from moat_nb.notebook.values.transfer import MAX_CONTAINERS, _unpack

MIB = 1 << 20
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_plain_values_arrive_as_they_are(value: Any) -> None:
    packed = pack(value, None, arrow=True, limit=MIB)
    assert packed["form"] == "json"
    assert unpack(packed) == value


@pytest.mark.parametrize("arrow", [True, False])
def test_a_table_of_pandas_arrives_as_one_with_arrow_and_without(arrow: bool) -> None:
    frame = pandas.DataFrame({"n": [1, 2], "city": ["Oslo", None]}, index=["a", "b"])
    packed = pack(frame, None, arrow=arrow, limit=MIB)
    assert packed["form"] == ("arrow" if arrow else "frame")
    pandas.testing.assert_frame_equal(unpack(packed, check_stream), frame)
    series = unpack(pack(frame["n"], None, arrow=arrow, limit=MIB))
    pandas.testing.assert_series_equal(series, frame["n"])


def test_an_arrow_table_arrives_as_one() -> None:
    table = pyarrow.table({"n": [1, 2], "x": [[1], []]})
    assert unpack(pack(table, None, arrow=True, limit=MIB), check_stream) == table


def test_what_json_cannot_say_is_refused_unless_its_words_are_enough() -> None:
    with pytest.raises(TypeError, match="--as text brings its words"):
        pack({1, 2}, None, arrow=True, limit=MIB)
    assert unpack(pack({1}, "text", arrow=True, limit=MIB)) == "{1}"


def test_a_value_that_is_too_large_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match="write it to a file of the project"):
        pack("x" * MIB, None, arrow=True, limit=MIB)
    assert pack("x" * (MIB - 2), None, arrow=True, limit=MIB)["form"] == "json"


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("json", "[" * 100_000),
        ("json", "nonsense"),
        ("json", "1" * 10_000),
        ("frame", "[]"),
        ("frame", '{"data": [[1]], "index": [1], "columns": ["a", "b"]}'),
        ("arrow", "no base64"),
        ("arrow", base64.b64encode(b"no stream").decode()),
        ("pickle", base64.b64encode(b"cos\nsystem\n(S'true'\ntR.").decode()),
    ],
)
def test_what_is_no_value_raises_an_exception_and_does_nothing(form: str, text: str) -> None:
    with pytest.raises(Exception):  # noqa: B017 - whichever the libraries have
        unpack({"form": form, "text": text, "kind": "pandas.DataFrame"}, check_stream)


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


@pytest.mark.parametrize("piece", ["[],", "{},"])
def test_json_of_more_lists_and_objects_than_memory_is_for_is_refused_unread(piece: str) -> None:
    text = "[" + piece * MAX_CONTAINERS + "0]"
    with pytest.raises(ValueError, match="lists and objects"):
        _unpack({"form": "json", "text": text, "kind": "builtins.list"})
    text = "[" + piece * 10 + "0]"
    assert len(_unpack({"form": "json", "text": text, "kind": "builtins.list"})) == 11


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


def test_the_codec_needs_nothing_of_the_package_inside() -> None:
    names: dict[str, Any] = {}
    exec(Path(codec.__file__).read_text(), names)
    assert json.loads(names["pack"]([1], None, True, MIB)["text"]) == [1]
