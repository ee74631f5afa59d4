"""Kernelspecs: what makes a project's sandbox a kernel that every Jupyter client offers.

One kernelspec serves both kinds of clients. Those that know provisioners start the sandbox
through ``metadata.kernel_provisioner``; the others run ``argv``, which is our shim.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from moat_nb.config.file import FILE_NAMES, find
from moat_nb.config.model import Config
from moat_nb.errors import ConfigError, MoatError
from moat_nb.host.machine import Host
from moat_nb.jupyter import safe_python
from moat_nb.sandbox.approval import Approve, check
from moat_nb.sandbox.project import LaunchPlan, plan_project

__all__ = ["Installed", "install", "installed", "kernel_json", "language_of", "uninstall"]

PROVISIONER = "moat"
PREFIX = "moat-"
LOGOS = Path(__file__).parent / "logos"


# ---------------------------------------------------------------- what it says


def kernel_json(
    config: Config,
    *,
    runtime: str | None,
    executable: str,
    trust_output: bool = False,
    workspace: str | None = None,
) -> dict[str, Any]:
    """The kernelspec of ``config``'s project; ``executable`` is a python that has moat_nb.

    ``trust_output``: clients get what the kernel sends as it is, and its name says so.
    ``workspace``: "notebook", as ``kernel.workspace``, for notebooks anywhere.
    """
    project = str(config.directory)
    options = config.kernel
    language = options.language or language_of(options.argv)
    title = "Python 3" if language == "python" else language.title()
    shim = [*safe_python.words(executable, "moat_nb"), "kernel", "--project", project]
    if runtime is not None:
        shim += ["--runtime", runtime]
    name, shown = config.name, options.display_name
    provisioner: dict[str, Any] = {"project": project, "runtime": runtime or ""}
    if trust_output:
        shim += ["--trust-output"]
        name += ", trusted output"
        shown = f"{shown} (trusted output)" if shown else None
        provisioner["trust_output"] = True
    if workspace is not None:
        shim += ["--workspace", workspace]
        provisioner["workspace"] = workspace
    return {
        "argv": [*shim, "-f", "{connection_file}"],
        "display_name": shown or f"{title} (moat: {name})",
        "language": language,
        "interrupt_mode": options.interrupt_mode,
        "metadata": {
            "debugger": language == "python",
            "kernel_provisioner": {
                "provisioner_name": PROVISIONER,
                "config": provisioner,
            },
        },
    }


def language_of(argv: Sequence[str]) -> str:
    """What a kernel's command line says of its language; ``python`` when it is empty.

    The program's name, or with ``python -m`` the module's: ``bash_kernel`` is bash.
    """
    if not argv:
        return "python"
    program = re.sub(r"[-\d.]+$", "", PurePosixPath(argv[0]).name)
    if program != "python":
        return program
    module = argv[2].split(".")[0] if len(argv) > 2 and argv[1] == "-m" else "ipykernel"
    return "python" if module.startswith("ipykernel") else module.removesuffix("_kernel")


# ---------------------------------------------------------------- putting it there


def install(
    directory: str,
    *,
    runtime: str | None = None,
    name: str | None = None,
    prefix: str | None = None,
    trust_output: bool = False,
    workspace: str | None = None,
    before: Callable[[LaunchPlan], None] = lambda plan: None,
    approve: Approve | None = None,
) -> tuple[str, str]:
    """Install the kernelspec of the project at ``directory``: its name, and where it is now.

    ``prefix`` is a Python environment's; None is for this user. ``trust_output`` and ``workspace``:
    see :func:`kernel_json`; ``before`` is called with what would be started; ``approve``: see
    :meth:`Sandbox.launch`. Raises what a plan of the
    project raises, and MoatError when the name is another kernel's or cannot be written.
    """
    from jupyter_client.kernelspec import KernelSpecManager

    host = Host.current()
    # What cannot start is not offered.
    plan = plan_project(directory, runtime, host=host, overrides={"workspace": workspace})
    before(plan)
    check(plan, approve)
    config = plan.config
    name = (name or f"{PREFIX}{config.name}").lower()
    _refuse_taken(name, str(config.directory))
    words = kernel_json(
        config,
        runtime=runtime,
        executable=host.executable,
        trust_output=trust_output,
        workspace=workspace,
    )
    with tempfile.TemporaryDirectory(prefix="moat-nb-") as temporary:
        source = Path(temporary, "kernelspec")
        shutil.copytree(LOGOS, source)
        (source / "kernel.json").write_text(json.dumps(words, indent=1) + "\n")
        try:
            place = KernelSpecManager().install_kernel_spec(
                str(source), name, user=prefix is None, prefix=prefix
            )
        except ValueError as error:
            raise MoatError(f"--name: {error}") from error
        except OSError as error:
            raise MoatError(f"{name}: cannot be installed: {error}; --user always can") from error
    return name, str(place)


def _refuse_taken(name: str, project: str) -> None:
    place = _all().get(name)
    if place is None:
        return
    ours = Installed.read(name, Path(place))
    if ours is None:
        raise MoatError(f"{name}: there is another kernel of this name at {place}; give --name")
    if ours.project != project:
        raise MoatError(
            f"{name}: this is the kernel of {ours.project}; give --name, or set another name in "
            f"moat.yaml, or run moat-nb uninstall {name}"
        )


def _all() -> dict[str, str]:
    """``{name: directory}`` of every kernelspec that Jupyter finds."""
    from jupyter_client.kernelspec import KernelSpecManager

    manager = KernelSpecManager()
    manager.ensure_native_kernel = False
    return dict(manager.find_kernel_specs())


# ---------------------------------------------------------------- what is there


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A kernelspec of ours, as Jupyter finds it."""

    name: str
    place: Path
    display_name: str
    project: str
    executable: str

    @classmethod
    def read(cls, name: str, place: Path) -> Installed | None:
        """None for a kernelspec that is not ours, or that cannot be read."""
        try:
            words = json.loads((place / "kernel.json").read_bytes())
            provisioner = words["metadata"]["kernel_provisioner"]
            if provisioner["provisioner_name"] != PROVISIONER:
                return None
            return cls(
                name=name,
                place=place,
                display_name=str(words["display_name"]),
                project=str(provisioner["config"]["project"]),
                executable=str(words["argv"][0]),
            )
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return None

    @property
    def problem(self) -> str:
        """Why it cannot work any more; empty when nothing speaks against it."""
        if shutil.which(self.executable) is None:
            return f"its Python is gone: {self.executable}"
        if not any(Path(self.project, file).exists() for file in FILE_NAMES):
            return f"its project is gone: no moat.yaml in {self.project}"
        return ""


def installed() -> Iterator[Installed]:
    """Our kernelspecs, by name."""
    for name, place in sorted(_all().items()):
        ours = Installed.read(name, Path(place))
        if ours is not None:
            yield ours


def uninstall(which: str) -> tuple[Path, ...]:
    """Remove a project's kernelspecs, or the one named ``which``; returns where they were.

    Raises MoatError when there is none. The project's file may be gone, or wrong.
    """
    found = tuple(_matching(which))
    if not found:
        there = ", ".join(spec.name for spec in installed()) or "none"
        raise MoatError(f"{which}: moat-nb installed no such kernel; there are: {there}")
    for spec in found:
        try:
            shutil.rmtree(spec.place)
        except OSError as error:
            raise MoatError(f"{spec.place}: cannot be removed: {error.strerror}") from error
    return tuple(spec.place for spec in found)


def _matching(which: str) -> Iterator[Installed]:
    project = str(_project(which)) if Path(which).is_dir() else None
    for spec in installed():
        if spec.project == project or (project is None and spec.name in (which, PREFIX + which)):
            yield spec


def _project(directory: str) -> Path:
    try:
        return find(Path(directory)).parent
    except ConfigError:
        return Path(directory).resolve()
