"""Values that come from a sandbox."""

from __future__ import annotations

import base64

import pytest

from moat_nb.notebook.values.arrow_check import check_stream
from moat_nb.notebook.values.codec import unpack
from moat_nb.notebook.values.transfer import MAX_CONTAINERS, _unpack


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


@pytest.mark.parametrize("piece", ["[],", "{},"])
def test_json_of_more_lists_and_objects_than_memory_is_for_is_refused_unread(piece: str) -> None:
    text = "[" + piece * MAX_CONTAINERS + "0]"
    with pytest.raises(ValueError, match="lists and objects"):
        _unpack({"form": "json", "text": text, "kind": "builtins.list"})
    text = "[" + piece * 10 + "0]"
    assert len(_unpack({"form": "json", "text": text, "kind": "builtins.list"})) == 11
