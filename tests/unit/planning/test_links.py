"""links.py: where a link leads inside; the links are real."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_nb.planning.host_files import View
from moat_nb.planning.links import is_link, led_to


@pytest.fixture
def view(tmp_path: Path) -> View:
    for name in ("project/src/deep", "data/lib", "secret"):
        (tmp_path / name).mkdir(parents=True)
    return View(
        {
            "/w": str(tmp_path / "project"),
            "/w/data": str(tmp_path / "data"),
            "/w/volume": None,
        }
    )


@pytest.mark.parametrize(
    ("link", "place"),
    [
        ("src", "/w/src"),
        ("./src/../src/deep", "/w/src/deep"),
        ("/w/data/lib", "/w/data/lib"),
        ("../w/data", "/w/data"),
        ("../..", "/"),
        ("missing", None),
        ("src/missing/deep", None),
        ("/etc", None),
        ("/home", None),
        ("volume/x", None),
        ("volume", "/w/volume"),
        ("../secret", None),  # of the host's, but not of the sandbox's
        ("link", None),
        ("hop", "/w/data/lib"),
    ],
)
def test_a_link_is_followed_as_the_sandbox_would(
    view: View, tmp_path: Path, link: str, place: str | None
) -> None:
    (tmp_path / "project" / "link").symlink_to(link)
    (tmp_path / "project" / "hop").symlink_to("src/next")
    (tmp_path / "project" / "src" / "next").symlink_to("../data/lib/.")
    assert is_link(view, "/w/link")
    assert not is_link(view, "/w/src")
    assert led_to(view, "/w/link") == place
