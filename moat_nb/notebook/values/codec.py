"""Values as text: JSON, Arrow (in base64) or their own words. Never a pickle.

This file's text is also run inside a sandbox's kernel, so it needs nothing but a python3 >= 3.8,
and pandas and pyarrow only for tables.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import sys
from collections.abc import Callable
from typing import Any

FORMS = ("json", "arrow", "text")

MIME = "application/vnd.moat.value+json"


def pack(value: Any, form: str | None, arrow: bool, limit: int) -> dict[str, str]:
    """``{"form", "text", "kind"}``; ``form`` None chooses. ``arrow``: the other side reads it.

    Raises ValueError or TypeError when the value cannot be had in this form, or is longer than
    ``limit`` characters.
    """
    tabular = hasattr(value, "__arrow_c_stream__") or hasattr(value, "to_arrow")
    if form is None:
        here = importlib.util.find_spec("pyarrow") is not None
        form = "json" if not tabular else "arrow" if arrow and here else "frame"
    library = type(value).__module__.split(".")[0]
    packers: dict[str, Callable[[Any], str]] = {"json": _json, "arrow": _arrow, "frame": _frame}
    text = packers.get(form, str)(value)
    if len(text) > limit:
        raise ValueError(
            f"it takes {len(text) >> 20} MiB as {form}, and {limit >> 20} are the most; write it "
            "to a file of the project, which both sides see"
        )
    return {"form": form, "text": text, "kind": f"{library}.{type(value).__name__}"}


def _json(value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"{error}; --as text brings its words") from None


def _arrow(value: Any) -> str:
    import pyarrow

    if type(value).__name__ == "Series" and hasattr(value, "to_frame"):
        value = value.to_frame()
    if hasattr(value, "to_arrow"):
        table = value.to_arrow()
    elif hasattr(value, "to_records"):
        table = pyarrow.Table.from_pandas(value)
    else:
        table = pyarrow.table(value)
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return base64.b64encode(sink.getvalue()).decode()


def _frame(value: Any) -> str:
    if hasattr(value, "to_frame"):
        value = value.to_frame()
    return str(value.to_json(orient="split", date_format="iso"))


def send(name: str, request: dict[str, Any]) -> None:
    """In a kernel: display the value of its variable ``name``, packed, or why it cannot be."""
    from IPython import get_ipython
    from IPython.display import publish_display_data

    names = get_ipython().user_ns
    try:
        if name not in names:
            raise ValueError("the sandbox has no variable of this name")
        packed = pack(names[name], **request)
    except Exception as error:
        packed = {"form": "error", "text": str(error), "kind": type(error).__name__}
    publish_display_data({MIME: packed})


def receive(name: str, packed: dict[str, str]) -> None:
    """In a kernel: set its variable ``name`` to what was packed on the user's side."""
    from IPython import get_ipython

    get_ipython().user_ns[name] = unpack(packed)


def unpack(packed: dict[str, str], check: Callable[[bytes], None] = lambda stream: None) -> Any:
    """The value again; ``check`` is given an Arrow stream before it is read.

    Whatever the text is, this raises an Exception or returns plain values or a table.
    """
    form, text, kind = packed["form"], packed["text"], packed["kind"]
    if form == "text":
        return text
    if form == "json":
        return json.loads(text)
    if form == "frame":
        import pandas

        parts = json.loads(text)
        frame = pandas.DataFrame(parts["data"], index=parts["index"], columns=parts["columns"])
        return frame.iloc[:, 0] if kind.endswith(".Series") else frame
    if form != "arrow":
        raise ValueError(f"{form!r} is no form of a value")
    import pyarrow

    stream = base64.b64decode(text, validate=True)
    check(stream)
    table = pyarrow.ipc.open_stream(stream).read_all()
    table.validate(full=True)
    return _as(table, kind)


def _as(table: Any, kind: str) -> Any:
    """An Arrow table as what it was, where the library is at hand."""
    library, _, name = kind.partition(".")
    if library == "pandas" and importlib.util.find_spec("pandas") is not None:
        frame = table.to_pandas()
        return frame.iloc[:, 0] if name == "Series" else frame
    if library == "polars" and "polars" in sys.modules:
        return sys.modules["polars"].from_arrow(table)
    return table
