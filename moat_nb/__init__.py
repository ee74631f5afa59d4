"""Jupyter kernels in sandboxes that a project's ``moat.yaml`` describes.

    import moat_nb

    with moat_nb.Sandbox.launch(".") as box:
        print(box.run(["python3", "-c", "print(6 * 7)"]).stdout)

Names are imported when they are first used: a client that only loads the kernel provisioner's
entry point does not pay for the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from moat_nb.api import Sandbox as Sandbox
    from moat_nb.config.model import Config as Config
    from moat_nb.config.reader import load as load
    from moat_nb.errors import ApprovalNeeded as ApprovalNeeded
    from moat_nb.errors import CellInterrupted as CellInterrupted
    from moat_nb.errors import CommandError as CommandError
    from moat_nb.errors import ConfigError as ConfigError
    from moat_nb.errors import ConsentNeeded as ConsentNeeded
    from moat_nb.errors import EditError as EditError
    from moat_nb.errors import FileChanged as FileChanged
    from moat_nb.errors import ImageError as ImageError
    from moat_nb.errors import MoatError as MoatError
    from moat_nb.errors import MoatRemoteError as MoatRemoteError
    from moat_nb.errors import NotSupportedYet as NotSupportedYet
    from moat_nb.errors import ProofError as ProofError
    from moat_nb.errors import RuntimeUnavailable as RuntimeUnavailable
    from moat_nb.errors import SandboxGone as SandboxGone
    from moat_nb.errors import StartError as StartError
    from moat_nb.errors import ValueRefused as ValueRefused
    from moat_nb.excludes.widget.editor import ExcludesEditor as ExcludesEditor
    from moat_nb.host.package import __version__ as __version__
    from moat_nb.planning.spec import ContainerSpec as ContainerSpec
    from moat_nb.sandbox.mount_proof import MountProof as MountProof
    from moat_nb.sandbox.project import plan as plan

_HOMES = {
    "ApprovalNeeded": "errors",
    "ValueRefused": "errors",
    "MoatRemoteError": "errors",
    "CellInterrupted": "errors",
    "CommandError": "errors",
    "Config": "config.model",
    "ConfigError": "errors",
    "ConsentNeeded": "errors",
    "ContainerSpec": "planning.spec",
    "EditError": "errors",
    "ExcludesEditor": "excludes.widget.editor",
    "FileChanged": "errors",
    "ImageError": "errors",
    "MoatError": "errors",
    "MountProof": "sandbox.mount_proof",
    "NotSupportedYet": "errors",
    "ProofError": "errors",
    "RuntimeUnavailable": "errors",
    "Sandbox": "api",
    "SandboxGone": "errors",
    "StartError": "errors",
    "__version__": "host.package",
    "load": "config.reader",
    "plan": "sandbox.project",
}

__all__ = [name for name in _HOMES if not name.startswith("_")]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """What ``%load_ext moat_nb`` calls: the magics ``%moat`` and ``%%moat``."""
    from moat_nb.notebook.magics import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """What ``%unload_ext moat_nb`` calls; the sandboxes that the magics started end."""
    from moat_nb.notebook.magics import unload

    unload(shell)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"moat_nb.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
