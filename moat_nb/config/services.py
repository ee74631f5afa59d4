"""``dependencies`` and ``services``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from moat_nb.config import dependencies as names
from moat_nb.config.cursor import Cursor
from moat_nb.config.model import Dependency, Service
from moat_nb.config.registry import SERVICES as NAMES
from moat_nb.config.shapes import Block, Boolean, Keys, ListOf, MapOf, Text, Word, key
from moat_nb.config.values import IMAGE, MEMORY, SERVICE_ENV, service_environment
from moat_nb.config.yaml_nodes import nearest, shown
from moat_nb.errors import Problem

__all__ = ["DEPENDENCIES", "SERVICES", "ServiceKeys", "dependencies", "services", "skipped"]

# As ollama's own types/model/name.go has it, whose parts have 80 characters at most.
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"
_NAMESPACE = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}"
_HOST = r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}(:[0-9]{1,5})?"
_MODEL = Word(
    pattern=re.compile(rf"(({_HOST}/)?{_NAMESPACE}/)?{_PART}(:{_PART})?"),
    rule="a model's name: [[HOST/]NAMESPACE/]NAME[:TAG], such as qwen:7b",
)


class ServiceKeys(Keys):
    env = key(
        SERVICE_ENV,
        "Variables of the service, as its image documents them; env://NAME is a secret.",
    )
    image = key(IMAGE, "The image, instead of the one of the service's name and version.")
    memory = key(MEMORY, "Memory in MB; as much as the kernel unless given.")
    wait = key(Boolean(), "Whether kernels start only when it is ready.", default=True)


class _OllamaKeys(Keys):
    env = ServiceKeys.env
    image = ServiceKeys.image
    memory = ServiceKeys.memory
    wait = ServiceKeys.wait
    models = key(ListOf(item=_MODEL), "Models that it pulls, such as qwen:7b.")


DEPENDENCIES = ListOf(item=Text(form=names.FORM))
SERVICES = MapOf(
    known={name: Block(_OllamaKeys if name == "ollama" else ServiceKeys) for name in NAMES}
)


def dependencies(cursor: Cursor) -> tuple[Dependency, ...]:
    """The dependencies in the file's order; one name in two versions is a problem."""
    found: dict[tuple[str, str], Dependency] = {}
    for item in cursor.items():
        text = item.text(None)
        parsed = () if text is None else names.parse(text, where=item.where)
        if isinstance(parsed, Problem):
            item.fail(parsed.what, parsed.hint)
            continue
        for one in parsed:
            before = found.get((one.kind, one.name))
            if before is None or (before.bundle and not one.bundle):
                found[one.kind, one.name] = one
            elif before.version != one.version and not one.bundle:
                what = f"{one.name} is given twice, first at {before.where}, in another version"
                item.fail(what, "keep one of the two")
    return tuple(found.values())


def skipped(cursor: Cursor, known: Sequence[Dependency]) -> tuple[str, ...]:
    """``kernel.skip_dependencies``, as the names of the dependencies that they skip.

    Each must be one of ``known``, with or without its version, or a bundle of them, for a slip
    would skip nothing.
    """
    by_name = {name for one in known for name in (one.name, one.bundle) if name}
    found = []
    for item in cursor.items():
        text = item.text("")
        parsed = names.parse(text, where=item.where) if text and text not in by_name else ()
        words = {text} if isinstance(parsed, Problem) else {text, *(one.name for one in parsed)}
        if there := words & by_name:
            found += sorted(there)
        elif text:
            near = nearest(min(words, key=len), by_name)
            hint = f"did you mean {near!r}?" if near else "remove it"
            item.fail(f"{shown(text)} is not one of the dependencies", hint)
    chosen = frozenset(found)
    skips = (one.name for one in known if one.name in chosen or one.bundle in chosen)
    return tuple(dict.fromkeys(skips))


def services(cursor: Cursor, declared: Sequence[Dependency]) -> tuple[Service, ...]:
    """One Service for each dependency that is one, with what ``services`` says about it."""
    wanted = [dependency for dependency in declared if dependency.kind == "service"]
    given = cursor.entries()
    for name, entry in given.items():
        if name not in NAMES:
            near = nearest(name, NAMES)
            hint = f"did you mean {near!r}?" if near else f"known: {', '.join(NAMES)}"
            cursor.problems.add(entry.key_where, f"unknown service {shown(name)}", hint)
        elif all(dependency.name != name for dependency in wanted):
            what = f"services.{name} is given, but {name} is not among the dependencies"
            hint = f"add to dependencies: - {name}"
            cursor.problems.add(entry.key_where, what, hint)
    parsed = {name: _service(name, entry) for name, entry in given.items()}
    return tuple(
        replace(
            parsed.get(dependency.name, Service(name=dependency.name, where=dependency.where)),
            version=dependency.version,
        )
        for dependency in wanted
    )


def _service(name: str, cursor: Cursor) -> Service:
    keys = _OllamaKeys if name == "ollama" else ServiceKeys
    fields = cursor.fields(keys.names())
    env, secrets = service_environment(fields.at(ServiceKeys.env))
    return Service(
        name=name,
        env=env,
        secrets=secrets,
        image=fields.read(ServiceKeys.image),
        memory_mb=fields.read(ServiceKeys.memory),
        wait=fields.read(ServiceKeys.wait),
        models=_models(fields.at(_OllamaKeys.models)) if name == "ollama" else (),
        where=cursor.key_where,
    )


def _models(cursor: Cursor) -> tuple[str, ...]:
    """As they are written; two that ollama takes for one are a problem."""
    first: dict[str, Cursor] = {}
    found = []
    for item in cursor.items():
        name = _MODEL.read(item, None)
        if name is None:
            continue
        tag = "" if ":" in name.rpartition("/")[2] else ":latest"
        before = first.setdefault(f"{name}{tag}".lower(), item)
        if before is not item:
            item.fail(f"{name} is given twice, first at {before.where}")
        found.append(name)
    return tuple(found)
