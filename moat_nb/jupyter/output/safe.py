"""What a sandbox displays, made harmless for the user's own page.

A cell's output runs with the rights of the page that it is shown in, and that page may do all
that the user may do on the Jupyter server. So of what a sandbox sends, only types that no front
end executes pass; HTML passes as its sanitised form, and where sanitising would take something
away that shows, the whole is put into a frame of its own, without the page's rights. Markdown
passes as HTML too.
"""

from __future__ import annotations

import base64
import re
from typing import Any

from moat_nb.jupyter.output import markdown
from moat_nb.jupyter.output.iframe import iframe
from moat_nb.jupyter.output.sanitise import is_plain_latex, plain_html
from moat_nb.text.terminal import one_line, without_halves

__all__ = ["VIEW", "sanitise_mimebundle"]

VIEW = "application/vnd.jupyter.widget-view+json"
"""The type of a display that is a widget's view."""

PASSIVE = frozenset(
    {"text/plain", "application/json", "application/pdf"}
    | {"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"}
)
"""Types that every front end shows as they are."""

LONGEST_TYPE = 100
TYPES_NAMED = 5
"""What is said of types that are not shown: their names are the sandbox's too."""

BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")

HANDLED = frozenset(
    {"text/html", "application/javascript", "image/svg+xml", "text/markdown", "text/latex"}
)


def sanitise_mimebundle(
    data: dict[str, Any], metadata: dict[str, Any], *, how: str = "--trust shows it"
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """A display's data and metadata as they may be shown, and hints for the user.

    ``how`` ends a hint: what the user can do.
    """
    shown = {kind: value for kind, value in data.items() if kind in PASSIVE and _fits(kind, value)}
    hints: list[str] = []
    page = _page(data)
    if page is not None:
        plain = plain_html(page)
        shown["text/html"] = iframe(page) if plain is None else plain
    elif (drawing := _text(data.get("image/svg+xml"))) is not None:
        shown["text/html"] = _image(drawing)
    latex = _text(data.get("text/latex"))
    if latex is not None and is_plain_latex(latex):
        shown["text/latex"] = latex
    elif latex is not None:
        shown["text/plain"] = latex
        hints.append(f"text/latex with active content is shown as text; {how}")
    words = _text(data.get("text/markdown"))
    if words is not None and page is None:
        shown["text/plain"] = words
        hints.append(f"text/markdown that is so long or has so many marks is shown as text; {how}")
    left = sorted(one_line(kind[:LONGEST_TYPE]) for kind in set(data) - PASSIVE - HANDLED)
    if left and not set(shown) - {"text/plain"}:
        named = ", ".join(left[:TYPES_NAMED])
        hints.append(f"not shown: {named}, which runs in your page; {how}")
    return shown, {kind: _options(metadata.get(kind)) for kind in shown if kind in metadata}, hints


def _page(data: dict[str, Any]) -> str | None:
    """The HTML of a display: its own, or else what its Markdown or its script makes."""
    words, script = _text(data.get("text/markdown")), _text(data.get("application/javascript"))
    if (page := _text(data.get("text/html"))) is not None:
        return page
    if words is not None and markdown.is_readable(words):
        return markdown.as_html(words)
    return None if script is None else _page_of(script)


def _fits(kind: str, value: Any) -> bool:
    """Whether a value is of the form that its type has; what converts notebooks relies on it."""
    if kind == "application/json":
        return True
    if kind == "text/plain":
        return isinstance(value, str)
    return isinstance(value, str) and BASE64.fullmatch(value) is not None


def _text(value: Any) -> str | None:
    # Half of a character has no bytes, and stands nowhere in what is made of a text here.
    return without_halves(value) if isinstance(value, str) else None


def _options(value: Any) -> dict[str, Any]:
    """Of a type's metadata an image's size and ground, and whether JSON is shown unfolded; other
    keys change what a front end does."""
    if not isinstance(value, dict):
        return {}
    sizes = {
        name: value[name]
        for name in ("width", "height")
        if type(value.get(name)) in (int, float) and 0 < value[name] < 1e5
    }
    ground = {k: v for k, v in value.items() if k == "needs_background" and v in ("light", "dark")}
    unfolded = {k: v for k, v in value.items() if k == "expanded" and isinstance(v, bool)}
    return sizes | ground | unfolded


def _page_of(script: str) -> str:
    # `element` is what front ends call the place that a script may draw in.
    script = script.replace("</", "<\\/")
    return f"<div id=element></div><script>var element = document.body;\n{script}</script>"


def _image(drawing: str) -> str:
    """An SVG as an image: as one it runs no script and loads nothing."""
    encoded = base64.b64encode(drawing.encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{encoded}">'
