"""A notebook for tests: a real InteractiveShell, cells that run in it, and what they showed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import RichOutput, capture_output
from traitlets.config import Config


@dataclass(frozen=True, kw_only=True)
class Ran:
    stdout: str
    stderr: str
    outputs: tuple[RichOutput, ...]
    error: BaseException | None

    @property
    def data(self) -> list[dict[str, Any]]:
        return [output.data for output in self.outputs]


class Notebook:
    """In the directory of a project, with the extension loaded."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell

    def run(self, cell: str) -> Ran:
        """Run a cell; what it raised is returned."""
        with capture_output() as captured:
            result = self.shell.run_cell(cell)
        return Ran(
            stdout=captured.stdout,
            stderr=captured.stderr,
            outputs=tuple(captured.outputs),
            error=result.error_before_exec or result.error_in_exec,
        )

    def good(self, cell: str) -> Ran:
        """Run a cell that must not fail."""
        ran = self.run(cell)
        assert ran.error is None, ran
        return ran

    def completions(self, line: str) -> set[str]:
        """What Tab offers behind ``line``."""
        with provisionalcompleter():
            found = self.shell.Completer.completions(line, len(line))
            return {completion.text for completion in found}


@contextmanager
def opened(project: Path) -> Iterator[Notebook]:
    """A notebook that lies in ``project``; its sandboxes end with it."""
    before = Path.cwd()
    os.chdir(project)
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    try:
        shell.extension_manager.load_extension("moat_nb")
        yield Notebook(shell)
    finally:
        shell.extension_manager.unload_extension("moat_nb")
        InteractiveShell.clear_instance()
        os.chdir(before)
