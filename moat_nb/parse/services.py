"""``dependencies`` and ``services``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from moat_nb.config import Dependency, Service
from moat_nb.errors import Problem
from moat_nb.parse import dependencies as names
from moat_nb.parse.cursor import Cursor
from moat_nb.parse.document import nearest, shown
from moat_nb.parse.values import IMAGE, MEMORY_MAX_MB, MEMORY_MIN_MB, environment

__all__ = ["dependencies", "services", "skipped"]

# As ollama's own types/model/name.go has it, whose parts have 80 characters at most.
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"
_NAMESPACE = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}"
_HOST = r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}(:[0-9]{1,5})?"
_MODEL = re.compile(rf"(({_HOST}/)?{_NAMESPACE}/)?{_PART}(:{_PART})?")
_MODEL_RULE = "a model's name: [[HOST/]NAMESPACE/]NAME[:TAG], such as qwen:7b"


def dependencies(cursor: Cursor) -> tuple[Dependency, ...]:
    """The dependencies in the file's order; two of one name are a problem."""
    first: dict[tuple[str, str], Dependency] = {}
    for item in cursor.items():
        text = item.text(None)
        parsed = None if text is None else names.parse(text, where=item.where)
        if isinstance(parsed, Problem):
            item.fail(parsed.what, parsed.mend)
        elif parsed is not None:
            before = first.setdefault((parsed.kind, parsed.name), parsed)
            if before is not parsed:
                item.fail(f"{parsed.name} is given twice, first at {before.where}")
    return tuple(first.values())


def skipped(cursor: Cursor, known: Iterable[Dependency]) -> tuple[str, ...]:
    """``kernel.skip_dependencies``, as the names of the dependencies that they skip.

    Each must be one of ``known``, with or without its version, for a slip would skip nothing.
    """
    by_name = {dependency.name for dependency in known}
    found = []
    for item in cursor.items():
        text = item.text("")
        parsed = names.parse(text, where=item.where) if text and text not in by_name else None
        name = parsed.name if isinstance(parsed, Dependency) else text
        if name in by_name:
            found.append(name)
        elif text:
            near = nearest(name, by_name)
            mend = f"did you mean {near!r}?" if near else "remove it"
            item.fail(f"{shown(text)} is not one of the dependencies", mend)
    return tuple(found)


def services(cursor: Cursor, declared: Sequence[Dependency]) -> tuple[Service, ...]:
    """One Service for each dependency that is one, with what ``services`` says about it."""
    wanted = [dependency for dependency in declared if dependency.kind == "service"]
    given = cursor.entries()
    for name, entry in given.items():
        if name not in names.SERVICES:
            near = nearest(name, names.SERVICES)
            mend = f"did you mean {near!r}?" if near else f"known: {', '.join(names.SERVICES)}"
            cursor.problems.add(entry.key_where, f"unknown service {shown(name)}", mend)
        elif all(dependency.name != name for dependency in wanted):
            what = f"services.{name} is given, but {name} is not among the dependencies"
            mend = f"add to dependencies: - {name}"
            cursor.problems.add(entry.key_where, what, mend)
    parsed = {name: _service(name, entry) for name, entry in given.items()}
    return tuple(
        replace(
            parsed.get(dependency.name, Service(name=dependency.name, where=dependency.where)),
            version=dependency.version,
        )
        for dependency in wanted
    )


def _service(name: str, cursor: Cursor) -> Service:
    common = ("env", "image", "memory", "wait")
    fields = cursor.fields((*common, "models") if name == "ollama" else common)
    return Service(
        name=name,
        env=environment(fields["env"]),
        image=fields["image"].matching(None, IMAGE, "the name of an image"),
        memory_mb=fields["memory"].integer(None, minimum=MEMORY_MIN_MB, maximum=MEMORY_MAX_MB),
        wait=fields["wait"].boolean(True),
        models=_models(fields["models"]) if name == "ollama" else (),
        where=cursor.key_where,
    )


def _models(cursor: Cursor) -> tuple[str, ...]:
    """As they are written; two that ollama takes for one are a problem."""
    first: dict[str, Cursor] = {}
    found = []
    for item in cursor.items():
        name = item.matching(None, _MODEL, _MODEL_RULE)
        if name is None:
            continue
        tag = "" if ":" in name.rpartition("/")[2] else ":latest"
        before = first.setdefault(f"{name}{tag}".lower(), item)
        if before is not item:
            item.fail(f"{name} is given twice, first at {before.where}")
        found.append(name)
    return tuple(found)
