"""docs/moat-compat.md: what it says of Moat's keys, held against the parser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tests
from moat_nb.config.reader import UNUSED, read_config
from moat_nb.config.schema import schema_as_text

PAGE = Path(tests.__file__).parents[1] / "docs" / "moat-compat.md"
ROW = re.compile(r"\| (`[^|]*`) \| (same|differs|listed) \| ([^|]*)\|")
HOME = Path("/home/ada")
SCHEMA = json.loads(schema_as_text())


def rows() -> dict[str, str]:
    """What the page says of each key."""
    keys = PAGE.read_text(encoding="utf-8").partition("\n## Dependencies\n")[0]
    return {key: row[2] for row in ROW.finditer(keys) for key in re.findall("`([^`]+)`", row[1])}


def branches(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for branch in schema.get("anyOf", ()):
        yield from branches(branch)


def inside(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for branch in branches(schema):
        yield from branch.get("properties", {}).items()


def parsed() -> Iterator[str]:
    """Every key that the parser reads and Moat knows, as the page writes them."""
    for key, schema in SCHEMA["properties"].items():
        sections = [(f"{key}.{name}", below) for name, below in inside(schema)]
        for items in (branch["items"] for branch in branches(schema) if "items" in branch):
            sections += [(f"{key}[].{name}", below) for name, below in inside(items)]
        if key == "services":
            for name, service in inside(schema):
                for each, _ in inside(service):
                    yield f"services.{name if each == 'models' else 'NAME'}.{each}"
        elif key != "kernel":
            yield from (path for path, _ in sections)
        if key not in ("kernel", "workspace", "network", "hooks", "container"):
            yield key
    yield "network.allow"


def test_each_key_that_the_parser_reads_has_its_row() -> None:
    said = {key for key, how in rows().items() if how != "listed"}
    listed_inside = {"network.keep_policy", "container.dns"}
    assert said | listed_inside == {*parsed()} - {*UNUSED}


def test_each_key_that_is_listed_has_its_row() -> None:
    listed = {key for key, how in rows().items() if how == "listed"}
    assert listed == {*UNUSED, "network.keep_policy", "container.dns"}


@pytest.mark.parametrize("key", [key for key, how in rows().items() if how == "listed"])
@pytest.mark.parametrize("value", ["x", "[a]", "{a: {b: [1]}}", "[]", "true", ""])
def test_what_is_listed_is_accepted_and_in_the_list(key: str, value: str) -> None:
    value = "[192.0.2.1]" if key == "container.dns" else value
    section, dot, name = key.partition(".")
    text = f"{section}: {{{name}: {value}}}" if dot else f"{section}: {value}"
    config = read_config(text.encode(), path=Path("/srv/demo/moat.yaml"), home=HOME)
    assert [unused.name for unused in config.unused] == [key]
