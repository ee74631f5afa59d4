"""The one validator of exclude paths, and the matching of globs."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.config import exclude_patterns
from moat_nb.planning.mounts import is_below


@pytest.mark.parametrize(
    "pattern",
    [
        "node_modules",
        ".venv",
        ".env",
        "a/b/c",
        "packages/*/node_modules",
        "**/__pycache__",
        "*.log",
        "a..b",
        "...",
        "node_modules/",
        "./x",
        "a//b",
        "a/./b",
        "-x",
        "a" * 255,
    ],
)
def test_a_relative_path_below_the_target_is_accepted(pattern: str) -> None:
    assert exclude_patterns.check(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "must not be empty"),
        ("/etc", "'/etc' is absolute; an exclude is relative to the mount's target"),
        ("//x", "is absolute"),
        ("..", "must not contain '..'"),
        ("a/../b", "must not contain '..'"),
        ("a/..", "must not contain '..'"),
        (".", "is the mount's target itself"),
        ("./", "is the mount's target itself"),
        ("././.", "is the mount's target itself"),
        ("a b", "unsupported character ' '"),
        ("a\nb", r"unsupported character '\n'"),
        ("a?", "unsupported character '?'"),
        ("[ab]", "unsupported character '['"),
        ("~/x", "unsupported character '~'"),
        ("a:b", "unsupported character ':'"),
        ("naïve", "unsupported character 'ï'"),
        ("a\\b", "unsupported character"),
        ("\0", r"unsupported character '\x00'"),
        ("a" * 256, "a component of 256 characters; at most 255 exist"),
        ("a/" * 513, "an exclude of 1026 characters; at most 1024 are allowed"),
    ],
)
def test_any_other_is_refused_with_the_rule_it_breaks(pattern: str, words: str) -> None:
    assert words in (exclude_patterns.check(pattern) or "accepted")


@pytest.mark.parametrize(
    ("pattern", "normalised"),
    [("node_modules/", "node_modules"), ("./x", "x"), ("a//b/./c/", "a/b/c"), (".env", ".env")],
)
def test_harmless_spellings_are_normalised(pattern: str, normalised: str) -> None:
    assert exclude_patterns.normalise(pattern) == normalised


any_pattern = st.one_of(st.text(max_size=30), st.text("ab./*-_ ", max_size=30))


@given(any_pattern)
def test_what_is_accepted_stays_below_the_target_and_accepted(pattern: str) -> None:
    if exclude_patterns.check(pattern) is None:
        normalised = exclude_patterns.normalise(pattern)
        target = posixpath.normpath(f"/workspace/{pattern}")
        assert target == f"/workspace/{normalised}"
        assert is_below(target, "/workspace")
        assert exclude_patterns.check(normalised) is None
        assert exclude_patterns.normalise(normalised) == normalised


@given(st.lists(any_pattern, max_size=8))
def test_accepted_lists_hold_no_path_at_or_below_another(patterns: list[str]) -> None:
    wrong = dict(exclude_patterns.check_all(patterns))
    kept = [exclude_patterns.normalise(p) for i, p in enumerate(patterns) if i not in wrong]
    assert not any(
        i != j and f"{inner}/".startswith(f"{outer}/")
        for i, outer in enumerate(kept)
        for j, inner in enumerate(kept)
    )
    assert all(
        exclude_patterns.check(pattern) is None or i in wrong for i, pattern in enumerate(patterns)
    )


def test_duplicates_and_redundant_excludes_are_named_with_their_other() -> None:
    assert exclude_patterns.check_all(["a/b", "x", "./x/", "a", "../y", "a/b"]) == [
        (0, "'a/b' is redundant with 'a'"),
        (2, "'./x/' is a duplicate of 'x'"),
        (4, "'../y' must not contain '..'"),
        (5, "'a/b' is a duplicate of 'a/b'"),
    ]


def test_neighbours_with_a_common_beginning_are_not_redundant() -> None:
    assert exclude_patterns.check_all(["a", "ab", "a.b", "b/a"]) == []


def matches(pattern: str, path: str) -> bool:
    states = exclude_patterns.start([pattern])
    *above, last = path.split("/")
    for name in above:
        found, states = exclude_patterns.step(states, name)
        if found is not None:
            return False
    return exclude_patterns.step(states, last)[0] == 0


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*.log", "a.log", True),
        ("*.log", ".log", True),
        ("*.log", "d/a.log", False),
        ("*", ".hidden", True),
        ("a*z", "abcz", True),
        ("a*z", "abc", False),
        ("packages/*/dist", "packages/x/dist", True),
        ("packages/*/dist", "packages/dist", False),
        ("packages/*/dist", "packages/x/y/dist", False),
        ("**/x", "x", True),
        ("**/x", "a/b/c/x", True),
        ("**/x", "ax", False),
        ("a/**/x", "a/x", True),
        ("a/**/x", "a/b/c/x", True),
        ("a/**/x", "b/x", False),
        ("a/**", "a/b", True),
        ("a/**", "a", False),
        ("**", "a", True),
        ("**/**/x", "a/x", True),
        ("**/a/**/b", "a/b", True),
        ("**/a/**/b", "x/a/y/b", True),
        ("**/a/**/b", "x/y/b", False),
        ("a.c", "abc", False),
    ],
)
def test_a_star_is_one_component_and_two_are_any_number(
    pattern: str, path: str, expected: bool
) -> None:
    assert matches(pattern, path) is expected


def test_of_several_matching_globs_the_first_is_named() -> None:
    found, _ = exclude_patterns.step(exclude_patterns.start(["x*", "*y", "xy"]), "xy")
    assert found == 0


@given(st.lists(st.sampled_from(["**", "*", "a", "b*"]), min_size=1, max_size=6), any_pattern)
def test_matching_raises_for_no_name(parts: list[str], name: str) -> None:
    found, states = exclude_patterns.step(exclude_patterns.start(["/".join(parts)]), name)
    assert found in {None, 0}
    assert all(left for _, left in states)
