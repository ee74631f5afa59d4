"""What this project began with: native programs from package registries, installed into excluded
directories by a kernel's user that is not root, and run there.

The registries, which the clients on this machine name, are reached as any user's are.
"""

from __future__ import annotations

import ipaddress
import socket
import subprocess
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from pip._internal.models.index import PyPI

from moat_nb import Sandbox
from moat_nb.egress.options import REACHABLE
from tests.integration.conftest import Launcher, wait_until

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a gateway stands in for the registries, as in a company, that may be reached."""
    asked = ["npm", "config", "get", "registry"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    hosts = [str(urlsplit(done.stdout.strip()).hostname), PyPI.netloc, PyPI.file_storage_domain]
    monkeypatch.setenv(REACHABLE, ",".join(dict.fromkeys(not_public(hosts))))


def not_public(hosts: list[str]) -> Iterator[str]:
    for host in hosts:
        for *_, address in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM):
            if not ipaddress.ip_address(address[0]).is_global:
                yield str(address[0])


INSTALLED = {
    "npm": (
        ["npm", "install", "--no-audit", "--no-fund", "esbuild"],
        ["node_modules/.bin/esbuild", "--version"],
    ),
    "pip": (
        ["sh", "-c", "python3 -m venv .venv && .venv/bin/pip install --no-input numpy"],
        [".venv/bin/python", "-c", "import numpy; print(numpy.arange(4).sum())"],
    ),
}


@pytest.mark.usefixtures("registries")
def test_native_programs_are_installed_into_excluded_directories_and_run(
    launcher: Launcher,
) -> None:
    project = launcher.project("node_modules", ".venv", network=None, dependencies=["node"])
    box = launcher.launch(project)
    assert ran(box, ["id", "-u"]) != "0"
    for install, use in INSTALLED.values():
        ran(box, install)
        assert ran(box, use).replace(".", "").isdigit()
    assert not any((project / "node_modules").iterdir())
    assert not any((project / ".venv").iterdir())

    def passed() -> set[str]:
        return {record.host for record in box.requests() if record.outcome == "passed"}

    # A request is recorded when its connection ends, for which pip does not wait.
    assert wait_until(lambda: PyPI.netloc in passed()), passed()


def ran(box: Sandbox, argv: list[str]) -> str:
    return box.run(argv, check=True, cwd="/workspace").stdout.decode().strip()
