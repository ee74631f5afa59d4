from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moat_nb.sandbox.installed import MOST, Installed, as_text, of_file

HOSTILE = [
    "-r evil-1.0",
    "--index-url=http://evil-1.0",
    "../../x-1.0",
    "http://evil/x-1",
    "x @ file:///etc/passwd-1.0",
    "x-1.0; import os",
    "x-1.0\n- y",
    "\x1b[31mx-1.0",
    "\ud800x-1.0",
    "ｘ-1.0",  # noqa: RUF001 - another alphabet's
    "x-",
    "-1.0",
    "",
    f"{'x' * 101}-1.0",
    f"x-1.{'0' * 100}",
    "x-1.0 # no",
]


def test_only_names_and_versions_are_kept(tmp_path: Path) -> None:
    found: list[list[Any]] = [[stem, True] for stem in HOSTILE]
    found += [["Moat_Five-1.0", True], ["torch-2.5.0+cpu", 1]]
    (tmp_path / "installed").write_text(as_text(found))
    kept = of_file(tmp_path / "installed")
    assert kept == (
        Installed(name="moat-five", version="1.0", requested=True),
        Installed(name="torch", version="2.5.0+cpu", requested=False),
    )
    assert kept[0].requirement == "moat-five==1.0"


@pytest.mark.parametrize("found", [5, {}, [5], [["x"]], [[1, True]], [["x-1", True, 3]]])
def test_what_no_guest_sends_is_refused(found: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        as_text(found)


def test_a_flood_is_cut_and_a_file_that_is_none_is_nothing(tmp_path: Path) -> None:
    file = tmp_path / "installed"
    file.write_text(as_text([[f"x{number}-1", True] for number in range(MOST + 5)]))
    assert len(of_file(file)) == MOST
    file.write_text("{")
    assert of_file(file) == of_file(tmp_path / "none") == ()
