"""`network:` of a moat.yaml, read: the policy, rules and host ports."""

from __future__ import annotations

import pytest

from moat_nb.config.model import Network, Rule
from tests.unit.config import reading
from tests.unit.config.reading import config


def network(text: str) -> Network:
    return config(text).network


def refused(text: str) -> str:
    return reading.refused(f"network: {{{text}}}")


def test_without_the_key_there_is_no_policy_and_with_it_moats_default() -> None:
    assert network("") == Network()
    assert network("network: {host: []}").policy == "permissive"


@pytest.mark.parametrize("policy", ["permissive", "strict", "none", "bridge"])
def test_each_policy_is_read(policy: str) -> None:
    assert network(f"network: {{policy: {policy}}}").policy == policy


def test_rules_are_host_names_or_hosts_with_lines() -> None:
    read = network(
        """\
network:
  policy: strict
  rules:
    - API.openai.com
    - "*.*.amazonaws.com"
    - api.github.com:
        - allow GET /repos/**
        - deny * /**
  host: [11434, 5432, 5432]
"""
    )
    assert read == Network(
        policy="strict",
        rules=(
            Rule(host="api.openai.com", where="moat.yaml:4:7"),
            Rule(host="*.*.amazonaws.com", where="moat.yaml:5:7"),
            Rule(
                host="api.github.com",
                lines=(("allow", "GET", "/repos/**"), ("deny", "*", "/**")),
                where="moat.yaml:6:7",
            ),
        ),
        host_ports=(11434, 5432),
        where="moat.yaml:1:1",
    )


def test_a_method_may_be_written_in_lower_case() -> None:
    assert network("network: {rules: [{x.y: [Allow get /]}]}").rules[0].lines == (
        ("allow", "GET", "/"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("allow: [x.com]", "moat.yaml:1:11: network.allow was renamed; call it rules"),
        ("policy: open", "network.policy: 'open' is not one of permissive, strict, none, bridge"),
        ("polcy: strict", "unknown key 'polcy' in network; did you mean 'policy'?"),
        ("rules: ['https://x.com']", "is an address or has a port, and only names"),
        ("rules: ['x.com:443']", "is an address or has a port"),
        ("rules: [10.0.0.1]", "'10.0.0.1' is an address or has a port"),
        ("rules: ['::1']", "is an address or has a port"),
        ("rules: [x.com/path]", "'x.com/path' is not a host name; write api.example.com"),
        ("rules: ['a*.com']", "is not a host name"),
        ("rules: ['x..com']", "is not a host name"),
        ("rules: [-x.com]", "is not a host name"),
        ("rules: [[x.com]]", "rules[0]: a sequence stands where a mapping"),
        ("rules: [{x.com: [get /]}]", "'get /' is not a rule; write allow GET /path/** or deny"),
        ("rules: [{x.com: [allow GET path]}]", "'allow GET path' is not a rule"),
        ("rules: [{x.com: [permit GET /]}]", "'permit GET /' is not a rule"),
        ("rules: [{x.com: allow}]", "stands where a list must"),
        ("host: [0]", "network.host[0]: '0' is not a whole number from 1 to 65535"),
        ("host: ['80']", "in quotes is not a whole number"),
    ],
)
def test_a_wrong_network_is_refused(text: str, message: str) -> None:
    assert message in refused(text)
