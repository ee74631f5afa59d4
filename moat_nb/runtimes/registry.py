"""The runtimes by name, and the choice of one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from moat_nb.config.model import Config, OtherMachine, SlurmJob
from moat_nb.config.other_machine import MACHINE, PROGRAM
from moat_nb.errors import RuntimeUnavailable
from moat_nb.host.machine import Host
from moat_nb.runtimes.apple import Apple
from moat_nb.runtimes.base import Runtime
from moat_nb.runtimes.bubblewrap.runtime import Bubblewrap
from moat_nb.runtimes.docker.endpoint import VARIABLES as ENGINE_VARIABLES
from moat_nb.runtimes.docker.runtime import Docker
from moat_nb.runtimes.elsewhere.runtime import BubblewrapElsewhere

__all__ = ["ENGINE_VARIABLES", "RUNTIMES", "choose"]


SLURM, KUBERNETES = "slurm", "kubernetes"
SCHEMES = ("ssh://", "slurm://")

RUNTIMES: dict[str, Callable[[Host, Mapping[str, str]], Runtime]] = {
    "docker": lambda host, environ: Docker("docker", environ),
    "podman": lambda host, environ: Docker("podman", environ),
    "bubblewrap": lambda host, environ: Bubblewrap(host),
    "apple": lambda host, environ: Apple(host),
}


def choose(
    wish: str | None,
    config: Config,
    host: Host,
    environ: Mapping[str, str],
    *,
    ask: bool = False,
) -> tuple[Runtime, str]:
    """The runtime, and the sentence that says why: a wish, the file's, else what answers here.

    ``ask``: a machine that only the file names may be asked, as the user has approved it.
    """
    if (on := config.kernel.on) is not None and wish in (None, "auto"):
        made = _asked(on, environ) if ask else BubblewrapElsewhere(on, environ, ask=False)
        return made, f"runtime: bubblewrap at {on} (kernel.on)"
    # Moat's apple is for Macs; on another machine a file that names it gets what answers there.
    elsewhere = config.runtime == "apple" and sys.platform != "darwin"
    for name, source in (
        (wish, "asked for"),
        (config.kernel.runtime, "kernel.runtime"),
        (None if elsewhere else config.runtime, "runtime"),
    ):
        if name is not None and name != "auto":
            approved = ask or wish is not None
            return _named(name, config, host, environ, approved), f"runtime: {name} ({source})"
    engine = Docker("docker", environ)
    found = engine.available()
    if found.named and not found.usable:
        raise RuntimeUnavailable(f"docker: {found.detail}; {found.hint}")
    note = "; runtime: apple is for Macs" if elsewhere else ""
    if found.usable:
        return engine, f"runtime: docker ({found.detail}{note})"
    if sys.platform == "darwin":
        return Apple(host), f"runtime: apple (no engine answers: {found.detail})"
    if found.denied:
        chosen = Bubblewrap(host, no_engine=found.hint)
        return chosen, f"runtime: bubblewrap (there is an engine, but {found.hint}{note})"
    return Bubblewrap(host), f"runtime: bubblewrap (no engine answers: {found.detail}{note})"


def _named(
    name: str, config: Config, host: Host, environ: Mapping[str, str], approved: bool
) -> Runtime:
    if name == KUBERNETES:
        from moat_nb.runtimes.kubernetes.runtime import Kubernetes  # no other start waits for it

        made = Kubernetes(config, environ, ask=approved)
        return _answering(made) if approved else made
    if name == SLURM or name.startswith(SCHEMES):
        return _asked(_machine(name), environ)
    if name not in RUNTIMES:
        raise RuntimeUnavailable(
            f"{name}: no such runtime; there are {', '.join(RUNTIMES)}, kubernetes, ssh://HOST "
            "and slurm"
        )
    return RUNTIMES[name](host, environ)


def _machine(name: str) -> OtherMachine:
    """Of ``ssh://HOST`` or ``slurm``, and the path there of another Python than the first one."""
    scheme, _, rest = name.partition("://")
    machine, slash, path = rest.partition("/")
    python = f"/{path}" if slash else OtherMachine.python
    if scheme == SLURM and not machine and PROGRAM.fullmatch(python):
        return OtherMachine(slurm=SlurmJob(), python=python)
    if scheme == SLURM or not MACHINE.fullmatch(machine) or not PROGRAM.fullmatch(python):
        raise RuntimeUnavailable(
            f"{name}: it is ssh://HOST or ssh://USER@HOST:PORT, or with a Python there, "
            "ssh://HOST/opt/conda/bin/python3; a node of Slurm's is slurm, or slurm:///opt/..."
        )
    return OtherMachine(ssh=machine, python=python)


def _asked(machine: OtherMachine, environ: Mapping[str, str]) -> Runtime:
    return _answering(BubblewrapElsewhere(machine, environ))


def _answering(made: Runtime) -> Runtime:
    """Nothing can be planned for what does not answer. Raises RuntimeUnavailable."""
    found = made.available()
    if not found.usable:
        raise RuntimeUnavailable("; ".join(filter(None, (found.detail, found.hint))))
    return made
