"""The smaller keys: ``env``, ``secrets``, ``ports``, ``hooks``, ``container`` and ``command``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, cast

from moat_nb.config import Container, Hooks, Secret
from moat_nb.parse.cursor import Cursor, Fields
from moat_nb.parse.document import nearest, shown

__all__ = [
    "IMAGE",
    "MEMORY_MAX_MB",
    "MEMORY_MIN_MB",
    "check_overlap",
    "command",
    "container",
    "environment",
    "hooks",
    "ports",
    "secrets",
]

MEMORY_MIN_MB = 128
"""Moat's own least ``container.memory``."""

MEMORY_MAX_MB = 1 << 24
"""16 TiB: above it a number is in the wrong unit."""

IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}")
"""A reference of Docker's: registry/path:tag@digest, in a lenient form; the engine has the rest."""

_CPUS_MAX = 1024

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENV_RULE = "letters, digits and _, no digit first"
_PORT_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
_PORT_RULE = "letters, digits, - and _, a letter or digit at both ends"

_REFERENCES = {
    "env": (_ENV_NAME, "env://NAME"),
    "op": (re.compile(r"[^/\s][^/]*(/[^/]+){2,3}"), "op://VAULT/ITEM/FIELD"),
    "ssm": (re.compile(r"[a-z0-9-]*/\S*[^/\s]"), "ssm:///PATH or ssm://REGION/PATH"),
}

# Moat's list, which is Docker's.
_ULIMITS = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
    *("rss", "rtprio", "rttime", "sigpending", "stack"),
)
_ULIMIT_MAX = (1 << 63) - 1


def environment(cursor: Cursor) -> tuple[tuple[str, str], ...]:
    """Names and values, in the file's order; a name without a value has an empty one."""
    entries = cursor.entries()
    _check_names(cursor, entries.values(), _ENV_NAME, f"a variable's name: {_ENV_RULE}")
    return tuple((name, value.text("", empty=True)) for name, value in entries.items())


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
    given = {
        name: value.integer(None, minimum=1, maximum=65535)
        for name, value in entries.items()
        if value.require()
    }
    return tuple((name, port) for name, port in given.items() if port is not None)


def hooks(cursor: Cursor) -> Hooks:
    fields = cursor.fields(("post_build_root", "post_build", "pre_run"))
    return Hooks(
        post_build_root=fields["post_build_root"].text(None),
        post_build=fields["post_build"].text(None),
        pre_run=fields["pre_run"].text(None),
    )


def container(cursor: Cursor) -> Container:
    fields = cursor.fields(("memory", "cpus", "dns", "ulimits"))
    return Container(
        memory_mb=fields["memory"].integer(None, minimum=MEMORY_MIN_MB, maximum=MEMORY_MAX_MB),
        cpus=fields["cpus"].number(None, maximum=_CPUS_MAX),
        dns=_addresses(fields["dns"]),
        ulimits=_ulimits(fields["ulimits"]),
        where=cursor.key_where if cursor.given else "",
    )


def command(cursor: Cursor) -> tuple[str, ...]:
    """A program and its arguments: a list, as in Moat, so that no shell has to split words."""
    texts = cursor.texts()
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
        mend = f"did you mean {near!r}?" if near else f"known: {', '.join(_ULIMITS)}"
        cursor.problems.add(entries[name].key_where, f"unknown ulimit {shown(name)}", mend)
    found = ((name, _ulimit(value)) for name, value in entries.items())
    return tuple((name, *limits) for name, limits in found if limits)


def _ulimit(cursor: Cursor) -> tuple[int, int] | None:
    fields: Fields = cursor.fields(("soft", "hard"))
    soft, hard = (
        fields[name].integer(None, minimum=-1, maximum=_ULIMIT_MAX)
        if fields[name].require()
        else None
        for name in ("soft", "hard")
    )
    if soft is None or hard is None:
        return None
    if hard != -1 and (soft == -1 or soft > hard):
        cursor.fail(f"soft {soft} is above hard {hard} (-1 is unlimited)", "lower soft")
        return None
    return soft, hard
