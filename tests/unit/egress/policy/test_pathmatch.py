"""Paths, and the patterns that they match."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.egress.policy.pathmatch import MOST_TEXTS, path_matches, readings
from moat_nb.egress.policy.verdict import Malformed
from tests.unit.egress.policy.judging import GITHUB, judge


def segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        # Rows of Moat's own table, internal/netrules/pathmatch_test.go.
        ("/", "/", True),
        ("/", "/a", False),
        ("/repos", "/repos/", True),
        ("/repos/*", "/repos/moat", True),
        ("/repos/*", "/repos", False),
        ("/repos/*", "/repos/a/b", False),
        ("/**", "/", True),
        ("/**", "/a/b/c", True),
        ("/repos/**", "/repos", False),
        ("/repos/**", "/repos/a", True),
        ("/repos/**", "/repos/a/b", True),
        ("/**/issues", "/issues", True),
        ("/**/issues", "/a/b/issues", True),
        ("/a/**/z", "/a/z", False),
        ("/a/**/z", "/a/b/z", True),
        ("/a/**/z", "/a/b/c", False),
    ],
)
def test_stars_in_a_path_mean_what_they_mean_to_moat(
    pattern: str, path: str, matches: bool
) -> None:
    assert path_matches(pattern, segments(path)) is matches


def test_a_path_that_can_be_read_in_too_many_ways_is_no_path() -> None:
    assert len(readings("/a%252f;x=%2e/../b")) <= 3 * MOST_TEXTS
    with pytest.raises(Malformed, match="too many ways"):
        judge("strict", GITHUB).request("api.github.com", "GET", f"/%{'25' * 100}2e")


SEGMENT = st.sampled_from(["a", "b", "c"])
PATTERN = st.lists(SEGMENT | st.sampled_from(["*", "**"]), max_size=6)


def slowly_matches(pattern: list[str], path: list[str], front: bool = True) -> bool:
    """The definition of Moat's: each ``**`` tries every number of segments."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        least = 0 if front else 1
        return any(
            slowly_matches(pattern[1:], path[taken:], False)
            for taken in range(least, len(path) + 1)
        )
    return (
        bool(path) and pattern[0] in ("*", path[0]) and slowly_matches(pattern[1:], path[1:], False)
    )


@given(PATTERN, st.lists(SEGMENT, max_size=8))
def test_paths_match_as_by_trying_every_way(pattern: list[str], path: list[str]) -> None:
    assert path_matches("/" + "/".join(pattern), path) is slowly_matches(pattern, path)


PIECE = st.sampled_from(
    [
        "/",
        "//",
        "..",
        ".",
        ";",
        "%2e",
        "%2F",
        "%5C",
        "%3B",
        "%25",
        "%252e",
        "%C0%AE",
        "%C0%AF",
        "%EF%BC%8E",
        "a",
        "b",
    ]
)


LAX = {"\xc0\xae": ".", "\xc0\xaf": "/", "\xc1\x9c": "/", "\xef\xbc\x8e": "."}


def read_by_a_server(path: str, steps: list[str]) -> tuple[str, ...]:
    """As a chain of programs would, each of which does one of these things to it."""
    for step in steps:
        if step == "decode":
            path = unquote(path, "latin-1").replace("\\", "/")
        elif step == "lax":
            for long, plain in LAX.items():
                path = path.replace(long, plain)
            path = path.replace("\\", "/")
        elif step == "cut":
            path = re.sub(";[^/]*", "", path)
        elif step == "merge":
            path = re.sub("/+", "/", path)
        else:
            path = posixpath.normpath(path) if path.startswith("/") else path
    return segments_of(path)


def segments_of(path: str) -> tuple[str, ...]:
    return tuple(segment for segment in path.split("/") if segment)


@given(
    st.lists(PIECE, max_size=8).map("".join),
    st.lists(st.sampled_from(["decode", "cut", "lax"]), max_size=3),
    st.sampled_from([[], ["merge"], ["merge", "resolve"]]),
)
def test_what_a_chain_of_servers_makes_of_a_path_is_among_its_readings(
    rest: str, steps: list[str], then: list[str]
) -> None:
    path = f"/{rest}"
    try:
        found = readings(path)
    except Malformed:
        return
    # An escape that need not be one is the same to every server (RFC 3986, section 6.2.2.2).
    made = read_by_a_server(path.replace("%2e", "."), [*steps, *then])
    assert made in found
    assert len(found) <= 3 * MOST_TEXTS
