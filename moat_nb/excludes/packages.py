"""Changes ``kernel.packages`` in the text of a moat.yaml, as ``edit.py`` changes excludes: the new
text is read again, and must say what was asked and otherwise what it said before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from moat_nb.config.yaml_nodes import Node
from moat_nb.errors import EditError, MoatError
from moat_nb.excludes.nodes import BYTE_ORDER_MARK, append, instead, own_entry, read, value_of
from moat_nb.excludes.splice import (
    Edit,
    UnsafeError,
    after_line,
    apply,
    change_list,
    flow_list,
    scalar,
)

__all__ = ["packages", "pinned", "set_packages"]


def pinned(now: Sequence[str], requirements: Iterable[str]) -> list[str]:
    """``now``, the requirements of a file, with those (``name==version``) in the place of what it
    has of the same packages; their extras and markers stay."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    wanted = {Requirement(text).name: Requirement(text) for text in requirements}
    kept: list[str] = []
    for text in now:
        try:
            there = Requirement(text)
        except InvalidRequirement:  # which a start refuses by itself
            kept.append(text)
            continue
        new = wanted.pop(canonicalize_name(there.name), None)
        if new is None or there.specifier == new.specifier:
            kept.append(text)
            continue
        new.extras, new.marker = there.extras, there.marker
        kept.append(str(new))
    return [*kept, *sorted(str(new) for new in wanted.values())]


def packages(text: str) -> tuple[str, ...]:
    """Those that the file has, as it spells them. Raises ConfigError."""
    return _packages(read(text.removeprefix(BYTE_ORDER_MARK)))


def set_packages(text: str, requirements: Iterable[str]) -> str:
    """``text``, a whole moat.yaml, whose ``kernel.packages`` has these too.

    Raises ConfigError when the text is no YAML, and EditError, with what to write by hand, where
    the file's layout does not allow the change.
    """
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
    body = text.removeprefix(BYTE_ORDER_MARK)
    root = read(body)
    now = _packages(root)
    wanted = pinned(now, requirements)
    if wanted == list(now):
        return text
    try:
        changed = apply(body, _edits(body, root, wanted))
        _prove(root, changed, wanted)
    except UnsafeError as error:
        by_hand = "\n".join(_lines(wanted))
        raise EditError(
            f"kernel.packages: cannot be changed here: {error}; write by hand:\nkernel:\n{by_hand}"
        ) from None
    return mark + changed


def _packages(root: Node) -> tuple[str, ...]:
    kernel = own_entry(root, "kernel")
    listed = own_entry(kernel[1], "packages") if kernel else None
    return tuple(item.text for item in listed[1].items) if listed else ()


def _edits(text: str, root: Node, wanted: Sequence[str]) -> list[Edit]:
    in_flow = f"packages: {flow_list(wanted)}"
    kernel = own_entry(root, "kernel")
    if kernel is None:
        return [_with_kernel(text, root, wanted, in_flow)]
    value = kernel[1]
    if value.is_null:
        return [instead(value, f"{{{in_flow}}}")]
    if value.alias or value.kind != "mapping":
        raise UnsafeError("what stands at kernel is not a mapping of its own")
    if any(key.is_merge for key, _ in value.entries):
        raise UnsafeError("`<<` in kernel may bring packages")
    own = own_entry(value, "packages")
    if own is not None:
        return _change(text, *own, wanted)
    if value.flow:
        return [append(value, [inner for _, inner in value.entries], in_flow)]
    indent = " " * (value.entries[0][0].column - 1)
    lines = [indent + line.removeprefix("  ") for line in _lines(wanted)]
    return [after_line(text, value.entries[-1][1].end, lines)]


def _with_kernel(text: str, root: Node, wanted: Sequence[str], in_flow: str) -> Edit:
    if any(key.is_merge for key, _ in root.entries):
        raise UnsafeError("`<<` at the top of the file may bring kernel")
    if root.flow:
        return append(root, [value for _, value in root.entries], f"kernel: {{{in_flow}}}")
    indent = " " * (root.entries[0][0].column - 1) if root.entries else ""
    lines = [indent + line for line in ("kernel:", *_lines(wanted))]
    return after_line(text, len(text), lines)


def _change(text: str, key: Node, value: Node, wanted: Sequence[str]) -> list[Edit]:
    if value.alias or value.is_null:
        return [instead(value, flow_list(wanted))]
    if value.kind != "sequence" or any(item.kind != "scalar" for item in value.items):
        raise UnsafeError("what stands there is not a list of requirements")
    if value.flow:
        return change_list(text, key, value, wanted)
    # One after another as before, and new ones behind: a comment beside a new version stays.
    there = [item.text for item in value.items]
    return [
        *change_list(text, key, value, [*there, *wanted[len(there) :]]),
        *(
            instead(item, scalar(new))
            for item, new in zip(value.items, wanted, strict=False)
            if item.text != new
        ),
    ]


def _lines(wanted: Sequence[str]) -> list[str]:
    return ["  packages:", *(f"    - {scalar(requirement)}" for requirement in wanted)]


def _prove(before: Node, changed: str, wanted: Sequence[str]) -> None:
    try:
        after = read(changed)
    except MoatError as error:
        raise UnsafeError(f"the result would not be read: {error}") from None
    if list(_packages(after)) != list(wanted):
        raise UnsafeError("the result would have other packages")
    if _rest(before) != _rest(after):
        raise UnsafeError(
            "more than this list would change, as when an anchor (&name) in it is used elsewhere"
        )


def _rest(root: Node) -> dict[str, Any]:
    """All that the file says but the packages."""
    rest = {key.text: value_of(value) for key, value in root.entries}
    kernel = own_entry(root, "kernel")
    entries = kernel[1].entries if kernel is not None else ()
    rest["kernel"] = {key.text: value_of(value) for key, value in entries if key.text != "packages"}
    return rest
