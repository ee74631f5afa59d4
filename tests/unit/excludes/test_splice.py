"""Edits of a text of YAML, and what they write."""

from __future__ import annotations

import pytest
import yaml

from moat_nb.config.yaml_nodes import Problems, compose
from moat_nb.excludes.splice import (
    Edit,
    UnsafeError,
    after_line,
    apply,
    change_list,
    flow_list,
    scalar,
)


def changed(text: str, *new: str) -> str:
    """``text``, a mapping of one list, with another list."""
    ((key, node),) = compose(text.encode(), Problems(label="f")).entries
    return apply(text, change_list(text, key, node, new))


def test_edits_are_applied_in_the_texts_order_whatever_theirs_is() -> None:
    edits = [Edit(start=4, end=5, text="E"), Edit(start=0, end=2, text="")]
    assert apply("abcdef", edits) == "cdEf"


@pytest.mark.parametrize(
    "value", ["a/b", "*.pem", "null", "12", "- x", "a: b", "#", "", "é 😀", "..."]
)
@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_a_value_is_written_as_what_yaml_reads_as_it(value: str, quote: str) -> None:
    assert yaml.safe_load(scalar(value, quote)) == value
    assert yaml.safe_load(flow_list([value, value], quote)) == [value, value]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lines_are_added_with_the_texts_own_break(newline: str) -> None:
    text = f"a: 1{newline}b: 2"
    assert apply(text, [after_line(text, 2, ["c: 3"])]) == f"a: 1{newline}c: 3{newline}b: 2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("k:\n  - a  # first\n  - b\n", "k:\n  - a  # first\n  - c\n"),
        ("k: [a, b]  # two\n", "k: [a, c]  # two\n"),
        ("k: ['a', 'b']\n", "k: ['a', 'c']\n"),
        ("k: [\n  a,  # first\n  b,\n]\n", "k: [\n  a,  # first\n  c,\n]\n"),
    ],
)
def test_what_stays_in_a_list_keeps_its_spelling_and_comments(text: str, expected: str) -> None:
    assert changed(text, "a", "c") == expected


def test_a_comment_between_items_of_one_line_is_in_the_way() -> None:
    with pytest.raises(UnsafeError, match="comments stand between items"):
        changed("k: [a, b, # why\n  c]\n", "a")
