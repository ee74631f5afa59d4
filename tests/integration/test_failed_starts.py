"""Starts that fail half-way: a clear error, and no container, process or directory left."""

import contextlib
import io
import os
import socket
import sys
import tarfile

import pytest

from moat_nb import ImageError, ProofError, StartError
from moat_nb.errors import ProgramNotFound, RuntimeUnavailable
from moat_nb.jupyter.kernel_manager import Kernel
from tests import ordinary_user
from tests.integration.engine_proxy import EngineProxy


def test_an_image_without_python_is_named_in_the_error(on_docker):
    with empty_image(on_docker.engine) as image:
        project = on_docker.project("lib", base_image=image)
        with pytest.raises((StartError, ImageError), match="python3") as caught:
            on_docker.launch(project)
        assert len(str(caught.value)) < 2000
        assert on_docker.left(project) == []
        assert not (project / "lib").exists()


@contextlib.contextmanager
def empty_image(engine):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("nothing"))
    name = "moat-nb-test/empty"
    engine.client.api.import_image_from_data(data.getvalue(), repository=name, tag="1")
    yield f"{name}:1"
    engine.client.images.remove(f"{name}:1")


def test_an_image_that_is_nowhere_is_named_in_the_error(on_docker):
    # The address of a registry that refuses at once: nothing leaves this machine.
    image = "127.0.0.1:1/moat-nb-test/no-such-image:1"
    project = on_docker.project("lib", base_image=image)
    with pytest.raises(ImageError, match="no-such-image"):
        on_docker.launch(project)
    assert on_docker.left(project) == []


def test_a_failing_pre_run_hook_fails_the_start_with_its_words(launcher):
    hook = "echo it does not work >&2; exit 4"
    project = launcher.project("lib", hooks={"pre_run": hook})
    with pytest.raises(StartError, match="exit code 4\nit does not work"):
        launcher.launch(project)
    assert launcher.left(project) == []
    assert not (project / "lib").exists()


def test_a_kernel_whose_program_is_not_there_is_named_with_its_place(on_bubblewrap):
    argv = ["no-such-kernel", "{connection_file}"]
    box = on_bubblewrap.launch(on_bubblewrap.project(kernel={"argv": argv}))
    told = r"moat\.yaml:\d+:\d+: kernel\.argv: No such file .*: no-such-kernel \(in the sandbox\)"
    with pytest.raises(ProgramNotFound, match=told):
        Kernel.start(box)


def test_a_pre_run_hook_that_works_has_run_before_launch_returns(launcher):
    box = launcher.launch(launcher.project("lib", hooks={"pre_run": "touch lib/made"}))
    assert box.run(["ls", "lib"]).stdout == b"made\n"


def test_an_engine_that_drops_an_option_fails_the_proof_and_the_start(on_docker):
    """An engine that mounts noexec whatever it is told, as Docker 20.10 does in one form."""
    project = on_docker.project("lib")
    with EngineProxy(on_docker.engine.url, replace=(b"rw,exec,", b"rw,sync,")) as proxy:
        environ = {**os.environ, "DOCKER_HOST": proxy.url}
        with pytest.raises(ProofError, match=r"/workspace/lib.*cannot be run") as caught:
            on_docker.launch(project, environ=environ)
    assert "bubblewrap" in str(caught.value)
    assert on_docker.left(project) == []
    assert not (project / "lib").exists()


def test_an_engine_that_refuses_a_start_is_quoted(on_docker):
    project = on_docker.project("lib")
    other = (b'"NetworkMode": "none"', b'"NetworkMode": "nine"')
    with EngineProxy(on_docker.engine.url, replace=other) as proxy:
        environ = {**os.environ, "DOCKER_HOST": proxy.url}
        with pytest.raises(StartError, match="nine"):
            on_docker.launch(project, environ=environ)
    assert on_docker.left(project) == []


def test_no_engine_at_all_is_said_with_what_to_do(on_docker, nothing_there):
    project = on_docker.project()
    with pytest.raises(RuntimeUnavailable, match=r"nothing\.sock: nothing answers there; start"):
        on_docker.launch(project, environ=nothing_there)
    assert on_docker.left(project) == []


def test_an_engine_that_this_user_may_not_open_is_told_with_the_mend(project, run_directory):
    directory = project("base_image: nowhere/x:1\n")
    path = run_directory / "closed.sock"
    env = {"DOCKER_HOST": f"unix://{path}", "HOME": "/nonexistent", "PATH": os.environ["PATH"]}
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        path.chmod(0)
        words = (sys.executable, "-m", "moat_nb", "plan", str(directory))
        done = ordinary_user.run(words, env=env)
        refused = ordinary_user.run((*words, "--runtime", "docker"), env=env)
    path.unlink()
    may_not = f"you may not open {path}"
    assert "base_image: there are no images; use docker, which is here (" + may_not in done.stderr
    assert done.returncode == 1 and refused.returncode == 0, refused.stderr


def test_bubblewrap_needs_no_engine(on_bubblewrap, nothing_there):
    box = on_bubblewrap.launch(on_bubblewrap.project(), environ=nothing_there)
    assert box.run(["true"]).returncode == 0


@pytest.fixture
def nothing_there(run_directory):
    return {**os.environ, "DOCKER_HOST": f"unix://{run_directory}/nothing.sock"}
