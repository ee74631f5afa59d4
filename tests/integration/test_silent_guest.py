"""A guest that does not answer: stopped, or its container paused, under a real Jupyter server.

Nothing of the server's may hang for it: not the end of a kernel, not a restart, not the server's
own end. The limits that these tests wait for are far above the 10 s that are promised, so that a
busy machine fails none; what each took is printed in the table.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moat_nb.sandbox import guest_client
from tests.integration.conftest import Launcher, wait_until
from tests.integration.servers import Server, guest_of, serving

Serve = Callable[..., Server]

USERS = pytest.mark.parametrize("ordinary", [False, True], ids=["root", "ordinary"])


@pytest.fixture
def serve(launcher: Launcher, run_directory: Path) -> Iterator[Callable[[Path, bool], Any]]:
    yield lambda project, ordinary: serving(
        project, launcher.runtime, run_directory, ordinary=ordinary
    )


def stop(guest: int) -> None:
    os.kill(guest, signal.SIGSTOP)


def timed(table: Any, name: str, runtime: str, act: Callable[[], object]) -> None:
    began = time.monotonic()
    act()
    table(name, runtime, "ends", f"ended in {time.monotonic() - began:.1f} s", "-")


@USERS
def test_a_kernel_whose_guest_is_stopped_is_deleted(
    launcher: Launcher, serve: Any, table: Any, ordinary: bool
) -> None:
    project = launcher.project(python=True)
    with serve(project, ordinary) as server:
        kernel = server.start_kernel()
        stop(guest_of(project))
        name = f"stop the guest, then DELETE, {'an ordinary user' if ordinary else 'root'}"
        timed(table, name, launcher.runtime, lambda: server.ask("DELETE", f"api/kernels/{kernel}"))
        assert server.kernels() == []
        assert launcher.left(project) == []


def test_a_kernel_whose_guest_is_stopped_is_restarted_in_a_new_sandbox(
    launcher: Launcher, serve: Any, table: Any
) -> None:
    project = launcher.project(python=True)
    with serve(project, True) as server:
        kernel = server.start_kernel()
        before = guest_of(project)
        stop(before)
        restart = lambda: server.ask("POST", f"api/kernels/{kernel}/restart", {})  # noqa: E731
        timed(table, "stop the guest, then restart", launcher.runtime, restart)
        assert guest_of(project) != before
        assert server.kernels() == [kernel]
        server.ask("DELETE", f"api/kernels/{kernel}")


@USERS
def test_a_server_whose_guests_are_stopped_ends_on_sigterm(
    launcher: Launcher, serve: Any, table: Any, ordinary: bool
) -> None:
    project = launcher.project(python=True)
    with serve(project, ordinary) as server:
        server.start_kernel()
        stop(guest_of(project))
        server.process.terminate()
        user = "an ordinary user" if ordinary else "root"
        name = f"stop the guest, then SIGTERM the server, {user}"
        timed(table, name, launcher.runtime, lambda: server.process.wait(300))
        assert launcher.left(project) == []


def test_a_kernel_in_a_paused_container_is_deleted(
    on_docker: Launcher, run_directory: Path, table: Any
) -> None:
    project = on_docker.project(python=True)
    assert on_docker.engine is not None
    with serving(project, "docker", run_directory, ordinary=True) as server:
        kernel = server.start_kernel()
        label = f"moat.nb.project={project}"
        (container,) = on_docker.engine.client.containers.list(filters={"label": label})
        container.pause()
        act = lambda: server.ask("DELETE", f"api/kernels/{kernel}")  # noqa: E731
        timed(table, "docker pause, then DELETE", "docker", act)
        assert server.kernels() == []
        assert on_docker.left(project) == []


def test_a_sandbox_whose_guest_is_silent_is_ended_with_the_reason(
    launcher: Launcher, table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest_client, "TICK_SECONDS", 1.0)
    monkeypatch.setattr(guest_client, "SILENCE_SECONDS", 15.0)
    told: list[tuple[str, str]] = []
    project = launcher.project()
    box = launcher.launch(project, on_event=lambda *event: told.append(event))
    process = box.spawn(["sleep", "1000"])
    assert box.run(["sleep", "7"]).returncode == 0  # a beat has come, and any counts
    os.kill(guest_of(project), signal.SIGSTOP)
    assert process.wait(timeout=300).code == -signal.SIGKILL
    assert wait_until(lambda: bool(told))
    assert [kind for kind, _ in told] == ["gone"]
    assert "the guest does not answer for" in told[0][1]
    box.stop()
    assert launcher.left(project) == []
    table("stop the guest, and leave it so", launcher.runtime, "ended", "ended", "-")
