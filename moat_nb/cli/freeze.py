"""`moat-nb freeze`: what was installed in a sandbox goes into moat.yaml, for the next."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from moat_nb.cli.chosen import chosen
from moat_nb.cli.user_terminal import asked, is_there
from moat_nb.errors import MoatError
from moat_nb.excludes import checks
from moat_nb.excludes.file import diff, read
from moat_nb.excludes.packages import set_packages
from moat_nb.host.run_directory import SandboxState
from moat_nb.sandbox.installed import Installed, of_file
from moat_nb.text.terminal import one_line

__all__ = ["freeze"]

SEEN_SECONDS = 5.0
"""From the end of pip to when the launcher knows: the guest looks each two seconds, and tells of
what it has found twice."""


def freeze(which: str | None, *, everything: bool, yes: bool) -> int:
    """Show the change, and save it once it is agreed to.

    ``everything``: with what the packages that were asked for need. ``yes`` asks nobody. Raises
    MoatError where nobody can be asked, and what an edit raises.
    """
    one = chosen(which, "what was installed in it")
    state = one.sandbox_state
    if state is None or not state.file:
        raise MoatError(f"{one.title}: it is starting, and nothing was installed in it")
    time.sleep(SEEN_SECONDS)
    found = of_file(one.run_dir.installed)
    wanted = [each for each in found if everything or each.requested]
    if not wanted:
        raise MoatError(f"{one.title}: {_nothing(found)}")
    file = read(Path(state.file).parent)
    text = set_packages(file.text, [each.requirement for each in wanted])
    if text == file.text:
        print(f"{file.label}: nothing to change", file=sys.stderr)
        return 0
    checks.check(file, text)
    print(diff(file.text, text, file.label), end="", flush=True)
    if not yes and not _agreed():
        print("nothing was written", file=sys.stderr)
        return 1
    checks.save(file, text)
    print(f"saved; {_what_follows(state)}", file=sys.stderr)
    return 0


def _nothing(found: tuple[Installed, ...]) -> str:
    if found:
        return f"nothing was asked for by name in it; --all writes all {len(found)} packages"
    return "nothing was installed in it"


def _what_follows(state: SandboxState) -> str:
    if state.image is None:
        nothing = (
            "bubblewrap installs nothing for a sandbox, so the next start looks for them in the"
        )
        if state.engine:
            return f"{nothing} Python of kernels at {one_line(state.engine)}: install them there"
        python = one_line(sys.executable)
        return f"{nothing} Python of moat-nb: `{python} -m pip install` them there, or use docker"
    return "the next sandbox has them from its start, once its image is built"


def _agreed() -> bool:
    if not is_there():
        raise MoatError("nothing was written, as nobody can be asked; --yes writes it")
    return asked("write this?")
