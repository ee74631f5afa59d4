"""Values as text and back, and what is refused of what a sandbox sends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.notebook.values import codec
from moat_nb.notebook.values.arrow_check import check_stream
from moat_nb.notebook.values.codec import pack, unpack

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


def test_the_codec_needs_nothing_of_the_package_inside() -> None:
    names: dict[str, Any] = {}
    exec(Path(codec.__file__).read_text(), names)
    assert json.loads(names["pack"]([1], None, True, MIB)["text"]) == [1]
