"""Whether rules need TLS to be opened, and what must be installed for that."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from moat_nb.config.model import Rule

__all__ = ["INSTALL", "missing", "needed"]

INSTALL = "pip install 'moat-nb[intercept]'"


def needed(rules: Iterable[Rule]) -> bool:
    """A method and a path are hidden by TLS; of a host whose rules name none, nothing is opened."""
    return any(rule.lines for rule in rules)


def missing() -> str | None:
    """The command that installs what ``authority.py`` needs; None where it is there."""
    return None if find_spec("cryptography") else INSTALL
