"""`moat-nb run`, and the commands for sandboxes of other processes, on real sandboxes."""

import json
import os
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from moat_nb.host.run_directory import Owner, base_directory
from tests import ordinary_user
from tests.integration.conftest import wait_until
from tests.integration.leftovers import run_directories

CLEANS = pytest.mark.usefixtures("alone")
"""Each removes what any dead launcher left on the engine that all workers share."""


def words(*arguments):
    return [sys.executable, "-m", "moat_nb", *map(str, arguments)]


def moat(*arguments, **options):
    options = {"capture_output": True, "timeout": 60, "stdin": subprocess.DEVNULL, **options}
    if "input" in options:
        del options["stdin"]
    return subprocess.run(words(*arguments), check=False, **options)


@pytest.fixture
def run(launcher):
    """``run(*command, keys)``: a command in a new project's sandbox, without notices."""

    def run(*command, options=(), input=None, **keys):
        project = launcher.project(**keys)
        behind = ("--", *command) if command else ()
        given = {} if input is None else {"input": input}
        return moat("run", "-q", project, *options, "--runtime", launcher.runtime, *behind, **given)

    return run


# ---------------------------------------------------------------- one command


def test_output_and_exit_code_are_the_commands_own(run, launcher):
    done = run("sh", "-c", "echo out; echo err >&2; id -u; exit 7")
    assert done.returncode == 7
    assert done.stdout == f"out\n{launcher.owner.uid}\n".encode()
    assert done.stderr == b"err\n"


def test_bytes_pass_through_unchanged_both_ways_to_the_end_of_input(run):
    data = os.urandom(3 << 20)
    done = run("cat", input=data)
    assert done.returncode == 0
    assert done.stdout == data


def test_the_files_own_command_runs_when_none_is_given(run):
    done = run(command=["echo", "from the file"])
    assert (done.returncode, done.stdout) == (0, b"from the file\n")


def test_a_signal_that_ended_it_shows_as_in_a_shell(run):
    assert run("sh", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        ("no-such-program", 127, b"moat-nb: No such file or directory: no-such-program"),
        ("/etc/passwd", 126, b"moat-nb: Permission denied: /etc/passwd"),
    ],
)
def test_a_command_that_cannot_be_started_has_the_shells_exit_code(run, command, code, text):
    done = run(command)
    assert done.returncode == code
    assert done.stderr.startswith(text)


def test_a_mount_of_the_command_line_is_there_and_read_only(run, launcher, project):
    data = project("").parent / "data"
    data.mkdir()
    (data / "table.csv").write_text("1,2\n")
    script = "cat /data/table.csv; touch /data/x 2>/dev/null || echo refused"
    done = run("sh", "-c", script, options=("--mount", f"{data}:/data:ro"))
    assert done.stdout == b"1,2\nrefused\n"


def test_notices_go_to_stderr_unless_it_is_quiet(launcher):
    project = launcher.project()
    (project / ".env").write_text("TOKEN=x")
    done = moat("run", project, "--runtime", launcher.runtime, "--", "true")
    assert done.stdout == b""
    assert b"moat-nb: .env looks like a secret and can be read inside; to hide: " in done.stderr
    # Beside the display of a start that takes long.
    asked = f"moat-nb: runtime: {launcher.runtime} (asked for)"
    assert asked in done.stderr.decode().splitlines()
    done = moat("run", "--quiet", project, "--runtime", launcher.runtime, "--", "true")
    assert done.stderr == b""


def test_a_reader_that_went_away_ends_the_command(launcher):
    arguments = words("run", "-q", launcher.project(), "--runtime", launcher.runtime, "--", "yes")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"y\n"
        process.stdout.close()
        assert process.wait(30) == 128 + signal.SIGPIPE
        assert process.stderr.read() == b""


def test_a_start_that_fails_exits_with_125_and_its_words(run):
    done = run("true", hooks={"pre_run": "echo because; exit 3"})
    assert done.returncode == 125
    assert b"moat-nb: hooks.pre_run ('echo because; exit 3'): exit code 3" in done.stderr


# ---------------------------------------------------------------- signals


class Running:
    """`moat-nb run` in the background, and its lines as they come."""

    def __init__(self, launcher, *command, **keys):
        self.project = launcher.project(**keys)
        arguments = ("run", "-q", self.project, "--runtime", launcher.runtime, "--", *command)
        self.process = subprocess.Popen(
            words(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._lines = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line.decode().rstrip())

    def line(self):
        return self._lines.get(timeout=300)

    def ended(self):
        code = self.process.wait(300)
        self._reader.join()
        self.process.stdout.close()
        return code


SLEEP = ("sh", "-c", "echo ready; sleep 60")

WAITING = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
print("ready", flush=True)
time.sleep(60)
"""

TRAPPING = """
import os, signal, time
def caught(number, frame):
    # Not print, which may be what was interrupted: it refuses to be entered twice.
    os.write(1, b"caught %s\\n" % signal.Signals(number).name.encode())
    if number == signal.SIGTERM:
        raise SystemExit(9)
signal.signal(signal.SIGINT, caught)
signal.signal(signal.SIGTERM, caught)
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""


@pytest.fixture
def start(launcher):
    """``start(*command, **keys)``: a Running, which does not outlive the test."""
    started = []

    def start(*command, **keys):
        started.append(Running(launcher, *command, **keys))
        return started[-1]

    yield start
    for running in started:
        running.process.kill()
        running.ended()


def test_sigterm_is_the_commands_to_answer(start):
    running = start("python3", "-c", TRAPPING)
    assert running.line() == "ready"
    running.process.terminate()
    assert running.line() == "caught SIGTERM"
    assert running.ended() == 9


def test_the_first_ctrl_c_interrupts_and_the_second_kills(start):
    running = start("python3", "-c", TRAPPING)
    assert running.line() == "ready"
    running.process.send_signal(signal.SIGINT)
    assert running.line() == "caught SIGINT"
    running.process.send_signal(signal.SIGINT)
    assert running.ended() == 128 + signal.SIGKILL


def test_ctrl_c_reaches_the_commands_children(start):
    # Between a fork and its exec dash's child loses an interrupt, so the child itself says "ready".
    running = start("sh", "-c", f"python3 -c '{WAITING}'; echo not reached")
    assert running.line() == "ready"
    running.process.send_signal(signal.SIGINT)
    assert running.ended() == 128 + signal.SIGINT


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_the_start_ends_it_with_nothing_left(launcher, start, signum, code):
    running = start("true", hooks={"pre_run": "echo ready; sleep 60"})
    assert running.line() == "ready"
    running.process.send_signal(signum)
    assert running.ended() == code
    assert launcher.left(running.project) == []


# ---------------------------------------------------------------- sandboxes of other processes


def listed(project):
    found = json.loads(moat("ps", "--json").stdout)
    return [one for one in found if one.get("project") == str(project)]


def test_ps_shows_a_running_sandbox_and_logs_what_its_kernels_wrote(launcher):
    project = launcher.project()
    box = launcher.launch(project)
    box.log.write(b"from a kernel\n")
    (one,) = listed(project)
    assert one["id"] == box.id
    assert one["state"] == "running"
    assert one["owner"]["pid"] == os.getpid()
    assert one["runtime"] == launcher.runtime
    lines = moat("ps").stdout.decode().splitlines()
    assert lines[0].split()[:4] == ["ID", "NAME", "STATE", "AGE"]
    assert any(line.startswith(f"{box.id}  test-box ") for line in lines)
    assert moat("logs", box.id).stdout == b"from a kernel\n"


def test_stop_ends_a_sandbox_and_its_launcher_lives_on_to_see_it(launcher):
    project = launcher.project()
    heard = queue.Queue()
    box = launcher.launch(project, on_event=lambda kind, text: heard.put(kind))
    other = launcher.launch(launcher.project())
    done = moat("stop", box.id)
    assert done.stdout == f"{box.id} (test-box): stopped\n".encode()
    assert heard.get(timeout=300) == "gone"
    assert box.gone is not None
    assert listed(project)[0]["state"] == "ended"
    assert moat("stop", box.id).stdout == f"{box.id} (test-box): had ended already\n".encode()
    # The mirror: the neighbour of the same name was not touched.
    assert other.run(["echo", "alive"]).stdout == b"alive\n"


def test_stop_all_ends_every_sandbox_of_the_user_and_no_one_elses(
    on_bubblewrap, run_directory, owner
):
    """The user is an ordinary one with directories of his own; the neighbour is ours."""
    runtime_directory = run_directory / "xdg"
    runtime_directory.mkdir(mode=0o700)
    on_bubblewrap.give(runtime_directory, owner)
    env = {"XDG_RUNTIME_DIR": str(runtime_directory), "HOME": "/proc/nonexistent"}
    neighbour = on_bubblewrap.launch(on_bubblewrap.project()) if os.getuid() == 0 else None
    project = on_bubblewrap.project()
    arguments, extra = ordinary_user.command(
        words("run", "-q", project, "--runtime", "bubblewrap", "--", *SLEEP)
    )
    with (
        subprocess.Popen(arguments, env={**env, **extra}, stdout=subprocess.PIPE) as first,
        subprocess.Popen(arguments, env={**env, **extra}, stdout=subprocess.PIPE) as second,
    ):
        assert first.stdout.readline() == second.stdout.readline() == b"ready\n"
        refused = ordinary_user.run(words("stop", "--all"), env=env, cwd="/")
        assert refused.returncode == 1
        assert refused.stderr.count(f"(test-box)  {project}\n") == 2
        assert "moat-nb: nothing was stopped; `moat-nb stop .` ends those" in refused.stderr
        done = ordinary_user.run(words("stop", "--all"), env=env, cwd=project)
        assert [line.partition(" ")[2] for line in done.stdout.splitlines()] == [
            "(test-box): stopped",
            "(test-box): stopped",
        ]
        assert (first.wait(30), second.wait(30)) == (125, 125)
    assert neighbour is None or neighbour.run(["echo", "alive"]).stdout == b"alive\n"


def test_run_says_125_when_its_sandbox_is_stopped_under_it(start):
    running = start(*SLEEP)
    assert running.line() == "ready"
    (one,) = listed(running.project)
    assert moat("stop", one["id"]).returncode == 0
    assert running.ended() == 125
    assert running.line().startswith("moat-nb: the sandbox has ended")


def test_logs_follow_until_the_sandbox_is_gone(launcher):
    box = launcher.launch(launcher.project())
    box.log.write(b"one\n")
    with subprocess.Popen(words("logs", "--follow", box.id), stdout=subprocess.PIPE) as following:
        assert following.stdout.readline() == b"one\n"
        box.log.write(b"two\n")
        assert following.stdout.readline() == b"two\n"
        box.stop()
        assert following.wait(60) == 0


# ---------------------------------------------------------------- clean and build


def dead_owner():
    """A process that was, named as a launcher is."""
    with subprocess.Popen(["sleep", "60"]) as process:
        owner = Owner.of(process.pid)
        process.kill()
    return str(owner)


@pytest.fixture
def make_container(engine):
    """``make_container(owner)``: a created container as a launcher leaves it that dies there."""
    base = base_directory(os.environ, os.getuid())
    source = base / f"{os.getpid():08x}-test"
    source.mkdir(parents=True)
    made = []

    def make(owner):
        container = engine.client.containers.create(
            engine.base_image,
            ["true"],
            labels={"moat.nb.owner": owner},
            volumes={str(source): {"bind": "/s"}},
            network_mode="none",
        )
        made.append(container)
        return container.id

    yield make
    for container in engine.client.containers.list(all=True, ignore_removed=True):
        if container.id in [one.id for one in made]:
            container.remove(force=True)
    source.rmdir()


@CLEANS
@pytest.mark.engine
def test_clean_removes_a_dead_launchers_container_and_no_living_ones(engine, make_container):
    orphan, used = make_container(dead_owner()), make_container(str(Owner.of(os.getpid())))
    done = moat("clean")
    assert done.returncode == 0
    there = [
        container.id for container in engine.client.containers.list(all=True, ignore_removed=True)
    ]
    assert orphan not in there
    assert used in there
    assert b"removed container " in done.stdout


@CLEANS
def test_clean_leaves_running_sandboxes_alone(launcher):
    box = launcher.launch(launcher.project())
    assert moat("clean").returncode == 0
    assert box.run(["echo", "alive"]).stdout == b"alive\n"
    assert any(path.name == box.id for path in run_directories())


@pytest.mark.engine
def test_build_prints_the_image_that_a_start_then_uses(engine, project):
    text = f"name: test-build\nbase_image: {engine.kernel_image}\n"
    directory = project(text)
    done = moat("build", directory, "--runtime", "docker")
    assert done.returncode == 0, done.stderr
    tag = done.stdout.decode().strip()
    assert tag.startswith("moat-nb/test-build:")
    assert tag in [name for image in engine.client.images.list() for name in image.tags]
    assert moat("build", directory, "--runtime", "docker").stdout.decode().strip() == tag


def test_build_has_nothing_to_do_on_bubblewrap(project):
    done = moat("build", project("name: test-build\n"), "--runtime", "bubblewrap")
    assert done.stdout == b"nothing to build: bubblewrap runs on the host's own files\n"


@CLEANS
def test_a_directory_of_a_dead_launcher_is_removed(launcher):
    """What a power cut leaves: a directory with a note, and nobody behind it."""
    base = base_directory(os.environ, os.getuid())
    box = launcher.launch(launcher.project())
    sandbox_state = json.loads((base / box.id / "sandbox.json").read_text())
    pid, start, boot = dead_owner().split(":")
    sandbox_state |= {"owner": {"pid": int(pid), "start": start, "boot": boot}}

    def removed() -> bool:
        left = base / secrets.token_hex(4)
        left.mkdir()
        try:
            (left / "sandbox.json").write_text(json.dumps({**sandbox_state, "id": left.name}))
            said = moat("clean").stdout
            assert not left.exists()
            return f"removed directory {left}\n".encode() in said
        finally:
            shutil.rmtree(left, ignore_errors=True)

    # Any start removes it too, and another user of this machine may have started something.
    assert wait_until(removed)
