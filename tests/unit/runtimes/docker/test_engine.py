"""Where engines answer."""

from __future__ import annotations

import pytest

from moat_nb.runtimes.docker.endpoint import endpoint_of
from moat_nb.runtimes.docker.engine import EngineFacts, sockets
from moat_nb.runtimes.docker.runtime import Docker


def test_docker_host_is_the_only_place_looked_at_when_it_is_given() -> None:
    environ = {"DOCKER_HOST": "unix:///a/b.sock", "XDG_RUNTIME_DIR": "/run/user/7"}
    assert sockets(environ, endpoint_of(environ)) == {"/a/b.sock": "docker"}


def test_dockers_sockets_are_tried_before_podmans() -> None:
    assert list(sockets({"XDG_RUNTIME_DIR": "/run/user/7"}, None).items()) == [
        ("/var/run/docker.sock", "docker"),
        ("/run/user/7/docker.sock", "docker"),
        ("/run/user/7/podman/podman.sock", "podman"),
        ("/run/podman/podman.sock", "podman"),
    ]


def test_an_engine_whose_address_is_refused_is_not_used_and_said_so() -> None:
    found = Docker("docker", {"DOCKER_HOST": "tcp://192.0.2.1:2375"}).available()
    assert (found.usable, found.named) == (False, True)
    assert found.detail.startswith("DOCKER_HOST is tcp://192.0.2.1:2375: without TLS")


def test_podman_is_not_to_be_started_where_docker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moat_nb.runtimes.docker.runtime.ask_facts", lambda path: EngineFacts())
    found = Docker("podman", {"DOCKER_HOST": "unix:///no/such.sock"}).available()
    assert found.detail == "/no/such.sock: it is Docker Engine, not Podman"
    assert found.hint == "have DOCKER_HOST name Podman's socket"


def test_a_socket_where_nothing_answers_is_named() -> None:
    found = Docker("podman", {"DOCKER_HOST": "unix:///no/such.sock"}).available()
    assert (found.usable, found.detail) == (False, "/no/such.sock: nothing answers there")


@pytest.mark.parametrize(
    ("url", "shares", "elsewhere"),
    [
        ("unix:///var/run/docker.sock", True, ""),
        ("unix:///home/ada/.colima/default/docker.sock", False, ""),
        ("unix:///home/ada/.docker/desktop/docker.sock", False, ""),
        ("ssh://gpu", False, "ssh://gpu"),
        ("nonsense", True, ""),
    ],
)
def test_only_an_engine_that_runs_on_this_kernel_shares_sockets(
    url: str, shares: bool, elsewhere: str
) -> None:
    can = Docker("docker", {"DOCKER_HOST": url}).capabilities
    assert (can.shares_unix_sockets, can.elsewhere) == (shares, elsewhere)
