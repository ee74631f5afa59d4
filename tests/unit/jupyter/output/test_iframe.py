"""The frame that a page of a sandbox's is shown in."""

from __future__ import annotations

import html
import re

from moat_nb.jupyter.output.iframe import LONGEST, MAX_HEIGHT, TOO_LONG, iframe


def framed(page: str) -> str:
    """What a frame of ours holds in its inner frame."""
    (outer,) = re.findall('srcdoc="([^"]*)"', page)
    (inner,) = re.findall('srcdoc="([^"]*)"', html.unescape(outer))
    return html.unescape(inner)


def test_a_frame_has_no_rights_a_strict_policy_and_a_bounded_height() -> None:
    page = iframe("<p>content</p>")
    assert page.count("<iframe") == 1 and 'sandbox="allow-scripts"' in page
    assert f"{MAX_HEIGHT}) + 'px'" in page
    outer = html.unescape(re.findall('srcdoc="([^"]*)"', page)[0])
    assert "default-src 'none'" in outer and "frame-src 'none'" in outer
    assert outer.index("Content-Security-Policy") < outer.index("<iframe")
    inside = framed(page)
    assert inside.index("'RTC'") < inside.index("<p>content")
    assert inside.index("dns-prefetch-control") < inside.index("<p>content")
    assert framed(page).endswith("<p>content</p>")


def test_content_cannot_break_out_of_its_frame() -> None:
    content = "\"></iframe><script>alert(1)</script>&quot;&amp;'"
    page = iframe(content)
    assert "alert" not in re.sub('srcdoc="[^"]*"', "", page)
    assert framed(page).endswith(content)


def test_what_grows_too_long_by_its_quoting_is_a_line_in_its_place() -> None:
    assert len(iframe("<&" * (LONGEST // 16))) < 10_000
    assert framed(iframe("<&" * (LONGEST // 16))).endswith(TOO_LONG)
