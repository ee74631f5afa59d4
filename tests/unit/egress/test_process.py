"""The proxy's process, and what of its launcher gets into it."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from moat_nb.egress.options import ProxyOptions
from moat_nb.egress.policy.network_policy import NetworkPolicy
from moat_nb.egress.process import ProxyProcess, command
from moat_nb.host import isolated_python
from moat_nb.host import on_demand as module
from tests.egress.running import SECONDS, everything

ASK = b"GET http://pypi.test/ HTTP/1.1\r\nHost: pypi.test\r\nConnection: close\r\n\r\n"
REFUSED = b"HTTP/1.1 403 moat: pypi.test is not in network.rules"

Open = Callable[..., tuple[ProxyProcess, str]]


@pytest.fixture
def opened() -> Iterator[Open]:
    """``opened(hear)``: a gate, and its socket's path. Its proxy refuses all, and asks nobody."""
    with ExitStack() as undo:
        undo.callback(isolated_python._places.cache_clear)

        def made(
            hear: Callable[[dict[str, Any]], None] = lambda record: None,
        ) -> tuple[ProxyProcess, str]:
            # pytest's own are longer than a socket's path may be.
            path = undo.enter_context(TemporaryDirectory(prefix="moat-proxy-"))
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(f"{path}/proxy")
            listener.listen()
            fd, records = listener.fileno(), f"{path}/records"
            network = NetworkPolicy(policy="strict")
            options = ProxyOptions(listen_fd=fd, network=network, records=records, limit=1 << 20)
            gate = ProxyProcess(listener, options, hear)
            undo.callback(gate.close)
            return gate, f"{path}/proxy"

        yield made


def ask(path: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(SECONDS)
        sock.connect(path)
        sock.sendall(ASK)
        return everything(sock)


def test_no_module_of_the_workspace_is_imported_by_the_proxy(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are where python looks first, as it would for the launcher."""
    for name in ("h11", "json", "sitecustomize", "moat_nb"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    isolated_python._places.cache_clear()
    monkeypatch.chdir(tmp_path)
    assert ask(opened()[1]).startswith(REFUSED)
    assert not (tmp_path / "ran").exists()


def test_the_proxy_has_nothing_of_the_launchers_environment(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    gate, path = opened()
    assert ask(path).startswith(REFUSED)
    assert Path(f"/proc/{gate.pid}/environ").read_bytes() in (b"", b"LC_CTYPE=C.UTF-8\0")
    assert Path(f"/proc/{gate.pid}/cwd").readlink() == Path("/")


def test_what_the_launcher_has_from_elsewhere_than_the_interpreter_is_found() -> None:
    """As with ``pip install --user``: -S leaves the interpreter without any package of its own."""
    python, *words = command()
    words[words.index("-c") + 1] = words[words.index("-c") + 1].replace(
        "\nimport_module(module).main()", "\nimport moat_nb.egress.proxy.interception"
    )
    subprocess.run([python, "-S", *words], env={}, cwd="/", check=True)


def test_a_listener_that_fails_does_not_end_the_way_out(
    opened: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)

    def hear(record: dict[str, Any]) -> None:
        raise ValueError(f"{record['host']} was heard of")

    gate, path = opened(hear)
    pid = None
    for _ in range(2):
        assert ask(path).startswith(REFUSED)
        pid = pid or gate.pid
    assert gate.pid == pid
    gate.close()
    assert "pypi.test was heard of" in caplog.text


def test_a_proxy_that_cannot_be_started_is_tried_again(
    opened: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    failures = [OSError("no room"), OSError("no room")]
    start = subprocess.Popen

    def popen(*arguments: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return start(*arguments, **options)

    monkeypatch.setattr(module.subprocess, "Popen", popen)
    with caplog.at_level(logging.WARNING):
        assert ask(opened()[1]).startswith(REFUSED)
    assert caplog.text.count("does not start: no room") == 2


def test_the_command_is_the_launchers_interpreter() -> None:
    assert command()[:2] == [sys.executable, "-I"]
