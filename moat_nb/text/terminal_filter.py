"""What a program of a sandbox sends to the user's own terminal, without what acts outside of it.

A program that fills the screen needs sequences that move, colour, clear and scroll. Others make
the terminal type (answers to queries land in the user's shell when the program has ended), set
titles, write to the clipboard, print, load fonts or lock the keyboard. So what is known to be
harmless passes, and nothing else: an ESC goes out only as the first character of a whole sequence
that is allowed.
"""

from __future__ import annotations

import codecs
import re

__all__ = ["TerminalFilter"]

# Runs of what prints, with BEL, BS, HT, LF, VT, FF, CR and the two that shift character sets.
_PLAIN = r"(?P<plain>[^\x00-\x1f\x7f-\x9f]+|[\x07-\x0f]+)"
_CSI = r"\x1b\[(?P<parameters>[0-?]{0,64})(?P<between>[ -/]{0,4})(?P<final>[@-~])"
_CUT_CSI = r"\x1b\[[0-?]{0,64}[ -/]{0,4}(?=[^ -~])"
_STRING = r"(?P<string>\x1b[\]PX^_k])"  # the last is screen's, for titles
_ESC = r"\x1b(?P<set>[ -/]{0,4})(?P<one>[0-Z\\^-~])"
_OTHER = r"\x1b(?=[^ -~])|[\x00-\x06\x10-\x1a\x1c-\x1f\x7f-\x9f]"
_PIECE = re.compile("|".join((_PLAIN, _CSI, _CUT_CSI, _STRING, _ESC, _OTHER)))
_STRING_END = re.compile(r"[\x07\x18\x1a\x9c]|\x1b\\|(?=\x1b[^\\])")

LONGEST = 128
"""Characters of a sequence; what is longer is none that is allowed."""

_FINALS = frozenset("@ABCDEFGHIJKLMPSXZ`abdefgmrsu")
_NUMBERS = re.compile(r"[0-9]{0,5}([;:][0-9]{0,5})*")
_MODES = frozenset(
    # Cursor keys, reverse, origin, wrapping, blinking, the cursor; the other screen; the mouse;
    # focus, brackets around what is pasted, and frames drawn at once.
    (
        *("1", "5", "6", "7", "12", "25", "47", "1047", "1048", "1049"),
        *("1000", "1002", "1003", "1006", "1015", "1004", "2004", "2026"),
    )
)
_ALONE = frozenset("78DEHM=>c")
_SETS = frozenset(("(0", "(A", "(B", ")0", ")A", ")B"))

_ON = frozenset(("7", "25"))
"""The modes that a terminal is in when nothing runs in it."""


class TerminalFilter:
    """Bytes in pieces of any length, in and out; UTF-8."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._in_string = False
        self._modes: dict[str, bool] = {}
        self._finals: set[str] = set()

    def feed(self, data: bytes) -> bytes:
        """What of ``data`` may go to the terminal now; an unfinished sequence waits."""
        text = self._held + self._decoder.decode(data)
        passed, at = [], 0
        while at < len(text):
            if self._in_string:
                end = _STRING_END.search(text, at)
                if end is None:
                    at = len(text) - text.endswith("\x1b")  # which may begin its end
                    break
                self._in_string, at = False, end.end()
            elif found := _PIECE.match(text, at):
                self._in_string = bool(found["string"])
                if _allowed(found):
                    passed.append(found[0])
                    self._remember(found)
                at = found.end()
            elif len(text) - at > LONGEST:
                at += 1  # without its ESC the rest is text
            else:
                break
        self._held = text[at:]
        return "".join(passed).encode()

    def _remember(self, found: re.Match[str]) -> None:
        if final := found["final"]:
            self._finals.add(final)
            if found["parameters"].startswith("?") and final in ("h", "l"):
                modes = found["parameters"][1:].split(";")
                self._modes.update(dict.fromkeys(modes, final == "h"))

    def reset(self) -> bytes:
        """What turns off that which has passed and is on: a program can end in the midst of it.

        Not what it turned off: to leave the other screen twice moves the cursor."""
        words = [
            f"\x1b[?{mode}{'h' if mode in _ON else 'l'}"
            for mode, on in sorted(self._modes.items())
            if on != (mode in _ON)
        ]
        if "r" in self._finals:
            words.append("\x1b7\x1b[r\x1b8")  # the margins, whose end moves the cursor
        if "q" in self._finals:
            words.append("\x1b[0 q")
        return "".join((*words, "\x1b[4l\x1b>\x1b(B\x1b)B\x0f\x1b[0m")).encode()


def _allowed(found: re.Match[str]) -> bool:
    if found["plain"]:
        return True
    if found["final"]:
        return _csi_allowed(found["parameters"], found["between"], found["final"])
    if found["one"]:
        both = found["set"] + found["one"]
        return both in _SETS or both in _ALONE
    return False


def _csi_allowed(parameters: str, between: str, final: str) -> bool:
    if parameters.startswith("?"):
        if final in ("h", "l"):
            return not between and _MODES.issuperset(parameters[1:].split(";"))
        return not between and final in ("J", "K") and parameters[1:] in ("", "0", "1", "2")
    if not _NUMBERS.fullmatch(parameters):
        return False
    if between:
        return (between, final) in ((" ", "q"), ("!", "p"))
    if final in ("h", "l"):
        return parameters == "4"  # insert; others lock the keyboard, or have it echo
    return final in _FINALS or (final == "T" and ";" not in parameters)
