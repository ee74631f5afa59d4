"""The text of a first moat.yaml, with an item a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

__all__ = ["Draft", "Item"]

HEAD = """\
# The sandbox of this project. `moat-nb plan` shows what comes of this file.
"""
TAIL = """
# Further keys, of many (docs: https://github.com/majorcontext/moat and `moat-nb schema`):
# network: {policy: strict, rules: [pypi.org, files.pythonhosted.org]}   # these hosts only
# container: {memory: 4096}                      # MB
"""
RUNTIME = (
    "# kernel: {runtime: bubblewrap}                  # or docker, podman; else what answers here"
)
NONE = {
    "exclude": '    exclude: []   # moat-nb exclude add node_modules .env "**/__pycache__"',
    "dependencies": '# dependencies: [python@3.12, "pip:pandas>=2", node]   # for an engine',
}


@dataclass(frozen=True, kw_only=True)
class Item:
    """One exclude or dependency."""

    value: str
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What a first moat.yaml says."""

    name: str
    excludes: tuple[Item, ...] = ()
    more: tuple[str, ...] = ()
    """What could be excluded as well."""
    dependencies: tuple[Item, ...] = ()
    of: str = ""
    """The files that these are from."""
    runtime: str | None = None
    """The one that was asked for."""
    refused: Mapping[Item, str] = field(default_factory=dict)
    """Those that stand in a comment, with what a start would say of them."""

    @property
    def text(self) -> str:
        last = RUNTIME if self.runtime is None else f"\nkernel: {{runtime: {self.runtime}}}"
        return "".join(f"{line}\n" for line, _ in self._lines()) + f"{TAIL}{last}\n"

    def at(self, number: int) -> Item | None:
        """The item in the line of this number, which begins at 1."""
        lines = [item for _, item in self._lines()]
        return lines[number - 1] if 0 < number <= len(lines) else None

    def _lines(self) -> Iterator[tuple[str, Item | None]]:
        head = [*HEAD.splitlines(), f"name: {self.name}", ""]
        head += ["mounts:", "  - source: .", "    target: /workspace"]
        yield from _plain(head)
        shown = "    exclude:              # unseen inside, and empty there"
        yield from self._block("exclude", shown, self.excludes, " " * 6)
        if self.more:
            yield from _plain([f"      # as well, perhaps: {', '.join(self.more)}"])
        yield from _plain([""])
        source = f"   # of {self.of}" if self.of else ""
        yield from self._block("dependencies", f"dependencies:{source}", self.dependencies, "  ")

    def _block(
        self, key: str, shown: str, items: Sequence[Item], indent: str
    ) -> Iterator[tuple[str, Item | None]]:
        if not items:
            yield from _plain([NONE[key]])
            return
        # A key with nothing but comments below would have no value.
        empty = all(item in self.refused for item in items)
        yield (shown.replace(f"{key}:", f"{key}: []", 1) if empty else shown), None
        for item in items:
            why = self.refused.get(item, item.why)
            mark = "# " if item in self.refused else ""
            line = f"{indent}{mark}- {_scalar(item.value)}"
            yield (f"{line:<27} # {why}" if why else line), item


def _plain(lines: Iterable[str]) -> Iterator[tuple[str, None]]:
    for line in lines:
        yield line, None


def _scalar(value: str) -> str:
    """``value`` as YAML has it, quoted where it must be."""
    try:
        if yaml.safe_load(f"- {value}") == [value]:
            return value
    except yaml.YAMLError:
        pass
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
