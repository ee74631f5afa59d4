"""The launcher's own proxy, read from its URL."""

from __future__ import annotations

from moat_nb.egress.options import ProxyOptions
from moat_nb.egress.policy.network_policy import NetworkPolicy
from moat_nb.egress.upstream import Upstream


def test_the_password_is_in_no_repr() -> None:
    upstream = Upstream.parse("https://ada:lace@proxy.example.com")
    assert (upstream.host, upstream.port, upstream.tls) == ("proxy.example.com", 443, True)
    assert "Basic" not in repr(upstream)
    network = NetworkPolicy(policy="none")
    options = ProxyOptions(
        listen_fd=3, network=network, records="/r", limit=1, upstream="http://ada:lace@p:1"
    )
    assert "lace" not in repr(options)
    assert b"lace" in options.line()


def test_a_proxy_may_be_written_without_a_scheme() -> None:
    assert Upstream.parse("proxy.example.com:3128").port == 3128
