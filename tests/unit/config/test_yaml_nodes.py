"""YAML as positioned nodes, bounded in every way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.config.yaml_nodes import MAX_BYTES, MAX_NODES, Node, Problems, compose, nearest, shown
from moat_nb.errors import ConfigError


def tree(data: bytes | str) -> Node:
    problems = Problems(label="moat.yaml")
    node = compose(data.encode() if isinstance(data, str) else data, problems)
    if problems.found:
        raise problems.error()
    return node


def refused(data: bytes | str) -> str:
    with pytest.raises(ConfigError) as caught:
        tree(data)
    return str(caught.value)


def test_each_node_knows_its_line_and_column() -> None:
    root = tree("a: 1\nb:\n  - x\n  - 'y'\n")
    (a, one), (b, items) = root.entries
    assert [(n.text, n.line, n.column) for n in (a, one, b, *items.items)] == [
        ("a", 1, 1),
        ("1", 1, 4),
        ("b", 2, 1),
        ("x", 3, 5),
        ("y", 4, 5),
    ]
    assert [n.plain for n in items.items] == [True, False]


@pytest.mark.parametrize("data", ["", "\n", "# only a comment\n", "---\n", "~\n", "\ufeff"])
def test_an_empty_file_is_an_empty_mapping(data: str) -> None:
    assert tree(data) == Node(line=1, column=1, kind="mapping")


def test_a_byte_order_mark_moves_no_position() -> None:
    root = tree("\ufeffa: 1")
    assert (root.entries[0][0].text, root.entries[0][0].column) == ("a", 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: 1\nb: caf\xe9\n", "moat.yaml:2:7: the byte 0xe9 is not UTF-8; save the file as UTF"),
        (b"\xff\xfea\0", "moat.yaml:1:1: the byte 0xff is not UTF-8; save the file as UTF-8"),
        (b"a: \xc3\xa9\nb: \0", "moat.yaml:2:4: a NUL byte; this is no text file"),
        ("a:\n\tb: 1\n", "moat.yaml:2:1: a tab in the indentation; YAML allows only spaces there"),
        ("a:\n  \tb: 1\n  c: 2\n", "moat.yaml:2:3: a tab in the indentation"),
        ("a: [1, 2\n", "moat.yaml:2:1: not YAML: while parsing a flow sequence"),
        ("a: b: c\n", "moat.yaml:1:5: not YAML: mapping values are not allowed in this context"),
        ("a: \x07\n", "moat.yaml: not YAML: control characters are not allowed"),
        ("a: 1\n---\nb: 2\n", "moat.yaml:2:1: a second YAML document; keep one to a file"),
        ("a: *b\n", "moat.yaml:1:4: the alias *b names no anchor before it"),
        ("a: &a [*a]\n", "moat.yaml:1:8: the alias *a stands inside its own anchor"),
        ("a: &a\n  b: *a\n", "moat.yaml:2:6: the alias *a stands inside its own anchor"),
        ("a: 1\nb: 2\na: 3\n", "moat.yaml:3:1: duplicate key 'a', first given at line 1"),
        ("? [a]\n: 1\n", "moat.yaml:1:3: a key that is not a string"),
        (
            "a: !!python/object/apply:os.system [id]\n",
            "moat.yaml:1:4: the tag 'tag:yaml.org,2002:p",
        ),
        ('a: "x\\0y"\n', "moat.yaml:1:4: a NUL character in a string; remove it"),
        ("a: !mine 1\n", "moat.yaml:1:4: the tag '!mine'; tags are not allowed; remove the tag"),
        ("a: !!binary aGk=\n", "moat.yaml:1:4: the tag 'tag:yaml.org,2002:binary'"),
    ],
)
def test_what_is_no_plain_document_is_refused_with_its_place(
    data: bytes | str, message: str
) -> None:
    assert refused(data).startswith(message)


def test_duplicate_keys_in_two_mappings_are_two_keys() -> None:
    assert len(tree("a: {x: 1}\nb: {x: 1}\n").entries) == 2


def test_the_tag_str_makes_a_scalar_count_as_quoted() -> None:
    assert not tree("!!str 3").plain


def test_all_duplicates_and_tags_are_reported_at_once() -> None:
    assert refused("a: 1\na: 2\nb: !x 1\nb: 2\n").count("\n") == 2


def test_a_file_above_the_limit_is_refused_before_it_is_parsed() -> None:
    assert refused(b"#" * (MAX_BYTES + 1)) == (
        f"moat.yaml: the file is larger than {MAX_BYTES} bytes; "
        "moat.yaml is settings; keep data elsewhere"
    )


def test_a_file_at_the_limit_is_read() -> None:
    assert tree(b"#" * MAX_BYTES).entries == ()


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines)


def test_a_yaml_bomb_is_counted_and_not_expanded() -> None:
    message = refused(bomb(12))
    assert f"more than {MAX_NODES} values, aliases (*name) counted as often as used" in message


def test_aliases_below_the_limit_are_expanded() -> None:
    root = tree(bomb(3))
    assert root.entries[2][1].items[0].items is root.entries[1][1].items
    assert root.size == 1 + 3 + 11 + 111 + 1111


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "{a: " * 100_000, "? " * 9000])
def test_depth_is_bounded_and_overflows_nothing(text: str) -> None:
    assert "nested deeper than 64 levels" in refused(text)


def test_sixty_four_levels_are_read() -> None:
    assert tree("[" * 64 + "]" * 64).kind == "sequence"


def test_many_small_values_are_bounded() -> None:
    assert f"more than {MAX_NODES} values" in refused("- a\n" * (MAX_NODES + 1))
    assert len(tree("- a\n" * (MAX_NODES - 1)).items) == MAX_NODES - 1


@given(st.one_of(st.binary(max_size=60), st.text("ab:-[]{}&*!?|>'\"#\n\t ,~<", max_size=60)))
def test_any_bytes_give_a_tree_or_a_config_error(data: bytes | str) -> None:
    try:
        assert tree(data).size >= 1
    except ConfigError as error:
        assert all(str(problem).startswith("moat.yaml") for problem in error.problems)


def test_problems_are_raised_in_the_files_order_and_once_each() -> None:
    problems = Problems(label="f")
    for where in ("f:10:1", "f:2:7", "f:2:5", "f:2:5", "f"):
        problems.add(where, "wrong")
    assert [p.where for p in problems.error().problems] == ["f", "f:2:5", "f:2:7", "f:10:1"]


def test_a_long_value_is_cut_in_an_error_text() -> None:
    assert shown("a" * 60) == repr("a" * 60)
    assert shown("a" * 61) == repr("a" * 57 + "...")


@pytest.mark.parametrize(("word", "near"), [("moutns", "mounts"), ("mount", "mounts"), ("x", None)])
def test_a_slip_is_near_and_a_stranger_is_not(word: str, near: str | None) -> None:
    assert nearest(word, ["mounts", "volumes", "env"]) == near
