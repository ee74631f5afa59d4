"""What the launcher tells the guest on its command line: written and read here, by both."""

from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

IN_NO_HURRY = "--in-no-hurry"
LONGEST_WORD = 100 << 10
"""Characters, all of them ASCII: Linux takes 128 KiB of one argument."""


def unhurried(argv: Sequence[str]) -> List[str]:
    """The guest's arguments ``argv`` with the word for no hurry behind them."""
    return [*argv, IN_NO_HURRY]


class Exclude(NamedTuple):
    """A path that the guest proves to be covered."""

    path: str
    kind: str
    """``directory`` (a tmpfs covers it) or ``file`` (an empty file does); ``way`` is a tmpfs on the
    way to a mount, which may hold something; of a ``volume`` it is told whether it can be
    written."""


class PortForward(NamedTuple):
    """A port of the sandbox's own 127.0.0.1, whose connections are carried to the launcher."""

    port: int
    path: str
    """The unix socket that they are carried to."""
    target: str
    """``host:port`` to ask the proxy for first; empty: programs speak to the proxy themselves."""


class Skeleton(NamedTuple):
    """What the image's build left in HOME, and HOME."""

    source: str
    target: str


class Settings(NamedTuple):
    """All that the guest is told before its first message."""

    excludes: Sequence[Exclude] = ()
    preload: Sequence[str] = ()
    """The modules that are imported before any kernel is asked for."""
    port_forwards: Sequence[PortForward] = ()
    in_no_hurry: bool = False
    """Nobody waits for a kernel of this sandbox yet, so what kernels need is imported when nothing
    else wants the processor. A word of its own: each start of one plan adds it or does not."""
    venv: str = ""
    """Where the sandbox's own virtual environment is made; nowhere when empty."""
    spaces: Sequence[str] = []
    """The places that can be full, which the launcher knows the limits of."""
    skeleton: Optional[Skeleton] = None

    def to_argv(self) -> List[str]:
        """The guest's arguments: a JSON object, in parts where it is long, and the word for no
        hurry."""
        paths: Dict[str, List[str]] = {}
        for exclude in self.excludes:
            paths.setdefault(exclude.kind, []).append(exclude.path)
        words = {
            "excludes": paths,
            "preload": list(self.preload),
            "port_forwards": [forward._asdict() for forward in self.port_forwards],
            "spaces": list(self.spaces),
            "skeleton": self.skeleton,
            "venv": self.venv,
        }
        text = json.dumps(words)
        argv = [text[at : at + LONGEST_WORD] for at in range(0, len(text), LONGEST_WORD)]
        return unhurried(argv) if self.in_no_hurry else argv

    @classmethod
    def from_argv(cls, argv: Sequence[str]) -> Settings:
        """What :meth:`to_argv` wrote; ValueError, KeyError or TypeError for anything else."""
        words: Dict[str, Any] = json.loads("".join(word for word in argv if word != IN_NO_HURRY))
        return cls(
            excludes=[
                Exclude(path, kind)
                for kind in words["excludes"]
                for path in words["excludes"][kind]
            ],
            preload=words["preload"],
            port_forwards=[PortForward(**forward) for forward in words["port_forwards"]],
            spaces=words["spaces"],
            skeleton=Skeleton(*words["skeleton"]) if words["skeleton"] else None,
            venv=words["venv"],
            in_no_hurry=IN_NO_HURRY in argv,
        )
