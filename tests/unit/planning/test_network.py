"""What ``network:`` of a moat.yaml becomes: values and variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_nb.config.model import Config, Rule
from moat_nb.config.reader import read_config
from moat_nb.egress.policy.network_policy import NetworkPolicy
from moat_nb.guest.settings import PortForward
from moat_nb.planning.network import (
    NetworkPlan,
    plan_network,
    port_forwards,
    proxy_variables,
    trust_variables,
    way_out_variables,
)


def config(text: str) -> Config:
    return read_config(f"name: p\n{text}".encode(), path=Path("/p/moat.yaml"), home=Path("/h"))


def planned(text: str, *, trust: tuple[str, ...] = ()) -> NetworkPlan:
    return plan_network(config(text), trust=trust)


PROXY = PortForward(30128, "/run/moat/network/proxy", "")


@pytest.mark.parametrize(
    ("text", "listens", "words"),
    [
        ("", [PROXY], "permissive (HTTP and HTTPS to any public host)"),
        ("network: {}", [PROXY], "permissive (HTTP and HTTPS to any public host)"),
        (
            "network: {policy: strict}",
            [PROXY],
            "strict (HTTP and HTTPS to no host, as network.rules names none)",
        ),
        (
            "network: {policy: strict, rules: [a.org, b.org, c.org, d.org]}",
            [PROXY],
            "strict (HTTP and HTTPS to a.org, b.org, c.org and 1 more)",
        ),
        (
            "network: {host: [80]}",
            [PROXY, (80, "/run/moat/network/proxy", "host.moat:80")],
            "permissive (HTTP and HTTPS to any public host; ports of this machine: 80)",
        ),
        (
            "network: {policy: none, host: [80]}",
            [(80, "/run/moat/network/proxy", "host.moat:80")],
            "none (ports of this machine: 80)",
        ),
        ("network: {policy: none}", [], "none (the kernel has loopback only)"),
    ],
)
def test_the_guest_listens_for_what_can_be_reached_and_a_line_says_what(text, listens, words):
    found = planned(text)
    assert list(found.port_forwards) == list(port_forwards(found.egress)) == listens
    assert found.notices == (f"network: {words}",)
    assert (found.network, found.problems) == ("none", ())


def test_bridge_has_no_proxy_and_says_what_is_given_up():
    found = planned("network: {policy: bridge}\ncontainer: {dns: [192.0.2.1]}", trust=("/ca.pem",))
    assert (found.network, found.egress, found.port_forwards) == ("bridge", None, ())
    assert (found.trust, dict(found.env)) == (("/ca.pem",), trust_variables())
    assert "nothing is refused and nothing recorded" in found.notices[0]
    assert found.problems == ()


def test_all_of_a_network_is_one_value():
    text = "network: {policy: strict, rules: [a.org], host: [80]}\ndependencies: [redis@7]"
    egress = NetworkPolicy(
        policy="strict",
        rules=(Rule(host="a.org", where="moat.yaml:2:35"),),
        host_ports=(80,),
        file="moat.yaml",
    )
    assert planned(text, trust=("/ca.pem",)) == NetworkPlan(
        network="none",
        egress=egress,
        trust=("/ca.pem",),
        port_forwards=(PROXY, PortForward(80, PROXY.path, "host.moat:80")),
        env=tuple(way_out_variables(egress, ("/ca.pem",), ["redis"]).items()),
        notices=("network: strict (HTTP and HTTPS to a.org; ports of this machine: 80)",),
        problems=(),
    )


def test_certificates_are_of_no_use_where_nothing_is_reached():
    found = planned("network: {policy: none}", trust=("/ca.pem",))
    assert (found.egress, found.trust, found.env, found.port_forwards) == (None, (), (), ())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("network: {policy: bridge, rules: [a.org]}", "network.rules does not hold with policy"),
        ("network: {policy: bridge, host: [80]}", "network.host does not hold with policy bridge"),
        ("network: {policy: none, rules: [a.org]}", "with policy none they allow nothing"),
        ("network: {host: [30128]}", "network.host 30128 is the port of the sandbox's own proxy"),
    ],
)
def test_what_cannot_hold_together_is_refused_with_its_place(text, told):
    (problem,) = planned(text).problems
    assert told in problem.what
    assert problem.where.startswith("moat.yaml:2:")
    assert problem.hint


def test_all_that_is_refused_is_told_at_once():
    found = planned("network: {policy: bridge, rules: [a.org], host: [80]}")
    assert [problem.what for problem in found.problems] == [
        "network.rules does not hold with policy bridge, where nothing is refused",
        "network.host does not hold with policy bridge, where nothing is refused",
    ]


# ---------------------------------------------------------------- variables


def test_programs_find_the_proxy_and_ask_services_directly():
    found = proxy_variables(planned("network: {host: [80]}").egress, ["postgres"])
    url = "http://127.0.0.1:30128"
    here = "localhost,sandbox,127.0.0.1,127.0.0.0/8,0.0.0.0,::1,postgres"
    assert found == {
        "HTTP_PROXY": url,
        "http_proxy": url,
        "HTTPS_PROXY": url,
        "https_proxy": url,
        "NO_PROXY": here,
        "no_proxy": here,
        "NODE_USE_ENV_PROXY": "1",
        "MOAT_HOST_GATEWAY": "127.0.0.1",
    }
    only_ports = planned("network: {policy: none, host: [80]}").egress
    assert proxy_variables(only_ports) == {"MOAT_HOST_GATEWAY": "127.0.0.1"}
    assert proxy_variables(None) == {}
    assert set(trust_variables().values()) == {"/run/moat/network/ca.pem"}


def test_programs_find_certificates_where_the_host_has_some_or_tls_is_opened():
    plain, opened = "network: {}", "network: {rules: [{a.org: [allow GET /x]}]}"
    assert way_out_variables(None, ()) == {}
    assert way_out_variables(None, ("/ca.pem",)) == trust_variables()
    assert "SSL_CERT_FILE" not in way_out_variables(planned(plain).egress, ())
    for text, trust in ((plain, ("/ca.pem",)), (opened, ())):
        egress = planned(text).egress
        found = way_out_variables(egress, trust, ["redis"])
        assert found == {**proxy_variables(egress, ["redis"]), **trust_variables()}
