"""`moat-nb init`: a first moat.yaml, of what is found in the project.

What it writes plans here without an error: an exclude or a dependency that a start would refuse
becomes a comment with the reason. It replaces no file, and writes through no link.
"""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from moat_nb.cli.init.text import Draft, Item
from moat_nb.cli.init.wanted import Wanted, look
from moat_nb.cli.user_terminal import asked, is_there
from moat_nb.config.file import FILE_NAMES, find, label_of
from moat_nb.config.reader import read_config, slug
from moat_nb.errors import ConfigError, MoatError, Problem
from moat_nb.excludes.suggest import unmeasured
from moat_nb.planning.walk import Budget
from moat_nb.sandbox.project import plan_project
from moat_nb.text.terminal import one_line

__all__ = ["init"]

FILE = FILE_NAMES[0]
SECONDS = 5.0
"""For the look at the project; what it did not reach, `plan` and the editor of excludes may."""

EXCLUDED = ("node_modules", ".venv", "venv", ".terraform")
"""Suggestions that are excluded at once, beside all secrets: what is in them is for this machine
or holds passwords. The rest is a matter of taste."""


def init(directory: str, *, runtime: str | None = None, yes: bool = False) -> int:
    """Write the file, once whoever sits at a terminal has said so; ``yes`` asks nobody.

    Raises MoatError where there is a file already, or where a project cannot be.
    """
    place = Path(os.path.realpath(directory))
    _refuse_present(place, directory)
    above = _above(place)
    wanted = look(place)
    draft, chosen = _accepted(place, _draft(place, wanted, runtime), runtime)
    if not yes and not _agreed(draft.text):
        print(f"{FILE}: nothing was written", file=sys.stderr)
        return 1
    _write(place, draft.text)
    print(f"wrote {one_line(label_of(place / FILE))}")
    if above is not None:
        _say(f"it takes the place of {above} for what is here and below")
    for words in (*wanted.left, *_remarks(draft)):
        _say(words)
    _say(f"it starts on {chosen}; `moat-nb doctor` says what else there is")
    there = "" if directory == "." else f" {shlex.quote(directory)}"
    own = f"`moat-nb install{there}` for your own JupyterLab or VS Code"
    _say(f"next: `moat-nb lab{there}`, or {own}")
    return 0


def _say(words: str) -> None:
    print(f"moat-nb: {one_line(words)}", file=sys.stderr)


def _refuse_present(place: Path, directory: str) -> None:
    if not place.is_dir():
        raise ConfigError([Problem(where=directory, what="is not a directory")])
    for name in FILE_NAMES:
        if os.path.lexists(place / name):
            hint = "`moat-nb plan` shows what comes of it; it was left as it is"
            raise ConfigError(
                [Problem(where=label_of(place / name), what="is there already", hint=hint)]
            )


def _above(place: Path) -> Path | None:
    with suppress(ConfigError):
        return find(place)
    return None


def _draft(place: Path, wanted: Wanted, runtime: str | None) -> Draft:
    found = unmeasured(place, (), Budget(seconds=SECONDS))
    chosen = [one for one in found if one.secret or one.pattern.split("/")[-1] in EXCLUDED]
    return Draft(
        name=slug(place.name),
        excludes=tuple(Item(value=one.pattern, why=one.reason) for one in chosen),
        more=tuple(one.pattern for one in found if one not in chosen),
        dependencies=tuple(Item(value=text) for text in wanted.dependencies),
        of=", ".join(wanted.files),
        runtime=runtime,
    )


def _accepted(place: Path, draft: Draft, runtime: str | None) -> tuple[Draft, str]:
    """The draft with those items in comments that a start refuses or lacks, and the runtime's name.

    Raises what is wrong beside them.
    """
    while True:
        data = draft.text.encode()
        try:
            config = read_config(data, path=place / FILE, home=Path.home(), label=FILE)
            # So that what a start would do without is a comment too.
            kernel = replace(config.kernel, require_dependencies=True)
            config = replace(config, kernel=kernel)
            return draft, plan_project(config, runtime).runtime.capabilities.name
        except ConfigError as error:
            new = {
                item: one_line(problem.what)
                for problem in error.problems
                if (item := draft.at(_line(problem.where))) is not None
            }
            if not new.keys() - draft.refused.keys():
                raise
            draft = replace(draft, refused={**draft.refused, **new})


def _line(where: str) -> int:
    """Of ``file:line:column``; 0 where there is none."""
    words = where.split(":")
    return int(words[-2]) if len(words) > 2 and words[-2].isdigit() else 0


def _remarks(draft: Draft) -> list[str]:
    words = []
    pip = [one.value[4:] for one in draft.refused if one.value.startswith("pip:")]
    if draft.refused:
        names = ", ".join(item.value for item in draft.refused)
        words.append(f"in comments, as a start here would be without them: {names}")
    if pip:
        asked = " ".join(f"'{name}'" for name in pip)
        words.append(
            f"`%pip install {asked}` in a cell installs them in the sandbox, or install them here "
            f"({sys.executable} -m pip install ...) and take the # away"
        )
    return words


def _agreed(text: str) -> bool:
    """Asks whoever sits at the terminal; where nobody does, a new file harms nothing."""
    return not is_there() or asked(f"{text}\nwrite this to {FILE}?", default=True)


def _write(place: Path, text: str) -> None:
    """Raises MoatError; a file that came there meanwhile is left, whatever it is."""
    try:
        directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            # Not for a group to write: a start would not obey it then.
            descriptor = os.open(FILE, flags, 0o644, dir_fd=directory)
            _fill(descriptor, text, directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise MoatError(f"{place / FILE}: cannot be written: {error.strerror}") from error


def _fill(descriptor: int, text: str, directory: int) -> None:
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text.encode())
    except OSError:  # a full disk: half a file would be in the way
        os.unlink(FILE, dir_fd=directory)
        raise
