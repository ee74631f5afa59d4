"""A policy, and the JSON that it is ordered by."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from moat_nb.egress.policy.network_policy import NetworkPolicy
from tests.unit.egress.policy.judging import GITHUB

POLICY = NetworkPolicy(policy="strict", rules=(GITHUB,), host_ports=(8080,), file="m.yaml")


def test_a_policy_is_read_from_the_json_of_its_fields() -> None:
    assert NetworkPolicy.parse(json.loads(json.dumps(asdict(POLICY)))) == POLICY


@pytest.mark.parametrize("change", [{"rules": [{}]}, {"host_ports": None}])
def test_other_json_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError)):
        NetworkPolicy.parse({**asdict(POLICY), **change})
