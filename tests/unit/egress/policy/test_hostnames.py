"""Names of hosts, in one form or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.egress.policy.hostnames import authority, host_name, is_local_name
from moat_nb.egress.policy.verdict import Ended, Malformed, Refused


@pytest.mark.parametrize(
    ("text", "name"),
    [("PyPI.org", "pypi.org"), ("pypi.org.", "pypi.org"), ("a_b.x-y.example", "a_b.x-y.example")],
)
def test_a_host_name_is_brought_into_one_form(text: str, name: str) -> None:
    assert host_name(text) == name


@pytest.mark.parametrize("text", ["1.2.3.4", "127.1", "0x7f.0", "0X7F000001", "1", "[::1]", "::1"])
def test_an_address_is_no_host_name(text: str) -> None:
    with pytest.raises(Refused, match="only names can be reached"):
        host_name(text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "a..b", "-a.b", "a-.b", "a b", "a@b", "a\0b", "ä.test", "x" * 64, "a." * 127 + "aa"],
)
def test_what_cannot_be_a_host_name_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        host_name(text)


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        name = host_name(text)
    except Ended:
        return
    assert host_name(name) == name
    assert name == name.lower() and name.isascii() and len(name) <= 253


@pytest.mark.parametrize(
    ("text", "found"),
    [("a.test:8080", ("a.test", 8080)), ("a.test", ("a.test", 443)), ("A.test.:1", ("a.test", 1))],
)
def test_a_port_is_read_or_the_protocols_own(text: str, found: tuple[str, int]) -> None:
    assert authority(text, 443) == found


@pytest.mark.parametrize("text", ["a.test:", "a.test:0", "a.test:65536", "a.test:8O", "a.test:٣"])
def test_another_port_is_malformed(text: str) -> None:
    with pytest.raises(Malformed, match="not a port"):
        authority(text, 443)


def test_a_connect_without_a_port_is_malformed() -> None:
    with pytest.raises(Malformed, match="not a port"):
        authority("a.test", None)


@pytest.mark.parametrize(
    ("name", "local"),
    [
        ("localhost", True),
        ("printer", True),
        ("nas.local", True),
        ("x.corp", True),
        ("router.home.arpa", True),
        ("pypi.org", False),
        ("local.example.com", False),
    ],
)
def test_names_that_only_a_local_resolver_knows_are_told_by_their_end(
    name: str, local: bool
) -> None:
    assert is_local_name(name) is local
