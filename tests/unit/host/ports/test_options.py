"""What the process is told comes back as it was told."""

from __future__ import annotations

from moat_nb.host.ports.options import Listening, PortsOptions
from tests.unit.host.ports.doors import DOOR


def test_the_process_reads_what_the_launcher_wrote() -> None:
    options = PortsOptions(listening=(Listening(door=DOOR, listen_fd=5, socket_fd=6),))
    assert PortsOptions.parse(options.line()) == options


def test_a_door_has_an_address_and_a_url() -> None:
    assert DOOR.address == "web.p-0123abcd.localhost:45678"
    assert DOOR.url == "http://web.p-0123abcd.localhost:45678"
