"""The JSON Schema of moat.yaml, made of what the parser reads by.

It lets pass all that the parser accepts, and refuses what a wrong type, a wrong word, a number out
of range, a key that is not known or one that is missing makes wrong. What takes more than one look
at one value (a service that is no dependency, two mounts at one target, a requirement of pip, more
than one slip in a top-level key) is for the parser alone; tests/unit/config/test_schema.py has the
whole list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from moat_nb.config.reader import UNUSED, FileKeys
from moat_nb.config.shapes import keys_schema

__all__ = ["document", "schema_as_text"]

_ABOUT = "What moat-nb runs a project's kernels in. Every key may be left out."
_LETTERS = 4
"""Of a shorter name another letter makes another word."""
_OF_MOAT = {"description": "Moat's own: accepted, and means nothing to a kernel."}


def document() -> dict[str, Any]:
    """The schema, in draft 7: what editors know best."""
    file = keys_schema(FileKeys)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "moat.yaml",
        "description": _ABOUT,
        **file,
        # An empty file is a project with all defaults.
        "type": ["object", "null"],
        "properties": {**file["properties"], **dict.fromkeys(UNUSED, _OF_MOAT)},
        "patternProperties": {_slips((*file["properties"], *UNUSED)): False},
    }


def _slips(known: tuple[str, ...]) -> str:
    """A pattern of the names that are one letter away from a known one, and so no other tool's:
    what the parser takes for a slip too."""
    slips = sorted({slip for name in known for slip in _slips_of(name)})
    return f"^(?!(?:{'|'.join(sorted(known))})$)(?:{'|'.join(slips)})$"


def _slips_of(name: str) -> Iterator[str]:
    for at in range(len(name) + 1):
        before, after = re.escape(name[:at]), re.escape(name[at:])
        yield f"{before}.{after}"
        if after and len(name) >= _LETTERS:
            yield f"{before}.?{re.escape(name[at + 1 :])}"


def schema_as_text() -> str:
    """:func:`document` as it is printed and kept in files."""
    return json.dumps(document(), indent=2, ensure_ascii=False)
