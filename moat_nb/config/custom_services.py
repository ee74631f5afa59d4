"""``kernel.services``: sidecars that are no dependencies, and more of those that are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from moat_nb.config import mounts as parse_mounts
from moat_nb.config.cursor import Cursor, Fields
from moat_nb.config.model import Service
from moat_nb.config.mounts import MOUNTS, VOLUMES
from moat_nb.config.readiness import TIMEOUT, Command, LogLine, Port, Ready
from moat_nb.config.registry import SERVICES as NAMES
from moat_nb.config.services import ServiceKeys
from moat_nb.config.shapes import Block, Keys, ListOf, MapOf, Number, Text, Word, key
from moat_nb.config.values import IMAGE, PORT, service_environment
from moat_nb.config.yaml_nodes import shown
from moat_nb.host.machine import User

__all__ = ["SERVICES", "services"]

# A host's name, in /etc/hosts of the sandbox, and in a container's name.
_TAKEN = ("localhost", "moat")
_NAME = re.compile(rf"(?!({'|'.join(_TAKEN)})$)[a-z]([a-z0-9-]{{0,30}}[a-z0-9])?")
_NAME_RULE = "lower-case letters, digits and -, a letter first, at most 32"

_USER = Word(
    pattern=re.compile(r"[1-9][0-9]{0,9}(:[1-9][0-9]{0,9})?"),
    rule="UID or UID:GID, numbers above 0: a sidecar never runs as root",
)
_ARGV = ListOf(item=Text(empty=True))


class _ReadyKeys(Keys):
    port = key(PORT, "It is ready when something listens at this port,")
    command = key(_ARGV, "or when this command, run in it, exits with 0,", default=())
    log = key(Text(), "or when it prints a line that holds this text.")
    timeout = key(Number(maximum=86400), "Seconds from the container's start.", default=TIMEOUT)


class _MoreKeys(Keys):
    """What dependencies and ``services`` say nothing of."""

    command = key(
        _ARGV, "Arguments after the image's entrypoint, instead of the image's own.", default=()
    )
    mounts = key(MOUNTS, "Directories and files of this machine, as for the kernel.")
    volumes = key(VOLUMES, "What it keeps from one start to the next.")
    user = key(_USER, "UID or UID:GID to run as; the kernel's user unless given.")
    ready = key(Block(_ReadyKeys), "What shows that it is ready: port, command or log.")


class _WholeKeys(Keys):
    image = key(IMAGE, "The image to run.", required=True)
    env = ServiceKeys.env
    ports = key(ListOf(item=PORT), "Where it listens; the first is MOAT_NAME_PORT.", default=())
    memory = ServiceKeys.memory
    wait = ServiceKeys.wait
    command = _MoreKeys.command
    mounts = _MoreKeys.mounts
    volumes = _MoreKeys.volumes
    user = _MoreKeys.user
    ready = _MoreKeys.ready


SERVICES = MapOf(
    names=_NAME,
    value=Block(_WholeKeys),
    known=dict.fromkeys(NAMES, Block(_MoreKeys)),
)


def services(
    cursor: Cursor, declared: Iterable[Service], base: parse_mounts.Base, *, named: bool
) -> tuple[Service, ...]:
    """``declared``, the dependencies, with what is added to them, and then those given here.

    ``named``: whether the file has a ``name:``, which volumes are kept under.
    """
    found = {service.name: service for service in declared}
    for name, entry in cursor.entries().items():
        if name in found:
            found[name] = _with_more(found[name], entry.fields(_MoreKeys.names()), base, named)
        elif name in NAMES:
            what = f"kernel.services.{name} is given, but {name} is not among the dependencies"
            entry.problems.add(entry.key_where, what, f"add to dependencies: - {name}")
        elif not _NAME.fullmatch(name):
            what = f"{shown(name)} cannot name a service: {_NAME_RULE}, and not {_TAKEN[0]}"
            entry.problems.add(entry.key_where, what)
        else:
            found[name] = _whole(name, entry, base, named)
    return tuple(found.values())


def _whole(name: str, cursor: Cursor, base: parse_mounts.Base, named: bool) -> Service:
    fields = cursor.fields(_WholeKeys.names())
    env, secrets = service_environment(fields.at(_WholeKeys.env))
    service = Service(
        name=name,
        image=fields.read(_WholeKeys.image) or "",
        env=env,
        secrets=secrets,
        ports=tuple(dict.fromkeys(fields.read(_WholeKeys.ports))),
        memory_mb=fields.read(_WholeKeys.memory),
        wait=fields.read(_WholeKeys.wait),
        where=cursor.key_where,
    )
    return _with_more(service, fields, base, named)


def _with_more(service: Service, fields: Fields, base: parse_mounts.Base, named: bool) -> Service:
    mounts = tuple(parse_mounts.listed(fields.at(_MoreKeys.mounts), base))
    volumes = parse_mounts.volumes(fields.at(_MoreKeys.volumes), named=named)
    parse_mounts.check_targets(mounts, volumes, fields.owner.problems)
    return replace(
        service,
        command=fields.read(_MoreKeys.command),
        mounts=mounts,
        volumes=volumes,
        user=_user(fields.read(_MoreKeys.user)),
        ready=_ready(fields.at(_MoreKeys.ready)),
    )


def _user(text: str | None) -> User | None:
    if text is None:
        return None
    uid, _, gid = text.partition(":")
    return User(int(uid), int(gid or uid))


def _ready(cursor: Cursor) -> Ready | None:
    if not cursor.given:
        return None
    fields = cursor.fields(_ReadyKeys.names())
    timeout = fields.read(_ReadyKeys.timeout)
    port = fields.read(_ReadyKeys.port)
    command = fields.read(_ReadyKeys.command)
    line = fields.read(_ReadyKeys.log)
    checks = (_ReadyKeys.port, _ReadyKeys.command, _ReadyKeys.log)
    given = [check.name for check in checks if fields.at(check).given]
    if len(given) != 1:
        cursor.fail(f"{' and '.join(given) or 'no check'} given", "give port, command or log")
    if port is not None:
        return Port(port=port, timeout=timeout)
    if command:
        return Command(argv=command, timeout=timeout)
    return None if line is None else LogLine(text=line, timeout=timeout)
