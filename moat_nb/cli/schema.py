"""``moat-nb schema``: the JSON Schema of moat.yaml, for editors."""

from __future__ import annotations

from moat_nb.config.schema import schema_as_text

__all__ = ["schema"]


def schema() -> int:
    print(schema_as_text())
    return 0
