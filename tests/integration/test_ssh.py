"""``kernel.on: {ssh: HOST}``: bubblewrap on another machine, which a real sshd leads to."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.integration.conftest import wait_until
from tests.launchers_elsewhere import (
    BOX,
    KERNEL,
    LOOK,
    finished,
    processes_of,
    started,
    write_files,
)
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

    def python(self, program: str, *more: str) -> str:
        return finished([*self._here, "-c", program, *more], self.project, 0)[0]

    def run(self, *words: str, code: int = 0) -> str:
        """What `moat-nb` prints here; what it says of its failure too."""
        out, err = finished(self.words(*words), self.project, code)
        return out + (err if code else "")

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
        write_files(directory)
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
    script = f"rm -r src kept.txt && ln -s {outside} src && ln -s {outside}/x kept.txt"
    far.run("run", "--", "sh", "-c", script)
    for name in ("src/new.py", "kept.txt"):
        (far.project / name).write_text("new\n")
    far.run("run", "--", "sh", "-c", "ls -l src kept.txt")
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


@USERS
def test_a_kernel_that_a_client_starts_and_restarts_runs_there(there, user) -> None:
    out = there(user).python(KERNEL)
    assert "'made'" in out and "] False" in out and "10000000 yyy" in out


def test_a_program_that_met_the_memory_limit_there_is_told_of_it(there) -> None:
    far = there("root", container="{memory: 256}")
    said = far.run("run", "--", "python3", "-c", "x = b'1' * (1 << 30)", code=137)
    assert "out of memory" in said and "container.memory" in said


def test_a_file_that_only_says_it_is_large_keeps_nobody_waiting(there) -> None:
    far = there("root")
    script = "truncate -s 1000T large || truncate -s 10T large; echo 1 > small; chmod 444 small"
    far.run("run", "--", "sh", "-c", script)
    assert "small" in far.run("diff", "--names")
    assert far.run("run", "--", "stat", "-c", "%a", "small") == "444\n"
    far.run("pull", "small")
    assert (far.project / "small").read_text() == "1\n"


def test_a_port_of_a_sandbox_there_is_reached_here(there) -> None:
    out = there("user", ports="{web: 3000}").python(BOX, "python3")
    assert "kept.txt of the host" in out


@USERS
def test_nothing_runs_there_of_a_launcher_that_was_killed(there, user) -> None:
    far = there(user)
    with started(far.words(), far.project):
        pass
    assert wait_until(lambda: far.running == [], seconds=60)
    far.run("discard", "--yes")  # nothing holds the copy
    assert far.machine.copies(user) == []


def test_a_launcher_that_says_nothing_for_the_grace_has_nothing_there(there) -> None:
    far = there("root")
    with started(far.words(), far.project) as launcher:
        stopped = processes_of(launcher)
        try:
            for process in stopped:
                process.suspend()
            assert wait_until(lambda: far.running == [], seconds=60)
        finally:
            for process in stopped:
                process.kill()  # one that is stopped outlives its parent


def test_a_sandbox_there_is_listed_and_stopped_by_another_process(there) -> None:
    far = there("root")
    with started(far.words(), far.project) as launcher:
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
