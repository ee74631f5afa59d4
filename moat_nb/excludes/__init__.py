"""Choosing excludes: moat.yaml is edited, an edit is checked, directories are suggested."""

from __future__ import annotations

from moat_nb.excludes.edit import get_excludes, set_excludes

__all__ = ["get_excludes", "set_excludes"]
