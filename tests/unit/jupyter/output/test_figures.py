"""Figures, drawn in a frame."""

from __future__ import annotations

import html
import json
import re

from moat_nb.jupyter.output.figures import Figures


def framed(page: str) -> str:
    """What a frame of ours holds in its inner frame."""
    (outer,) = re.findall('srcdoc="([^"]*)"', page)
    (inner,) = re.findall('srcdoc="([^"]*)"', html.unescape(outer))
    return html.unescape(inner)


def test_a_figure_is_drawn_once_there_is_a_script() -> None:
    figures = Figures()
    assert figures.drawn({"data": []}) is None
    figures.give_library("var Plotly;")
    page = figures.drawn({"data": [{"name": "</script><script>alert(1)"}]})
    assert page is not None
    inside = framed(page)
    assert inside.count("</script>") == inside.count("<script>") == 3
    (page,) = re.findall(r"createContextualFragment\((.*)\)\);", inside)
    drawn = json.loads(page)
    assert drawn.count("<script>") == drawn.count("</script>") == 1
    assert json.dumps("</script><script>alert(1)").replace("<", "\\u003c") in drawn
