"""terminal.py: no text of a sandbox's steers the terminal of the user."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.errors import ConfigError, MoatError, Problem
from moat_nb.text.terminal import LOGGER, Harmless, for_terminal, last_lines, one_line

HARMLESS = re.compile(r"\x1b\[[0-9;]*[ABCDGJKm]|[\x08\t\n\r]|[^\x00-\x1f\x7f-\x9f]")
pieces = st.lists(
    st.text(alphabet="\x1b[]\\PX^_?;052chlAmK\x07\x9b\x9d\x00\n x"), min_size=1, max_size=4
)


@given(pieces)
def test_what_arrives_in_pieces_steers_no_more_than_what_arrives_whole(parts: list[str]) -> None:
    shown = "".join(map(for_terminal, parts))
    assert HARMLESS.sub("", shown) == ""


def test_a_sequence_cut_after_its_escape_is_not_put_together_by_the_terminal() -> None:
    """The clipboard's (OSC 52), in the pieces that a sandbox may choose."""
    assert for_terminal("\x1b") + for_terminal("]52;c;cm0gLXJm\x07") == "]52;c;cm0gLXJm"


def test_colours_and_movements_on_the_line_pass() -> None:
    text = "\x1b[1;31mred\x1b[0m 10%\r\x1b[K20%\x1b[A\n"
    assert for_terminal(text) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain ü 猫", "plain ü 猫"),
        ("two\nlines", "two\ufffdlines"),
        ("\x1b]0;t\x07", "\ufffd]0;t\ufffd"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
    ],
)
def test_a_line_is_one_and_prints(text: str, line: str) -> None:
    assert one_line(text) == line


def test_of_many_lines_the_last_are_kept_without_colours_and_blank_ones() -> None:
    text = "first\n\x1b[31mred\x1b[0m\n\n10%\r20%\n\tlast \n"
    assert last_lines(text, 3) == "10%\n20%\n    last"


def test_of_last_lines_none_erases_or_overwrites_what_stands_above() -> None:
    assert last_lines("moat: refused\n\x1b[5A\x1b[J\x08spoof", 3) == "moat: refused\n\ufffdspoof"


def test_a_last_line_is_cut() -> None:
    assert len(last_lines("x" * 5000, 3)) == 300


STEERING = [
    "\x1b]52;c;eA==\x07",
    "\x1b]0;title\x1b\\",
    "\x9d0;title\x9c",
    "\x1b[2;5H",
    "\x1b[?1049h",
    "\u202e",
    "\u2066",
    "\x07",
]


@pytest.mark.parametrize("bad", STEERING)
def test_nothing_steers_through_an_error_a_log_or_a_stream(
    bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    error = MoatError(f"/home/{bad}/x: cannot be made")
    problem = ConfigError([Problem(where=f"{bad}.yaml:1:2", what=f"no {bad}", hint=f"as {bad}")])
    LOGGER.warning("%s came undone", f"/work/{bad}")
    stream = io.StringIO()
    print(f"at {bad}", file=Harmless.around(stream))
    for text in (str(error), str(problem), *problem.problems, caplog.text, stream.getvalue()):
        assert bad not in str(text)
        assert not set("\x1b\x07\x9b\x9d\u202e\u2066") & set(str(text))


def test_a_line_break_in_a_name_begins_no_line_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    said = str(Problem(where="a", what="b\nmoat-nb: well"))
    assert said == "a: b\N{REPLACEMENT CHARACTER}moat-nb: well"
    LOGGER.warning("%s", "/a\nWARNING well")
    assert caplog.messages == ["/a\n    WARNING well"]


def test_what_a_terminal_may_show_passes_a_stream() -> None:
    stream = io.StringIO()
    harmless = Harmless.around(stream)
    assert Harmless.around(harmless) is harmless
    text = "\x1b[32mgood\x1b[0m\r 50 %|###   | é 你 \N{GRINNING FACE}\n"
    assert harmless.write(text) == len(text)
    assert stream.getvalue() == text
    harmless.write("\udcff")
    assert stream.getvalue().endswith("\N{REPLACEMENT CHARACTER}")


def test_an_error_keeps_its_lines_and_loses_its_colours() -> None:
    assert str(MoatError("one\n\x1b[31mtwo\x1b[0m\n\tthree")) == "one\ntwo\n    three"
