"""What launchers of sandboxes on another machine do, whichever way leads there."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.ordinary_user import ORDINARY

LOOK = """\
import os, subprocess
print(sorted(os.listdir('.')), sorted(os.listdir('node_modules')))
print(oct(os.stat('node_modules').st_mode & 0o7777), os.getuid() != 0)
open('node_modules/program', 'w').write('#!/bin/sh\\necho native')
os.chmod('node_modules/program', 0o755)
print(subprocess.run(['node_modules/program'], capture_output=True, text=True).stdout)
"""

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
"""Of a project that is called ``far``."""

BOX = """
import http.client, sys, time
from moat_nb import Sandbox

with Sandbox.launch(".", approve=lambda demands: True) as box:
    python, *programs = sys.argv[1:]
    for program in programs:
        print(box.run([python, "-c", program], check=True).stdout)
    server = box.spawn([python, "-m", "http.server", "3000"])
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
"""Its arguments: the python there, and programs that it is to run first."""


def write_files(project: Path) -> None:
    """What a project has beside its moat.yaml, all of it an ordinary user's."""
    for name in ("kept.txt", "secret.txt", "gone.txt", "node_modules/host.js", "src/a.py"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(f"{name} of the host\n")
    for path in (project, *project.rglob("*")):
        os.chown(path, ORDINARY.uid, ORDINARY.gid)


def in_network_of(pid: int, own: dict[str, str]) -> list[str]:
    """Words in front of a launcher's, which is in the network of process ``pid`` then, with
    ``own`` in its environment."""
    enter = ["nsenter", "--net", f"--target={pid}", "env", "-u", "DOCKER_HOST"]
    return [*enter, *(f"{name}={value}" for name, value in own.items())]


def finished(words: list[str], project: Path, code: int) -> tuple[str, str]:
    """The stdout and the stderr of a launcher that was started in ``project``."""
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=project, timeout=300, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


@contextlib.contextmanager
def started(words: list[str], project: Path) -> Iterator[subprocess.Popen[str]]:
    """`moat-nb` by ``words``, once a sandbox of it runs; killed at the end, with nothing more."""
    with subprocess.Popen(
        [*words, "run", "--", "sh", "-c", "echo runs; sleep 1000"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as launcher:
        try:
            assert launcher.stdout is not None
            assert launcher.stdout.readline() == "runs\n"
            yield launcher
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(launcher.pid, signal.SIGKILL)


def processes_of(launcher: subprocess.Popen[str]) -> list[psutil.Process]:
    """It, and all that it has started: ssh and srun have sessions of their own."""
    own = psutil.Process(launcher.pid)
    return [own, *own.children(recursive=True)]
