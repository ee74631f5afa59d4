"""The memory of idle students: ``python -m tests.hub.measure [STUDENTS [HUB...]]``, as root; 30.

Prints two lines for our hub, for one whose course has ``kernel.spare: false``, and for one with
JupyterHub's own spawner: the students' servers alone, then with one idle kernel each. Of a process
the proportional set size (PSS) counts: what several share is divided among them, so the sum is what
all of them have of the machine.
"""

from __future__ import annotations

import concurrent.futures
import pwd
import sys
import time
from collections import Counter
from pathlib import Path

from tests.hub.hub import Hub, Student, hub
from tests.hub.machine import COURSE, ORDINARY, machine_with, moat_config

MIB = 1 << 20
SETTLE_SECONDS = 30
"""After the last start: what was made ahead is there then, and nothing works."""

ROLES = (
    (b"single_user", "server"),
    (b"jupyterhub.singleuser", "server"),
    (b"relay", "relay"),
    (b"cleanup", "reaper"),
    (b"bwrap", "bubblewrap"),
    (b"guest", "sandbox"),
    (b"ipykernel", "kernel"),
)


def pss(pid: str) -> int:
    for line in Path("/proc", pid, "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    return 0


def of_users(uids: set[int]) -> Counter[str]:
    """Bytes by what a process is, and their sum."""
    found: Counter[str] = Counter()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if path.stat().st_uid not in uids:
                continue
            command, size = (path / "cmdline").read_bytes(), pss(path.name)
        except OSError:
            continue
        role = next((name for word, name in ROLES if word in command), "other")
        found[role] += size
        found["all"] += size
    return found


def table(title: str, count: int, found: Counter[str]) -> None:
    parts = ", ".join(
        f"{name} {size / count / MIB:.0f}" for name, size in found.most_common() if name != "all"
    )
    print(
        f"{title}: {found['all'] / count / MIB:.0f} MiB a student ({parts}); "
        f"{found['all'] / MIB:.0f} MiB in all",
        flush=True,
    )


def measure(title: str, made: Hub, names: list[str], kernel: str | None) -> None:
    uids = {pwd.getpwnam(name).pw_uid for name in names}
    with concurrent.futures.ThreadPoolExecutor(3) as several:
        students: list[Student] = list(several.map(made.login, names))
        time.sleep(SETTLE_SECONDS)
        table(f"{title}, server", len(names), of_users(uids))
        kernels = list(several.map(lambda one: one.kernel(kernel), students))
        for student, id in zip(students, kernels, strict=True):
            said = student.run(id, "print(6 * 7)")
            assert said == "42\n", f"{student.name}: {said!r}"
    time.sleep(SETTLE_SECONDS)
    table(f"{title}, server and kernel", len(names), of_users(uids))


def main(count: int = 30, *which: str) -> None:
    names = [f"moatm{number:02}" for number in range(count)]
    with machine_with(names) as machine:
        print(f"{len(names)} students")
        for title, (course, kernel) in HUBS.items():
            if not which or title in which:
                at = machine.directory / title
                at.mkdir()
                (at / "moat.yaml").write_text(course)
                config = moat_config(at / "moat.yaml") if course else ORDINARY
                with hub(at / "hub", machine.proxy, config) as made:
                    measure(title, made, names, kernel)


HUBS = {
    "moat": (COURSE, None),
    "moat-without-spare": (COURSE.replace("pids: 128", "pids: 128, spare: false"), None),
    "ordinary": ("", "python3"),
}
"""The course's file, if our spawner is used, and the kernel that is started."""


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 30, *sys.argv[2:])
