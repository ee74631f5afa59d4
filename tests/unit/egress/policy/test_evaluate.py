"""Hosts, lines and paths in Moat's meaning and order."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.config.model import Rule
from moat_nb.egress.policy.evaluate import Line, host_matches
from moat_nb.egress.policy.pathmatch import path_matches
from moat_nb.egress.policy.verdict import Malformed
from tests.unit.egress.policy.judging import GITHUB, judge


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("api.github.com", "api.github.com", True),
        ("api.github.com", "github.com", False),
        ("api.github.com", "api.github.com.evil.test", False),
        ("*.github.com", "api.github.com", True),
        ("*.github.com", "github.com", False),
        ("*.github.com", "a.b.github.com", False),
        ("*.*.amazonaws.com", "s3.eu.amazonaws.com", True),
        ("*.*.amazonaws.com", "s3.amazonaws.com", False),
        ("*", "localhost", True),
        ("*", "github.com", False),
    ],
)
def test_a_star_in_a_host_stands_for_one_label(pattern: str, host: str, matches: bool) -> None:
    assert host_matches(pattern, host) is matches


def test_a_host_without_lines_is_allowed_whatever_is_asked_of_it() -> None:
    verdict = judge("strict", Rule(host="pypi.org", where="moat.yaml:3:7")).request(
        "pypi.org", "DELETE", "/simple/../admin"
    )
    assert (verdict.allowed, verdict.rule) == (True, "moat.yaml:3:7 pypi.org")


@pytest.mark.parametrize(("policy", "allowed"), [("permissive", True), ("strict", False)])
def test_the_policy_decides_on_hosts_without_an_entry(
    policy: Literal["permissive", "strict"], allowed: bool
) -> None:
    verdict = judge(policy, GITHUB).host("pypi.org")
    assert (verdict.allowed, verdict.rule) == (allowed, f"policy {policy}")


@pytest.mark.parametrize(("policy", "allowed"), [("permissive", True), ("strict", False)])
def test_the_policy_decides_where_no_line_matches(
    policy: Literal["permissive", "strict"], allowed: bool
) -> None:
    rule = Rule(host="api.github.com", lines=(("allow", "GET", "/repos/**"),))
    assert judge(policy, rule).request("api.github.com", "POST", "/repos/a").allowed is allowed


def test_the_first_line_that_matches_decides() -> None:
    allowed = judge("permissive", GITHUB).request("api.github.com", "GET", "/repos/moat?q=1")
    refused = judge("permissive", GITHUB).request("api.github.com", "POST", "/repos/moat")
    assert (allowed.allowed, refused.allowed) == (True, False)
    assert allowed.rule == "moat.yaml:4:7 api.github.com: allow GET /repos/**"
    assert refused.rule == "moat.yaml:4:7 api.github.com: deny * /**"


def test_the_first_entry_that_matches_decides_alone() -> None:
    rules = (GITHUB, Rule(host="*.github.com"))
    assert not judge("strict", *rules).request("api.github.com", "POST", "/").allowed
    assert judge("strict", *rules).request("www.github.com", "POST", "/").allowed


def test_policy_none_refuses_what_the_rules_would_allow() -> None:
    assert not judge("none", Rule(host="pypi.org")).host("pypi.org").allowed


@pytest.mark.parametrize(
    "path",
    [
        "/repos/../admin",
        "/repos/%2e%2e/admin",
        "/repos/.%2E/admin",
        "/repos/..%2fadmin",
        "/repos/..%5cadmin",
        "/%72epos/../admin",
        "/admin/../repos/moat",
    ],
)
def test_a_path_is_refused_when_one_reading_of_it_is(path: str) -> None:
    assert not judge("permissive", GITHUB).request("api.github.com", "GET", path).allowed


@pytest.mark.parametrize(
    "path",
    [
        "/repos/a#/../../admin",
        "/repos/..;/admin",
        "/repos/..;x=1;y/admin",
        "/repos/..%3b/admin",
        "/repos/%2e%2e;/admin",
        "/repos/%252e%252e/admin",
        "/repos/%25252e%25252e/admin",
        "/repos/..%252fadmin",
        "/repos/..%255cadmin",
        "/repos/a;%2f../../admin",
        "/repos/..;%2573/admin",
    ],
)
def test_no_server_reads_another_path_than_was_allowed(path: str) -> None:
    assert not judge("strict", GITHUB).request("api.github.com", "GET", path).allowed
    allowing = Rule(host="a.test", lines=(("allow", "GET", "/repos/**"),))
    assert not judge("strict", allowing).request("a.test", "GET", path).allowed


@pytest.mark.parametrize(
    "path",
    [
        "/a/b",
        "/x#/../a/b",
        "/a/b;x=1",
        "/a;x=1/b",
        "/a;/b",
        "/a%3bx/b",
        "/a//../b",
        "/a/x/%2e%2e/b",
        "/a%252fb",
        "/a/%2562",
        "/x//../../a/b",
        "/a/;x/../b",
    ],
)
def test_a_line_that_denies_is_not_gone_around(path: str) -> None:
    denying = Rule(host="a.test", lines=(("deny", "*", "/a/b"),))
    assert not judge("permissive", denying).request("a.test", "GET", path).allowed


@pytest.mark.parametrize(
    ("lines", "allowed"),
    [
        ((("allow", "*", "/**"),), True),
        ((("allow", "OPTIONS", "/**"), ("deny", "*", "/a")), True),
        ((("deny", "*", "/a"), ("allow", "*", "/**")), False),
        ((("allow", "*", "/*"),), False),
        ((("allow", "*", "/a"),), False),
        ((("allow", "GET", "/**"),), False),
    ],
)
def test_a_star_for_a_path_is_all_that_a_server_has(lines: tuple[Line, ...], allowed: bool) -> None:
    found = judge("strict", Rule(host="a.test", lines=lines)).request("a.test", "OPTIONS", "*")
    assert found.allowed is allowed
    assert allowed or "OPTIONS /**" in found.hint


@pytest.mark.parametrize(
    "path", ["/repos/moat", "//repos///moat/", "/%72epos/moat", "/repos/a%2Fb", "/repos/./moat"]
)
def test_a_path_is_allowed_when_all_readings_of_it_are(path: str) -> None:
    assert judge("strict", GITHUB).request("api.github.com", "GET", path).allowed


@pytest.mark.parametrize(
    "dots",
    [
        *("..", "%2e%2e", "%c0%ae%c0%ae", "%C0%2E.", "%c0%6e.", "%e0%80%ae.", "%f0%80%80%ae."),
        *("%f8%80%80%80%ae.", "%fc%80%80%80%80%ae.", "%25c0%25ae%25c0%25ae", "%u002e%u002e"),
        *("%ef%bc%8e%ef%bc%8e", "%e2%80%a5", "%uff0e."),
    ],
)
@pytest.mark.parametrize("slash", ["/", "%2f", "%c0%af", "%e0%80%af", "%c1%9c", "%ef%bc%8f"])
def test_dots_and_slashes_that_only_a_lax_server_reads_lead_nowhere_else(
    dots: str, slash: str
) -> None:
    rule = Rule(host="a.test", lines=(("allow", "GET", "/ok/**"),))
    assert judge("strict", rule).request("a.test", "GET", "/ok/x%c3%a9%e3%81%82/y").allowed
    assert not judge("strict", rule).request("a.test", "GET", f"/ok/{dots}{slash}secret").allowed


@pytest.mark.parametrize("name", ["%C0-la-carte", "d%E9j%E0-vu", "%e4%bd%a0%e5%a5%bd", "a%u00e9"])
def test_letters_of_any_encoding_are_letters(name: str) -> None:
    rule = Rule(host="a.test", lines=(("allow", "GET", "/ok/*"),))
    assert judge("strict", rule).request("a.test", "GET", f"/ok/{name}").allowed


def test_a_refusal_says_what_to_add_and_where() -> None:
    host = judge("strict").host("pypi.org")
    line = judge("strict", GITHUB).request("api.github.com", "POST", "/gists")
    assert host.reason == "is not in network.rules (policy strict)"
    assert host.hint == 'add "- pypi.org" to network.rules in moat.yaml'
    assert line.hint == 'add "allow POST /gists" above "deny * /**" at moat.yaml:4:7'


SEGMENT = st.sampled_from(["a", "b", "c"])
PATTERN = st.lists(SEGMENT | st.sampled_from(["*", "**"]), max_size=6)


@given(PATTERN, st.text(max_size=40))
def test_any_text_for_a_path_gets_a_verdict(pattern: list[str], text: str) -> None:
    rule = Rule(host="a.test", lines=(("allow", "GET", "/" + "/".join(pattern)),))
    try:
        verdict = judge("strict", rule).request("a.test", "GET", text)
    except Malformed:
        return
    assert verdict.allowed or verdict.hint


def test_many_stars_and_segments_are_matched_in_no_time() -> None:
    """Backtracking would take longer than the universe is old."""
    assert not path_matches("/**/a" * 20 + "/b", ["a"] * 5000)
