"""What reaches the user's own terminal of an interactive program in a sandbox."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.text.terminal_filter import LONGEST, TerminalFilter


def passed(*pieces: str) -> str:
    one = TerminalFilter()
    return b"".join(one.feed(piece.encode()) for piece in pieces).decode()


@pytest.mark.parametrize(
    "text",
    [
        "text, ünïcode \N{GRINNING FACE}\r\n\tand\b\a",
        "\x1b[31;1m\x1b[38;2;1;2;3m\x1b[4:3m\x1b[0m\x1b[m",
        "\x1b[H\x1b[2J\x1b[3J\x1b[K\x1b[5;10H\x1b[2A\x1b[10X\x1b[3L\x1b[2M\x1b[4P\x1b[6@\x1b[7b",
        "\x1b[?1049h\x1b[?25l\x1b[?1;7h\x1b[?2004h\x1b[?1000;1006h\x1b[?1049l",
        "\x1b[1;24r\x1b7\x1b8\x1bM\x1bD\x1bE\x1bH\x1b=\x1b>\x1bc",
        "\x1b(0lqqk\x1b(B\x0e\x0f\x1b[4h\x1b[4l\x1b[2 q\x1b[!p",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_what_fills_a_screen_passes_as_it_is(text: str) -> None:
    assert passed(text) == text
    assert passed(*text) == text


@pytest.mark.parametrize(
    "harmful",
    [
        *("\x1b]0;title\a", "\x1b]2;title\x1b\\", "\x1b]52;c;cm0gLXJm\a", "\x1b]8;;x:y\a"),
        *("\x1b]11;?\x1b\\", "\x1b]4;1;?\a", "\x1b]1337;File=:AA==\a", "\x1bkname\x1b\\"),
        *(
            "\x1bP$qm\x1b\\",
            "\x1bP+q544e\x1b\\",
            "\x1b_Gi=1;AA\x1b\\",
            "\x1b^x\x1b\\",
            "\x1bXx\x1b\\",
        ),
        *("\x1b[c", "\x1b[>c", "\x1b[=c", "\x1b[5n", "\x1b[6n", "\x1b[?6n", "\x1b[21t", "\x1b[x"),
        *("\x1b[>q", "\x1b[?u", "\x1b[>1u", "\x1b[?4m", "\x1b[>4;2m", "\x1b[?2026$p", "\x1b[1$w"),
        *("\x1b[i", "\x1b[5i", "\x1b[?5i", "\x1b[2h", "\x1b[12l", "\x1b[?3h", "\x1b[?1049;3h"),
        *("\x1bZ", "\x1b#8", "\x1b%@", "\x1b(K", "\x1bn", "\x1b|", "\x1bN", "\x1bO", "\x1b6"),
        *("\x1b[1;1;1;1;1*y", "\x1b[1;2;3;4;5T", "\x1b[999999b", "\x1b[10;440]", "\x1b[?1s"),
        *("\x05", "\x00", "\x18", "\x1a", "\x7f", "\x84", "\x9b", "\x90", "\x9d"),
    ],
    ids=repr,
)
def test_what_acts_outside_of_the_screen_does_not_pass(harmful: str) -> None:
    for pieces in ([f"a{harmful}b"], ["a", *harmful, "b"]):
        assert passed(*pieces) == "ab"


def test_c1_controls_as_bytes_do_not_pass() -> None:
    said = TerminalFilter().feed(b"a\x9b6nb\x90$qm\x9cc\xc2\x9b6n")
    assert said.decode() == "a\N{REPLACEMENT CHARACTER}6nb\N{REPLACEMENT CHARACTER}$qm" + (
        "\N{REPLACEMENT CHARACTER}c6n"
    )


def test_a_string_ends_where_a_terminal_ends_it_and_one_without_end_holds_nothing() -> None:
    one = TerminalFilter()
    assert [one.feed(b"a\x1b]52;c;") + one.feed(b"x" * 10**6) for _ in range(2)] == [b"a", b""]
    assert one._held == ""
    assert one.feed(b"\x1b[31mred") == b"\x1b[31mred"
    assert passed("\x1b]0;x\x1b", "\\y") == passed("\x1b]0;x\x1b\x1b\\y") == "y"
    assert passed("\x1b]0;x\x1by") == ""


def test_a_sequence_that_is_cut_or_too_long_leaves_text_without_its_escape() -> None:
    assert passed("\x1b[6\nn") == "\nn"
    assert passed("\x1b[31éx") == "éx"
    assert passed("\x1b[" + "1;" * LONGEST) == "[" + "1;" * LONGEST
    assert passed("\x1b") == passed("\x1b[1;") == passed("\x1b[ ") == ""


WHOLE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[()][0AB]|[78DEHM=>c])")


@given(st.lists(st.text(st.sampled_from("\x1b[]P?;:0129 !$()kmnhlrtc\\\a\x9b\x18é\n")), max_size=9))
def test_an_escape_goes_out_only_with_its_whole_sequence_however_it_is_cut(
    pieces: list[str],
) -> None:
    said = passed(*pieces)
    assert said == passed("".join(pieces))
    rest = WHOLE.sub("", said)
    assert not re.search(r"[\x00-\x06\x10-\x1f\x7f-\x9f]", rest)
    assert passed(said) == said


def test_a_reset_turns_off_what_passed_and_leaves_alone_what_did_not() -> None:
    one = TerminalFilter()
    assert b"?" not in one.reset() and b"[r" not in one.reset()
    one.feed(b"\x1b[?1049h\x1b[?25l\x1b[?1006h\x1b[1;5r\x1b[4 q\x1b[?3h")
    reset = one.reset().decode()
    for words in ("\x1b[?1049l", "\x1b[?25h", "\x1b[?1006l", "\x1b7\x1b[r\x1b8", "\x1b[0 q"):
        assert words in reset
    assert "?3" not in reset
    one.feed(b"\x1b[?1049l\x1b[?25h\x1b[?1006;7l")
    assert one.reset().decode().count("?") == 1 and "\x1b[?7h" in one.reset().decode()
    assert passed(reset).startswith(reset[:-20])
