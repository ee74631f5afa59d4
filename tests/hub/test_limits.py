"""A student's memory and processes are theirs: a bomb ends with its reason, and others live."""

from __future__ import annotations

import pwd
import subprocess
import time
from pathlib import Path

import pytest

from moat_nb.host.cgroups import find_place
from moat_nb.host.machine import User
from moat_nb.host.user_cgroup import UserCgroup
from moat_nb.jupyter.hub.spawner import cgroup_id
from tests.hub.hub import Hub, Student, hub
from tests.hub.machine import Machine, moat_config, processes_of

TAKE = "held = bytearray({mib} << 20); held[::4096] = b'x' * len(held[::4096]); print('taken')"

WITHOUT_CGROUPS = """\
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x20000) == 0  # CLONE_NEWNS: of this hub alone
assert libc.mount(None, b"/", None, (1 << 18) | (1 << 14), None) == 0  # MS_PRIVATE, MS_REC
assert libc.mount(b"none", b"/sys/fs/cgroup", b"tmpfs", 1, None) == 0  # MS_RDONLY
"""
"""At the top of a hub's configuration: it sees no cgroup, as in a container."""


def cgroup_of(student: Student) -> UserCgroup:
    place = find_place()
    assert place is not None, "this machine gives no cgroup, which `moat-nb doctor` tells more of"
    hub = f"http://127.0.0.1:{student.hub.api_port}/hub/api"
    return UserCgroup.at(place, cgroup_id(pwd.getpwnam(student.name).pw_uid, hub, ""))


def test_a_memory_bomb_ends_with_its_reason_and_the_neighbour_lives(
    eve: Student, bob: Student
) -> None:
    theirs = bob.kernel()
    assert bob.run(theirs, "kept = 42") == ""
    kernel = eve.kernel()
    said = eve.run(kernel, TAKE.format(mib=900))
    assert "taken" not in said
    assert "out of memory: the sandbox's memory limit (container.memory) was reached" in said
    assert bob.run(theirs, "print(kept)") == "42\n"


def test_many_kernels_have_no_more_than_one_student(eve: Student, bob: Student) -> None:
    """Each within its own limit, and together above the student's."""
    theirs = bob.kernel()
    assert bob.run(theirs, "kept = 42") == ""
    kernels = [eve.kernel() for _ in range(4)]
    said = [eve.run(kernel, TAKE.format(mib=380)) for kernel in kernels]
    alive = 0
    for kernel in kernels:
        status, model = eve("GET", f"/api/kernels/{kernel}")
        assert status == 200, model  # the server lives
    held = [eve.run(kernel, "print('held' in dir())") for kernel in kernels]
    alive = held.count("True\n")
    assert alive < 4, said
    assert bob.run(theirs, "print(kept)") == "42\n"
    for kernel in kernels:
        eve("DELETE", f"/api/kernels/{kernel}")


def test_a_fork_bomb_meets_the_limit(eve: Student, bob: Student) -> None:
    kernel = eve.kernel()
    said = eve.run(
        kernel,
        """
import os, signal
children = []
try:
    while len(children) < 2000:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        children.append(pid)
except OSError as error:
    print(error.errno)
print(len(children) < 128)
for pid in children:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
""",
    )
    assert said == "11\nTrue\n"
    assert bob.run(bob.kernel(), "print(6 * 7)") == "42\n"


def test_the_limits_are_not_the_students_to_change(eve: Student) -> None:
    """By a shell on the machine: the cgroup is handed to the student, its limits are not."""
    user = pwd.getpwnam("moateve")
    tops = cgroup_of(eve).cgroup.directories
    assert tops
    for top in map(Path, tops):
        assert top.stat().st_uid == user.pw_uid
        for file in top.iterdir():
            if file.is_file() and file.stat().st_uid == user.pw_uid:
                assert file.name in (
                    *("cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"),
                )
    wide = ["setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
    for top in tops:
        for name in ("memory.limit_in_bytes", "memory.max", "pids.max"):
            if Path(top, name).exists():
                done = subprocess.run(
                    [*wide, "sh", "-c", f"echo 99999 >{top}/{name}"],
                    capture_output=True,
                    check=False,
                )
                assert done.returncode != 0
        # Nor can they leave it, to where the hub is.
        outside = Path(top).parent / "cgroup.procs"
        done = subprocess.run(
            [*wide, "sh", "-c", f"echo $$ >{outside}"], capture_output=True, check=False
        )
        assert done.returncode != 0


def test_a_stopped_server_leaves_nothing(class_hub: Hub) -> None:
    ada = class_hub.login("moatada")
    ada.kernel()
    cgroup = cgroup_of(ada)
    assert len(processes_of(cgroup)) >= 4
    ada.stop()
    assert not any(Path(top).exists() for top in cgroup.cgroup.directories)
    time.sleep(0.5)
    assert _processes("moatada") == []
    ada.start()


def test_what_a_killed_server_leaves_is_ended_at_the_next_start(class_hub: Hub) -> None:
    ada = class_hub.login("moatada")
    ada.kernel()
    before = set(_processes("moatada"))
    server = next(pid for pid in before if _is_server(pid))
    subprocess.run(["kill", "-KILL", str(server)], check=True)
    give_up = time.monotonic() + 60
    while ada.server() is not None and time.monotonic() < give_up:
        time.sleep(0.5)
    ada.start()
    assert not before & set(_processes("moatada"))
    assert ada.run(ada.kernel(), "print(6 * 7)") == "42\n"


def test_without_a_cgroup_a_course_that_requires_limits_does_not_start(machine: Machine) -> None:
    config = WITHOUT_CGROUPS + moat_config(machine.moat_yaml)
    with hub(machine.directory / "no-cgroups", machine.proxy, config) as made:
        words = r"moat.yaml:4:\d+: the hub may make no cgroup that limits memory"
        with pytest.raises(RuntimeError, match=words):
            made.login("moatada")


def test_without_a_cgroup_another_course_starts_and_the_log_says_so(machine: Machine) -> None:
    course = machine.directory / "lax"
    course.mkdir()
    (course / "moat.yaml").write_text("name: lax\nnetwork: {policy: none}\n")
    config = WITHOUT_CGROUPS + moat_config(course / "moat.yaml")
    with hub(machine.directory / "no-cgroups-lax", machine.proxy, config) as made:
        ada = made.login("moatada")
        assert "nothing limits what the server of moatada" in made.words()
        ada.stop()


def test_a_cgroup_is_ended_with_what_runs_in_it() -> None:
    """Of this module's own, as root, with another user's process in one below."""
    place = find_place()
    assert place is not None
    made = UserCgroup.at(place, "hub-test-of-the-end")
    made.make(User(12345, 12345), memory=64 << 20, pids=20, cpus=0.5)
    argv = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "sleep", "1000"]
    process = subprocess.Popen(argv, preexec_fn=made.join)  # noqa: PLW1509
    try:
        assert processes_of(made) == (process.pid,)
        made.end()
        assert process.wait(timeout=10) == -9
        assert not any(Path(top).exists() for top in made.cgroup.directories)
        made.end()  # there is none, and that is no error
    finally:
        process.kill()


def _processes(name: str) -> list[int]:
    uid = pwd.getpwnam(name).pw_uid
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if path.stat().st_uid == uid:
                found.append(int(path.name))
        except OSError:
            continue
    return found


def _is_server(pid: int) -> bool:
    try:
        return b"hub.single_user" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
