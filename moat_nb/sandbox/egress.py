"""What a start makes of a sandbox's way out: a directory that it sees, and the proxy's order."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from moat_nb.egress.options import Interception, ProxyOptions, reachable_from
from moat_nb.egress.policy.network_policy import NetworkPolicy
from moat_nb.egress.upstream import UNPROXIED, UPSTREAM, first
from moat_nb.errors import StartError
from moat_nb.guest.tunnel import listening
from moat_nb.host.certificates import certificate_bundle
from moat_nb.host.run_directory import RunDir
from moat_nb.planning.network import has_certificates, intercepts
from moat_nb.planning.spec import ContainerSpec

__all__ = ["set_up_proxy"]

PROXY_MODE = 0o666
"""Connecting is writing, and no other user gets as far as this."""

RECORDS_LIMIT = 4 << 20
"""Bytes of the file with all that was asked for."""


def set_up_proxy(
    run_dir: RunDir, spec: ContainerSpec, environ: Mapping[str, str]
) -> tuple[socket.socket, ProxyOptions] | None:
    """Make it all; the listening socket and the order of the proxy, where there is one.

    ``environ`` is the launcher's. Raises StartError.
    """
    try:
        intercept = _authority(run_dir, spec)
        _make_directory(run_dir, spec, intercept)
        options = (
            None
            if spec.egress is None
            else _options(spec.egress, spec.trust, environ, run_dir, intercept)
        )
        listener = None if options is None else listening(str(run_dir.proxy_socket), PROXY_MODE)
        # The last step: what the new owner puts there, a link say, nobody here follows.
        if os.getuid() == 0:
            os.chown(run_dir.network, spec.user.uid, spec.user.gid)
    except OSError as error:
        raise StartError(f"{run_dir.network}: cannot be made: {error.strerror}") from error
    if listener is None or options is None:
        return None
    return listener, replace(options, listen_fd=listener.fileno())


def _authority(run_dir: RunDir, spec: ContainerSpec) -> Interception | None:
    """Its key stays out of the directory that the sandbox sees."""
    if not intercepts(spec.egress):
        return None
    from moat_nb.egress.proxy.interception import make_authority

    return make_authority(run_dir.path)


def _make_directory(run_dir: RunDir, spec: ContainerSpec, intercept: Interception | None) -> None:
    run_dir.network.mkdir(mode=0o700)
    if has_certificates(spec.trust, spec.egress):
        own = [] if intercept is None else [Path(intercept.certificate).read_bytes()]
        file = run_dir.certificates
        file.write_bytes(certificate_bundle(spec.trust, *own))
        file.chmod(0o644)


def _options(
    network: NetworkPolicy,
    trust: tuple[str, ...],
    environ: Mapping[str, str],
    run_dir: RunDir,
    intercept: Interception | None,
) -> ProxyOptions:
    """But for the socket, of which there is none before all else is known to be right."""
    upstream = first(environ, UPSTREAM) or None
    checks = intercept is not None or (upstream or "").lower().startswith("https:")
    return ProxyOptions(
        listen_fd=-1,
        network=network,
        intercept=intercept,
        upstream=upstream,
        trust=_trust(run_dir, trust) if checks and trust else None,
        no_proxy=first(environ, UNPROXIED),
        reachable=reachable_from(environ),
        records=str(run_dir.requests),
        limit=RECORDS_LIMIT,
    )


def _trust(run_dir: RunDir, paths: tuple[str, ...]) -> str:
    """What the proxy itself trusts, where no sandbox sees it: the host's authorities alone."""
    file = run_dir.path / "trust.pem"
    file.write_bytes(certificate_bundle(paths))
    return str(file)
