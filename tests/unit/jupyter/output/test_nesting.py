"""Which HTML is nested well, so that no parser opens again what was open."""

from __future__ import annotations

import re

import pytest

from moat_nb.jupyter.output.nesting import MAX_DEPTH, MAX_TAGS, is_nested_well


def nested_well(text: str) -> bool:
    return is_nested_well((bool(end), tag) for end, tag in re.findall(r"<(/?)(\w+)>", text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<div><p>a<p>b<div>c</div></div>",
        "<ul><li>a<li><p>b<ul><li>c</ul></ul>",
        "<dl><dt>a<dd>b<dt>c</dl>",
        "<table><caption>x<colgroup><col><tr><td>a<td><b>b</b><tr><th>c</table>",
        "<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>1<tbody><tr><td>2</table>",
        "<ruby>a<rp>(<rt>b<rp>)</ruby>",
        "<p><b>a<br><img></b>",
        "<div><span>",
        "<div>" * MAX_DEPTH,
        "<br>" * MAX_TAGS,
    ],
)
def test_what_programs_write_is(text: str) -> None:
    assert nested_well(text)


@pytest.mark.parametrize(
    "text",
    [
        "<b><i>x</b></i>",
        "<p><b>x</p>",
        "<p><b>x<p>y",
        "<li><b>x<li>y",
        "<b><div>x</div></b>",
        "<p><span><b><table></table></b></span>",
        "<table><b>x</b></table>",
        "<table><tr><div>x</div></table>",
        "<a><span><a>x</a></span></a>",
        "</p>",
        "<div></span></div>",
        "<div>" * (MAX_DEPTH + 1),
        "<br>" * (MAX_TAGS + 1),
    ],
)
def test_what_a_parser_must_put_right_is_not(text: str) -> None:
    assert not nested_well(text)
