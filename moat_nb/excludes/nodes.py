"""A moat.yaml as a tree that knows its marks, for edits of its text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moat_nb.config.yaml_nodes import Node, Problems, compose
from moat_nb.excludes.splice import Edit

__all__ = ["BYTE_ORDER_MARK", "append", "instead", "own_entry", "read", "value_of"]

BYTE_ORDER_MARK = "\ufeff"


def read(text: str) -> Node:
    """Raises ConfigError, for tags and duplicate keys too: they have no one meaning."""
    problems = Problems(label="moat.yaml")
    root = compose(text.encode("utf-8", "surrogatepass"), problems)
    if root.kind != "mapping":
        problems.add(problems.where(root), "the file is not a mapping of keys to values")
    if problems.found:
        raise problems.error()
    return root


def own_entry(node: Node, name: str) -> tuple[Node, Node] | None:
    """The key and the value that a mapping itself has, not by ``<<``."""
    return next((entry for entry in node.entries if entry[0].text == name), None)


def instead(node: Node, words: str) -> Edit:
    # A value that is not written stands right behind its colon.
    space = "" if node.start < node.end else " "
    return Edit(start=node.start, end=node.end, text=space + words)


def append(node: Node, members: Sequence[Node], words: str) -> Edit:
    """``words`` behind the last member of a flow list or mapping."""
    at = members[-1].end if members else node.end - 1
    return Edit(start=at, end=at, text=f", {words}" if members else words)


def value_of(node: Node) -> Any:
    if node.kind == "sequence":
        return [value_of(item) for item in node.items]
    if node.kind == "mapping":
        return [(key.text, key.plain, value_of(value)) for key, value in node.entries]
    return (node.text, node.plain)
