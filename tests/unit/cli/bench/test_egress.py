"""bench/egress.py: the throughput that the proxy's users are told of."""

from __future__ import annotations

from moat_nb.cli.bench.egress import throughput


def test_bytes_through_the_proxy_are_measured_beside_a_direct_connection() -> None:
    found = throughput(1 << 20, runs=1)
    assert list(found) == [
        "direct",
        "plain HTTP",
        "CONNECT",
        "forwarder and CONNECT",
        "direct TLS",
        "opened TLS",
    ]
    assert all(rate > 0 for rate in found.values())
