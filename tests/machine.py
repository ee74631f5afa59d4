"""What of the machine a run must leave as it is, though it starts engines and makes networks.

Others may use the machine meanwhile; what is theirs alone is not looked at: the interfaces of
containers, what their engines mount, and the directories of other runs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RULES = (("nft", "list", "ruleset"), ("iptables-save",), ("ip6tables-save",))
OF_ENGINES = ("/var/lib/docker", "/var/lib/containers", "/run/docker", "/run/containers")
OF_RUNS = ("/moat-nb-tests-", "/moat-nb-ci-")
_COUNTER = re.compile(r"^#.*$|\[\d+:\d+\]|packets \d+ bytes \d+", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """``before - after`` is what has gone or changed, ``after - before`` what has come."""

    found: frozenset[str]

    @classmethod
    def now(cls) -> Machine:
        return cls(found=frozenset((*_links(), *_rules(), *_mounts())))

    def changes_to(self, after: Machine) -> list[str]:
        """A line each, sorted; none when it is as it was."""
        gone = (f"gone: {line}" for line in self.found - after.found)
        return sorted([*gone, *(f"new: {line}" for line in after.found - self.found)])


def _links() -> Iterator[str]:
    for link in Path("/sys/class/net").glob("*"):
        if not link.name.startswith("veth"):
            yield f"interface {link.name}"


def _rules() -> Iterator[str]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    for argv in RULES:
        program = shutil.which(argv[0], path=path)
        if program is not None and os.geteuid() == 0:
            done = subprocess.run([program, *argv[1:]], capture_output=True, text=True, check=False)
            for line in _COUNTER.sub("", done.stdout).splitlines():
                yield f"rule of {argv[0]}: {line.strip()}"


def _mounts() -> Iterator[str]:
    table = Path("/proc/self/mountinfo")
    for line in table.read_text().splitlines() if table.exists() else ():
        where = line.split()[4]
        if not where.startswith(OF_ENGINES) and not any(name in where for name in OF_RUNS):
            yield f"mount {where}"
