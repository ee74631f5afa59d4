"""``kernel.services``: sidecars that are no dependencies, and more of those that are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from moat_nb.config import Service
from moat_nb.host import User
from moat_nb.parse import dependencies as names
from moat_nb.parse import mounts as parse_mounts
from moat_nb.parse.cursor import Cursor, Fields
from moat_nb.parse.document import shown
from moat_nb.parse.values import IMAGE, MEMORY_MAX_MB, MEMORY_MIN_MB, environment
from moat_nb.services.readiness import TIMEOUT, Command, LogLine, Port, Ready

__all__ = ["services"]

# What dependencies and `services` say nothing of.
_MORE = ("command", "mounts", "volumes", "user", "ready")
_WHOLE = ("image", "env", "ports", "memory", "wait", *_MORE)
_CHECKS = ("port", "command", "log", "timeout")

# A host's name, in /etc/hosts of the sandbox, and in a container's name.
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")
_NAME_RULE = "lower-case letters, digits and -, a letter first, at most 32"
_TAKEN = ("localhost", "moat")

_USER = re.compile(r"[1-9][0-9]{0,9}(:[1-9][0-9]{0,9})?")
_SECONDS_MAX = 86400


def services(
    cursor: Cursor, declared: Iterable[Service], base: parse_mounts.Base, *, named: bool
) -> tuple[Service, ...]:
    """``declared``, the dependencies, with what is added to them, and then those given here.

    ``named``: whether the file has a ``name:``, which volumes are kept under.
    """
    found = {service.name: service for service in declared}
    for name, entry in cursor.entries().items():
        if name in found:
            found[name] = _with_more(found[name], entry.fields(_MORE), base, named)
        elif name in names.SERVICES:
            what = f"kernel.services.{name} is given, but {name} is not among the dependencies"
            entry.problems.add(entry.key_where, what, f"add to dependencies: - {name}")
        elif not _NAME.fullmatch(name) or name in _TAKEN:
            what = f"{shown(name)} cannot name a service: {_NAME_RULE}, and not {_TAKEN[0]}"
            entry.problems.add(entry.key_where, what)
        else:
            found[name] = _whole(name, entry, base, named)
    return tuple(found.values())


def _whole(name: str, cursor: Cursor, base: parse_mounts.Base, named: bool) -> Service:
    fields = cursor.fields(_WHOLE)
    fields["image"].require()
    memory = fields["memory"].integer(None, minimum=MEMORY_MIN_MB, maximum=MEMORY_MAX_MB)
    ports = (_port(item) for item in fields["ports"].items())
    service = Service(
        name=name,
        image=fields["image"].matching("", IMAGE, "the name of an image"),
        env=environment(fields["env"]),
        ports=tuple(dict.fromkeys(port for port in ports if port is not None)),
        memory_mb=memory,
        wait=fields["wait"].boolean(True),
        where=cursor.key_where,
    )
    return _with_more(service, fields, base, named)


def _with_more(service: Service, fields: Fields, base: parse_mounts.Base, named: bool) -> Service:
    mounts = tuple(parse_mounts.listed(fields["mounts"], base))
    volumes = parse_mounts.volumes(fields["volumes"], named=named)
    parse_mounts.check_targets(mounts, volumes, fields.owner.problems)
    return replace(
        service,
        command=fields["command"].texts(),
        mounts=mounts,
        volumes=volumes,
        user=_user(fields["user"]),
        ready=_ready(fields["ready"]),
    )


def _port(cursor: Cursor) -> int | None:
    return cursor.integer(None, minimum=1, maximum=65535)


def _user(cursor: Cursor) -> User | None:
    rule = "UID or UID:GID, numbers above 0: a sidecar never runs as root"
    text = cursor.matching(None, _USER, rule)
    if text is None:
        return None
    uid, _, gid = text.partition(":")
    return User(int(uid), int(gid or uid))


def _ready(cursor: Cursor) -> Ready | None:
    if not cursor.given:
        return None
    fields = cursor.fields(_CHECKS)
    timeout = fields["timeout"].number(TIMEOUT, maximum=_SECONDS_MAX)
    port = _port(fields["port"])
    command = fields["command"].texts()
    line = fields["log"].text(None)
    given = [name for name in _CHECKS[:3] if fields[name].given]
    if len(given) != 1:
        cursor.fail(f"{' and '.join(given) or 'no check'} given", "give port, command or log")
    if port is not None:
        return Port(port=port, timeout=timeout)
    if command:
        return Command(argv=command, timeout=timeout)
    return None if line is None else LogLine(text=line, timeout=timeout)
