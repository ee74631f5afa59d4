"""What a proxy is ordered to do."""

from __future__ import annotations

import pytest

from moat_nb.config.model import Rule
from moat_nb.egress import options
from moat_nb.egress.options import ProxyOptions, reachable_from
from moat_nb.egress.policy.network_policy import NetworkPolicy
from moat_nb.errors import StartError
from tests.egress.running import rules


def test_an_order_arrives_as_it_was_given() -> None:
    given = ProxyOptions(
        listen_fd=3,
        network=NetworkPolicy(
            policy="strict",
            rules=rules("a.test", ("b.test", ("allow GET /x", "deny * /**"))),
            host_ports=(5432,),
            file="agent.yaml",
        ),
        records="/run/r",
        limit=9,
        reachable=("10.0.0.0/8",),
    )
    assert ProxyOptions.parse(given.line()) == given


def test_the_networks_that_may_be_reached_are_the_launchers_to_name() -> None:
    assert reachable_from({}) == ()
    assert reachable_from({"MOAT_NB_REACHABLE": "10.1.2.0/24, fd00::7"}) == (
        "10.1.2.0/24",
        "fd00::7/128",
    )
    with pytest.raises(StartError, match="write networks such as"):
        reachable_from({"MOAT_NB_REACHABLE": "intranet"})


@pytest.mark.parametrize(
    ("given", "is_needed"),
    [((), False), (rules("a.test"), False), (rules("a.test", ("b.test", ("deny * /x",))), True)],
)
def test_interception_is_needed_for_lines_alone(given: tuple[Rule, ...], is_needed: bool) -> None:
    assert options.needed(given) is is_needed


def test_nothing_is_missing_where_cryptography_is_installed() -> None:
    assert options.install_command() is None
