"""Values as JSON, and back: plain ones by what they are, all others by a name.

Whoever reads a text makes exactly the types that are listed here, so a value that came from a
submission compares, counts and prints as Python's own do, whatever the submission has made of its.
"""

from __future__ import annotations

import base64
import collections
import datetime
import decimal
import fractions
import math
import sys
from typing import Any

MAX_VALUES = 1_000_000
MAX_DEPTH = 60
LONGEST = 1 << 24
"""Characters of a text."""

LARGEST_JSON_INT = 1 << 53
DTYPES = "biufcmMSU"
PANDAS_DTYPES = frozenset({"object", "str", "string", "boolean", "Float32", "Float64"}) | {
    f"{kind}{bits}" for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)
}
BUILTIN_TYPES = {
    kind.__name__: kind
    for kind in (bool, bytes, complex, dict, float, frozenset, int, list, object, set, str, tuple)
}
BY_TEXT: dict[str, Any] = {
    "decimal": (decimal.Decimal, str, decimal.Decimal),
    "datetime": (
        datetime.datetime,
        datetime.datetime.isoformat,
        datetime.datetime.fromisoformat,
    ),
    "date": (datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    "time": (datetime.time, datetime.time.isoformat, datetime.time.fromisoformat),
}
MANY: dict[str, Any] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}
MAPPINGS: dict[str, Any] = {
    "dict": dict,
    "OrderedDict": collections.OrderedDict,
    "Counter": collections.Counter,
}


class Writer:
    """``name(value)`` gives JSON for what is no plain value."""

    def __init__(self, name: Any) -> None:
        self._name = name
        self._left = MAX_VALUES

    def write(self, value: Any, depth: int = 0) -> Any:
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise ValueError("the value is larger, or nested deeper, than a test can look at")
        kind: Any = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            if abs(value) < LARGEST_JSON_INT:
                return value
            return {"k": "int", "v": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"k": "float", "v": repr(value)}
        if kind is list:
            return [self.write(item, depth + 1) for item in value]
        return self._tagged(value, kind, depth + 1)

    def _tagged(self, value: Any, kind: Any, depth: int) -> Any:
        for name, constructor in MANY.items():
            if kind is constructor:
                return {"k": name, "v": [self.write(item, depth) for item in value]}
        for name, constructor in MAPPINGS.items():
            if kind is constructor or (name == "dict" and kind is collections.defaultdict):
                pairs = [[self.write(k, depth), self.write(v, depth)] for k, v in value.items()]
                return {"k": name, "v": pairs}
        for name, (constructor, write, _) in BY_TEXT.items():
            if kind is constructor:
                return {"k": name, "v": write(value)}
        if kind is bytes or kind is bytearray:
            return {"k": kind.__name__, "v": base64.b64encode(value).decode()}
        if kind is complex:
            return {"k": "complex", "v": [self.write(value.real), self.write(value.imag)]}
        if kind is fractions.Fraction:
            of = (value.numerator, value.denominator)
            return {"k": "fraction", "v": [self.write(part) for part in of]}
        if kind is range:
            return {"k": "range", "v": [value.start, value.stop, value.step]}
        if kind is datetime.timedelta:
            return {"k": "timedelta", "v": [value.days, value.seconds, value.microseconds]}
        if kind is slice:
            parts = (value.start, value.stop, value.step)
            return {"k": "slice", "v": [self.write(part, depth) for part in parts]}
        if kind is type and value in BUILTIN_TYPES.values():
            return {"k": "type", "v": value.__name__}
        if isinstance(value, tuple) and kind.__bases__ == (tuple,) and hasattr(kind, "_fields"):
            items = [self.write(item, depth) for item in tuple.__iter__(value)]
            return {"k": "namedtuple", "of": kind.__name__, "names": list(kind._fields), "v": items}
        written = self._of_library(value, kind, depth)
        return {"k": "name", "v": self._name(value)} if written is None else written

    def _of_library(self, value: Any, kind: Any, depth: int) -> Any:
        numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
        if numpy is not None and hasattr(numpy, "ndarray"):
            if kind is numpy.ndarray and value.dtype.kind in f"{DTYPES}O":
                return self._array(value, depth)
            is_scalar = isinstance(value, numpy.generic) and kind.__module__ == "numpy"
            if is_scalar and value.dtype.kind in DTYPES:
                return dict(self._array(numpy.asarray(value), depth), k="scalar")
        if pandas is not None and hasattr(pandas, "DataFrame"):
            if kind is pandas.DataFrame:
                columns = [self._column(value.iloc[:, at], depth) for at in range(value.shape[1])]
                index, names = self._index(value.index, depth), self._index(value.columns, depth)
                return {"k": "frame", "v": columns, "index": index, "columns": names}
            if kind is pandas.Series:
                name = self.write(value.name, depth)
                index = self._index(value.index, depth)
                return {"k": "series", "v": self._column(value, depth), "index": index, "of": name}
            if isinstance(value, pandas.Index) and kind.__module__.partition(".")[0] == "pandas":
                return {"k": "index", "v": self._index(value, depth)}
            if value is pandas.NA or value is pandas.NaT:
                return {"k": "missing", "v": "NA" if value is pandas.NA else "NaT"}
            if kind in (pandas.Timestamp, pandas.Timedelta):
                return {"k": kind.__name__, "v": value.isoformat()}
        return None

    def _array(self, value: Any, depth: int) -> Any:
        if value.dtype.hasobject:
            items = [self.write(item, depth) for item in value.ravel().tolist()]
            return {"k": "objects", "shape": list(value.shape), "v": items}
        data = base64.b64encode(value.tobytes()).decode()
        return {"k": "array", "dtype": value.dtype.str, "shape": list(value.shape), "v": data}

    def _column(self, series: Any, depth: int) -> Any:
        dtype = series.dtype
        if getattr(dtype, "kind", "") in "biufcmM" and hasattr(dtype, "newbyteorder"):
            return {"values": self._array(series.to_numpy(), depth)}
        if hasattr(dtype, "categories"):
            categories = self._index(dtype.categories, depth)
            codes = self._array(series.cat.codes.to_numpy(), depth)
            return {"codes": codes, "categories": categories, "ordered": dtype.ordered is True}
        items = [self.write(item, depth) for item in series.tolist()]
        return {"values": items, "dtype": str(dtype)}

    def _index(self, index: Any, depth: int) -> Any:
        if hasattr(index, "levels"):
            levels = map(index.get_level_values, range(index.nlevels))
            return {"levels": [self._index(level, depth) for level in levels]}
        column = self._column(index.to_series(), depth)
        freq = getattr(index, "freqstr", None)
        return dict(column, name=self.write(index.name, depth), freq=freq)


class Reader:
    """``named(json)`` gives what stands for a value that is not plain.

    Raises ValueError, TypeError, KeyError, OverflowError or a library's own error for anything
    that no Writer wrote.
    """

    def __init__(self, named: Any) -> None:
        self._named = named

    def read(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.read(item) for item in value]
        if not isinstance(value, dict):
            return value
        kind, inner = value["k"], value["v"]
        if kind in MANY:
            return MANY[kind](self.read(item) for item in inner)
        if kind in MAPPINGS:
            return MAPPINGS[kind]({self.read(k): self.read(v) for k, v in inner})
        if kind in BY_TEXT:
            return BY_TEXT[kind][2](text_of(inner))
        simple = getattr(self, f"_{kind}", None) if str(kind).isalpha() else None
        if simple is None:
            raise ValueError("a value of a kind that is not known")
        return simple(inner, value)

    def _name(self, inner: Any, value: Any) -> Any:
        return self._named(inner)

    def _int(self, inner: Any, value: Any) -> Any:
        return int(text_of(inner), 16)

    def _fraction(self, inner: Any, value: Any) -> Any:
        numerator, denominator = inner
        return fractions.Fraction(self.read(numerator), self.read(denominator))

    def _float(self, inner: Any, value: Any) -> Any:
        return float(text_of(inner))

    def _bytes(self, inner: Any, value: Any) -> Any:
        return base64.b64decode(text_of(inner), validate=True)

    def _bytearray(self, inner: Any, value: Any) -> Any:
        return bytearray(self._bytes(inner, value))

    def _complex(self, inner: Any, value: Any) -> Any:
        real, imaginary = inner
        return complex(self.read(real), self.read(imaginary))

    def _range(self, inner: Any, value: Any) -> Any:
        return range(*inner)

    def _timedelta(self, inner: Any, value: Any) -> Any:
        return datetime.timedelta(*inner)

    def _slice(self, inner: Any, value: Any) -> Any:
        return slice(*(self.read(part) for part in inner))

    def _type(self, inner: Any, value: Any) -> Any:
        return BUILTIN_TYPES[inner]

    def _namedtuple(self, inner: Any, value: Any) -> Any:
        make: Any = collections.namedtuple
        kind = make(text_of(value["of"]), value["names"])
        items = [self.read(item) for item in inner]
        if any(map(callable, items)):
            raise ValueError("a tuple with methods")  # of any name, as `startswith`
        return kind(*items)

    def _array(self, inner: Any, value: Any) -> Any:
        import numpy

        dtype = numpy.dtype(text_of(value["dtype"]))
        if dtype.kind not in DTYPES or dtype.hasobject:
            raise ValueError("an array of a kind that is not known")
        array = numpy.frombuffer(base64.b64decode(text_of(inner), validate=True), dtype)
        return array.reshape(value["shape"]).copy()

    def _scalar(self, inner: Any, value: Any) -> Any:
        array = self._array(inner, value)
        # What is compared with a number of little precision is rounded to it first.
        precise = {"f": "float64", "c": "complex128"}.get(array.dtype.kind)
        return (array if precise is None else array.astype(precise))[()]

    def _objects(self, inner: Any, value: Any) -> Any:
        import numpy

        array = numpy.empty(len(inner), object)
        for at, item in enumerate(inner):
            array[at] = self.read(item)
        return array.reshape(value["shape"])

    def _frame(self, inner: Any, value: Any) -> Any:
        import pandas

        index, columns = self._read_index(value["index"]), self._read_index(value["columns"])
        made = {at: self._read_column(column, index) for at, column in enumerate(inner)}
        frame = pandas.DataFrame(made, index=index)
        frame.columns = columns
        return frame

    def _series(self, inner: Any, value: Any) -> Any:
        series = self._read_column(inner, self._read_index(value["index"]))
        series.name = self.read(value["of"])
        return series

    def _index(self, inner: Any, value: Any) -> Any:
        return self._read_index(inner)

    def _missing(self, inner: Any, value: Any) -> Any:
        import pandas

        return pandas.NA if inner == "NA" else pandas.NaT

    def _Timestamp(self, inner: Any, value: Any) -> Any:
        import pandas

        return pandas.Timestamp(text_of(inner))

    def _Timedelta(self, inner: Any, value: Any) -> Any:
        import pandas

        return pandas.Timedelta(text_of(inner))

    def _read_column(self, column: Any, index: Any) -> Any:
        import pandas

        if "codes" in column:
            codes, categories = self.read(column["codes"]), self._read_index(column["categories"])
            ordered = column["ordered"] is True
            made = pandas.Categorical.from_codes(codes, categories, ordered=ordered)
            return pandas.Series(made, index)
        dtype = column.get("dtype")
        return pandas.Series(self.read(column["values"]), index, dtype if _known(dtype) else None)

    def _read_index(self, index: Any) -> Any:
        import pandas

        if "levels" in index:
            levels = [self._read_index(level) for level in index["levels"]]
            return pandas.MultiIndex.from_arrays(levels)
        column = self._read_column(index, None)
        made = pandas.Index(column, name=self.read(index["name"]), tupleize_cols=False)
        if index["freq"] is not None:
            made.freq = text_of(index["freq"])
        return made


def _known(dtype: Any) -> bool:
    """Whether pandas may make a column of it; the second are moments in a zone."""
    return dtype in PANDAS_DTYPES or str(dtype).startswith("datetime64[")


def text_of(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text was expected")
    return value
