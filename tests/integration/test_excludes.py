"""Excluded directories in real sandboxes: written to and run from inside, unchanged outside."""

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from moat_nb.errors import ConfigError
from moat_nb.host.machine import User
from tests.integration.conftest import MIB, wait_until
from tests.integration.snapshot import snapshot

ROOT = os.getuid() == 0

BOTH = ("node_modules", ".venv")


def shell(box, script, check=True):
    return box.run(["sh", "-ec", script], check=check).stdout.decode()


LIST = "import json, os, sys; print(json.dumps([sorted(os.listdir(d)) for d in sys.argv[1:]]))"


def listed(box, *directories):
    """The names in each; GNU's own ``ls`` fails on an old gVisor."""
    return json.loads(box.run(["python3", "-c", LIST, *directories], check=True).stdout)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """A wheel with a native extension that any Python 3 loads: psutil, which ipykernel needs."""
    directory = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", directory]
    subprocess.run([*pip, "--only-binary=:all:", "psutil"], check=True)
    (found,) = directory.iterdir()
    assert "-abi3-" in found.name
    return found


# ------------------------------------------------------- the case this project was born from

NPM_STYLE = """
mkdir -p node_modules/tool/bin node_modules/.bin node_modules/tool/build
cp "$(command -v expr)" node_modules/tool/bin/tool
ln -s ../tool/bin/tool node_modules/.bin/tool
cp "$(find .venv/ -name '*.abi3.so')" node_modules/tool/build/native.so
node_modules/.bin/tool 6 '*' 7
python3 -c 'import ctypes; ctypes.PyDLL("node_modules/tool/build/native.so"); print("loaded")'
"""

PIP_STYLE = """
python3 -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check --no-index --find-links wheels psutil
.venv/bin/python -c 'import psutil; print(psutil.Process().pid > 0, psutil.__file__)'
"""


def test_native_programs_are_installed_and_run_over_directories_of_roots(launcher, wheel):
    project = launcher.project(*BOTH)
    for name in BOTH:
        directory = launcher.directory(project / name)
        (directory / "of-the-host").write_text("macOS binaries, say")
        (directory / "link").symlink_to("of-the-host")
    (project / "wheels").mkdir()
    shutil.copy(wheel, project / "wheels")
    before = snapshot(project)

    box = launcher.launch(project)
    assert listed(box, *BOTH) == [[], []]
    assert shell(box, "id -u") == f"{launcher.owner.uid}\n"
    assert launcher.owner.uid != 0
    installed = shell(box, PIP_STYLE)
    assert installed.startswith("True /workspace/.venv/")
    assert shell(box, NPM_STYLE) == "42\nloaded\n"
    box.stop()

    assert snapshot(project) == before


def test_without_the_exclude_the_same_directory_can_not_be_written(launcher):
    if not ROOT:
        pytest.skip("an ordinary user's own directories can be written without an exclude")
    project = launcher.project()
    launcher.directory(project / "node_modules")
    box = launcher.launch(project)
    assert box.run(["mkdir", "node_modules/x"]).returncode != 0


# ------------------------------------------------------- where an exclude may stand


@pytest.mark.parametrize("read_only", [False, True], ids=["writable", "read-only"])
@pytest.mark.parametrize("exists", [True, False], ids=["exists", "missing"])
def test_an_exclude_holds_in_any_mount(launcher, exists, read_only):
    """Whether the mount is writable or not, and whether the host has the directory or not."""
    mode = "ro" if read_only else "rw"
    mounts = [{"source": ".", "target": "/workspace", "mode": mode, "exclude": ["a/b/lib"]}]
    project = launcher.project(mounts=mounts)
    if exists:
        launcher.directory(project / "a" / "b" / "lib")
    before = snapshot(project / "a") if exists else None

    box = launcher.launch(project)
    made = (project / "a" / "b" / "lib").stat()
    shell(box, "cp /bin/true a/b/lib/true && a/b/lib/true")
    writable = box.run(["touch", "/workspace/new"]).returncode == 0
    box.stop()

    assert writable is not read_only
    if exists:
        assert snapshot(project / "a") == before
    else:
        assert (made.st_uid, stat.S_IMODE(made.st_mode)) == (launcher.owner.uid, 0o755)
        assert not (project / "a").exists()


def test_a_mount_inside_an_exclude_shows_its_source_there(launcher):
    project = launcher.project(
        mounts=[
            {"source": ".", "target": "/workspace", "exclude": ["node_modules"]},
            {"source": "./mine", "target": "/workspace/node_modules/mine"},
        ]
    )
    for name in ("node_modules", "mine"):
        (project / name).mkdir()
        launcher.give(project / name, launcher.owner)
    (project / "mine" / "index.js").write_text("1")

    box = launcher.launch(project)
    shell(box, "touch node_modules/mine/new node_modules/beside")
    assert listed(box, "node_modules", "node_modules/mine") == [
        ["beside", "mine"],
        ["index.js", "new"],
    ]
    box.stop()
    assert (project / "mine" / "new").exists()
    assert list((project / "node_modules").iterdir()) == []


def test_an_exclude_inside_a_mount_below_another_covers_that_mounts_directory(launcher):
    project = launcher.project(
        mounts=[
            {"source": ".", "target": "/workspace"},
            {"source": "./data", "target": "/workspace/sub", "exclude": ["build"]},
        ]
    )
    for name in ("data", "sub"):
        (project / name).mkdir()
    launcher.directory(project / "data" / "build")
    (project / "data" / "build" / "secret").write_text("1")

    box = launcher.launch(project)
    shell(box, "touch sub/build/new")
    assert listed(box, "sub/build", "data/build") == [["new"], ["secret"]]
    box.stop()
    assert [path.name for path in (project / "data" / "build").iterdir()] == ["secret"]


def test_globs_cover_what_they_match_and_nothing_else(launcher):
    project = launcher.project("packages/*/node_modules", "**/*.key")
    for name in ("packages/a/node_modules", "packages/b/node_modules", "packages/a/src"):
        launcher.directory(project / name)
        (project / name / "file").write_text("1")
    (project / "packages" / "a" / "src" / "tls.key").write_text("secret")

    box = launcher.launch(project)
    assert shell(box, "find packages -type f -size +0 | sort").split() == ["packages/a/src/file"]
    assert {mount.path for mount in box.mounts()} == {
        "/workspace/packages/a/node_modules",
        "/workspace/packages/a/src/tls.key",
        "/workspace/packages/b/node_modules",
    }


SHOWN = """
import os, sys
for top, names, files in os.walk("/workspace"):
    for name in files:
        path = os.path.join(top, name)
        if os.path.exists(path) and os.path.getsize(path):
            print(os.path.relpath(path))
"""


def test_thousands_of_matches_are_covered_and_links_show_none_of_them(launcher):
    """Among them a link to what is covered, one to what is not, one out of the mounts, a socket,
    and a directory that nobody can look into."""
    project = launcher.project("**/__pycache__", "**/*.key", "**/*.sock")
    for number in range(1600):  # bubblewrap takes no 1500 by itself
        directory = project / f"p{number // 100}" / f"m{number}"
        (directory / "__pycache__").mkdir(parents=True)
        if number % 4 == 0:
            (directory / "__pycache__" / "module.pyc").write_text("1")
            (directory / "tls.key").write_text("secret")
    (project / "store").mkdir()
    (project / "store" / "kept").write_text("1")
    for name, link in {"a": "../p0/m0/__pycache__", "b": "../store", "c": "/etc"}.items():
        (project / name).mkdir()
        (project / name / "__pycache__").symlink_to(link)
    closed = project / "closed"
    closed.mkdir()
    (closed / "tls.key").write_text("secret")
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(project)
        listener.bind("agent.sock")
        os.chdir(before)
    for path in (project, *project.rglob("*")):
        launcher.give(path, launcher.owner)
    closed.chmod(0)
    box = launcher.launch(project)
    try:
        for _ in range(2):
            assert shell(box, f"python3 -c '{SHOWN}'").split() == ["moat.yaml"]
            look = "stat -c %F agent.sock; chmod 700 closed || :; cat closed/* || :"
            assert shell(box, look) == "regular empty file\n"
            assert len(box.mounts()) > 2000
            shell(box, "cp /bin/true p9/m999/__pycache__/ && p9/m999/__pycache__/true")
            box.reset()
    finally:
        closed.chmod(0o700)


def test_an_excluded_file_is_neither_read_nor_written(launcher):
    project = launcher.project(".env")
    (project / ".env").write_text("PASSWORD=hunter2")
    launcher.give(project / ".env", launcher.owner)
    (project / "shown.env").write_text("OPEN=1")
    before = snapshot(project)

    box = launcher.launch(project)
    assert shell(box, "cat .env shown.env") == "OPEN=1"
    for attempt in (
        "echo x >.env",
        "echo x >>.env",
        "rm -f .env",
        "mv .env other",
        "chmod 777 .env",
    ):
        assert box.run(["sh", "-c", attempt]).returncode != 0, attempt
    box.stop()
    assert snapshot(project) == before


def test_a_symlinked_exclude_is_refused_before_anything_starts(launcher):
    project = launcher.project("node_modules")
    (project / "node_modules").symlink_to("/etc")
    with pytest.raises(ConfigError, match="node_modules") as caught:
        launcher.launch(project)
    assert "link" in str(caught.value)
    assert (project / "node_modules").readlink().as_posix() == "/etc"
    assert launcher.left(project) == []


# ------------------------------------------------------- what an exclude is


def test_each_exclude_is_a_tmpfs_of_its_own_with_mode_size_and_exec_as_proved(launcher):
    project = launcher.project(*BOTH, ".env", kernel={"tmpfs_size": 16})
    (project / ".env").write_text("secret")
    box = launcher.launch(project)
    found = {mount.path: mount for mount in box.mounts()}
    assert set(found) == {"/workspace/.env", "/workspace/.venv", "/workspace/node_modules"}
    for name in BOTH:
        proof = found[f"/workspace/{name}"]
        assert (proof.type, proof.mode) == ("tmpfs", 0o1777)
        assert (proof.writable, proof.executable, proof.problem) == (True, True, None)
        assert (proof.size, proof.used) == (16 * MIB, 0)
    assert not found["/workspace/.env"].writable
    options = shell(box, "grep ' /workspace/node_modules ' /proc/mounts").split()[3].split(",")
    assert {"rw", "nosuid", "nodev"} <= set(options)
    assert "noexec" not in options


FILL = """
import errno, sys
written = 0
try:
    with open(sys.argv[1] + "/fill", "wb", buffering=0) as file:
        while True:
            written += file.write(bytes(65536))
except OSError as error:
    print(written, errno.errorcode[error.errno])
"""


def test_an_exclude_is_full_at_its_size_and_not_before(launcher):
    project = launcher.project(*BOTH, kernel={"tmpfs_size": 16})
    box = launcher.launch(project)
    written, error = box.run(["python3", "-c", FILL, "node_modules"], check=True).stdout.split()
    assert error == b"ENOSPC"
    # A page or two may be the file system's own.
    assert 16 * MIB - 8192 <= int(written) <= 16 * MIB
    used = {mount.path: mount.used for mount in box.mounts()}
    assert used["/workspace/node_modules"] == 16 * MIB
    assert used["/workspace/.venv"] == 0
    shell(box, "rm node_modules/fill && touch node_modules/again")


# ------------------------------------------------------- mount points on the host


def test_a_mount_point_of_ours_that_the_host_filled_meanwhile_is_kept(launcher):
    project = launcher.project("deep/er/lib", "other")
    box = launcher.launch(project)
    for name in ("deep", "deep/er", "deep/er/lib", "other"):
        status = (project / name).stat()
        assert (status.st_uid, status.st_gid) == (launcher.owner.uid, launcher.owner.gid)
    (project / "deep" / "er" / "lib" / "of-the-host").write_text("1")
    box.stop()
    assert sorted(path.name for path in project.rglob("*")) == [
        *("deep", "er", "lib", "moat.yaml", "of-the-host")
    ]


def test_a_missing_file_is_an_empty_file_on_the_host_and_goes_with_the_sandbox(launcher):
    project = launcher.project(".env", "conf/keys.json", ".venv")
    (project / ".env.example").write_text("KEY=example")
    launcher.give(project / ".env.example", launcher.owner)
    box = launcher.launch(project)
    status = (project / ".env").stat()
    assert (status.st_uid, status.st_size, stat.S_ISREG(status.st_mode)) == (
        launcher.owner.uid,
        0,
        True,
    )
    assert (project / ".venv").is_dir()
    assert {mount.path: mount.type for mount in box.mounts()} == {
        "/workspace/.env": "empty file",
        "/workspace/.venv": "tmpfs",
        "/workspace/conf/keys.json": "empty file",
    }
    inside = box.run(["cp", ".env.example", ".env"])
    assert inside.returncode == 1
    assert b".env" in inside.stderr
    assert (project / ".env").stat().st_size == 0
    box.reset()
    shutil.copy(project / ".env.example", project / ".env")
    assert box.run(["cat", ".env"]).stdout == b""
    box.reset()
    assert box.run(["cat", ".env"]).stdout == b""
    box.stop()
    assert (project / ".env").read_text() == "KEY=example"
    assert sorted(path.name for path in project.iterdir()) == [".env", ".env.example", "moat.yaml"]


def test_an_empty_directory_that_was_there_before_is_kept(launcher):
    project = launcher.project("lib")
    launcher.directory(project / "lib")
    before = snapshot(project)
    launcher.launch(project).stop()
    assert snapshot(project) == before


def test_the_owner_of_what_the_kernel_writes_is_the_workspaces(launcher):
    project = launcher.project("lib")
    box = launcher.launch(project)
    shell(box, "umask 022; echo 1 >result; mkdir out")
    for name in ("result", "out"):
        status = (project / name).stat()
        assert User(status.st_uid, status.st_gid) == launcher.owner


# ------------------------------------------------------- while it runs


@pytest.mark.parametrize(
    "undo",
    [
        pytest.param("rm -rf {0}/lib && mkdir {0}/lib", id="removed"),
        pytest.param("rm -rf {0}/lib", id="removed for good"),
    ],
)
def test_an_exclude_that_the_host_undid_is_reported_and_the_others_hold(launcher, undo):
    project = launcher.project("lib", "other")
    for name in ("lib", "other"):
        launcher.give(launcher.directory(project / name), launcher.owner)
    events = []
    box = launcher.launch(project, on_event=lambda *event: events.append(event))
    box.run(["touch", "lib/inside", "other/inside"], check=True)
    subprocess.run(undo.format(project), shell=True, check=True)
    assert wait_until(lambda: events == [("mount_lost", "/workspace/lib")]), events
    lost, other = box.mounts()
    assert "came undone" in lost.problem
    assert (lost.size, lost.used) == (0, 0)
    assert other.problem is None
    assert listed(box, "other") == [["inside"]]


def test_reset_empties_the_excludes_and_leaves_the_workspace(launcher):
    project = launcher.project("lib")
    box = launcher.launch(project)
    first = box.id
    shell(box, "touch lib/installed /tmp/scratch kept")
    box.reset()
    assert box.id != first
    assert listed(box, "lib") == [[]]
    shell(box, "test -e kept; test ! -e /tmp/scratch")


def test_a_kernels_restart_keeps_what_was_installed(launcher):
    project = launcher.project("lib", python=True)
    box = launcher.launch(project)
    with box.start_kernel() as kernel:
        assert execute(kernel, "open('lib/installed', 'w').close(); before = 1") == "ok"
        kernel.restart_kernel(now=True)
        kernel.kc.wait_for_ready(timeout=300)
        assert execute(kernel, "before") == "error"
        assert execute(kernel, "import os; assert os.listdir('lib') == ['installed']") == "ok"


def execute(kernel, code):
    reply = kernel.kc.execute_interactive(code, timeout=300, output_hook=lambda message: None)
    return reply["content"]["status"]
