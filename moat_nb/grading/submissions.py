"""What was handed in: which notebook, its cells, and a copy for its sandbox to work in.

All of it is somebody else's: files may be anything, and no link is followed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moat_nb.errors import MoatError
from moat_nb.host.regular_file import open_regular
from moat_nb.text.terminal import one_line, without_halves
from moat_nb.text.untrusted import as_dict

__all__ = [
    "MAX_CELLS",
    "Cell",
    "Submission",
    "Unreadable",
    "cells_in",
    "cells_of",
    "check_copied",
    "copy_beside",
    "copy_for",
    "find",
    "read_regular",
]

MAX_NOTEBOOK = 50 << 20
MAX_CELLS = 2000
MAX_COPY = 2 << 30
"""Bytes of the files that lie beside a notebook."""
MAX_FILES = 20_000
MAX_DEPTH = 100
PIECE = 1 << 20

LEFT_OUT = frozenset({".ipynb_checkpoints", ".git", "__pycache__"})


class Unreadable(Exception):
    """What was handed in is nothing that could be run; says why."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    name: str
    """Its student, or whatever its directory is called; no other has the same."""
    notebook: Path | None
    """None where there is none, or more than one that it could be: ``problem`` says which."""
    directory: Path | None
    """What is shown to its sandbox; None for a notebook that lies among those of others."""
    problem: str = ""

    def digest(self, *others: str) -> str:
        """Of what a grade depends on: its files, and ``others``. Raises OSError, Unreadable."""
        known = hashlib.sha256("\0".join(others).encode())
        known.update(f"{self.notebook}\0".encode("utf-8", "surrogateescape"))
        root = self.directory
        paths = [self.notebook] if root is None else [path for path, _ in _files(root)]
        for path in sorted(path for path in paths if path is not None):
            known.update(f"{path}\0".encode("utf-8", "surrogateescape"))
            with open_regular(path) as stream:
                while piece := stream.read(PIECE):
                    known.update(hashlib.sha256(piece).digest())
        return known.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Cell:
    number: int
    """As the notebook has it, from 1 on, text cells counted."""
    source: str
    is_code: bool = True
    test: str | None = None
    """The name of the test of the assignment that stands here; it is run in another place."""


def find(paths: Sequence[Path], notebook: str | None) -> list[Submission]:
    """A submission for each directory, and each notebook, of ``paths``, in their order.

    Of a directory with several notebooks ``notebook`` is the name of the one that is meant.
    Raises MoatError for a path that is not there, and where two would have one name.
    """
    found = [_at(path, notebook) for path in paths]
    named: dict[str, Path] = {}
    for submission, path in zip(found, paths, strict=True):
        if submission.name in named:
            raise MoatError(
                f"{path} and {named[submission.name]} would both be graded as {submission.name}; "
                "give the directories of the students, each once"
            )
        named[submission.name] = path
    if not found:
        raise MoatError("no submission was given; name the directories of what was handed in")
    return found


def _at(path: Path, notebook: str | None) -> Submission:
    try:
        status = path.lstat()
    except OSError as error:
        raise MoatError(f"{path}: {error.strerror}") from error
    name = without_halves(path.absolute().name)
    if stat.S_ISREG(status.st_mode):
        name = without_halves(path.stem)
        return Submission(name=name, notebook=path, directory=None)
    if stat.S_ISLNK(status.st_mode):
        raise MoatError(f"{path} is a link; name what it leads to, if it is to be graded")
    if not stat.S_ISDIR(status.st_mode):
        raise MoatError(f"{path} is neither a directory nor a notebook")
    try:
        entries = list(os.scandir(path))
    except OSError as error:
        problem = f"its directory cannot be read: {error.strerror}"
        return Submission(name=name, notebook=None, directory=None, problem=problem)
    there = sorted(entry.name for entry in entries if _is_notebook(entry))
    wanted = [one for one in there if one == notebook] or there
    if len(wanted) == 1:
        return Submission(name=name, notebook=path / wanted[0], directory=path)
    problem = "no notebook is there"
    if archives := sorted(one.name for one in entries if ARCHIVE.search(one.name)):
        problem += f", but {archives[0]}: unpack it"
    below = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    if below and not wanted:
        problem += f", but {len(below)} directories are: name those, as {path}/*"
    if wanted:
        listed = ", ".join(wanted[:5])
        problem = f"more than one notebook is there ({listed}); --notebook NAME says which"
    elif any(entry.name.endswith(".ipynb") for entry in entries):
        problem = "its notebook is no regular file"
    return Submission(name=name, notebook=None, directory=path, problem=problem)


def _is_notebook(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(".ipynb") and entry.is_file(follow_symlinks=False)


def read_regular(path: Path, limit: int) -> bytes:
    """The content of a file that is no link. Raises OSError, and Unreadable where it is longer."""
    with open_regular(path) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise Unreadable(f"{path.name} is longer than {limit >> 20} MiB")
    return content


def cells_of(submission: Submission) -> tuple[Cell, ...]:
    """The cells of its notebook. Raises Unreadable."""
    if submission.notebook is None:
        raise Unreadable(submission.problem)
    try:
        text = read_regular(submission.notebook, MAX_NOTEBOOK)
        if text.startswith(b"PK\x03\x04"):
            raise Unreadable(f"{submission.notebook.name} is a zip archive: unpack it")
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"its notebook is no JSON: {error}") from None
    except OSError as error:
        raise Unreadable(f"its notebook cannot be read: {error.strerror}") from None
    return cells_in(as_dict(content))


def cells_in(content: dict[str, Any]) -> tuple[Cell, ...]:
    """The cells of a notebook. Raises Unreadable."""
    return tuple(_cells(content))


def _cells(content: dict[str, Any]) -> Iterator[Cell]:
    cells = content.get("cells")
    if not isinstance(cells, list) or content.get("nbformat") != 4:
        raise Unreadable("its notebook is not of nbformat 4, which Jupyter has written since 2015")
    if len(cells) > MAX_CELLS:
        raise Unreadable(f"its notebook has more than {MAX_CELLS} cells")
    for number, cell in enumerate(map(as_dict, cells), 1):
        source = cell.get("source")
        if isinstance(source, list):
            source = "".join(line for line in source if isinstance(line, str))
        if not isinstance(source, str):
            continue
        about = as_dict(as_dict(cell.get("metadata")).get("nbgrader"))
        is_test = about.get("grade") is True and about.get("solution") is not True
        test = str(about.get("grade_id")) if is_test else None
        is_code = cell.get("cell_type") == "code"
        source = without_halves(source)
        yield Cell(number=number, source=source, is_code=is_code, test=test)


# ---------------------------------------------------------------- its workspace


def copy_for(submission: Submission, target: Path) -> None:
    """Make ``target`` the workspace: what was handed in, without links and special files.

    Raises OSError, Unreadable.
    """
    target.mkdir()
    if submission.directory is not None:
        for path, relative in _files(submission.directory):
            _copy(path, target / relative)
    elif submission.notebook is not None:
        _copy(submission.notebook, target / submission.notebook.name)


ARCHIVE = re.compile(r"\.(?:zip|tar|tgz|gz|7z|rar)$", re.IGNORECASE)
CONFIG = re.compile(r"(?:jupyter|nbgrader)\w*\.(?:py|json)", re.IGNORECASE)
"""Files that Jupyter's programs run, or obey, in a directory where they are told to look."""


def check_copied(directory: Path, *, below: Path) -> None:
    """Raises Unreadable where a program that follows links and copies all would do harm: with
    ``directory``, what leads to it below a directory of the teacher's, or anything in it."""
    for parent in (directory, *directory.parents):
        if parent == below:
            break
        if parent.is_symlink():
            raise Unreadable(f"{parent} is a link, and what it leads to may be somebody else's")
    count, size = 0, 0
    for top, names, files in os.walk(directory):
        if top.count(os.sep) - str(directory).count(os.sep) > MAX_DEPTH:
            raise Unreadable(f"its directories are nested deeper than {MAX_DEPTH}")
        for name in (*names, *files):
            path = Path(top, name)
            status = path.lstat()
            shown = one_line(str(path))
            if stat.S_ISLNK(status.st_mode):
                raise Unreadable(f"{shown} is a link, and what it leads to may be somebody else's")
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                raise Unreadable(f"{shown} is no regular file")
            if not name.isprintable() or CONFIG.fullmatch(name):
                raise Unreadable(f"{shown} is no name for a file that is handed in; remove it")
            length = status.st_size if stat.S_ISREG(status.st_mode) else 0
            count, size = count + 1, size + length
            limit = MAX_NOTEBOOK if name.endswith(".ipynb") else MAX_COPY
            if count > MAX_FILES or size > MAX_COPY or length > limit:
                raise Unreadable(f"{shown}: more than {MAX_FILES} files, or more than can be read")


def copy_beside(beside: Iterable[Path], target: Path) -> None:
    """Put the teacher's own there, in place of files that have their names. Raises OSError."""
    for given in beside:
        _put(given, target / given.name)


def _put(given: Path, into: Path) -> None:
    is_directory = given.is_dir()
    if into.is_dir() and not is_directory:
        shutil.rmtree(into)
    elif into.exists() and not (into.is_dir() and is_directory):
        into.unlink()
    if not is_directory:
        shutil.copy(given, into)
        return
    into.mkdir(exist_ok=True)
    for inner in given.iterdir():
        _put(inner, into / inner.name)


def _files(root: Path) -> Iterator[tuple[Path, str]]:
    """Its regular files, each with its path below. Raises Unreadable where there are too many."""
    count, size = 0, 0
    for directory, names, files in os.walk(root):  # follows no link
        names[:] = sorted(name for name in names if name not in LEFT_OUT)
        if directory.count(os.sep) - str(root).count(os.sep) > MAX_DEPTH:
            raise Unreadable(f"its directories are nested deeper than {MAX_DEPTH}")
        for name in sorted(files):
            path = Path(directory, name)
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode):
                continue
            count, size = count + 1, size + status.st_size
            if count > MAX_FILES or size > MAX_COPY:
                raise Unreadable(
                    f"more than {MAX_FILES} files, or {MAX_COPY >> 30} GiB, were handed in"
                )
            yield path, os.path.relpath(path, root)


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with open_regular(path) as source, target.open("xb") as copy:
        shutil.copyfileobj(source, copy, PIECE)
