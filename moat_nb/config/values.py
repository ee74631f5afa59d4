"""The smaller keys: ``env``, ``secrets``, ``ports``, ``hooks``, ``container`` and ``command``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, cast

from moat_nb.config.cursor import Cursor
from moat_nb.config.model import Container, Hooks, Secret
from moat_nb.config.shapes import Block, Integer, Keys, ListOf, MapOf, Number, Text, Word, key
from moat_nb.config.yaml_nodes import nearest, shown

__all__ = [
    "COMMAND",
    "ENV",
    "IMAGE",
    "MEMORY",
    "PORT",
    "PORTS",
    "SECRETS",
    "SERVICE_ENV",
    "ContainerKeys",
    "HooksKeys",
    "check_overlap",
    "command",
    "container",
    "environment",
    "hooks",
    "ports",
    "secrets",
    "service_environment",
]

MEMORY = Integer(minimum=128, maximum=1 << 24, zero=True, unit="MB")
"""MiB, from Moat's own least to 16 TiB: above it a number is in the wrong unit."""

IMAGE = Word(
    pattern=re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}"), rule="the name of an image"
)
"""A reference of Docker's: registry/path:tag@digest, in a lenient form; the engine has the rest."""

PORT = Integer(minimum=1, maximum=65535)

# What a process can be given: programs read npm_config_//host/:key and spring.port.
_ENV_NAME = re.compile(r"[^=\x00-\x20\x7f]+")
_ENV_RULE = "without spaces and ="
# What a shell can assign, as that of a sidecar does.
_SHELL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHELL_RULE = "letters, digits and _, no digit first"
_PORT_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_PORT_RULE = "a part of a host's name: letters, digits and -, a letter or digit at both ends"

_REFERENCES = {
    "env": (_SHELL_NAME, "env://NAME"),
    "op": (re.compile(r"[^/\s][^/]*(/[^/]+){2,3}"), "op://VAULT/ITEM/FIELD"),
    "ssm": (re.compile(r"[a-z0-9-]*/\S*[^/\s]"), "ssm:///PATH or ssm://REGION/PATH"),
}

# Moat's list, which is Docker's.
_ULIMITS = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
    *("rss", "rtprio", "rttime", "sigpending", "stack"),
)
_ULIMIT = Integer(minimum=-1, maximum=(1 << 63) - 1)

_REFERENCE = "|".join(f"{scheme}://{form.pattern}" for scheme, (form, _) in _REFERENCES.items())

ENV = MapOf(names=_ENV_NAME, value=Text(empty=True))
SERVICE_ENV = MapOf(names=_SHELL_NAME, value=Text(empty=True))
"""A value may be a reference to a secret, as in Moat."""
SECRETS = MapOf(names=_ENV_NAME, value=Text(form=re.compile(_REFERENCE)), required=True)
PORTS = MapOf(names=_PORT_NAME, value=PORT, required=True)
COMMAND = ListOf(item=Text(empty=True))


class HooksKeys(Keys):
    post_build_root = key(Text(), "A shell command for the image's build, run as root.")
    post_build = key(Text(), "A shell command for the image's build, run as the kernel's user.")
    pre_run = key(Text(), "A shell command run in the sandbox before each start of a kernel.")


class _UlimitKeys(Keys):
    soft = key(_ULIMIT, "The limit in force; -1 is unlimited.", required=True)
    hard = key(_ULIMIT, "What a process may raise it to; -1 is unlimited.", required=True)


class ContainerKeys(Keys):
    memory = key(MEMORY, "Memory in MB.")
    cpus = key(Number(maximum=1024, zero=True), "How many CPUs, in fractions too.")
    dns = key(ListOf(item=Text()), "Name servers, by IP address.")
    ulimits = key(
        MapOf(known=dict.fromkeys(_ULIMITS, Block(_UlimitKeys))), "Limits of each process, by name."
    )


def environment(cursor: Cursor) -> tuple[tuple[str, str], ...]:
    """Names and values, in the file's order; a name without a value has an empty one."""
    entries = cursor.entries()
    _check_names(cursor, entries.values(), _ENV_NAME, f"a variable's name: {_ENV_RULE}")
    return tuple((name, value.text("", empty=True)) for name, value in entries.items())


def service_environment(cursor: Cursor) -> tuple[tuple[tuple[str, str], ...], tuple[Secret, ...]]:
    """A service's variables, and those of them whose values are references to secrets."""
    entries = cursor.entries()
    _check_names(cursor, entries.values(), _SHELL_NAME, f"a variable's name: {_SHELL_RULE}")
    given = {name: value.text("", empty=True) for name, value in entries.items()}
    references = (name for name, text in given.items() if _is_reference(text))
    found = (_secret(name, entries[name]) for name in references)
    return tuple(given.items()), tuple(secret for secret in found if secret)


def _is_reference(text: str) -> bool:
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme in _REFERENCES


def secrets(cursor: Cursor) -> tuple[Secret, ...]:
    entries = cursor.entries()
    _check_names(cursor, entries.values(), _ENV_NAME, f"a variable's name: {_ENV_RULE}")
    found = (_secret(name, value) for name, value in entries.items() if value.require())
    return tuple(secret for secret in found if secret)


def check_overlap(env: Cursor, secrets: Cursor) -> None:
    """A name that is both a variable and a secret is a problem, as in Moat."""
    both = env.entries().keys() & secrets.entries().keys()
    for name in sorted(both):
        where = secrets.entries()[name].key_where
        secrets.problems.add(where, f"{shown(name)} is in env and in secrets", "keep one of them")


def ports(cursor: Cursor) -> tuple[tuple[str, int], ...]:
    entries = cursor.entries()
    _check_names(cursor, entries.values(), _PORT_NAME, f"an endpoint's name: {_PORT_RULE}")
    known: dict[str, str] = {}
    for name, value in entries.items():
        if (other := known.setdefault(name.lower(), name)) != name:
            what = f"{cursor.path}: {shown(name)} and {shown(other)} are one name to a browser"
            cursor.problems.add(value.key_where, what)
    given = {name: PORT.read(value, None) for name, value in entries.items() if value.require()}
    return tuple((name, port) for name, port in given.items() if port is not None)


def hooks(cursor: Cursor) -> Hooks:
    fields = cursor.fields(HooksKeys.names())
    return Hooks(
        post_build_root=fields.read(HooksKeys.post_build_root),
        post_build=fields.read(HooksKeys.post_build),
        pre_run=fields.read(HooksKeys.pre_run),
    )


def container(cursor: Cursor) -> Container:
    fields = cursor.fields(ContainerKeys.names())
    return Container(
        memory_mb=fields.read(ContainerKeys.memory),
        cpus=fields.read(ContainerKeys.cpus),
        dns=_addresses(fields.at(ContainerKeys.dns)),
        ulimits=_ulimits(fields.at(ContainerKeys.ulimits)),
        where=cursor.key_where if cursor.given else "",
    )


def command(cursor: Cursor) -> tuple[str, ...]:
    """A program and its arguments: a list, as in Moat, so that no shell has to split words."""
    texts = COMMAND.read(cursor, ())
    if texts and not texts[0]:
        cursor.fail("the first item, the program, is empty", "give the program's name")
    return texts


def _check_names(
    cursor: Cursor, entries: Iterable[Cursor], pattern: re.Pattern[str], rule: str
) -> None:
    for entry in entries:
        name = entry.anchor.text
        if not pattern.fullmatch(name):
            what = f"{cursor.path}: {shown(name)} is not {rule}"
            cursor.problems.add(entry.key_where, what)


def _secret(name: str, cursor: Cursor) -> Secret | None:
    text = cursor.text("")
    scheme, _, reference = text.partition("://")
    if not text:
        return None
    # Not a word of the value in either text: a secret itself may have been written here.
    if scheme not in _REFERENCES:
        forms = ", ".join(form for _, form in _REFERENCES.values())
        cursor.fail("the value is not a reference to a secret", f"write {forms}")
        return None
    pattern, form = _REFERENCES[scheme]
    if not pattern.fullmatch(reference):
        cursor.fail(f"what follows {scheme}:// is not a reference", f"write {form}")
        return None
    known = cast(Literal["env", "op", "ssm"], scheme)
    return Secret(name=name, scheme=known, reference=reference, where=cursor.where)


def _addresses(cursor: Cursor) -> tuple[str, ...]:
    # Few files give dns; the rest need not wait for the import.
    from ipaddress import ip_address

    found = []
    for item in cursor.items():
        text = item.text("")
        try:
            found += [str(ip_address(text))] if text else []
        except ValueError:
            item.fail(f"{shown(text)} is not an IP address", "name servers are given by address")
    return tuple(found)


def _ulimits(cursor: Cursor) -> tuple[tuple[str, int, int], ...]:
    entries = cursor.entries()
    for name in entries.keys() - set(_ULIMITS):
        near = nearest(name, _ULIMITS)
        hint = f"did you mean {near!r}?" if near else f"known: {', '.join(_ULIMITS)}"
        cursor.problems.add(entries[name].key_where, f"unknown ulimit {shown(name)}", hint)
    found = ((name, _ulimit(value)) for name, value in entries.items())
    return tuple((name, *limits) for name, limits in found if limits)


def _ulimit(cursor: Cursor) -> tuple[int, int] | None:
    fields = cursor.fields(_UlimitKeys.names())
    soft, hard = fields.read(_UlimitKeys.soft), fields.read(_UlimitKeys.hard)
    if soft is None or hard is None:
        return None
    if hard != -1 and (soft == -1 or soft > hard):
        cursor.fail(f"soft {soft} is above hard {hard} (-1 is unlimited)", "lower soft")
        return None
    return soft, hard
