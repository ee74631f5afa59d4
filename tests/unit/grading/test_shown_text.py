"""Texts of a submission in a page with a teacher's rights."""

from __future__ import annotations

import html
import re

import pytest

from moat_nb.grading.shown_text import as_html, without_links

PIXEL = "iVBORw0KGgo="
SCRIPT = "<script>alert(1)</script>"


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", page)).strip()


@pytest.mark.parametrize(
    ("source", "page"),
    [
        (
            "**bold** and `code`",
            "<div><p><strong>bold</strong> and <code>code</code></p>&#10;</div>",
        ),
        ("a\n\nb", "<div><p>a</p>&#10;<p>b</p>&#10;</div>"),
        ("[a](https://x.org)", None),
        (
            "![p](attachment:p)",
            '<div><p><img src="data:image/png;base64,iVBORw0KGgo=" alt="p"></p>&#10;</div>',
        ),
    ],
)
def test_markdown_is_shown_as_markdown(source: str, page: str | None) -> None:
    shown = as_html(source, {"p": {"image/png": PIXEL}})
    assert shown == page if page is not None else text_of(shown) == "a (https://x.org)"


@pytest.mark.parametrize("formula", ["$a<b$", "$x_i*y_i$", "$$\\sum_{i=1}^n i^2$$", "\\\\(a\\\\)"])
def test_formulas_are_there_for_the_page_to_set(formula: str) -> None:
    assert text_of(as_html(f"so {formula}", {})) == f"so {formula}".replace("\\\\", "\\")


@pytest.mark.parametrize(
    "source",
    [
        SCRIPT,
        f"*a* {SCRIPT}",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x]: javascript:alert(1)\n\n[x]",
        "![x](/formgrader?path=autograded/eve/ps1)",
        "![x](http://192.0.2.1/t.png)",
        "[x](/formgrader?path=x)",
        "[x](plot.html)",
        "<https://x.org/>",
        "<!-- -->\n\n[x](y)",
        "\\[x\\](javascript:alert(1))",
        "&#91;x](javascript:alert(1))",
        "```\n[x](y)\n\n[x](y)\n```",
        "![x](attachment:none)",
        "![x](attachment:bad)",
        "![x](attachment:page)",
        "\\begin{a}" * 9000,
        "[" * 5000,
        "half \ud800 \x1b[31m \0",
    ],
)
def test_nothing_leads_anywhere_or_is_markdown_once_more(source: str) -> None:
    attached = {"bad": {"image/png": 'x" onerror="alert(1)'}, "page": {"text/html": SCRIPT}}
    shown = as_html(source, attached)
    assert "\n" not in shown
    outside = re.sub(r"<[^>]*>|&#\d+;", "", shown)
    assert re.fullmatch(r"[A-Za-z0-9 ]*", outside)
    for tag in re.findall(r"<[^>]*>", shown):
        assert re.fullmatch(r'</?[a-z0-9]+(?: (?:rel|class)="[\w ]*")*>', tag), tag


def test_the_links_of_an_output_are_words() -> None:
    page = '<p title="&lt;">a &amp; <a href="https://x.org/?a&amp;b" target="_blank">b</a><br></p>'
    assert without_links(page) == (
        '<p title="&lt;">a &amp; <a>b (https://x.org/?a&amp;b)</a><br></p>'
    )
