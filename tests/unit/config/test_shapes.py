"""What a value may be, as it is read and as a schema has it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from moat_nb.config.cursor import Cursor
from moat_nb.config.shapes import (
    Boolean,
    Choice,
    Integer,
    Keys,
    ListOf,
    Number,
    Shape,
    Text,
    Word,
    key,
    keys_schema,
)
from moat_nb.config.yaml_nodes import Problems, compose

LEVEL = Integer(minimum=1, maximum=9)
NAME = Word(pattern=re.compile("[a-z]+"), rule="a name")


def read(shape: Shape[Any], text: str) -> tuple[Any, list[str]]:
    """The value of ``k: TEXT``, and what is said against it."""
    problems = Problems(label="f")
    ((name, value),) = compose(f"k: {text}".encode(), problems).entries
    cursor = Cursor(problems=problems, path="k", node=value, anchor=name)
    return shape.read(cursor, "default"), [problem.what for problem in problems.found]


@pytest.mark.parametrize(
    ("shape", "text", "value"),
    [
        (Text(), "1.50", "1.50"),
        (Text(empty=True), "''", ""),
        (NAME, "abc", "abc"),
        (Choice(options=("a", "b")), "b", "b"),
        (Choice(options=("a",), empty=True), "''", "default"),
        (LEVEL, "9", 9),
        (Number(maximum=4), ".5", 0.5),
        (Boolean(), "no", False),
        (ListOf(item=LEVEL), "[1, 2]", (1, 2)),
        (LEVEL, "~", "default"),
    ],
)
def test_a_value_is_read_as_what_it_is(shape: Shape[Any], text: str, value: object) -> None:
    assert read(shape, text) == (value, [])


@pytest.mark.parametrize(
    ("shape", "text", "words"),
    [
        (Text(), "''", "k: empty"),
        (NAME, "A", "k: 'A' is not a name"),
        (Choice(options=("a", "b")), "c", "k: 'c' is not one of a, b"),
        (LEVEL, "10", "k: '10' is not a whole number from 1 to 9"),
        (LEVEL, "'1'", "k: '1' in quotes is not a whole number from 1 to 9"),
        (Number(maximum=4), "0", "k: '0' is not a number above 0, up to 4"),
        (Boolean(), "maybe", "k: 'maybe' is neither true nor false"),
    ],
)
def test_a_wrong_value_is_the_default_and_a_problem(
    shape: Shape[Any], text: str, words: str
) -> None:
    assert read(shape, text) == ("default", [words])


def test_a_wrong_item_is_left_out_of_its_list_and_told() -> None:
    value, said = read(ListOf(item=LEVEL), "[1, x, 3]")
    assert value == (1, 3)
    assert said == ["k[1]: 'x' is not a whole number from 1 to 9"]


class Section(Keys):
    level = key(LEVEL, "How high.", default=3)
    name = key(NAME, "Whose.", required=True)


def test_a_section_is_an_object_of_its_keys_in_their_order() -> None:
    assert Section.names() == ("level", "name")
    schema = keys_schema(Section)
    assert (schema["type"], schema["required"]) == ("object", ["name"])
    assert schema["properties"]["level"] == {
        "description": "How high.",
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": 9,
        "default": 3,
    }
    assert schema["properties"]["name"]["type"] == ["string", "boolean"]  # true is letters
    assert schema["properties"]["name"]["pattern"] == "^(?:[a-z]+)$"
