"""`ports:` as a plan has it: what the guest is told, what is refused, names and variables."""

from __future__ import annotations

import pytest

from moat_nb.errors import ConfigError
from moat_nb.guest.settings import Settings
from moat_nb.host.machine import Host
from moat_nb.host.ports.options import Door
from moat_nb.planning.ports import host_label, port_host, port_variables
from moat_nb.planning.spec import Instance
from tests.unit.planning.conftest import Make
from tests.unit.planning.planned import docker

INSTANCE = Instance(
    id="0123abcd", sockets="/run/s", network="/run/n", accounts="/run/e", owner="7:99:boot"
)


def test_the_guest_is_told_each_port_once_and_where_the_starts_sockets_are(
    config: Make, host: Host
) -> None:
    spec = docker(config("ports: {web: 3000, api: 8080, admin: 3000}"), host)
    assert spec.ports == (("web", 3000), ("api", 8080), ("admin", 3000))
    assert Settings.from_argv(spec.command[2:]).ports == (3000, 8080)
    started = Settings.from_argv(spec.instantiate(INSTANCE).command[2:])
    assert started.sockets == "/run/s"
    without = docker(config(), host)
    assert without.instantiate(INSTANCE).command == without.command


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        (
            "ports: {web: 30128}",
            "moat.yaml:2:1: ports.web: no server in the sandbox can listen at 30128: it is the "
            "port of the sandbox's own proxy; have the server listen at another port",
        ),
        (
            "network: {policy: none, host: [8080]}\nports: {web: 8080}",
            "moat.yaml:3:1: ports.web: no server in the sandbox can listen at 8080: network.host "
            "has it lead to this machine's; have the server listen at another port",
        ),
        (
            "network: {host: [8080]}\nports: {Gateway: 80}",
            "moat.yaml:3:1: ports.Gateway: MOAT_HOST_GATEWAY is network.host's variable; "
            "choose another name",
        ),
    ],
)
def test_what_no_server_can_have_is_refused(
    config: Make, host: Host, text: str, refused: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        docker(config(text), host)
    assert str(raised.value) == refused


@pytest.mark.parametrize(
    "text", ["network: {policy: none}\nports: {web: 30128}", "ports: {gateway: 80}"]
)
def test_the_same_where_nothing_else_has_it_is_planned(config: Make, host: Host, text: str) -> None:
    assert docker(config(text), host).ports


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("demo", "demo"),
        ("My.Project_2", "my-project-2"),
        ("x" * 63, "x" * 40),
        ("x" * 39 + "-y", "x" * 39),
        ("\u65e5\u672c", "sandbox"),
    ],
)
def test_a_projects_name_is_a_part_of_a_hosts(name: str, label: str) -> None:
    assert host_label(name) == label
    host = port_host("Web", name, "0123abcd")
    assert host == f"web.{label}-0123abcd.localhost"
    assert all(len(part) <= 63 for part in host.split("."))


def test_the_variables_are_moats_in_names_that_shells_know() -> None:
    door = Door(name="my-Web", host="my-web.p-0123abcd.localhost", port=45678, inside=80)
    assert port_variables([door]) == {
        "MOAT_HOST_MY_WEB": "my-web.p-0123abcd.localhost:45678",
        "MOAT_URL_MY_WEB": "http://my-web.p-0123abcd.localhost:45678",
    }
