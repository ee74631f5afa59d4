"""``network``: the policy, its rules, and the host's ports."""

from __future__ import annotations

import re
from typing import Literal, cast, get_args

from moat_nb.config.cursor import Cursor
from moat_nb.config.model import Network, Policy, Rule
from moat_nb.config.shapes import Anything, Choice, Either, Keys, ListOf, MapOf, Text, key
from moat_nb.config.values import PORT
from moat_nb.config.yaml_nodes import shown

__all__ = ["NetworkKeys", "network"]

_LABEL = r"(\*|[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)"
_HOST = re.compile(rf"(?![0-9.]+$){_LABEL}(\.{_LABEL})*")
_ADDRESS = re.compile(r"[0-9.]+|.*:.*")
# In letters of any case, as Moat has it; a schema knows no flags.
_VERDICT = "[Aa][Ll][Ll][Oo][Ww]|[Dd][Ee][Nn][Yy]"
_LINE = re.compile(rf"\s*(?P<verdict>{_VERDICT})\s+(?P<method>\*|[A-Za-z]+)\s+(?P<path>/\S*)\s*")
_RULE = Either((Text(form=_HOST), MapOf(names=_HOST, value=ListOf(item=Text(form=_LINE)))))


class NetworkKeys(Keys):
    policy = key(
        Choice[Policy](options=get_args(Policy)),
        "What can be reached: any public host, those that rules name, nothing, or all that the"
        " engine's own network reaches.",
        default="permissive",
    )
    rules = key(
        ListOf(item=_RULE),
        "Hosts by name (* is one label), or a host with lines such as allow GET /path/**.",
    )
    host = key(ListOf(item=PORT), "Ports of this machine that the sandbox can reach.", default=())
    keep_policy = key(Anything(), "Moat's own: accepted, and means nothing to a kernel.")


def network(cursor: Cursor) -> Network:
    """No ``network:`` key: policy None. One without a policy: Moat's default, permissive."""
    if not cursor.given:
        return Network()
    entries = cursor.entries()
    allow = entries.get("allow")
    if allow is not None:
        cursor.problems.add(allow.key_where, "network.allow was renamed", "call it rules")
    fields = cursor.fields((*NetworkKeys.names(), "allow"))
    rules = fields.at(NetworkKeys.rules).items()
    return Network(
        policy=fields.read(NetworkKeys.policy),
        rules=tuple(rule for item in rules for rule in _rules(item)),
        host_ports=tuple(dict.fromkeys(fields.read(NetworkKeys.host))),
        where=cursor.key_where,
    )


def _rules(item: Cursor) -> tuple[Rule, ...]:
    """A host name, or one host name mapped to its lines (several are taken as well)."""
    if item.node is not None and item.node.kind == "scalar":
        host = _host(item.node.text, item)
        return (Rule(host=host, where=item.where),) if host else ()
    rules = []
    for name, lines in item.entries().items():
        host = _host(name, item)
        parsed = tuple(line for text in lines.items() if (line := _line(text)))
        rules += [Rule(host=host, lines=parsed, where=lines.key_where)] if host else []
    return tuple(rules)


def _host(text: str, item: Cursor) -> str | None:
    host = text.lower()
    if _ADDRESS.fullmatch(host):
        item.fail(
            f"{shown(text)} is an address or has a port, and only names can be reached",
            "write the host's name alone",
        )
        return None
    if len(host) > 253 or not _HOST.fullmatch(host):
        hint = "write api.example.com or *.example.com, with no scheme and no path"
        item.fail(f"{shown(text)} is not a host name", hint)
        return None
    return host


def _line(item: Cursor) -> tuple[Literal["allow", "deny"], str, str] | None:
    text = item.text("")
    found = _LINE.fullmatch(text)
    if found is None:
        if text:
            hint = "write allow GET /path/** or deny * /**"
            item.fail(f"{shown(text)} is not a rule", hint)
        return None
    verdict = cast(Literal["allow", "deny"], found["verdict"].lower())
    return verdict, found["method"].upper(), found["path"]
