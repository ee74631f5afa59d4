"""Slips of who types a command line: what was probably meant."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence

__all__ = ["no_such", "without_dashes"]

_MEANT = {
    **dict.fromkeys(("new", "create", "setup"), "init"),
    **dict.fromkeys(("check", "validate", "show", "config"), "plan"),
    **dict.fromkeys(("start", "up", "launch"), "run"),
    **dict.fromkeys(("sh", "bash", "terminal", "exec", "enter", "attach"), "shell"),
    **dict.fromkeys(("jupyter", "jupyterlab", "server", "serve"), "lab"),
    **dict.fromkeys(("ls", "list", "status"), "ps"),
    **dict.fromkeys(("rm", "kill", "down", "end"), "stop"),
    **dict.fromkeys(("prune", "purge", "gc"), "clean"),
    **dict.fromkeys(("fetch", "sync"), "pull"),
    **dict.fromkeys(("approve", "trust"), "allow"),
    **dict.fromkeys(("remove", "delete"), "uninstall"),
    "network": "trace",
    "info": "doctor",
}
"""Words of other programs for what is called otherwise here."""


def no_such(kind: str, name: str, known: Iterable[str], otherwise: str) -> str:
    """That there is no such command, and which one was probably meant, else ``otherwise``."""
    from moat_nb.config.yaml_nodes import nearest

    names = tuple(known)
    swapped = (one for one in names if sorted(one) == sorted(name))
    meant = next(swapped, None) or nearest(name, names) or _MEANT.get(name)
    hint = f"did you mean {meant!r}?" if meant in names else otherwise
    return f"there is no {kind} {name!r}; {hint}"


def without_dashes(program: str, words: Sequence[str], directory: str) -> str:
    """What to type in place of ``words``, in which a command stands without its ``--``; empty where
    it cannot be told. ``directory`` is the word that was taken for one."""
    if directory not in words:
        return ""
    at = words.index(directory) + os.path.lexists(directory)
    if at == len(words):
        return ""
    return f"a command stands after --: {program} {shlex.join((*words[:at], '--', *words[at:]))}"
