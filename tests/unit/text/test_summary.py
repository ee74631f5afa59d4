"""Summaries as text and as HTML, whole."""

from __future__ import annotations

import base64
import re

import pytest

from moat_nb.text import summary
from moat_nb.text.summary import (
    BLOCKS_SHOWN,
    Badge,
    Sparkline,
    Summary,
    Table,
    as_html,
    as_text,
    mimebundle,
)

SHEET = Summary(
    title="A thing",
    mark=Badge(level="warn", text="odd"),
    words="first\nsecond",
    facts=(("name", "value"), ("load", Sparkline(text="5%", values=(0.0, 2.0, 1.0), seconds=90))),
    tables=(
        Table(title="parts", columns=("of", "is"), rows=(("a", Badge(level="bad", text="lost")),)),
        Table(title="none", columns=("of",), rows=()),
    ),
)


def test_a_sheet_as_text() -> None:
    assert as_text(SHEET) == (
        "A thing, odd\n"
        "first\n"
        "second\n"
        "name        value\n"
        "load        ▁█▅ 5%\n"
        "\n"
        "parts\n"
        "  OF  IS\n"
        "  a   lost"
    )


def test_a_sheet_as_html() -> None:
    page = re.sub(r' style="[^"]*"', "", as_html(SHEET))
    curve = re.search(r"<img[^>]*>", page)
    assert curve is not None
    assert page.replace(curve[0], "CURVE") == (
        "<div><div><b>A thing</b> &nbsp;"
        '<span aria-hidden="true">&#9679;</span> odd</div>'
        "<pre>first\nsecond</pre>"
        '<table aria-label="A thing">'
        '<tr><th scope="row">name</th><td>value</td></tr>'
        '<tr><th scope="row">load</th><td>5% CURVE</td></tr></table>'
        "<div><b>parts</b></div>"
        '<table aria-label="parts">'
        '<tr><th scope="col">of</th><th scope="col">is</th></tr>'
        '<tr><td>a</td><td><span aria-hidden="true">&#9679;</span> lost</td></tr></table></div>'
    )


def test_a_curve_is_an_svg_image_with_words() -> None:
    image = re.search(r'<img src="data:image/svg\+xml;base64,([^"]*)"[^>]*>', as_html(SHEET))
    assert image is not None
    assert 'alt="over the last 1 min"' in image[0]
    assert base64.b64decode(image[1]).decode() == (
        '<svg xmlns="http://www.w3.org/2000/svg" width="72" height="16"><polyline fill="none" '
        'stroke="#4c8bf5" stroke-width="1.5" points="0.0,15.0 36.0,1.0 72.0,8.0"/></svg>'
    )


@pytest.mark.parametrize("values", [(), (3.0,)])
def test_of_less_than_two_values_there_is_no_curve(values: tuple[float, ...]) -> None:
    summary = Summary(title="A thing", facts=(("load", Sparkline(text="5%", values=values)),))
    assert as_text(summary) == "A thing\nload        5%"
    assert "<img" not in as_html(summary)


def test_values_that_are_all_zero_are_a_flat_line() -> None:
    summary = Summary(title="A thing", facts=(("load", Sparkline(text="0%", values=(0.0,) * 60)),))
    assert as_text(summary) == f"A thing\nload        {'▁' * BLOCKS_SHOWN} 0%"


HOSTILE = "\x1b]0;x\x07<script>alert(1)</script>\n<img src=x onerror=alert(1)>\" '"


def test_nothing_in_a_sheet_acts_in_a_page_or_steers_a_terminal() -> None:
    """Wherever it stands."""
    summary = Summary(
        title=HOSTILE,
        mark=Badge(level="good", text=HOSTILE),
        words=HOSTILE,
        facts=((HOSTILE, HOSTILE), ("x", Sparkline(text=HOSTILE, values=(1, 2)))),
        tables=(Table(title=HOSTILE, columns=(HOSTILE,), rows=((HOSTILE,),)),),
    )
    shown = mimebundle(summary)
    assert set(shown) == {"text/plain", "text/html"}
    assert "\x1b" not in shown["text/plain"] + shown["text/html"]
    names = re.findall(r"<([a-z]+)", shown["text/html"])
    assert set(names) == {"div", "b", "span", "pre", "table", "tr", "th", "td", "img"}
    assert names.count("img") == 1


def _contrast(one: str, other: str) -> float:
    """WCAG's ratio of two colours, ``#rrggbb``."""

    def lightness(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((lightness(one), lightness(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("page", ["#ffffff", "#111111"])
@pytest.mark.parametrize("colour", [*summary.DOTS.values(), summary.CURVE])
def test_dots_and_curves_stand_out_in_light_and_in_dark(colour: str, page: str) -> None:
    """3 to 1 is what WCAG asks of graphics; text has the page's own colour."""
    assert _contrast(colour, page) >= 3
