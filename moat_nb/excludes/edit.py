"""The one function that changes a mount's excludes in the text of a moat.yaml.

The new text is read again before it is given out: the excludes must be the asked ones, and all
else in the file must be what it was. A layout for which that does not come out is refused, with
what to write by hand; so no layout can be damaged by a case that was not thought of.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from moat_nb.config.cursor import Cursor
from moat_nb.config.exclude_patterns import check_all
from moat_nb.config.yaml_nodes import Node, Problems
from moat_nb.errors import ConfigError, ConsentNeeded, EditError, MoatError, Problem
from moat_nb.excludes.nodes import BYTE_ORDER_MARK, append, instead, own_entry, read, value_of
from moat_nb.excludes.splice import (
    Edit,
    UnsafeError,
    after_line,
    apply,
    change_list,
    flow_list,
    lead_of,
    scalar,
)

__all__ = ["get_excludes", "set_excludes"]

_WORKSPACE = "/workspace"


@dataclass(frozen=True, kw_only=True)
class _Mount:
    """A mount of the file; ``node`` is None for the workspace's, which need not be written."""

    node: Node | None
    source: str
    target: str
    mode: str
    exclude: tuple[str, ...]


def set_excludes(text: str, target: str, excludes: Sequence[str], *, objects: bool = False) -> str:
    """``text``, a whole moat.yaml, with ``excludes`` on the mount at ``target`` and no others.

    What stays of the list keeps its spelling and its comments; all outside it stays character for
    character. A mount that the file does not write (the project at ``/workspace``) is added. A
    list taken from elsewhere, by an alias or ``<<``, is written out here: its other users keep it.
    ``objects``: consent to write a mount that is a string (``./:/workspace``), which can have no
    excludes, as an object.

    Raises ConfigError when the text is no YAML or an exclude is refused (in the words of
    :func:`check_all`), ConsentNeeded for a string without consent, and EditError, with what to
    write by hand, where the file's layout does not allow the change; nothing is ever lost then.
    """
    wrong = check_all(excludes)
    if wrong:
        raise ConfigError(Problem(where=f"exclude of {target}", what=what) for _, what in wrong)
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
    body = text.removeprefix(BYTE_ORDER_MARK)
    root = read(body)
    mount = _find(root, target)
    if list(mount.exclude) == list(excludes):
        return text
    if mount.node is not None and mount.node.kind == "scalar" and not objects:
        raise ConsentNeeded(
            f"{mount.target}: this mount is written as the string {mount.node.text!r}, which can "
            "have no excludes; it has to become an object (source:, target:, exclude:)"
        )
    try:
        changed = apply(body, _edits(body, root, mount, excludes))
        _prove(root, changed, mount, excludes)
    except UnsafeError as error:
        by_hand = "\n".join(_block_mount(mount, excludes, "  - "))
        raise EditError(
            f"{mount.target}: the excludes cannot be changed here: {error}; "
            f"write by hand, in the list of mounts:\n{by_hand}"
        ) from None
    return mark + changed


def get_excludes(text: str, target: str) -> tuple[str, ...]:
    """The excludes of the mount at ``target``, as the file spells them; raises as above."""
    return _find(read(text.removeprefix(BYTE_ORDER_MARK)), target).exclude


# ---------------------------------------------------------------- finding the mount


def _find(root: Node, target: str) -> _Mount:
    wanted = _normal(target)
    listed = own_entry(root, "mounts")
    mounts = [_mount(item) for item in (listed[1].items if listed else ())]
    found = [mount for mount in mounts if mount.target == wanted]
    if len(found) > 1:
        raise EditError(f"{wanted}: the file has {len(found)} mounts there; keep one")
    if found:
        return found[0]
    if wanted == _WORKSPACE:
        return _Mount(node=None, source=".", target=_WORKSPACE, mode="", exclude=())
    known = ", ".join(sorted({_WORKSPACE, *(mount.target for mount in mounts if mount.target)}))
    raise EditError(f"{target}: the file has no mount there; its mounts are at {known}")


def _mount(item: Node) -> _Mount:
    if item.kind == "scalar":
        source, target, mode, *_ = [*item.text.split(":"), "", "", ""]
        return _Mount(node=item, source=source, target=_normal(target), mode=mode, exclude=())
    # A cursor merges what `<<` brings; what it would complain of is no matter here.
    cursor = Cursor(problems=Problems(label=""), path="", node=item, anchor=item)
    fields = cursor.entries()
    source, target, mode = (
        fields[name].text("") if name in fields else "" for name in ("source", "target", "mode")
    )
    listed = fields["exclude"].node if "exclude" in fields else None
    return _Mount(
        node=item,
        source=source,
        target=_normal(target),
        mode=mode,
        exclude=tuple(one.text for one in listed.items) if listed is not None else (),
    )


def _normal(target: str) -> str:
    return "/" + posixpath.normpath(target).lstrip("/") if target else ""


# ---------------------------------------------------------------- the edits


def _edits(text: str, root: Node, mount: _Mount, excludes: Sequence[str]) -> list[Edit]:
    if mount.node is None:
        return [_add_mount(text, root, mount, excludes)]
    if mount.node.kind == "scalar":
        return _to_object(text, root, mount, excludes)
    own = own_entry(mount.node, "exclude")
    if own is None:
        return [_add_key(text, mount.node, excludes)]
    key, value = own
    if value.alias or value.is_null:
        return [instead(value, flow_list(excludes))]
    if value.kind != "sequence" or any(item.kind != "scalar" for item in value.items):
        raise UnsafeError("what stands there is not a list of paths")
    return change_list(text, key, value, excludes)


def _add_mount(text: str, root: Node, mount: _Mount, excludes: Sequence[str]) -> Edit:
    """The workspace's mount at the end of the list, or with its list at the end of the file."""
    own = own_entry(root, "mounts")
    in_flow = _flow_mount(mount, excludes)
    if own is None and any(key.is_merge for key, _ in root.entries):
        raise UnsafeError("`<<` at the top of the file may bring mounts")
    if own is None and root.flow:
        return append(root, [value for _, value in root.entries], f"mounts: [{in_flow}]")
    if own is None:
        lines = ["mounts:", *_block_mount(mount, excludes, "  - ")]
        indent = " " * (root.entries[0][0].column - 1) if root.entries else ""
        return after_line(text, len(text), [indent + line for line in lines])
    mounts = own[1]
    if mounts.alias or mounts.is_null:
        return instead(mounts, f"[{in_flow}]")
    if mounts.kind != "sequence":
        raise UnsafeError("what stands at mounts is not a list")
    if mounts.flow:
        return append(mounts, mounts.items, in_flow)
    lead = lead_of(text, mounts.items[-1])
    return after_line(text, mounts.end, _block_mount(mount, excludes, lead))


def _to_object(text: str, root: Node, mount: _Mount, excludes: Sequence[str]) -> list[Edit]:
    own, node = own_entry(root, "mounts"), mount.node
    assert own is not None
    assert node is not None
    if own[1].flow:
        return [instead(node, _flow_mount(mount, excludes))]
    lead = lead_of(text, node)
    first, *rest = _block_mount(mount, excludes, lead)
    # A comment on the mount's line stays on its first.
    return [instead(node, first[len(lead) :]), after_line(text, node.end, rest)]


def _add_key(text: str, node: Node, excludes: Sequence[str]) -> Edit:
    """The key after the mapping's last one."""
    if node.flow:
        in_flow = f"exclude: {flow_list(excludes)}"
        return append(node, [value for _, value in node.entries], in_flow)
    indent = " " * (node.entries[0][0].column - 1)
    lines = [indent + line for line in _exclude_lines(excludes)]
    return after_line(text, node.entries[-1][1].end, lines)


def _block_mount(mount: _Mount, excludes: Sequence[str], lead: str) -> list[str]:
    first, *rest = [*_head(mount), *_exclude_lines(excludes)]
    return [lead + first, *(" " * len(lead) + line for line in rest)]


def _flow_mount(mount: _Mount, excludes: Sequence[str]) -> str:
    return f"{{{', '.join(_head(mount))}, exclude: {flow_list(excludes)}}}"


def _head(mount: _Mount) -> list[str]:
    mode = [f"mode: {scalar(mount.mode)}"] if mount.mode else []
    return [f"source: {scalar(mount.source)}", f"target: {scalar(mount.target)}", *mode]


def _exclude_lines(excludes: Sequence[str]) -> list[str]:
    if not excludes:
        return ["exclude: []"]
    return ["exclude:", *(f"  - {scalar(exclude)}" for exclude in excludes)]


# ---------------------------------------------------------------- the proof


def _prove(before: Node, changed: str, mount: _Mount, excludes: Sequence[str]) -> None:
    """That the new text says what was asked, and otherwise what it said before."""
    try:
        after = read(changed)
        found = _find(after, mount.target)
    except MoatError as error:
        raise UnsafeError(f"the result would not be read: {error}") from None
    if list(found.exclude) != list(excludes):
        raise UnsafeError("the result would have other excludes")
    if _rest(before, mount) != _rest(after, found):
        raise UnsafeError(
            "more than this list would change, as when an anchor (&name) in it is used elsewhere"
        )


def _rest(root: Node, mount: _Mount) -> dict[str, Any]:
    """All that the file says but ``mount``'s excludes; a string mount and its object are alike."""
    own = own_entry(root, "mounts")
    listed = [
        _without_excludes(mount) if item is mount.node else value_of(item)
        for item in (own[1].items if own else ())
    ]
    if mount.node is None:
        listed.append(_without_excludes(mount))
    return {**{key.text: value_of(value) for key, value in root.entries}, "mounts": listed}


def _without_excludes(mount: _Mount) -> dict[str, Any]:
    known = {"source": mount.source, "target": mount.target, "mode": mount.mode}
    entries = mount.node.entries if mount.node is not None else ()
    others = {key.text: value_of(value) for key, value in entries if key.text not in known}
    others.pop("exclude", None)
    return {**known, **others}
