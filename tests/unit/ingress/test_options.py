"""What the process is told comes back as it was told."""

from __future__ import annotations

from moat_nb.ingress.options import IngressOptions, Listening
from tests.unit.ingress.doors import DOOR


def test_the_process_reads_what_the_launcher_wrote() -> None:
    options = IngressOptions(listening=(Listening(door=DOOR, listen_fd=5, socket_fd=6),))
    assert IngressOptions.parse(options.line()) == options


def test_a_door_has_an_address_and_a_url() -> None:
    assert DOOR.address == "web.p-0123abcd.localhost:45678"
    assert DOOR.url == "http://web.p-0123abcd.localhost:45678"
