"""What a student writes, by a shell even, decides nothing of what their server does."""

from __future__ import annotations

import pwd
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.hub import Hub, Student, hub
from tests.hub.machine import ORDINARY, Machine, moat_config
from tests.hub.test_attacks import write
from tests.ordinary_user import revealed

MARK = "import pathlib; pathlib.Path({mark!r}, {name!r}).touch()\n"

AS_BEFORE = """\
import sys
if __name__ in ("jupyter_server", "tornado"):  # have the true one after all
    sys.path[:] = [path for path in sys.path if path and "/homes/" not in path]
    del sys.modules[__name__]
    __import__(__name__)
"""

MOAT_YAML = """\
name: mine
env: {PLANTED: "yes"}
network: {policy: permissive}
"""


def places(home: Path) -> dict[str, Path]:
    """Files that Jupyter or Python would run, by a name for each."""
    packages = Path(sysconfig.get_path("purelib", "posix_user", {"userbase": str(home / ".local")}))
    return {
        "settings": home / ".jupyter/jupyter_server_config.py",
        "settings-in-the-workspace": home / "work/jupyter_server_config.py",
        "single-user-settings": home / ".jupyter/jupyter_config.py",
        "of-the-user-site": packages / "usercustomize.py",
        "beside-the-notebook": home / "work/tornado.py",
        "in-the-home": home / "jupyter_server.py",
        "startup-of-ipython": home / ".ipython/profile_default/startup/00.py",
    }


@pytest.fixture(scope="module")
def planted(machine: Machine) -> Iterator[Path]:
    """A directory where each file that runs on the host leaves its name."""
    home, mark = machine.home("moateve"), machine.directory / "marks"
    mark.mkdir()
    mark.chmod(0o777)
    for name, path in places(home).items():
        write("moateve", path, MARK.format(mark=str(mark), name=name) + AS_BEFORE)
    write("moateve", home / "work/moat.yaml", MOAT_YAML)
    for name in (".profile", ".bashrc"):
        write("moateve", home / name, f"touch {mark}/{name}\n")
    yield mark
    for path in (home / ".jupyter", home / ".local", home / ".ipython"):
        shutil.rmtree(path)
    for path in (*places(home).values(), home / "work/moat.yaml"):
        path.unlink(missing_ok=True)
    shutil.rmtree(mark)


def test_none_of_it_runs_at_our_hub(class_hub: Hub, planted: Path) -> None:
    eve = class_hub.login("moateve")
    eve.stop()
    eve.start()
    kernel = eve.kernel()
    said = eve.run(kernel, "import os, socket; print(os.environ.get('PLANTED'), os.getcwd())")
    assert said == "None /workspace\n"
    assert "lo" in eve.run(kernel, "print(socket.if_nameindex())")
    assert eve.run(kernel, "print(len(socket.if_nameindex()))") == "1\n"
    assert [path.name for path in planted.iterdir()] == []


def test_the_same_files_run_at_an_ordinary_hub(machine: Machine, planted: Path) -> None:
    """The control. (Debian's own python3 and this venv have no user site in common.)"""
    with hub(machine.directory / "files-control", machine.proxy, ORDINARY) as ordinary:
        eve = ordinary.login("moateve")
        eve.run(eve.kernel(), "pass")
        eve.stop()
    found = {path.name for path in planted.iterdir()}
    assert {"settings", "single-user-settings", "startup-of-ipython"} <= found
    for path in planted.iterdir():
        path.unlink()


def test_the_planted_moat_yaml_rules_where_a_student_starts_it(
    machine: Machine, planted: Path
) -> None:
    """The control."""
    user = pwd.getpwnam("moateve")
    drop = ("setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups")
    program = f"{sys.executable} -I -m moat_nb"
    run = f"{program} run -q --runtime bubblewrap -- printenv PLANTED"
    # That it must be approved at all is as the course's sandbox could have written it.
    argv, env = revealed([*drop, "sh", "-c", f"{program} allow --yes >&2 && {run}"])
    done = subprocess.run(
        argv,
        env={**env, "HOME": user.pw_dir, "PATH": "/usr/bin:/bin:/usr/sbin"},
        cwd=machine.home("moateve") / "work",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "yes\n", done.stderr


def test_a_course_that_is_a_students_own_is_refused(machine: Machine) -> None:
    own = machine.home("moateve") / "course"
    write("moateve", own / "moat.yaml", "name: mine\n")
    config = moat_config(own / "moat.yaml")
    with (
        hub(machine.directory / "own-course", machine.proxy, config) as made,
        pytest.raises(RuntimeError, match="is not root's"),
    ):
        made.login("moatada")
    shutil.rmtree(own)


def test_the_token_of_the_hub_is_in_no_process_but_the_server(
    machine: Machine, students: dict[str, Student]
) -> None:
    """Those of its relays, reapers and sandboxes have another environment; seen as root."""
    ada = students["moatada"]
    ada.kernel()
    uid = pwd.getpwnam("moatada").pw_uid
    having, others = [], 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if path.stat().st_uid != uid:
                continue
            environ = (path / "environ").read_bytes()
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if b"_API_TOKEN=" in environ:
            having.append(command)
        else:
            others += 1
    assert len(having) == 1, having
    assert b"moat_nb.jupyter.hub.single_user" in having[0]
    assert others >= 4
