"""What `moat-nb doctor` says of the network: how sandboxes reach hosts from this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from moat_nb.egress.options import install_command, reachable_from
from moat_nb.egress.upstream import UPSTREAM, Upstream, first
from moat_nb.errors import MoatError
from moat_nb.host.machine import Host

__all__ = ["examine"]


def examine(host: Host, environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """``(subject, what is found, what to do about it)``; the last is empty where all is well."""
    if host.trust:
        yield "certificates", f"sandboxes trust what is in {', '.join(host.trust)}", ""
    else:
        hint = "install ca-certificates, or name the file in SSL_CERT_FILE"
        yield "certificates", "no file of them is found: sandboxes trust what images do", hint
    yield _way_out(first(environ, UPSTREAM))
    try:
        if networks := reachable_from(environ):
            yield "reachable", f"not public, but allowed: {', '.join(networks)}", ""
    except MoatError as error:
        yield "reachable", str(error), "correct the variable"
    lacking = install_command()
    words = "rules with methods and paths " + ("cannot be used" if lacking else "can be used")
    yield "interception", words + (f" (optional): {lacking}" if lacking else ""), ""


def _way_out(url: str) -> tuple[str, str, str]:
    """``url``: of the launcher's own proxy, of whose password nothing is said."""
    upstream = Upstream.parse(url)
    if url and upstream.problem:
        return "way out", f"hosts cannot be reached: {upstream.problem}", "correct the variable"
    way = f"through the proxy at {upstream.host}:{upstream.port}" if url else "directly"
    return "way out", f"hosts are reached {way}, unless moat.yaml says network.policy: none", ""
