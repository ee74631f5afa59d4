"""What the excludes editor shares with its page, and with programs that drive it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

__all__ = ["EditorTraits"]


class EditorTraits(anywidget.AnyWidget):
    """Every trait is synchronised with the page and can be observed."""

    _esm = Path(__file__).with_name("editor.js")
    _css = Path(__file__).with_name("editor.css")

    path = traitlets.Unicode(help="The file.").tag(sync=True)
    mounts: traitlets.List[Any] = traitlets.List(
        help="Dicts: target, source, read_only, saved excludes."
    ).tag(sync=True)
    excludes = traitlets.Dict(
        value_trait=traitlets.List(traitlets.Unicode()),
        key_trait=traitlets.Unicode(),
        help="The excludes that are asked for, by the mount's target. Settable.",
    ).tag(sync=True)
    consent = traitlets.List(
        traitlets.Unicode(),
        help="Targets of mounts that may be rewritten from a string to an object. Settable.",
    ).tag(sync=True)
    consent_needed = traitlets.Dict(help="Why, by target.").tag(sync=True)
    suggestions = traitlets.Dict(
        help="By target, a list of dicts: pattern, reason, secret, size in bytes or None."
    ).tag(sync=True)
    facts = traitlets.Dict(help="By target and pattern, what is there, in words.").tag(sync=True)
    inside: traitlets.List[Any] = traitlets.List(
        help="Dicts: path, size and used (bytes) of each exclude."
    ).tag(sync=True)
    problems: traitlets.List[Any] = traitlets.List(
        help="Dicts: target, index, pattern, words."
    ).tag(sync=True)
    problem = traitlets.Unicode(help="Why the last thing asked was not done.").tag(sync=True)
    message = traitlets.Unicode(help="What was done last.").tag(sync=True)
    diff = traitlets.Unicode(help="What saving would change.").tag(sync=True)
    state = traitlets.Enum(
        ("unchanged", "changed", "refused", "consent", "stale", "applying"), "unchanged"
    ).tag(sync=True)
    looking = traitlets.Enum(("looking", "done", "part"), "looking").tag(sync=True)
    typed = traitlets.Dict(help="By target, a path as it is being typed. Settable.").tag(sync=True)
    typed_problems = traitlets.Dict(help="By target, what is wrong with it.").tag(sync=True)
    can_undo = traitlets.Bool(False).tag(sync=True)
    can_apply = traitlets.Bool(False).tag(sync=True)
    loss = traitlets.Unicode(help="What applying will lose, once it was asked for.").tag(sync=True)
