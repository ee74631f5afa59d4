"""Sandboxes on an engine of another machine, which is reached by ssh or by TLS."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Engine, Project
from tests.engine_elsewhere import Elsewhere, elsewhere
from tests.integration.conftest import wait_until
from tests.integration.test_sidecars import REDIS
from tests.launchers_elsewhere import BOX, KERNEL, LOOK, finished, write_files
from tests.ordinary_user import command

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can make a machine")

WAYS = pytest.mark.parametrize("way", ["ssh", "tls"])


@pytest.fixture(scope="module")
def far(engine: Engine, run_directory: Path) -> Iterator[Elsewhere]:
    with elsewhere(run_directory / "far", engine.client, engine.kernel_image) as made:
        yield made


@pytest.fixture
def there(far: Elsewhere, project: Project) -> Iterator[Project]:
    """Makes a project for it; after the test no container is there, and no volume."""
    made = []

    def make(**more: str) -> Path:
        text = f"name: far\nbase_image: {far.image}\nnetwork: {{policy: none}}\n"
        text += "mounts: [{source: ., target: /workspace, exclude: [node_modules, secret.txt]}]\n"
        made.append(project(text + "".join(f"{key}: {value}\n" for key, value in more.items())))
        write_files(made[-1])
        return made[-1]

    yield make
    assert wait_until(lambda: far.containers == [], seconds=60), far.containers
    for name in far.volumes:
        far.client.volumes.get(name).remove()


def python(far: Elsewhere, way: str, *words: str) -> list[str]:
    """The command line of a launcher's python, with its environment. By TLS it is an ordinary
    user's; ssh knows users by name alone, so there it is root's."""
    own = {"HOME": far.runs, "XDG_RUNTIME_DIR": far.runs, "XDG_DATA_HOME": far.runs / f"data-{way}"}
    own |= {"PATH": os.environ["PATH"], "JUPYTER_DATA_DIR": far.runs / f"jupyter-{way}"}
    argv, revealed = [sys.executable, *words], {}
    if way == "tls":
        argv, revealed = command(argv)
    env = {**own, **far.environ(way), **revealed}
    return [*far.engine.on_its_machine, "env", *(f"{k}={v}" for k, v in env.items()), *argv]


def moat_nb(far: Elsewhere, way: str, *words: str) -> list[str]:
    return python(far, way, "-m", "moat_nb", *words)


def run(far: Elsewhere, way: str, project: Path, *words: str, code: int = 0) -> str:
    """What `moat-nb` prints there; what it says of its failure too."""
    out, err = finished(moat_nb(far, way, *words), project, code)
    return out + (err if code else "")


@WAYS
def test_a_project_is_copied_there_without_its_excludes_and_brought_back(far, there, way) -> None:
    project = there()
    said = run(far, way, project, "run", "--", "python3", "-c", LOOK)
    assert said == (
        "['gone.txt', 'kept.txt', 'moat.yaml', 'node_modules', 'secret.txt', 'src'] []\n"
        "0o1777 True\nnative\n\n"
    )
    script = (
        "cat secret.txt; echo more >> src/a.py; rm gone.txt; ln -s /etc/passwd link; echo 1 > n"
    )
    assert run(far, way, project, "run", "--", "sh", "-c", script) == ""
    found = run(far, way, project, "diff", "--names").splitlines()
    assert {line.split()[-1] for line in found[1:]} == {"gone.txt", "link", "n", "src/a.py"}
    (project / "kept.txt").write_text("another of the host\n")
    assert run(far, way, project, "run", "--", "cat", "kept.txt", "n") == "another of the host\n1\n"
    run(far, way, project, "pull", code=1)  # a link that leads out comes when it is named
    assert not (project / "gone.txt").exists() and not (project / "link").is_symlink()
    assert (project / "src/a.py").read_text() == "src/a.py of the host\nmore\n"
    assert (project / "n").read_text() == "1\n"
    assert (project / "node_modules/host.js").exists()
    (volume,) = far.volumes
    assert volume.startswith("moat.workspace.")
    elsewhere = moat_nb(far, way, "diff")
    words = [word for word in elsewhere if not word.startswith("DOCKER_HOST=")]
    _, told = finished(words, project, 1)
    assert "there is a copy at" in told and "DOCKER_HOST=" in told
    run(far, way, project, "discard", "--yes")
    assert far.volumes == []


@WAYS
def test_a_kernel_that_a_client_starts_and_restarts_runs_there(far, there, way) -> None:
    project = there()
    out, _ = finished(python(far, way, "-c", KERNEL), project, 0)
    assert "'made'" in out and "] False" in out


@contextlib.contextmanager
def started(
    far: Elsewhere, way: str, project: Path, *words: str
) -> Iterator[subprocess.Popen[str]]:
    """A `moat-nb run` whose sandbox runs; killed at the end."""
    with subprocess.Popen(
        moat_nb(far, way, "run", "--", *words),
        cwd=project,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as launcher:
        try:
            assert wait_until(lambda: far.sandboxes == 1, seconds=100)
            yield launcher
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(launcher.pid, signal.SIGKILL)


def test_nothing_but_the_copy_is_left_there_of_a_launcher_that_was_killed(far, there) -> None:
    with started(far, "ssh", there(), "sleep", "1000"):
        assert len(far.volumes) == 2  # the guest's is its container's own
    assert wait_until(lambda: far.containers == [], seconds=60)
    (volume,) = far.volumes
    assert volume.startswith("moat.workspace.")


def test_two_sandboxes_of_a_project_work_on_one_copy(far, there) -> None:
    project = there()
    script = "echo first > made; while [ ! -e second ]; do sleep 0.1; done; echo both"
    with started(far, "tls", project, "sh", "-c", script) as first:
        wait = "while [ ! -e made ]; do sleep 0.1; done; cat made; touch second"
        assert run(far, "tls", project, "run", "--", "sh", "-c", wait) == "first\n"
        assert first.communicate(timeout=100)[0] == "both\n"


def test_a_service_and_a_port_of_a_sandbox_there_are_reached(far, there, engine, services) -> None:
    far.client.api.load_image(engine.client.api.get_image(services.redis))
    keys = {"dependencies": "[redis@7]", "ports": "{web: 3000}"}
    project = there(**keys, services=f"{{redis: {{image: '{services.redis}'}}}}")
    out, _ = finished(python(far, "tls", "-c", BOX, "python3", REDIS), project, 0)
    assert "$1" in out and "kept.txt of the host" in out


def test_the_demo_proves_there_what_it_proves_here_and_leaves_nothing(far, tmp_path) -> None:
    words = ("demo", "--runtime", "docker", "--image", far.image)
    said = run(far, "ssh", tmp_path, *words)
    assert re.search(r"/workspace/node_modules +tmpfs +1777 +yes +yes", said)
    assert re.search(r"host's files +untouched", said) and "lo only" in said
    assert (far.volumes, far.containers) == ([], [])


def test_what_is_of_this_machine_alone_is_refused_where_it_stands(far, there) -> None:
    project = there()
    text = (project / "moat.yaml").read_text()
    (project / "moat.yaml").write_text(
        text.replace("mounts: [", "mounts: [{source: src, target: /other}, ")
    )
    said = run(far, "ssh", project, "plan", code=1)
    assert "moat.yaml:4" in said and "has no " in said and "/src of this machine" in said


def test_an_engine_that_cannot_be_reached_says_how_to_find_out(far, there) -> None:
    project = there()
    words = moat_nb(far, "ssh", "run", "--runtime", "docker", "--", "true")

    def said(host: str) -> str:
        argv = [f"DOCKER_HOST={host}" if "DOCKER_HOST=" in word else word for word in words]
        return finished(argv, project, 125)[1]

    assert "`ssh -p 1 gpu docker version` should answer" in said("ssh://gpu:1")
    assert "nothing answers there; start the engine there" in said("ssh://gpu/no.sock")
    assert "without TLS" in said("tcp://11.0.9.1:2375")
