"""Which addresses are public, and that what was checked is what is connected to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.cli.sandboxes import requests_as_text
from moat_nb.egress.proxy.resolver import why_not_public
from moat_nb.egress.records import Record
from moat_nb.sandbox.refusals import refusal
from tests.egress.internet import HERE, PRIVATE
from tests.egress.running import Running
from tests.unit.egress.conftest import Start


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "2a00:11::1", "64:ff9b::1.1.1.1"],
)
def test_an_address_of_the_public_internet_is_allowed(address: str) -> None:
    assert why_not_public(ipaddress.ip_address(address)) is None


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",  # Alibaba's metadata
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.31.255.255",
        "192.0.0.192",  # Oracle's metadata
        "192.0.0.10",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.7",
        "224.0.0.251",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::8.8.8.8",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::10.0.0.1",
        "2001::1",
        "2001:db8::1",
        "2002:a00:1::",
        "3fff::1",
        "4000::1",
        "fc00::1",
        "fd00:ec2::254",  # Amazon's metadata
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_another_address_is_refused(address: str) -> None:
    assert why_not_public(ipaddress.ip_address(address)) is not None


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("10.0.0.1", "private"),
        ("169.254.169.254", "link-local"),
        ("224.0.0.251", "multicast"),
        ("168.63.129.16", "the virtual machine's host on Azure"),
        ("::ffff:10.0.0.1", "an IPv4 address in disguise"),
        ("2002:a00:1::", "6to4, which may lead to any IPv4 address"),
    ],
)
def test_the_kind_of_a_refused_address_is_told(address: str, kind: str) -> None:
    assert why_not_public(ipaddress.ip_address(address)) == kind


@given(st.ip_addresses())
def test_nothing_is_allowed_that_python_does_not_call_global(
    address: ipaddress.IPv4Address,
) -> None:
    if why_not_public(address) is None and address not in ipaddress.ip_network("64:ff9b::/96"):
        assert address.is_global and not address.is_multicast


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_behind_nat64_is_allowed_when_it_is(address: ipaddress.IPv4Address) -> None:
    hidden = ipaddress.IPv6Address((0x64FF9B << 96) | int(address))
    assert (why_not_public(hidden) is None) is (why_not_public(address) is None)


@pytest.mark.parametrize("name", ["pypi", "six", "both", "halfdead"])
def test_a_public_name_is_reached_over_ipv4_and_ipv6(permissive: Running, name: str) -> None:
    """``halfdead`` has one address that nobody answers at, before the one that does."""
    assert permissive.get(f"http://{name}.test/").status == 200


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("loopback", "(loopback)"),
        ("metadata", "(link-local)"),
        ("private", "(private)"),
        ("mixed", "(private)"),
        ("mapped", "(an IPv4 address in disguise)"),
        ("mapped-public", "(an IPv4 address in disguise)"),
        ("nat64", "(private)"),
        ("own", "(this machine's own)"),
    ],
)
def test_an_allowed_name_with_another_address_is_refused_after_resolution(
    permissive: Running, name: str, found: str
) -> None:
    plain = permissive.get(f"http://{name}.test/")
    _, line = permissive.tunnel(f"{name}.test")
    assert plain.status == 403
    assert line.startswith(f"HTTP/1.1 403 moat: {name}.test resolves to ".encode())
    assert found in line.decode()


def test_a_private_address_is_reached_where_the_launcher_says_so(start: Start) -> None:
    """The control of the test above: that host is there, and the check is all that is between."""
    refused = start().get("http://private.test/")
    assert refused.reason.endswith(
        "if that is meant, put the address, which moat-nb trace has while the sandbox runs, "
        "into MOAT_NB_REACHABLE"
    )
    assert start(reachable=(f"{PRIVATE}/32",)).get("http://private.test/").status == 200


def test_a_refused_address_is_told_to_the_launcher_and_not_to_the_sandbox(start: Start) -> None:
    """Of what a private network is made of, names that resolve would tell."""
    proxy = start()
    answer = proxy.get("http://mixed.test/")
    assert PRIVATE not in answer.reason + answer.read().decode()
    (told,) = proxy.news()
    assert told["address"] == PRIVATE
    assert PRIVATE not in str(refusal(told))  # which the cell shows, inside
    found = requests_as_text([Record(**told)])
    assert f"refused: {told['reason']}; {told['hint']} ({PRIVATE})" in found


@pytest.mark.parametrize(
    ("reachable", "name", "status"),
    [
        ("11.0.0.0/24", "own", 403),
        ("0.0.0.0/0", "own", 403),
        ("0.0.0.0/0", "loopback", 403),
        ("127.0.0.0/8", "loopback", 403),
        ("0.0.0.0/0", "private", 200),
        (f"{HERE}/32", "own", 502),  # reached, and nobody listens there
        ("127.0.0.1/32", "loopback", 502),
    ],
)
def test_this_machines_own_addresses_are_reached_only_where_each_is_named(
    start: Start, reachable: str, name: str, status: int
) -> None:
    assert start(reachable=(reachable,)).get(f"http://{name}.test/").status == status


def test_a_name_is_resolved_once_so_rebinding_changes_nothing(start: Start) -> None:
    """The name's second address is private: who resolved again to connect would reach it."""
    proxy = start()
    assert proxy.get("http://rebinding.test/").status == 200
    assert proxy.get("http://rebinding.test/").status == 403


@pytest.mark.parametrize(
    "address",
    [
        "11.0.0.1",
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "10.0.0.1.",
        "[::1]",
        "[2a00:11::1]",
        "[::ffff:10.0.0.1]",
    ],
)
def test_an_address_in_any_notation_is_refused_before_anything_is_asked(
    permissive: Running, address: str
) -> None:
    _, line = permissive.tunnel(address)
    plain = permissive.ask(f"GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
    assert line.startswith(b"HTTP/1.1 403 moat: ")
    assert plain.startswith(b"HTTP/1.1 403 moat: ")
    assert b"only names can be reached" in line and b"only names can be reached" in plain


def test_a_name_without_an_address_is_no_fault_of_the_rules(permissive: Running) -> None:
    answer = permissive.get("http://nothing.test/")
    assert (answer.status, answer.reason) == (
        502,
        "moat: nothing.test has no address: Name or service not known",
    )


def test_name_servers_that_do_not_answer_are_not_waited_for_without_end(
    permissive: Running,
) -> None:
    assert permissive.get("http://silent.test/").status in (502, 504)
