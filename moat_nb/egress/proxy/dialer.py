"""Connects to a host: to a checked address of it, or through the launcher's own proxy."""

from __future__ import annotations

import ssl

import h11

from moat_nb.egress.options import Deadlines
from moat_nb.egress.policy.hostnames import is_local_name
from moat_nb.egress.policy.verdict import Failed, Refused, Verdict
from moat_nb.egress.proxy.happy_eyeballs import connect_first
from moat_nb.egress.proxy.http1 import Http1Connection
from moat_nb.egress.proxy.resolver import Resolver
from moat_nb.egress.proxy.streams import Plain, within
from moat_nb.egress.upstream import Upstream

__all__ = ["Dialer"]

UPSTREAM_RESOLVE_SECONDS = 2.0
"""Behind a company's proxy the machine knows few names, and its resolver may be slow to fail."""


class Dialer:
    """``trust``: path of the authorities that vouch for an ``https://`` proxy; None: OpenSSL's."""

    def __init__(
        self,
        resolver: Resolver,
        deadlines: Deadlines,
        upstream: Upstream | None = None,
        no_proxy: str = "",
        trust: str | None = None,
    ) -> None:
        self._resolver = resolver
        self.deadlines = deadlines
        self._upstream = upstream
        self._no_proxy = no_proxy
        self._trust = trust

    async def connect(self, host: str, port: int) -> Plain:
        """A stream to the host itself; Refused or Failed."""
        upstream = self.upstream_for(host)
        if upstream is None:
            return await connect_first(await self._resolver.resolve(host, port), self.deadlines)
        stream = await self.to_upstream(upstream, host, port)
        late = Failed("is not reached: the upstream proxy does not answer", 504)
        try:
            await within(self.deadlines.head, _tunnel(stream, upstream, host, port), late)
        except BaseException:
            stream.close()
            raise
        return stream

    async def to_upstream(self, upstream: Upstream, host: str, port: int) -> Plain:
        """A stream to the upstream proxy, after the checks of ``host`` that are possible here."""
        if upstream.problem:
            raise Failed(f"is not reached: {upstream.problem}")
        await self._check_for_upstream(host, port)
        context = ssl.create_default_context(cafile=self._trust) if upstream.tls else None
        addresses = await self._resolver.look_up(upstream.host, upstream.port)
        try:
            return await connect_first(addresses, self.deadlines, context, upstream.host)
        except Failed as failed:
            raise Failed(f"is not reached: the upstream proxy {failed.reason}") from None

    def upstream_for(self, host: str) -> Upstream | None:
        return None if _bypassed(host, self._no_proxy) else self._upstream

    async def _check_for_upstream(self, host: str, port: int) -> None:
        """Check the addresses that this machine's resolver knows, and refuse local names: the
        upstream proxy resolves the name again."""
        if is_local_name(host):
            reason = "is a name of a local network, and only public hosts can be reached"
            raise Refused(Verdict(allowed=False, rule="public addresses only", reason=reason))
        try:
            await self._resolver.resolve(host, port, UPSTREAM_RESOLVE_SECONDS)
        except Failed:
            return  # unknown here


async def _tunnel(stream: Plain, upstream: Upstream, host: str, port: int) -> None:
    connection = Http1Connection(stream, h11.CLIENT)
    name = f"{host}:{port}"
    headers = [(b"host", name.encode()), *upstream.headers]
    await connection.send(h11.Request(method="CONNECT", target=name, headers=headers))
    await connection.send(h11.EndOfMessage())
    try:
        answer = await connection.event()
    except h11.RemoteProtocolError as error:
        raise Failed(f"is not reached: the upstream proxy does not speak HTTP: {error}") from None
    if isinstance(answer, h11.Response) and answer.status_code == 407:
        raise Failed("is not reached: the upstream proxy wants a password; see HTTPS_PROXY")
    if not isinstance(answer, h11.Response) or not 200 <= answer.status_code < 300:
        status = getattr(answer, "status_code", "nothing")
        raise Failed(f"is not reached: the upstream proxy answered {status}")
    if connection.http.trailing_data[0]:
        raise Failed("is not reached: the upstream proxy speaks before the host is asked")


def _bypassed(host: str, no_proxy: str) -> bool:
    """As curl reads NO_PROXY: a name stands for the names below it as well."""
    for word in no_proxy.replace(",", " ").split():
        name = word.lower().removeprefix("*").removeprefix(".").partition(":")[0]
        if word == "*" or (name and (host == name or host.endswith(f".{name}"))):
            return True
    return False
