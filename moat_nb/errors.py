"""Every error that moat_nb raises on purpose.

MoatError
├── ConfigError          moat.yaml says what cannot be honoured; holds all its Problems
│   └── NotSupportedYet  valid, but this version does not honour it
├── EditError            moat.yaml was not changed; says what to do by hand
│   ├── ConsentNeeded    a mount written as a string would have to become an object
│   └── FileChanged      the file on disk is not the one that was read
├── ApprovalNeeded       moat.yaml asks more of the host than was approved; holds what is new
├── RuntimeUnavailable   the runtime that was asked for (or any at all) cannot be used here
├── ImageError           the image is missing or its build failed
├── StartError           the sandbox did not start
│   └── ProofError       it started, but an exclude's promise does not hold
├── SandboxGone          the sandbox ended while it was in use
├── CommandError         a command in the sandbox exited with a code other than 0
├── MoatRemoteError      a notebook's cell raised in its sandbox; shows the traceback from there
├── CellInterrupted      a notebook's cell took longer than it was given, or was cancelled
└── ValueRefused         a value cannot be brought into or out of the sandbox
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from moat_nb.text.terminal import for_terminal, one_line, printable

__all__ = [
    "ApprovalNeeded",
    "CellInterrupted",
    "CommandError",
    "ConfigError",
    "ConsentNeeded",
    "EditError",
    "FileChanged",
    "ImageError",
    "MoatError",
    "MoatRemoteError",
    "NotSupportedYet",
    "Problem",
    "ProgramNotFound",
    "ProofError",
    "RuntimeUnavailable",
    "SandboxGone",
    "StartError",
    "ValueRefused",
    "collected",
    "refusal_of",
]


class MoatError(Exception):
    """The root of all of moat_nb's errors; its text is meant for the user as it stands.

    It may have names of files in it, and words of a sandbox, so it is made harmless here.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong: where (``file:line:column``, 1-based), what, and a hint.

    ``where`` is the file's name alone when the problem has no position, as with a file that is
    too large to be read.
    """

    where: str
    what: str
    hint: str = ""
    supported: bool = field(default=True, compare=False, repr=False)
    """False: nothing is wrong with the file, but this cannot be done (yet, or on this runtime)."""

    @property
    def words(self) -> str:
        """What and what to do about it, for who sees the place already."""
        return one_line(self.what + (f"; {self.hint}" if self.hint else ""))

    def __str__(self) -> str:
        return f"{one_line(self.where)}: {self.words}"


class ConfigError(MoatError):
    """All the problems of one file, so that one run shows them all."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class NotSupportedYet(ConfigError):
    """The file is valid, and asks for what this version does not do; nothing was started."""


@contextmanager
def collected(problems: list[Problem]) -> Iterator[None]:
    """Add what a ConfigError holds to ``problems``, and go on behind the block."""
    try:
        yield
    except ConfigError as error:
        problems += error.problems


def refusal_of(problems: Iterable[Problem]) -> ConfigError:
    """The error that holds them all, each once; NotSupportedYet where the file itself is right."""
    found = tuple(dict.fromkeys(problems))
    wrong = any(problem.supported for problem in found)
    return ConfigError(found) if wrong else NotSupportedYet(found)


class EditError(MoatError):
    pass


class ConsentNeeded(EditError):
    pass


class FileChanged(EditError):
    pass


class ApprovalNeeded(MoatError):
    """What a file asks of the host beyond its own project, and nobody has approved.

    ``asked`` has a line for each thing, ``keys`` the sources where keys or passwords are kept.
    ``unasked``: `moat-nb allow` itself found nobody to ask.
    """

    def __init__(
        self,
        project: str,
        asked: Sequence[str],
        keys: Sequence[str] = (),
        *,
        unasked: bool = False,
    ) -> None:
        self.project = project
        self.asked = tuple(one_line(line) for line in asked)
        self.keys = tuple(keys)
        lines = [f"{project}: this moat.yaml asks for what nobody has approved:"]
        lines += [f"  {line}" for line in self.asked]
        lines += [f"  keys or passwords are kept in {one_line(path)}" for path in self.keys]
        words = ["moat-nb", "allow", project]
        words += [word for path in self.keys for word in ("--keys", path)]
        run = "if you want this, run"
        if unasked:
            words.append("--yes")
            run = f"nobody can be asked here; {run}"
        lines.append(f"{run}: {one_line(shlex.join(words))}")
        super().__init__("\n".join(lines))


class RuntimeUnavailable(MoatError):
    pass


class ImageError(MoatError):
    pass


class StartError(MoatError):
    pass


class ProofError(StartError):
    pass


class ProgramNotFound(StartError, FileNotFoundError):
    """Clients of jupyter_client tell a kernelspec's missing program by FileNotFoundError."""


class SandboxGone(MoatError):
    pass


class CommandError(MoatError):
    """A command's exit code was not 0.

    ``returncode`` is negative, as in :mod:`subprocess`, when a signal ended the command. ``how``
    is how it ended in words, ``stderr`` what it wrote there.
    """

    def __init__(
        self, argv: Sequence[str], returncode: int, stderr: str = "", how: str = ""
    ) -> None:
        self.argv = tuple(argv)
        self.returncode = returncode
        self.stderr = stderr
        code = f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
        ended = how or code
        tail = f"\n{for_terminal(stderr).rstrip()}" if stderr.strip() else ""
        super().__init__(f"{' '.join(argv)}: {ended}{tail}")


class MoatRemoteError(MoatError):
    """What a cell raised in the sandbox: ``ename`` and ``evalue`` of the error there, and its
    ``traceback`` as lines, coloured by ANSI codes.

    IPython shows these lines in place of the traceback of the magic that raises this.
    """

    def __init__(self, ename: str, evalue: str, traceback: Sequence[str]) -> None:
        self.ename = ename
        self.evalue = evalue
        self.traceback = tuple(traceback)
        super().__init__(f"{ename}: {evalue}" if evalue else ename)

    def _render_traceback_(self) -> list[str]:
        return list(self.traceback) or [str(self)]


class CellInterrupted(MoatError):
    """A cell took too long, or was cancelled. ``stopped``: it has ended; else it goes on, or its
    kernel was ended for it."""

    def __init__(self, what: str, *, stopped: bool = True) -> None:
        super().__init__(what)
        self.stopped = stopped


class ValueRefused(MoatError):
    pass
