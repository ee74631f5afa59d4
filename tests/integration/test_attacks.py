"""Attacks for real: in a hardened sandbox, and where nothing stops them. A table is printed.

The control is a container of root's with CAP_SYS_ADMIN, and without seccomp, limits and excludes,
or a plain process on the host; it shows that the attack works at all. Nothing here sends a packet
out: the sandbox and the control's container have no network, the servers are this test's own.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from pathlib import Path

import pytest

from moat_nb.host.rotating_log import LIMIT

MEMORY_MB, TMPFS_MB, PIDS = 256, 32, 64


@dataclass(frozen=True, kw_only=True)
class Attack:
    """``{word}`` in an argument is filled in for the sandbox, and for the control."""

    name: str
    function: str
    arguments: tuple[str, ...] = ()
    expected: str
    bubblewrap: str | None = None
    """Where it ends otherwise there."""
    control: str | None = None
    """What happens where nothing stops it; None where that would be no control or would harm."""
    on_host: bool = False


ATTACKS = [
    Attack(name="fork bomb", function="fork_bomb", expected="EAGAIN", control="300 made"),
    Attack(
        name="memory bomb",
        function="memory_bomb",
        expected="OOM-killed",
        bubblewrap="MemoryError",
        control="400 MiB taken",
    ),
    Attack(
        name="fill an exclude",
        function="fill",
        arguments=("{scratch}",),
        expected="ENOSPC",
        control="48 MiB written",
    ),
    Attack(
        name="fill an exclude's inodes",
        function="fill_inodes",
        arguments=("{scratch}",),
        expected="ENOSPC",
        # bubblewrap has no option for it: what bounds them is half of the host's memory.
        bubblewrap="20000 made",
        control="20000 made",
    ),
    Attack(
        name="write to the root filesystem",
        function="write_file",
        arguments=("/usr/attack",),
        expected="EROFS",
        control="written",
    ),
    Attack(
        name="exhaust descriptors",
        function="exhaust_descriptors",
        expected="EMFILE",
        control="5000 opened",
    ),
    Attack(name="mount", function="mount", expected="EPERM", control="done"),
    Attack(
        name="umount an exclude",
        function="umount",
        arguments=("{mounted}",),
        expected="EPERM",
        control="done",
    ),
    Attack(name="unshare", function="unshare", expected="EPERM", control="done"),
    Attack(name="clone3 with a namespace", function="clone3", expected="ENOSYS", control="done"),
    Attack(name="bpf", function="bpf", expected="EPERM", control="done"),
    Attack(name="add_key", function="add_key", expected="EPERM", control="done"),
    Attack(name="mknod", function="mknod", expected="EPERM", control="done"),
    Attack(
        name="run a setuid copy",
        function="setuid",
        arguments=("/workspace/id",),
        expected="nothing gained",
        control="another user's rights gained",
    ),
    Attack(
        name="write to /proc/sys",
        function="open_for_writing",
        arguments=("/proc/sys/kernel/core_pattern",),
        expected="EACCES",
    ),
    Attack(
        name="read the host through /proc",
        function="read_any",
        arguments=("/proc/1/root{marker}", "/proc/self/root{marker}"),
        expected="ENOENT",
        control="read",
        on_host=True,
    ),
    Attack(
        name="follow a link out of the workspace",
        function="read_any",
        arguments=("{workspace}/out",),
        expected="ENOENT",
        control="read",
        on_host=True,
    ),
    Attack(
        name="read an excluded secret",
        function="read_any",
        arguments=("/workspace/.env",),
        expected="empty",
        control="read",
    ),
    Attack(
        name="find the engine's socket",
        function="find_engine",
        expected="none found",
        control="found",
    ),
    Attack(name="metadata address", function="connect_metadata", expected="ENETUNREACH"),
    Attack(
        name="host's loopback",
        function="connect_port",
        arguments=("{port}",),
        expected="ECONNREFUSED",
        control="connected",
        on_host=True,
    ),
    Attack(
        name="host's abstract socket",
        function="connect_abstract",
        arguments=("{abstract}",),
        expected="ECONNREFUSED",
        control="connected",
        on_host=True,
    ),
    Attack(name="UDP", function="send_udp", expected="ENETUNREACH"),
    Attack(name="IPv6", function="connect_ipv6", expected="no way"),
    Attack(
        name="DNS exfiltration",
        function="resolve",
        arguments=("attacker.test",),
        expected="EAI_AGAIN",
    ),
    Attack(name="raw socket", function="raw_socket", expected="EPERM", control="done"),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_ends_as_expected_and_the_sandbox_lives(launcher, attack, table, lures, control):
    project = launcher.project(
        *("node_modules", ".env"),
        container={"memory": MEMORY_MB},
        kernel={"tmpfs_size": TMPFS_MB, "pids": PIDS},
    )
    set_up_proxy(project, lures)
    box = launcher.launch(project)
    expected = expectation(attack, box)
    inside = {**lures, "scratch": "node_modules", "mounted": "/workspace/node_modules"}
    happened = run_inside(box, attack, {**inside, "workspace": "/workspace"})
    controlled = control(attack)

    table(attack.name, launcher.runtime, expected, happened, controlled or "-")
    assert happened == expected
    assert controlled == attack.control
    assert box.run(["true"]).returncode == 0


def expectation(attack, box):
    if box.spec.runtime != "bubblewrap" or attack.bubblewrap is None:
        return attack.expected
    limited = any("holds all processes to" in notice for notice in box.spec.notices)
    return "OOM-killed" if limited and attack.name == "memory bomb" else attack.bubblewrap


def command(attack, words):
    return [attack.function, *(argument.format_map(words) for argument in attack.arguments)]


def run_inside(box, attack, words):
    output = bytearray()
    process = box.spawn(
        ["python3", "/workspace/attacks.py", *command(attack, words)],
        on_output=lambda _, data: output.extend(data),
    )
    how = process.wait(timeout=300)
    return "OOM-killed" if how.oom else output.decode().strip() or str(how)


# ------------------------------------------------------- what the attacks are after


@pytest.fixture(scope="session")
def lures(run_directory):
    """A file of the host's, a server on its loopback, and one on an abstract socket."""
    marker = run_directory / "marker"
    marker.write_text("a file of the host's")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as other:
        abstract = f"moat-nb-test-{os.getpid()}"
        other.bind(f"\0{abstract}")
        other.listen()
        port = str(server.getsockname()[1])
        yield {"marker": str(marker), "port": port, "abstract": abstract}


def set_up_proxy(project: Path, lures: dict[str, str]) -> None:
    shutil.copy(attacks_file(), project / "attacks.py")
    (project / ".env").write_text("PASSWORD=hunter2")
    (project / "out").symlink_to(lures["marker"])
    shutil.copy(shutil.which("id"), project / "id")
    (project / "id").chmod(0o4755)


def attacks_file() -> Path:
    return Path(__file__).with_name("attacks.py")


@pytest.fixture(scope="session")
def control(engine, lures, run_directory):
    """``control(attack)``: what happens where nothing stops it; each is tried once."""
    project = Path(tempfile.mkdtemp(dir=run_directory))
    project.chmod(0o755)
    set_up_proxy(project, lures)
    found = {}
    words = {**lures, "scratch": "/tmp", "mounted": "/dev/shm", "workspace": str(project)}
    container = engine.client.containers.create(
        engine.base_image,
        ["sleep", "600"],
        init=True,
        network_mode="none",
        cap_add=["SYS_ADMIN"],
        security_opt=["seccomp=unconfined"],
        mem_limit="1g",
        volumes=[f"{project}:/workspace", f"{engine.url.removeprefix('unix://')}:/run/docker.sock"],
    )

    def tried(attack):
        if attack.control is None:
            return None
        if attack.name not in found:
            argv = [str(project / "attacks.py"), *command(attack, words)]
            if attack.on_host:
                argv = [sys.executable, *argv]
                done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=True)
                found[attack.name] = done.stdout.strip()
            else:
                argv[0] = "/workspace/attacks.py"
                user = "65534" if attack.function == "setuid" else "0"
                output = container.exec_run(["python3", *argv], user=user).output
                found[attack.name] = output.decode().strip()
        return found[attack.name]

    try:
        container.start()
        yield tried
    finally:
        container.remove(force=True)
        shutil.rmtree(project)


# ------------------------------------------------------- attacks on the launcher


def test_a_flood_of_output_costs_a_bounded_file(launcher, table):
    box = launcher.launch(launcher.project())
    script = "import os\nfor _ in range(640): os.write(1, b'x' * 65536)"
    process = box.spawn(["python3", "-c", script], on_output=lambda _, data: box.log.write(data))
    assert process.wait(timeout=300).code == 0
    files = list(box.sockets.parent.glob("log*"))
    size = sum(path.stat().st_size for path in files)
    assert LIMIT // 2 < size <= LIMIT
    table("40 MiB of output", launcher.runtime, "<= 20 MiB", f"{size >> 20} MiB", "-")


STUBBORN = """
import os, signal, sys
for number in range(1, signal.NSIG):
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
if os.fork() == 0:
    os.setsid()
print("deaf", flush=True)
while True:
    signal.pause()
"""


def test_processes_that_ignore_every_signal_end_with_the_sandbox(launcher, table):
    project = launcher.project()
    box = launcher.launch(project)
    deaf = threading.Event()
    process = box.spawn(["python3", "-c", STUBBORN], on_output=lambda *_: deaf.set())
    assert deaf.wait(60)
    process.signal(15)
    with pytest.raises(FutureTimeout):
        process.wait(timeout=0.5)
    box.stop()
    left = launcher.left(project)
    happened = "nothing left" if left == [] else str(left)
    table("signals ignored", launcher.runtime, "nothing left", happened, "-")
    assert left == []
