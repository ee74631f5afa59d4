"""Tab completion for ``%moat``, ``%%moat``: subcommands, options, sandboxes, variables, paths."""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher

from moat_nb.notebook.subcommands import SUBCOMMANDS
from moat_nb.runtimes.registry import RUNTIMES

if TYPE_CHECKING:
    from moat_nb.notebook.session import Sessions

__all__ = ["Matcher"]

_LINE = re.compile(r"\s*(%%?)moat[ \t]+(.*)")


class Matcher:
    """:meth:`match` is a matcher of IPython's API version 2, silent on lines that are not ours."""

    def __init__(
        self, sessions: Sessions, cell_parser: ArgumentParser, variables: Callable[[], list[str]]
    ) -> None:
        self._sessions = sessions
        self._variables = variables
        self._cell_parser = cell_parser

    @context_matcher(identifier="moat_nb")
    def match(self, context: CompletionContext) -> dict[str, Any]:
        line = _LINE.fullmatch(context.line_with_cursor[: context.cursor_position])
        first = context.cursor_line == 0
        if line is None or (line[1] == "%%" and not first):
            return {"completions": []}
        *before, word = re.split(r"[ \t]+", line[2])
        found = self._cell(before, word) if line[1] == "%%" else self._line(before, word)
        return {
            "completions": [SimpleCompletion(text, type=kind) for text, kind in found],
            "matched_fragment": word,
            "suppress": True,
        }

    def _line(self, before: list[str], word: str) -> Iterator[tuple[str, str]]:
        if not before:
            yield from _those(SUBCOMMANDS, word, "subcommand")
            return
        subcommand = SUBCOMMANDS.get(before[0])
        if subcommand is None:
            return
        if "--" in before:
            yield from _paths(word, directories=False)
        else:
            yield from self._argument(subcommand.parser, before, word)

    def _cell(self, before: list[str], word: str) -> Iterator[tuple[str, str]]:
        yield from self._argument(self._cell_parser, before, word)

    def _argument(
        self, parser: ArgumentParser, before: list[str], word: str
    ) -> Iterator[tuple[str, str]]:
        options = {
            option: action
            for action in parser._actions
            for option in action.option_strings
            if option.startswith("--")
        }
        previous = options.get(before[-1]) if before else None
        positional = {action.dest for action in parser._actions if not action.option_strings}
        if word.startswith("-"):
            yield from _those([*options, "--help"], word, "option")
        elif previous is not None and previous.nargs != 0:
            if previous.choices is not None:
                yield from _those(previous.choices, word, "value")
            elif previous.dest == "runtime":
                yield from _those(RUNTIMES, word, "value")
            elif previous.dest in ("into", "out"):
                yield from _those(self._variables(), word, "variable")
            elif previous.dest == "mount":
                yield from _paths(word, directories=True)
        elif "name" in positional:
            yield from _those(self._sessions.names, word, "sandbox")
        elif "directory" in positional:
            yield from _paths(word, directories=True)


def _those(words: Iterable[str], start: str, kind: str) -> Iterator[tuple[str, str]]:
    for word in words:
        if word.startswith(start):
            yield word, kind


def _paths(word: str, *, directories: bool) -> Iterator[tuple[str, str]]:
    """What begins with ``word``; a directory with the slash behind it."""
    head, tail = os.path.split(word)
    try:
        entries = sorted(os.scandir(Path(head).expanduser() if head else "."), key=lambda e: e.name)
    except OSError:
        return
    for entry in entries:
        hidden = entry.name.startswith(".") and not tail.startswith(".")
        if entry.name.startswith(tail) and not hidden and (entry.is_dir() or not directories):
            shown = word.removesuffix(tail) + entry.name
            yield shown + "/" * entry.is_dir(), "path"
