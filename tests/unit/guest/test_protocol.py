"""The table of messages says all that there are, and the guest has a place for each."""

from __future__ import annotations

import re

from moat_nb.guest import protocol, tunnel
from moat_nb.guest.loop import HANDLERS


def table(direction: str) -> set[str]:
    """The names below ``direction`` in the docstring's table."""
    assert protocol.__doc__ is not None
    rows = protocol.__doc__.partition(f"\n{direction} the guest:\n")[2]
    rows = re.split(r"\n(?! )", rows)[0]
    return set(re.findall(r"^ {4}(\w+) +\{", rows, flags=re.MULTILINE))


def test_the_table_names_each_message_in_its_direction() -> None:
    assert table("To") == protocol.TO_GUEST
    assert table("From") == protocol.FROM_GUEST
    assert table("To and from") == protocol.OF_TUNNEL


def test_the_guest_does_something_with_each_message_it_may_get() -> None:
    assert HANDLERS.keys() == protocol.TO_GUEST - protocol.OF_STREAM
    assert {protocol.OPEN, *tunnel.HANDLERS} == protocol.OF_TUNNEL
