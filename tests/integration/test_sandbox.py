"""The Sandbox's own behaviour on real runtimes: commands, ends of every kind, and no leftovers."""

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from moat_nb import CommandError, ConfigError, Sandbox, SandboxGone, StartError
from moat_nb.host.run_directory import IMAGES
from moat_nb.runtimes.bubblewrap.covers import MANY
from tests import ordinary_user
from tests.engine import PrivateEngine
from tests.integration.conftest import MIB, settle, wait_until
from tests.integration.engine_proxy import EngineProxy
from tests.integration.leftovers import run_directories

# ------------------------------------------------------- commands


def test_a_commands_exit_code_and_output_are_its_own(launcher):
    box = launcher.launch(launcher.project())
    done = box.run(["sh", "-c", "printf out; printf err >&2; exit 7"])
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out", b"err")
    assert box.run(["true"]).returncode == 0


def test_a_command_killed_by_a_signal_says_which(launcher):
    box = launcher.launch(launcher.project())
    assert box.run(["sh", "-c", "kill -TERM $$"]).returncode == -signal.SIGTERM
    process = box.spawn(["sleep", "60"])
    process.signal(signal.SIGKILL)
    assert process.wait(timeout=300).code == -signal.SIGKILL


def test_check_raises_with_the_commands_own_words_and_only_for_a_failure(launcher):
    box = launcher.launch(launcher.project())
    with pytest.raises(CommandError, match="exit code 3\nno such thing") as caught:
        box.run(["sh", "-c", "echo no such thing >&2; exit 3"], check=True)
    assert caught.value.returncode == 3
    assert box.run(["true"], check=True).returncode == 0


def test_ten_megabytes_of_output_arrive_unchanged(launcher):
    box = launcher.launch(launcher.project())
    script = f"import sys; sys.stdout.buffer.write(bytes(range(256)) * {10 * MIB // 256})"
    assert box.run(["python3", "-c", script], check=True).stdout == bytes(range(256)) * 40960


def test_output_can_be_heard_as_it_comes(launcher):
    box = launcher.launch(launcher.project())
    heard = threading.Event()
    pieces = []

    def hear(stream, data):
        pieces.append((stream, data))
        heard.set()

    process = box.spawn(["sh", "-c", "echo first; sleep 60"], on_output=hear)
    assert heard.wait(60)
    assert pieces == [(1, b"first\n")]
    process.signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize(
    ("argv", "options", "words"),
    [
        (["no-such-program"], {}, "No such file or directory: no-such-program"),
        (["/workspace/moat.yaml"], {}, "Permission denied: /workspace/moat.yaml"),
        (["true"], {"cwd": "/nowhere"}, "No such file or directory: the working directory"),
    ],
)
def test_a_command_that_cannot_be_started_is_an_error_and_the_sandbox_lives(
    launcher, argv, options, words
):
    box = launcher.launch(launcher.project())
    with pytest.raises(StartError, match=words):
        box.run(argv, **options)
    assert box.run(["true"]).returncode == 0


def test_env_reaches_the_command_and_the_launchers_own_does_not(launcher, monkeypatch):
    monkeypatch.setenv("LAUNCHERS_OWN", "1")
    project = launcher.project(env={"FROM_FILE": "file", "BOTH": "file"})
    box = launcher.launch(project, env={"BOTH": "launch"})
    env = box.run(["env"], env={"FROM_CALL": "call"}).stdout.decode().splitlines()
    assert {"FROM_FILE=file", "BOTH=launch", "FROM_CALL=call"} <= set(env)
    assert not [line for line in env if line.startswith("LAUNCHERS_OWN")]


def test_a_command_out_of_memory_is_reported_as_that_and_the_sandbox_lives(launcher):
    """On Docker the kernel kills it; where nothing does, python itself is refused the memory."""
    box = launcher.launch(launcher.project(container={"memory": 256}))
    script = "x = bytearray(400 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1"
    errors = bytearray()
    process = box.spawn(["python3", "-c", script], on_output=lambda _, data: errors.extend(data))
    how = process.wait(timeout=300)
    if any(notice.startswith("limits: memory is not limited") for notice in box.spec.notices):
        assert (how.code, how.oom) == (1, False)
        assert b"MemoryError" in errors
    else:
        assert (how.code, how.oom) == (-signal.SIGKILL, True)
        assert "memory limit" in str(how)
    assert box.run(["true"]).returncode == 0


def test_a_killed_command_is_not_taken_for_one_out_of_memory(launcher):
    box = launcher.launch(launcher.project())
    how = box.spawn(["sh", "-c", "kill -KILL $$"]).wait(timeout=300)
    assert (how.code, how.oom) == (-signal.SIGKILL, False)


# ------------------------------------------------------- ends


def test_stop_is_idempotent_and_may_be_called_from_many_threads(launcher):
    project = launcher.project("lib")
    box = launcher.launch(project)
    threads = [threading.Thread(target=box.stop) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert launcher.left(project) == []
    assert not (project / "lib").exists()
    box.stop()


def test_a_stopped_sandbox_refuses_work_and_ends_what_ran(launcher):
    box = launcher.launch(launcher.project())
    process = box.spawn(["sleep", "60"])
    box.stop()
    assert process.wait(timeout=300).code == -signal.SIGKILL
    assert box.gone is not None
    for work in (lambda: box.run(["true"]), box.mounts):
        with pytest.raises(SandboxGone):
            work()


def test_leaving_the_with_block_by_an_error_stops_it(launcher):
    project = launcher.project()
    with pytest.raises(ZeroDivisionError), launcher.launch(project):
        raise ZeroDivisionError
    assert launcher.left(project) == []


def test_a_sandbox_killed_from_outside_is_gone_with_a_reason(launcher):
    project = launcher.project("lib")
    events = []
    box = launcher.launch(project, on_event=lambda *event: events.append(event))
    process = box.spawn(["sleep", "60"])
    kill_from_outside(launcher, box)
    assert wait_until(lambda: len(events) == 1, 60), events
    assert events[0] == ("gone", box.gone)
    assert "137" in box.gone or "signal 9" in box.gone or "exit code" in box.gone
    assert process.wait(timeout=300).code == -signal.SIGKILL
    with pytest.raises(SandboxGone):
        box.run(["true"])
    box.stop()
    assert launcher.left(project) == []


def kill_from_outside(launcher, box):
    if launcher.runtime == "docker":
        name = dict(box._running.spec.labels)["moat.nb.sandbox"]
        filters = {"label": f"moat.nb.sandbox={name}"}
        (container,) = launcher.engine.client.containers.list(filters=filters)
        container.kill()
    else:
        os.kill(box._running.attach_stream.pid, signal.SIGKILL)


def test_an_engine_that_is_lost_ends_the_sandbox(on_docker):
    """What the launcher holds of the engine is cut; the engine itself then removes the rest."""
    project = on_docker.project()
    with EngineProxy(on_docker.engine.url) as proxy:
        box = on_docker.launch(project, environ={**os.environ, "DOCKER_HOST": proxy.url})
        proxy.cut()
        assert wait_until(lambda: box.gone is not None)
        with pytest.raises(SandboxGone):
            box.run(["true"])
        filters = {"label": f"moat.nb.sandbox={box.id}"}
        containers = on_docker.engine.client.containers
        assert wait_until(
            lambda: containers.list(all=True, filters=filters, ignore_removed=True) == []
        )
        box.stop()
    assert on_docker.left(project) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start an engine to stop it")
def test_an_engine_that_stops_ends_the_sandbox_and_stop_returns(
    engine, project, run_directory, tmp_path
):
    own = PrivateEngine(run_directory / "own-engine")
    own.start()
    try:
        image = tmp_path / "image.tar"
        with image.open("wb") as file:
            file.writelines(engine.client.images.get(engine.base_image).save(named=True))
        subprocess.run(["docker", "-H", f"unix://{own.socket}", "load", "-qi", image], check=True)
        kernel = 'kernel: {argv: [python3, "{connection_file}"]}\nnetwork: {policy: none}\n'
        directory = project(f"name: test-box\nbase_image: {engine.base_image}\n{kernel}")
        environ = {**os.environ, "DOCKER_HOST": f"unix://{own.socket}"}
        with Sandbox.launch(directory, "docker", environ=environ) as box:
            assert box.run(["true"]).returncode == 0
            own.kill()
            assert wait_until(lambda: box.gone is not None)
        assert not box.sockets.exists()
    finally:
        own.stop()


# ------------------------------------------------------- many


def test_two_sandboxes_of_one_project_run_side_by_side(launcher):
    project = launcher.project("lib")
    one, other = launcher.launch(project), launcher.launch(project)
    assert one.id != other.id
    one.run(["touch", "lib/mine"], check=True)
    assert other.run(["ls", "lib"], check=True).stdout == b""
    one.stop()
    assert (project / "lib").exists(), "the other still stands on it"
    assert other.run(["touch", "lib/other"]).returncode == 0
    assert other.gone is None


def test_twenty_cycles_leak_no_descriptor_thread_or_process(launcher):
    project = launcher.project("lib", network=None)
    launcher.launch(project).stop()  # what is made once for all: imports, the spawner's thread
    settle()
    before = mine()
    for _ in range(20):
        launcher.launch(project).stop()
    assert wait_until(lambda: mine() == before), (before, mine())


def mine():
    """The numbers of this process's descriptors, threads and children."""
    children = Path("/proc/self/task").glob("*/children")
    return (
        len(list(Path("/proc/self/fd").iterdir())),
        len([thread for thread in threading.enumerate() if thread.name.startswith("moat")]),
        sum(len(path.read_text().split()) for path in children),
    )


# ------------------------------------------------------- what shows outside


def test_a_secret_shows_in_the_sandbox_and_nowhere_else(launcher, monkeypatch, caplog):
    secret = "s3cret-" + "of-this-test"
    monkeypatch.setenv("MOAT_TEST_TOKEN", secret)
    project = launcher.project(secrets={"TOKEN": "env://MOAT_TEST_TOKEN"})
    box = launcher.launch(project)
    assert box.run(["sh", "-c", "printf %s $TOKEN"]).stdout.decode() == secret
    running = box.spawn(["sleep", "60"])

    places = [repr(box), repr(box.spec), repr(box.config), caplog.text, box.log.tail()]
    places += [path.read_text() for path in box.sockets.parent.glob("*") if path.is_file()]
    if launcher.engine is not None:
        filters = {"label": f"moat.nb.sandbox={box.id}"}
        (container,) = launcher.engine.client.containers.list(filters=filters)
        places.append(json.dumps(container.attrs))
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            places.append(cmdline.read_text(errors="replace"))
    running.signal(signal.SIGKILL)
    assert [place[:300] for place in places if secret in place] == []


ODD_NAMES = ["two words", "ünï-cödé-中", 'it\'s "quoted"', "a,b", "a:b", "a\\b", "$HOME", "-rf"]


def test_a_workspace_may_have_any_name(launcher):
    for name in ODD_NAMES:
        project = launcher.project("lib", directory=name)
        box = launcher.launch(project)
        box.run(["sh", "-ec", "touch made lib/new"], check=True)
        box.stop()
        assert {path.name for path in project.iterdir()} == {"made", "moat.yaml"}, name


def test_a_umask_of_077_does_not_close_the_sandbox(launcher):
    project = launcher.project("lib", python=True)
    before = os.umask(0o077)
    try:
        box = launcher.launch(project)
        with box.start_kernel() as kernel:
            reply = kernel.kc.execute_interactive("1", timeout=300)
            assert reply["content"]["status"] == "ok"
    finally:
        os.umask(before)
    assert stat.S_IMODE(box._running.run_dir.path.parent.stat().st_mode) & 0o066 == 0


def test_a_directory_of_a_sandbox_shows_nothing_to_others_and_is_removed(launcher):
    box = launcher.launch(launcher.project())
    directory = box.sockets.parent
    assert directory in run_directories()
    assert stat.S_IMODE(directory.stat().st_mode) & 0o066 == 0
    assert stat.S_IMODE(box.sockets.stat().st_mode) == 0o700
    listed = box.run(["sh", "-c", f"ls {directory.parent}; ls {directory}; ls {box.sockets}"])
    assert set(listed.stdout.decode().split()) <= {directory.name, "s"}
    box.stop()
    assert not directory.exists()


# ------------------------------------------------------- who launches

LAUNCH = """
import os, sys, moat_nb
from moat_nb.text.progress import Silent
with moat_nb.Sandbox.launch(sys.argv[1], sys.argv[2], progress=Silent) as box:
    print(box.run(["sh", "-c", "id -u; touch result lib/x; ls lib"], check=True).stdout.decode())
    with box.start_kernel() as kernel:
        kernel.kc.execute_interactive("print(6 * 7)", timeout=300)
"""


def test_an_ordinary_user_launches_a_sandbox_and_a_kernel(launcher, run_directory):
    project = launcher.project("lib", "**/__pycache__", python=True)
    for number in range(MANY + 1):  # so many are covered in another way on bubblewrap
        (project / f"package/{number}/__pycache__").mkdir(parents=True)
    runtime_directory = project.parent / "run"
    runtime_directory.mkdir(mode=0o700)
    launcher.give(runtime_directory, launcher.owner)
    env = {"PATH": os.environ["PATH"], "HOME": str(project.parent), "LANG": "C.UTF-8"}
    env |= {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}
    env["XDG_RUNTIME_DIR"] = str(runtime_directory)
    done = ordinary_user.run(
        [sys.executable, "-W", "error", "-c", LAUNCH, str(project), launcher.runtime], env=env
    )
    assert done.stderr == ""
    assert done.stdout.split() == [str(launcher.owner.uid), "x", "42"]
    assert (project / "result").stat().st_uid == launcher.owner.uid
    assert not (project / "lib").exists()
    left = {path.name for path in (runtime_directory / "moat-nb").iterdir()}
    assert left <= {IMAGES}  # what is known of images outlasts a sandbox


# ------------------------------------------------------- reset


def test_a_reset_starts_what_moat_yaml_says_by_then(launcher):
    project = launcher.project("lib")
    box = launcher.launch(project)
    (project / "moat.yaml").write_text(launcher.yaml(exclude=("lib", "new"), env={"A": "1"}))
    box.reset()
    assert sorted(mount.path for mount in box.mounts()) == ["/workspace/lib", "/workspace/new"]
    assert box.run(["sh", "-c", "echo $A"]).stdout == b"1\n"


def test_a_reset_with_a_wrong_moat_yaml_leaves_the_sandbox_as_it_is(launcher):
    project = launcher.project("lib")
    box = launcher.launch(project)
    box.run(["touch", "lib/kept"], check=True)
    (project / "moat.yaml").write_text("moutns: []\n")
    with pytest.raises(ConfigError, match="did you mean 'mounts'"):
        box.reset()
    assert box.run(["ls", "lib"]).stdout == b"kept\n"


def test_a_sandbox_shows_its_mounts_with_their_use_and_its_kernel_with_memory_and_cpu(launcher):
    project = launcher.project("node_modules", python=True, container={"memory": 1024})
    box = launcher.launch(project)
    box.run(["dd", "if=/dev/zero", "of=node_modules/x", "bs=1M", "count=3"], check=True)
    with box.start_kernel() as kernel:
        kernel.kc.execute_interactive("x = bytearray(100 << 20)", timeout=300)
        shown = box._repr_mimebundle_()
        # Looks that come within a second of each other are one.
        assert wait_until(lambda: box.view().kernels[0].samples[-1].memory > 100 * MIB)
    text, page = shown["text/plain"], shown["text/html"]
    assert text.startswith(f"Sandbox test-box ({box.id}), running\n")
    assert re.search(r"/workspace/node_modules +tmpfs", text) and "3 MiB of 512 MiB" in text
    assert "3 MiB of 512 MiB" in page and "<svg" not in page
    # Where the runtime has a cgroup, it tells of the whole sandbox.
    is_limited = not any("memory is not limited" in notice for notice in box.spec.notices)
    assert (" of 1 GiB in use" in text) == is_limited
    box.stop()
    text = box._repr_mimebundle_()["text/plain"]
    assert text.startswith(f"Sandbox test-box ({box.id}), ended\nit was stopped\n")


OWN_NAMES = """
import http.server, socket, threading, urllib.request
print(socket.gethostbyname(socket.gethostname()))
server = http.server.HTTPServer(("", 0), http.server.BaseHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
for host in ("0.0.0.0", "localhost", socket.gethostname()):
    try:
        urllib.request.urlopen(f"http://{host}:{server.server_port}/")
    except urllib.error.HTTPError as error:
        print(error.code, error.headers["Server"].split("/")[0])
"""


def test_the_sandboxs_own_names_and_addresses_lead_to_itself(launcher):
    """Spark, torch's gloo and ipyparallel look their own name up."""
    box = launcher.launch(launcher.project(network=None))
    said = box.run(["python3", "-c", OWN_NAMES], check=True).stdout.decode().splitlines()
    assert said == ["127.0.0.1", *(3 * ["501 BaseHTTP"])]


def test_a_project_that_was_written_a_moment_ago_has_not_changed(launcher, caplog):
    launcher.launch(launcher.project("lib")).stop()
    assert "changed since" not in caplog.text
