"""The variables by which programs in a sandbox, or in a sidecar of it, find the way out."""

from __future__ import annotations

from collections.abc import Iterable

from moat_nb.egress.intercept import needed
from moat_nb.egress.network_policy import NetworkPolicy

__all__ = [
    "BUNDLE",
    "PLACE",
    "PROXY_PORT",
    "intercepts",
    "proxy_variables",
    "trust_variables",
    "way_out_variables",
]

PLACE = "/run/moat/network"
"""Inside, read-only: the proxy's socket, and the certificates."""

BUNDLE = f"{PLACE}/ca.pem"

PROXY_PORT = 30128
"""On the sandbox's own 127.0.0.1, where nothing else is when the guest begins. Below the ports
that systems give to whoever asks for any (32768 and on), and none of IANA's registered ones."""

HERE = ("localhost", "127.0.0.1", "::1")
"""What is asked for directly: the sandbox's own loopback, where its services are."""

READ_BUNDLES = (
    "AWS_CA_BUNDLE",  # boto3, which has its own
    "CARGO_HTTP_CAINFO",
    "CONDA_SSL_VERIFY",  # conda takes a path for what others would call a switch
    "CURL_CA_BUNDLE",  # curl, and R where its libcurl reads no SSL_CERT_FILE
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",  # node and npm, beside what node has built in
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",  # OpenSSL, and with it python's ssl, Ruby, wget; Go; uv
)


def intercepts(egress: NetworkPolicy | None) -> bool:
    """Whether TLS is opened, by an authority that the sandbox is to trust."""
    return egress is not None and needed(egress.rules)


def way_out_variables(
    egress: NetworkPolicy | None, trust: tuple[str, ...], names: Iterable[str] = ()
) -> dict[str, str]:
    """All that a spec with ``egress`` and ``trust`` has them find; ``names`` is as below."""
    found = proxy_variables(egress, names)
    return {**found, **trust_variables()} if trust or intercepts(egress) else found


def proxy_variables(egress: NetworkPolicy | None, names: Iterable[str] = ()) -> dict[str, str]:
    """Where the proxy is; empty when there is none. ``names``: of services, asked for directly.

    ``ALL_PROXY`` is left out: for other protocols than HTTP(S) there is no way out, and some
    programs take it for SOCKS.
    """
    found = {}
    if egress is not None and egress.policy != "none":
        url = f"http://127.0.0.1:{PROXY_PORT}"
        directly = ",".join((*HERE, *names))
        for name, value in (("HTTP_PROXY", url), ("HTTPS_PROXY", url), ("NO_PROXY", directly)):
            found[name] = found[name.lower()] = value
        found["NODE_USE_ENV_PROXY"] = "1"  # node >= 22.21 then does as all the others do
    if egress is not None and egress.host_ports:
        found["MOAT_HOST_GATEWAY"] = "127.0.0.1"
    return found


def trust_variables() -> dict[str, str]:
    """Where the certificates are that the host trusts, in each program's own words."""
    return dict.fromkeys(READ_BUNDLES, BUNDLE)
