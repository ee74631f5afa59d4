"""``kernel.on: {ssh: HOST}``: bubblewrap on another machine, which a real sshd leads to."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.integration.conftest import wait_until
from tests.integration.test_elsewhere import LOOK
from tests.ordinary_user import ORDINARY
from tests.ssh_machine import SshMachine, ssh_machine

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can make a machine")

USERS = pytest.mark.parametrize("user", ["root", "user"])


@pytest.fixture(scope="module")
def machine(run_directory: Path) -> Iterator[SshMachine]:
    with ssh_machine(run_directory / "ssh") as made:
        yield made


class There:
    """A project whose kernels run there as ``user``, and launchers here."""

    def __init__(self, machine: SshMachine, project: Path, user: str) -> None:
        self.machine, self.project, self.user = machine, project, user

    @property
    def _here(self) -> list[str]:
        kernels = f"JUPYTER_DATA_DIR={self.project.parent}/jupyter"
        return [*self.machine.nearby, kernels, sys.executable]

    def words(self, *words: str) -> list[str]:
        return [*self._here, "-m", "moat_nb", *words]

    def python(self, program: str, code: int = 0) -> tuple[str, str]:
        return self._done([*self._here, "-c", program], code)

    def run(self, *words: str, code: int = 0) -> str:
        """What `moat-nb` prints here; what it says of its failure too."""
        out, err = self._done(self.words(*words), code)
        return out + (err if code else "")

    def _done(self, words: list[str], code: int) -> tuple[str, str]:
        done = subprocess.run(
            words, capture_output=True, text=True, cwd=self.project, timeout=300, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout, done.stderr

    @property
    def kept(self) -> Path:
        return self.machine.kept(self.user)

    @property
    def running(self) -> list[str]:
        """The guests that run there: by our program's directory, which they were started from."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes().split(b"\0")
                place = str(self.machine.directory).encode()
                if any(word.startswith(place) and b"moat-nb/elsewhere" in word for word in words):
                    found.append(b" ".join(words).decode())
        return found


@pytest.fixture
def there(machine: SshMachine, project: Project) -> Iterator[type]:
    """Makes a project for it; after the test nothing runs there."""
    made: list[There] = []

    def make(user: str, *, approved: bool = True, on: str = "", **more: str) -> There:
        on = on or f"{{ssh: gpu, python: {machine.python(user)}, grace: 10}}"
        text = f"name: far\nnetwork: {{policy: none}}\nkernel: {{on: {on}}}\n"
        text += "mounts: [{source: ., target: /workspace, exclude: [node_modules, secret.txt]}]\n"
        directory = project(text + "".join(f"{key}: {value}\n" for key, value in more.items()))
        for name in ("kept.txt", "secret.txt", "gone.txt", "node_modules/host.js", "src/a.py"):
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_text(f"{name} of the host\n")
        for path in (directory, *directory.rglob("*")):
            os.chown(path, ORDINARY.uid, ORDINARY.gid)
        made.append(There(machine, directory, user))
        if approved:
            made[-1].run("allow", "--yes")
        return made[-1]

    yield make
    for each in made:
        assert wait_until(lambda each=each: each.running == [], seconds=60), each.running
        shutil.rmtree(each.kept, ignore_errors=True)


@USERS
def test_a_project_is_copied_there_without_its_excludes_and_brought_back(there, user) -> None:
    far = there(user)
    said = far.run("run", "--", "python3", "-c", LOOK)
    assert said == (
        "['gone.txt', 'kept.txt', 'moat.yaml', 'node_modules', 'secret.txt', 'src'] []\n"
        "0o1777 True\nnative\n\n"
    )
    script = (
        "cat secret.txt; echo more >> src/a.py; rm gone.txt; ln -s /etc/passwd link; echo 1 > n"
    )
    assert far.run("run", "--", "sh", "-c", script) == ""
    found = far.run("diff", "--names").splitlines()
    assert {line.split()[-1] for line in found[1:]} == {"gone.txt", "link", "n", "src/a.py"}
    (far.project / "kept.txt").write_text("another of the host\n")
    assert far.run("run", "--", "cat", "kept.txt", "n") == "another of the host\n1\n"
    far.run("pull", code=1)  # a link that leads out comes when it is named
    assert not (far.project / "gone.txt").exists() and not (far.project / "link").is_symlink()
    assert (far.project / "src/a.py").read_text() == "src/a.py of the host\nmore\n"
    assert (far.project / "n").read_text() == "1\n"
    assert (far.project / "node_modules/host.js").exists()
    assert any(name.startswith("moat.workspace.") for name in far.machine.copies(user))
    far.run("discard", "--yes")
    assert far.machine.copies(user) == []


def test_what_a_sandbox_puts_in_the_way_leads_nowhere_there(there) -> None:
    """A link in a directory's place, when the next start brings a file below it."""
    far = there("root")
    outside = far.machine.directory / "root" / "outside"
    outside.mkdir()
    script = f"rm -r src && ln -s {outside} src && ln -s {outside}/x kept.txt 2>/dev/null; ls"
    far.run("run", "--", "sh", "-c", script)
    (far.project / "src" / "new.py").write_text("new\n")
    far.run("run", "--", "ls")
    assert list(outside.iterdir()) == []
    far.run("discard", "--yes")
    outside.rmdir()


@USERS
def test_what_a_sandbox_has_closed_comes_back_too_and_the_next_one_starts(there, user) -> None:
    far = there(user)
    script = "echo kept > closed; mkdir d; echo x > d/f; chmod 0 closed d; chmod 500 src"
    far.run("run", "--", "sh", "-c", script)
    assert far.run("run", "--", "cat", "closed", "d/f") == "kept\nx\n"
    far.run("pull")
    assert (far.project / "closed").read_text() == "kept\n"
    assert (far.project / "d/f").read_text() == "x\n"


KERNEL = """
from jupyter_client.manager import start_new_kernel
from moat_nb.cli.main import main

assert main(["install"]) == 0
manager, client = start_new_kernel(kernel_name="moat-far", startup_timeout=120)
client.execute_interactive("n = 7; open('made', 'w').write('1')", timeout=60)
manager.restart_kernel(now=True)
client.wait_for_ready(timeout=120)
client.execute_interactive("import os; print(os.listdir('.'), 'n' in dir())", timeout=60)
client.execute_interactive("print(len('x' * 10**7), 'y' * 10**6)", timeout=60)
client.stop_channels()
manager.shutdown_kernel()
"""


@USERS
def test_a_kernel_that_a_client_starts_and_restarts_runs_there(there, user) -> None:
    out, _ = there(user).python(KERNEL)
    assert "'made'" in out and "] False" in out and "10000000 yyy" in out


BOX = """
import http.client, time
from moat_nb import Sandbox

with Sandbox.launch(".", approve=lambda demands: True) as box:
    server = box.spawn(["python3", "-m", "http.server", "3000"])
    (url,) = box.urls.values()
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
            connection.request("GET", "/kept.txt", headers={"Host": f"{host}:{port}"})
            answer = connection.getresponse()
            if answer.status == 200:  # the server there may not listen yet
                print(answer.read())
                break
        except OSError:
            pass
        time.sleep(0.1)
"""


def test_a_port_of_a_sandbox_there_is_reached_here(there) -> None:
    out, _ = there("user", ports="{web: 3000}").python(BOX)
    assert "kept.txt of the host" in out


@contextlib.contextmanager
def started(far: There) -> Iterator[subprocess.Popen[str]]:
    """A `moat-nb run` whose sandbox runs; killed at the end."""
    script = "echo runs; sleep 1000"
    with subprocess.Popen(
        far.words("run", "--", "sh", "-c", script),
        cwd=far.project,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as launcher:
        try:
            assert launcher.stdout is not None
            assert launcher.stdout.readline() == "runs\n"
            assert far.running
            yield launcher
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(launcher.pid, signal.SIGKILL)


@USERS
def test_nothing_runs_there_of_a_launcher_that_was_killed(there, user) -> None:
    far = there(user)
    with started(far):
        pass
    assert wait_until(lambda: far.running == [], seconds=60)
    far.run("discard", "--yes")  # nothing holds the copy
    assert far.machine.copies(user) == []


def test_a_launcher_that_says_nothing_for_the_grace_has_nothing_there(there) -> None:
    far = there("root")
    with started(far) as launcher:
        stopped = _of_group(launcher.pid)
        try:
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            assert wait_until(lambda: far.running == [], seconds=60)
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGKILL)  # one that is stopped outlives its parent


def _of_group(leader: int) -> list[int]:
    """All processes of a launcher's: ssh has a session of its own."""
    found = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True)
    children: dict[int, list[int]] = {}
    for line in found.stdout.splitlines()[1:]:
        pid, parent = map(int, line.split())
        children.setdefault(parent, []).append(pid)
    every, pending = [], [leader]
    while pending:
        every.append(pending.pop())
        pending += children.get(every[-1], [])
    return every


def test_a_sandbox_there_is_listed_and_stopped_by_another_process(there) -> None:
    far = there("root")
    with started(far) as launcher:
        assert re.search(r"far +running .* ssh ", far.run("ps"))
        assert "stopped" in far.run("stop", str(far.project))
        assert wait_until(lambda: far.running == [], seconds=60)
        assert launcher.wait(60) != 0


def test_a_file_that_nobody_approved_connects_to_nothing(there) -> None:
    far = there("root", approved=False)
    before = far.machine.connections
    assert "another machine ssh://gpu" in far.run("run", "--", "true", code=125)
    assert "was not asked" in far.run("plan").replace("\n    ", " ")
    assert "no copy" in far.run("diff")
    assert far.machine.connections == before


def test_the_demo_proves_there_what_it_proves_here_and_leaves_nothing(there) -> None:
    far = there("root", approved=False)
    said = far.run("demo", "--runtime", f"ssh://gpu{sys.executable}")
    assert re.search(r"/workspace/node_modules +tmpfs +1777 +yes +yes", said)
    assert re.search(r"host's files +untouched", said) and "lo only" in said
    assert far.machine.copies("root") == []


def test_another_program_on_an_approved_machine_runs_for_no_command(there) -> None:
    far = there("root")
    far.run("run", "--", "touch", "made")
    file = far.project / "moat.yaml"
    file.write_text(file.read_text().replace(f"python: {sys.executable}", "python: /bin/touch"))
    before = far.machine.connections
    for words in (("diff",), ("pull",), ("discard", "--yes"), ("run", "--", "true")):
        done = subprocess.run(
            far.words(*words), cwd=far.project, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0 and "approved" in done.stdout + done.stderr, words
    assert far.machine.connections == before


def test_what_that_machine_lacks_is_named_before_anything_starts(there) -> None:
    far = there("root", approved=False, on="{ssh: gpu, python: /usr/bin/python3}")
    words = ("plan", "--runtime")
    assert "has no ipykernel" in far.run(*words, "ssh://gpu", code=1)
    said = far.run(*words, "ssh://gpu:1", code=1)
    assert "Connection refused" in said and "should answer without a question" in said
    assert "it is ssh://HOST" in far.run(*words, "ssh://-oProxyCommand=x", code=1)
    missing = there("root", on="{ssh: gpu, python: python9}")
    assert "python9" in missing.run("run", "--", "true", code=125)
