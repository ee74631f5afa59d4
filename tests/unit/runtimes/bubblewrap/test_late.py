"""late.py: which covers bubblewrap leaves out. That they hold is tests/integration's to show."""

from __future__ import annotations

import json
import subprocess
import sys

from moat_nb.planning.mounts import Bind, EmptyFile, Mount, Tmpfs, Volume, build
from moat_nb.runtimes.bubblewrap import covers
from moat_nb.runtimes.bubblewrap.late import Late, late

WORKSPACE = Bind(source="/p", target="/workspace")
MANY: list[Mount] = [Tmpfs(target=f"/workspace/{n}/lib", size=1) for n in range(covers.MANY)]
FILES: list[Mount] = [EmptyFile(target=f"/workspace/{n}.key") for n in range(3)]


def test_few_are_bubblewraps_own() -> None:
    left = late(build([WORKSPACE, *MANY[1:]]))
    assert not left
    assert left == Late()


def test_many_are_left_and_of_the_files_all_but_the_one_that_covers_the_others() -> None:
    left = late(build([WORKSPACE, *MANY, *FILES]))
    assert left.targets == {mount.target for mount in (*MANY, *FILES[1:])}
    assert left.empty == "/workspace/0.key"


def test_what_others_depend_on_is_bubblewraps_own() -> None:
    kept = [
        Tmpfs(target="/workspace/outer", size=1),
        Bind(source="/x", target="/workspace/outer/mine"),
        Tmpfs(target="/tmp", size=1, role="tmp"),
        Tmpfs(target="/workspace/.ipynb_checkpoints", size=1, role="cover"),
        Volume(name="v", target="/volume"),
        Tmpfs(target="/volume/x", size=1),
        Tmpfs(target="/nowhere/x", size=1),
    ]
    left = late(build([WORKSPACE, *kept, *MANY]))
    assert left.targets == {mount.target for mount in MANY}
    assert left.empty == ""


def test_the_program_says_what_it_could_not_do() -> None:
    order = {"pid": 1 << 30, "user": (1, 1), "mode": 0o1777, "tmpfs": [], "files": []}
    done = subprocess.run(
        [sys.executable, "-I", "-S", covers.__file__],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"/proc/{1 << 30}/ns/mnt: No such file or directory\n"
