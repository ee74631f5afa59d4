"""What a value is after it was written and read, and what is never made of a text."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import json
import math
from typing import Any, NamedTuple

import numpy
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moat_nb.grading.inside import plain_values
from moat_nb.grading.inside.plain_values import MAX_DEPTH, Reader, Writer


class Named:
    """Stands for a value that is not plain."""


NAMED = Named()


def written(value: Any) -> Any:
    return json.loads(json.dumps(Writer(lambda value: "a name").write(value), allow_nan=False))


def read(written: Any) -> Any:
    return Reader(lambda name: NAMED).read(written)


def again(value: Any) -> Any:
    return read(written(value))


def same(one: Any, other: Any) -> bool:
    """Whether both are of one type, all the way down, and equal."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return repr(one) == repr(other)
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    return bool(one == other)


HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
    | st.fractions()
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.none() | st.just(datetime.timezone.utc))
    | st.dates()
    | st.times()
    | st.timedeltas(),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=6,
)
PLAIN = st.recursive(
    HASHABLE | st.floats() | st.complex_numbers() | st.binary().map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(HASHABLE, inner, max_size=3)
        | st.sets(HASHABLE, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(PLAIN)
def test_any_nest_of_plain_values_is_the_same_after_it(value: Any) -> None:
    assert same(again(value), value)


@pytest.mark.parametrize(
    "value",
    [
        2**53,
        -(2**53),
        2**20_000,
        -(3**30_000),
        True,
        math.inf,
        -math.inf,
        math.nan,
        -0.0,
        complex(math.nan, -0.0),
        "half \ud800",
        fractions.Fraction(10**5000, 3),
        decimal.Decimal("1.50"),
        decimal.Decimal("Infinity"),
        range(3),
        range(0, 10**30, 7),
        slice(1, None, -1),
        datetime.timedelta(-1, 5, 7),
        datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.timezone.utc),
        collections.OrderedDict([("b", 1), ("a", 2)]),
        collections.Counter("abca"),
        int,
        list,
        object,
        [int, {"a": (1, [2.0])}],
        b"\0\xff",
        bytearray(b"ab"),
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_a_value_and_its_type_are_the_same_after_it(value: Any) -> None:
    assert same(again(value), value)


def test_a_defaultdict_is_a_dict_after_it() -> None:
    made = again(collections.defaultdict(list, a=[1]))
    assert type(made) is dict and made == {"a": [1]}


class Point(NamedTuple):
    x: int
    y: Any


def test_a_named_tuple_keeps_its_names_and_none_of_its_methods() -> None:
    point = again(Point(1, [2]))
    assert (point, point._fields, type(point).__name__) == ((1, [2]), ("x", "y"), "Point")
    assert type(point) is not Point


def test_a_named_tuple_has_no_functions_that_a_test_might_call() -> None:
    about = {"k": "namedtuple", "of": "X", "names": ["startswith"], "v": [{"k": "name", "v": 0}]}
    with pytest.raises(ValueError, match="methods"):
        Reader(lambda name: len).read(about)


# ---------------------------------------------------------------- what is not plain


class Int(int):
    pass


class Text(str):
    __slots__ = ()


class Float(float):
    pass


class Items(list[Any]):
    pass


class Names(dict[str, Any]):
    pass


class Some(set[Any]):
    pass


class Pair(tuple[int, int]):
    __slots__ = ()


class Rows(numpy.ndarray):
    pass


class Frame(pandas.DataFrame):  # type: ignore[misc]
    pass


class Column(pandas.Series):  # type: ignore[misc]
    pass


class Colour(enum.IntEnum):
    RED = 1


class Fields(tuple[int]):
    _fields = ("x",)
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [
        Int(1),
        Text("a"),
        Float(1.0),
        Items([1]),
        Names(),
        Some(),
        Pair((1, 2)),
        numpy.zeros(2).view(Rows),
        numpy.ma.masked_array([1]),
        numpy.array([(1, 2.0)], "i4,f8"),
        Frame({"a": [1]}),
        Column([1]),
        Colour.RED,
        Named(),
        Named,
        Int,
        len,
        collections.deque([1]),
        iter([1]),
        math,
        ValueError(),
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_what_is_of_another_class_has_a_name_only(value: Any) -> None:
    assert written(value) == {"k": "name", "v": "a name"}
    assert again([value]) == [NAMED]


def test_a_class_of_values_that_says_it_is_another_is_not_taken_at_its_word() -> None:
    class Liar:
        __class__ = int  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    assert again(Liar()) is NAMED


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize(
    "array",
    [
        *(numpy.arange(6).astype(kind).reshape(2, 3) for kind in "?bhilqBHILQefdgFD"),
        numpy.array(5),
        numpy.array([]),
        numpy.zeros((0, 3), "i2"),
        numpy.array(["", "abc"]),
        numpy.array([b"a\0b"]),
        numpy.arange(3, dtype=">i4"),
        numpy.asfortranarray(numpy.arange(6).reshape(2, 3)),
        numpy.array(["2020-01-01"], "M8[D]"),
        numpy.array([3], "m8[s]"),
        numpy.array([1, "a", None, (2, 3)], object),
        numpy.array(None, object),
        numpy.array([[1, 2], [3, [4]]], object),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_an_array_is_the_same_after_it_and_can_be_changed(array: Any) -> None:
    made = again(array)
    assert type(made) is numpy.ndarray
    assert (made.dtype, made.shape, made.tolist()) == (array.dtype, array.shape, array.tolist())
    assert made.flags.writeable


@pytest.mark.parametrize(
    "scalar",
    [
        numpy.float64(0.1),
        numpy.int8(-3),
        numpy.bool_(True),
        numpy.str_("abc"),
        numpy.datetime64("2020-01-01"),
        numpy.timedelta64(3, "s"),
        numpy.complex128(1j),
    ],
    ids=lambda scalar: str(type(scalar).__name__),
)
def test_a_scalar_of_numpy_keeps_its_type(scalar: Any) -> None:
    assert same(again(scalar), scalar)


def test_a_number_of_little_precision_rounds_nothing_that_it_is_compared_with() -> None:
    assert again(numpy.float16("inf")) != 2432902008176640000
    assert again(numpy.float16(0)) != 1.6e-19
    assert again(numpy.complex64(1j)) == 1j


def test_an_array_holds_objects_of_others_by_their_names() -> None:
    assert again(numpy.array([Int(1), 2], object)).tolist() == [NAMED, 2]


# ---------------------------------------------------------------- tables

DAYS = pandas.date_range("2020", periods=3, freq="D")
HERE = pandas.date_range("2020", periods=3, tz="Europe/Berlin")
PAIRS = pandas.MultiIndex.from_tuples([(1, "x"), (2, "y")], names=["p", None])
GRADES = pandas.Categorical(["a", "b", None], categories=["b", "a", "z"], ordered=True)
MIXED = pandas.DataFrame({"a": [1, None], "b": [1.5, 2.5], "s": ["a", None], "t": [True, None]})
LONG = pandas.DataFrame({"a": [1, 1], "b": ["x", "y"], "c": [1, 2]})

FRAMES: dict[str, Any] = {
    "plain": pandas.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.5, math.nan]}),
    "empty": pandas.DataFrame(),
    "no rows": pandas.DataFrame(columns=["a", "b"]),
    "no columns": pandas.DataFrame(index=[1, 2]),
    "no rows of floats": pandas.DataFrame({"a": numpy.zeros(0)}),
    "days": pandas.DataFrame({"t": range(3)}, index=DAYS),
    "zone": pandas.DataFrame({"t": HERE}, index=HERE),
    "categories": pandas.DataFrame({"c": GRADES}),
    "nullable": MIXED.convert_dtypes(),
    "twice the row": pandas.DataFrame({"a": [1, 2]}, index=[0, 0]),
    "twice the column": pandas.DataFrame([[1, 2]], columns=["a", "a"]),
    "rows by two": pandas.DataFrame({"a": [1, 2]}, index=PAIRS),
    "no rows by two": pandas.DataFrame({"a": [1, 2]}, index=PAIRS)[:0],
    "columns by two": pandas.DataFrame([[1, 2]], columns=PAIRS),
    "grouped": LONG.groupby(["a", "b"]).sum(),
    "described": LONG.describe(),
    "pivot": LONG.pivot_table(index="a", columns="b", values="c"),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_table_is_the_same_after_it(name: str) -> None:
    frame = FRAMES[name]
    made = again(frame)
    assert type(made) is pandas.DataFrame
    pandas.testing.assert_frame_equal(made, frame, check_freq=True)


@pytest.mark.parametrize(
    "series",
    [
        pandas.Series([1, 2], name="n"),
        pandas.Series([1, 2], name=("a", 1), index=["x", "y"]),
        pandas.Series([], dtype="float32"),
        pandas.Series([], dtype=object),
        pandas.Series([1, "a", None, [2]]),
        pandas.Series(list("aab")).value_counts(),
        pandas.Series([pandas.Timestamp("2020"), pandas.NaT]),
        pandas.Series([pandas.Timedelta("1D")]),
        pandas.Series(["a", pandas.NA], dtype="string"),
        pandas.Series([1.5, None], dtype="Float64"),
        pandas.Series([1, None], dtype="UInt8"),
        pandas.Series([True, None], dtype="boolean"),
        pandas.Series([datetime.date(2020, 1, 1)]),
        pandas.Series([{"a": 1}, pandas.NA, pandas.NaT], dtype=object),
        pandas.Series(GRADES),
        pandas.Series(HERE),
    ],
    ids=lambda series: str(series.dtype),
)
def test_a_series_is_the_same_after_it(series: Any) -> None:
    made = again(series)
    assert type(made) is pandas.Series
    pandas.testing.assert_series_equal(made, series)


@pytest.mark.parametrize(
    "index",
    [
        pandas.Index([1, 2], name="n"),
        pandas.RangeIndex(3),
        pandas.Index([], dtype="int64"),
        pandas.Index(["a", 1]),
        pandas.Index(["a", "b"]),
        pandas.Index([(1, 2)], tupleize_cols=False),
        pandas.CategoricalIndex(["a", "b", "a"]),
        pandas.timedelta_range("1D", periods=3),
        DAYS,
        HERE,
        PAIRS,
        PAIRS[:0],
        pandas.MultiIndex.from_tuples([(1,), (2,)]),
    ],
    ids=lambda index: f"{type(index).__name__}{len(index)}",
)
def test_an_index_is_the_same_after_it(index: Any) -> None:
    made = again(index)
    pandas.testing.assert_index_equal(made, index, exact="equiv")
    assert getattr(made, "freq", None) == getattr(index, "freq", None)


@pytest.mark.parametrize(
    "value",
    [
        pandas.NA,
        pandas.NaT,
        pandas.Timestamp("2020-01-01T00:00:00.123456789"),
        pandas.Timedelta("1D 2h"),
    ],
    ids=str,
)
def test_a_value_of_pandas_is_the_same_after_it(value: Any) -> None:
    made = again(value)
    assert made is value or same(made, value)


# ---------------------------------------------------------------- what is refused

EMPTY_INDEX: dict[str, Any] = {"values": [], "name": None, "freq": None}


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"k": "int"},
        {"v": 1},
        {"k": "unknown", "v": 1},
        {"k": "read", "v": [1]},
        {"k": "named", "v": 1},
        {"k": "column", "v": 1},
        {"k": "_array", "v": ""},
        {"k": ["int"], "v": "1"},
        {"k": None, "v": None},
        {"k": "int", "v": 5},
        {"k": "int", "v": "zz"},
        {"k": "float", "v": [1]},
        {"k": "bytes", "v": "?"},
        {"k": "complex", "v": [1]},
        {"k": "complex", "v": ["1", "2"]},
        {"k": "fraction", "v": [1, 0]},
        {"k": "fraction", "v": ["1", "2"]},
        {"k": "decimal", "v": "x"},
        {"k": "datetime", "v": "yesterday"},
        {"k": "timedelta", "v": [1e308]},
        {"k": "range", "v": []},
        {"k": "range", "v": [1.5]},
        {"k": "set", "v": [[]]},
        {"k": "dict", "v": [[1]]},
        {"k": "dict", "v": [[[], 1]]},
        {"k": "type", "v": "eval"},
        {"k": "type", "v": "type"},
        {"k": "namedtuple", "of": "X", "names": ["__eq__"], "v": [1]},
        {"k": "namedtuple", "of": "X", "names": ["a b; import os"], "v": [1]},
        {"k": "namedtuple", "of": "X(object)", "names": ["a"], "v": [1]},
        {"k": "namedtuple", "of": "X", "names": ["a", "b"], "v": [1]},
        {"k": "array", "dtype": "O", "shape": [1], "v": "AAAAAAAAAAA="},
        {"k": "array", "dtype": "V8", "shape": [1], "v": "AAAAAAAAAAA="},
        {"k": "array", "dtype": "i4,O", "shape": [1], "v": "AAAAAAAAAAAAAAAA"},
        {"k": "array", "dtype": "(2,)i4", "shape": [1], "v": "AAAAAAAAAAA="},
        {"k": "array", "dtype": "nonsense", "shape": [1], "v": ""},
        {"k": "array", "dtype": "<i8", "shape": [2], "v": "AAAAAAAAAAA="},
        {"k": "array", "dtype": "<i8", "shape": [1 << 60], "v": "AAAAAAAAAAA="},
        {"k": "array", "dtype": "<i8", "shape": [1], "v": "AAAA"},
        {"k": "objects", "shape": [1 << 60], "v": [1]},
        {"k": "objects", "shape": [2], "v": [1]},
        {"k": "frame", "v": [], "index": EMPTY_INDEX, "columns": {"values": ["a"], "name": None}},
        {"k": "series", "v": {"values": [1, 2]}, "index": {"values": [1]}, "of": None},
        {"k": "Timestamp", "v": "x"},
    ],
    ids=json.dumps,
)
def test_what_no_writer_wrote_is_refused(about: Any) -> None:
    with pytest.raises(Exception):  # noqa: B017  whichever: a tester takes each for no value
        read(about)


def test_what_is_nested_too_deep_or_too_large_is_not_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deep: list[Any] = []
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert again(deep) == deep
    endless: list[Any] = []
    endless.append(endless)
    for value in ([deep], endless):
        with pytest.raises(ValueError, match="nested deeper"):
            written(value)
    monkeypatch.setattr(plain_values, "MAX_VALUES", 10)
    assert len(again([0] * 9)) == 9
    with pytest.raises(ValueError, match="larger"):
        written([0] * 10)


def test_what_is_nested_too_deep_is_not_read() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RecursionError):
        read(deep)


KINDS = (
    *plain_values.MANY,
    *plain_values.MAPPINGS,
    *plain_values.BY_TEXT,
    *(name[1:] for name in vars(Reader) if name[:1] == "_" and name[:2] != "__"),
    *("name", "read", "eval", "", "dict "),
)
DTYPES = st.sampled_from(["<i8", "|b1", "O", "V4", "<U1", "<M8[ns]", "", "object", "category"])
ANY_KEY = st.sampled_from(
    [
        *("k", "v", "of", "names", "dtype", "shape", "values", "index", "columns", "levels"),
        *("codes", "name", "freq", "categories", "ordered", "number"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10) | st.floats() | st.text(max_size=4) | DTYPES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(ANY_KEY, inner, max_size=5)
        | st.fixed_dictionaries(
            {"k": st.sampled_from(KINDS), "v": inner},
            optional={"of": st.text(max_size=2), "names": inner, "dtype": DTYPES, "shape": inner},
        )
    ),
    max_leaves=10,
)
TYPES = (
    *(type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set),
    *(frozenset, range, slice, decimal.Decimal, fractions.Fraction, datetime.datetime),
    *(datetime.date, datetime.time, datetime.timedelta, collections.Counter),
    *(collections.OrderedDict, numpy.ndarray, pandas.DataFrame, pandas.Series, Named),
    *(type(pandas.NA), type(pandas.NaT), pandas.Timestamp, pandas.Timedelta),
)


def is_plain(value: Any) -> bool:
    kind = type(value)
    if isinstance(value, dict):
        value = list(value.items())
    if isinstance(value, (list, tuple, set, frozenset)) and not all(map(is_plain, value)):
        return False
    return (
        kind in TYPES
        or (kind is type and value in plain_values.BUILTIN_TYPES.values())
        or (kind.__bases__ == (tuple,) and hasattr(kind, "_fields"))
        or isinstance(value, numpy.generic)
        or (isinstance(value, pandas.Index) and kind.__module__.startswith("pandas"))
    )


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=100, deadline=None)
@given(JSON)
def test_whatever_is_read_is_a_plain_value_or_an_error(about: Any) -> None:
    try:
        value = read(about)
    except Exception:
        return
    assert is_plain(value)
