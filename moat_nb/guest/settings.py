"""What the launcher tells the guest on its command line: written and read here, by both."""

from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Union

IN_NO_HURRY = "--in-no-hurry"
SOCKETS = "--sockets="
LONGEST_WORD = 100 << 10
"""Characters, all of them ASCII: Linux takes 128 KiB of one argument."""


def unhurried(argv: Sequence[str]) -> List[str]:
    """The guest's arguments ``argv`` with the word for no hurry behind them."""
    return [*argv, IN_NO_HURRY]


def with_sockets(argv: Sequence[str], directory: str) -> List[str]:
    """The guest's arguments ``argv`` with the word for where this start's sockets are."""
    return [*argv, SOCKETS + directory]


def served_socket(directory: str, port: int) -> str:
    """Where the guest listens for connections to a port of the sandbox."""
    return "%s/p%d" % (directory, port)


class ProvedMount(NamedTuple):
    """A mount that the guest tries for real before anything may run."""

    path: str
    kind: str
    """Of an exclude ``directory`` (a tmpfs covers it) or ``file`` (an empty file does); ``way`` is
    a tmpfs on the way to a mount, which may hold something; of a ``volume`` it is told whether it
    can be written."""


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


class ServedPort(NamedTuple):
    """A port of the sandbox's own, to which connections of the launcher's are carried."""

    port: int
    path: str
    """The unix socket that the guest makes for them."""


class Settings(NamedTuple):
    """All that the guest is told before its first message."""

    mounts: Sequence[ProvedMount] = ()
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
    ports: Sequence[int] = ()
    """Those that the launcher's connections are carried to."""
    proxy_socket: str = ""
    """Where the guest itself listens for who wants the proxy, where the attach stream carries what
    is said there; empty where the launcher's own socket is mounted."""
    files: int = 0
    """How many files the launcher sends, before anything is imported that may read one."""
    grace: float = 0.0
    """Seconds without a sign of the launcher after which the sandbox ends; 0 where the end of stdin
    tells of its death, whatever it is."""
    closed: bool = False
    """The network that the sandbox has must lead nowhere, which is tried before any kernel runs."""
    sockets: str = ""
    """Where the sockets for ``ports`` are made: each start's own, so a word of its own."""

    @property
    def forwards(self) -> List[Union[PortForward, ServedPort]]:
        """All that the guest listens for."""
        served = [ServedPort(port, served_socket(self.sockets, port)) for port in self.ports]
        return [*self.port_forwards, *served]

    def to_argv(self) -> List[str]:
        """The guest's arguments: a JSON object, in parts where it is long, and the words of each
        start's own."""
        paths: Dict[str, List[str]] = {}
        for mount in self.mounts:
            paths.setdefault(mount.kind, []).append(mount.path)
        words = {
            "mounts": paths,
            "preload": list(self.preload),
            "port_forwards": [forward._asdict() for forward in self.port_forwards],
            "spaces": list(self.spaces),
            "skeleton": self.skeleton,
            "venv": self.venv,
            "ports": list(self.ports),
            "proxy_socket": self.proxy_socket,
            "files": self.files,
            "grace": self.grace,
            "closed": self.closed,
        }
        text = json.dumps(words)
        argv = [text[at : at + LONGEST_WORD] for at in range(0, len(text), LONGEST_WORD)]
        argv = with_sockets(argv, self.sockets) if self.sockets else argv
        return unhurried(argv) if self.in_no_hurry else argv

    @classmethod
    def from_argv(cls, argv: Sequence[str]) -> Settings:
        """What :meth:`to_argv` wrote; ValueError, KeyError or TypeError for anything else."""
        parts, sockets = [word for word in argv if word != IN_NO_HURRY], ""
        if parts[-1].startswith(SOCKETS):
            sockets = parts.pop()[len(SOCKETS) :]
        words: Dict[str, Any] = json.loads("".join(parts))
        return cls(
            mounts=[
                ProvedMount(path, kind)
                for kind in words["mounts"]
                for path in words["mounts"][kind]
            ],
            preload=words["preload"],
            port_forwards=[PortForward(**forward) for forward in words["port_forwards"]],
            spaces=words["spaces"],
            skeleton=Skeleton(*words["skeleton"]) if words["skeleton"] else None,
            venv=words["venv"],
            ports=tuple(words["ports"]),
            proxy_socket=words["proxy_socket"],
            files=words["files"],
            grace=words["grace"],
            closed=words["closed"],
            sockets=sockets,
            in_no_hurry=IN_NO_HURRY in argv,
        )
