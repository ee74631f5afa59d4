"""Attacks that bubblewrap let through once: memory that nothing limits (E1 of issue 11), and what
lies beside the interpreter (B1). Docker is tried beside it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import moat_nb
from tests import ordinary_user
from tests.conftest import make_project
from tests.integration.leftovers import cgroups

MEMORY_MB = 256


@dataclass(frozen=True, kw_only=True)
class Attack:
    name: str
    function: str
    inside: tuple[str, ...] = ()
    """Its arguments in a sandbox."""


ATTACKS = [
    Attack(name="shared mapping", function="shared_mapping"),
    Attack(name="memfd", function="memory_file"),
    Attack(name="memory of many processes", function="many_processes"),
    Attack(
        name="all tmpfs filled",
        function="scratch",
        inside=("/tmp", "/home/moatuser", "/workspace/node_modules", "/dev/shm"),
    ),
]
FILE = Path(__file__).with_name("memory_attacks.py")


def set_up(project):
    shutil.copy(FILE, project / FILE.name)
    return project


@pytest.fixture
def control(run_directory):
    """``control(attack)``: what happens in a plain process of the host."""

    def tried(attack):
        arguments = [str(run_directory)] if attack.inside else []
        argv = [sys.executable, str(FILE), attack.function, *arguments]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=300)
        finally:
            (run_directory / "fill").unlink(missing_ok=True)
        return done.stdout.strip()

    return tried


def run_inside(box, attack):
    output = bytearray()
    process = box.spawn(
        ["python3", f"/workspace/{FILE.name}", attack.function, *attack.inside],
        on_output=lambda _, data: output.extend(data),
    )
    how = process.wait(timeout=300)
    if how.oom:
        assert "container.memory" in str(how)
        return "OOM-killed"
    return output.decode().strip() or str(how)


@pytest.mark.parametrize("restarted", [False, True], ids=["first start", "restart"])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_memory_ends_at_its_limit_however_it_is_taken(launcher, attack, restarted, table, control):
    project = launcher.project("node_modules", container={"memory": MEMORY_MB})
    box = launcher.launch(set_up(project))
    if restarted:
        box.reset()
    happened = run_inside(box, attack)
    controlled = control(attack)
    name = f"{attack.name}{', after a restart' if restarted else ''}"
    table(name, launcher.runtime, "OOM-killed", happened, controlled)
    assert (happened, controlled) == ("OOM-killed", "400 MiB taken")
    used = box.usage().memory
    assert used is not None
    assert used <= MEMORY_MB << 20
    id = box.sockets.parent.name
    assert (cgroups(id) != []) == (launcher.runtime == "bubblewrap")
    box.stop()
    assert cgroups(id) == []


# ------------------------------------------------------- where nothing can limit memory

REFUSED = """
import sys
from moat_nb import MoatError, Sandbox
try:
    with Sandbox.launch(sys.argv[1], "bubblewrap") as box:
        print(*box.spec.notices, sep="\\n")
except MoatError as error:
    print(error)
"""


@pytest.mark.parametrize("required", [False, True])
def test_an_ordinary_user_is_told_the_truth_of_memory(on_bubblewrap, required, table):
    """In a scope of systemd's, or by a delegated cgroup, it is limited for him too."""
    keys = {"kernel": {"require_limits": True}} if required else {}
    project = on_bubblewrap.project(**keys)
    words = as_user([sys.executable, "-c", REFUSED, str(project)])
    limited = "holds all processes to" in words
    if required and not limited:
        assert "kernel.require_limits: memory cannot be limited here" in words
        assert "moat.yaml:" in words
    else:
        assert limited or "limits: memory is not limited, as" in words
    expected = "refused" if required else "said"
    happened = "limited" if limited else expected
    table("no limit of memory, ordinary user", "bubblewrap", expected, happened, "-")


# ------------------------------------------------------- beside the interpreter

READ = """
import json, sys
from moat_nb import Sandbox
project, *paths = sys.argv[1:]
found = []
with Sandbox.launch(project, "bubblewrap") as box:
    for restarted in (False, True):
        if restarted:
            box.reset()
        tried = [["python3", "/workspace/attacks.py", "read_any", path] for path in paths]
        found.append([box.run(argv).stdout.decode().strip() for argv in tried])
print(json.dumps(found))
"""
LAUNCHERS = ["root", "user"] if os.getuid() == 0 else ["user"]


def as_user(argv, kind="user", **env):
    """What a launcher printed."""
    checkout = str(Path(moat_nb.__file__).parent.parent)
    packages = os.pathsep.join([checkout, *(p for p in sys.path if p.endswith("-packages"))])
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": packages, "HOME": "/proc/nonexistent", **env}
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    if kind == "user":
        done = ordinary_user.run(argv, env=env)
    else:
        done = subprocess.run(
            argv, env=env, capture_output=True, text=True, timeout=300, check=False
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


def made_venv(at, secrets):
    """A virtual environment of the ordinary user's, with secrets in it; its program."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(at)], check=True)
    for name in secrets:
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_text("secret")
    return str(at / "bin" / "python")


def yours(directory, owner):
    for path in (directory, *directory.rglob("*")):
        os.chown(path, owner.uid, owner.gid, follow_symlinks=False)


@pytest.mark.parametrize("kind", LAUNCHERS)
def test_a_venv_in_the_project_shows_nothing_that_is_excluded(on_bubblewrap, kind, table):
    secrets = (".env", "pip.conf", "lib/secret")
    project = on_bubblewrap.project(".env", *(f".venv/{name}" for name in secrets))
    program = made_venv(project / ".venv", secrets)
    (project / ".env").write_text("secret")
    shutil.copy(FILE.with_name("attacks.py"), project)
    home = project.parent
    yours(home, on_bubblewrap.owner)
    paths = [*(str(project / ".venv" / name) for name in secrets), str(project / ".env")]
    name = f"beside a venv's interpreter, {kind}"
    check(table, name, program, project, paths, kind, "empty", HOME=str(home))


@pytest.mark.parametrize("kind", LAUNCHERS)
def test_a_home_directory_that_is_a_prefix_shows_nothing_else_of_it(
    on_bubblewrap, kind, table, run_directory
):
    secrets = (".ssh/id_rsa", ".netrc", ".config/key")
    project = make_project(run_directory, on_bubblewrap.owner, on_bubblewrap.yaml())
    home = project.parent
    program = made_venv(home, secrets)
    shutil.copy(FILE.with_name("attacks.py"), project)
    yours(home, on_bubblewrap.owner)
    paths = [str(home / name) for name in secrets]
    name = f"beside the interpreter of a home directory, {kind}"
    try:
        check(table, name, program, project, paths, kind, "ENOENT", HOME=str(home))
    finally:
        shutil.rmtree(home)


def check(table, name, program, project, paths, kind, last, **env):
    """That none is read, at the first start and after a restart; the third may be ``last``."""
    found = json.loads(as_user([program, "-c", READ, str(project), *paths], kind, **env))
    argv = [sys.executable, str(FILE.with_name("attacks.py")), "read_any"]
    controls = {subprocess.check_output([*argv, path], text=True).strip() for path in paths}
    expected = ["ENOENT", "ENOENT", last, *["ENOENT"] * (len(paths) - 3)]
    happened = ", ".join(sorted({word for words in found for word in words}))
    table(name, "bubblewrap", ", ".join(sorted({*expected})), happened, ", ".join(controls))
    assert found == [expected, expected]
    assert controls == {"read"}
