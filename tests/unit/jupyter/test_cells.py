"""What of a kernel's messages is passed on."""

from __future__ import annotations

from typing import Any

import pytest

from moat_nb.jupyter.cells import json_without_halves
from moat_nb.jupyter.output.safe import sanitise_mimebundle


def shown(data: dict[str, Any], metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    return sanitise_mimebundle(data, metadata or {})[0]


@pytest.mark.parametrize("kind", ["text/html", "text/markdown", "image/svg+xml", "text/latex"])
def test_half_a_character_is_shown_as_one_that_is_missing(kind: str) -> None:
    content = json_without_halves({kind: "a\ud800b", "\udfff": ["\ud800", "\U0001f600"]})
    assert content == {kind: "a\ufffdb", "\ufffd": ["\ufffd", "\U0001f600"]}
    assert shown(content)
