"""Rules, and what judges by them."""

from __future__ import annotations

from moat_nb.config.model import ProxyPolicy, Rule
from moat_nb.egress.policy.evaluate import PolicyEvaluator
from moat_nb.egress.policy.network_policy import NetworkPolicy

GITHUB = Rule(
    host="api.github.com",
    lines=(("allow", "GET", "/repos/**"), ("deny", "*", "/**")),
    where="moat.yaml:4:7",
)


def judge(policy: ProxyPolicy, *rules: Rule) -> PolicyEvaluator:
    return PolicyEvaluator(
        network=NetworkPolicy(policy=policy, rules=rules, file="/srv/demo/moat.yaml")
    )
