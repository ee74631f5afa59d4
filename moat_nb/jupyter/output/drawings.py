"""Figures of plotly, altair and bokeh, each in a frame.

Natively, a script from the network or a front end's extension draws them in the user's page. Here
the script comes from where the figure does: the sandbox's kernel is asked for it, once. Whatever
that sends, in its frame it can do no more than any script of the sandbox's. Until it is there a
figure is a line of text under a display id, and then that display is updated.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from moat_nb.jupyter.output.iframe import iframe

__all__ = ["Drawings"]

LONGEST_SCRIPT = 1 << 25
MAX_WAITING, LONGEST_WAITING = 100, 1 << 26
"""How many figures wait for a script, and how many characters all of them have."""
LONGEST_ID = 200

SCRIPTS = {
    "plotly": "__import__('plotly').offline.get_plotlyjs()",
    "altair": "__import__('vl_convert').javascript_bundle()",
    "bokeh": "'\\n'.join(__import__('bokeh.resources').resources.INLINE.js_raw)",
}
"""What the kernel is asked for: JavaScript, 5 MB of it for plotly."""

ADVICE = {
    "altair": "; it is drawn where vl-convert-python is in the sandbox",
}

# The scripts of a fragment run when it is put into the page, in their order.
DRAW = """\
<script>(async () => {{
const bytes = Uint8Array.from(atob("{library}"), letter => letter.charCodeAt(0));
const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
const script = document.createElement("script");
script.textContent = await new Response(stream).text();
document.head.append(script);
document.body.append(document.createRange().createContextualFragment({page}));
}})()</script>"""

PLOTLY = "application/vnd.plotly.v1+json"
PLOT = """\
<div id="figure"></div><script>(async () => {{
const figure = {figure};
await Plotly.newPlot("figure", figure.data, figure.layout, {{...figure.config, responsive: true}});
if (figure.frames) Plotly.addFrames("figure", figure.frames);
}})()</script>"""

VEGA = re.compile(r"application/vnd\.vega(?:lite)?\.v\d{1,2}[.+]json")
VEGA_PAGE = re.compile(r"maybeLoadScript\(\"(vega[a-z-]*)\", \"([\w.-]{1,30})\"\)")
EMBED = """\
<div id="figure"></div><script>vegaEmbed("#figure", {figure})</script>"""

BOKEH_LOAD, BOKEH_EXEC = (f"application/vnd.bokehjs_{what}.v0+json" for what in ("load", "exec"))
BOKEH_PLACE = re.compile(
    r"\s*<div id=\"[\w-]{1,60}\" data-root-id=\"\w{1,60}\" style=\"display: contents;\"></div>\s*"
)
BOKEH_LOGO = 'class="bk-notebook-logo'
"""Beside it stands that the script is being loaded, which is so of no frame's."""
BOKEH_ROOTS = re.compile(r"\"roots\":\{((?:\"\w{1,60}\":\"[\w-]{1,60}\",?)+)\}")


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One figure: the library that draws it, and the page that does, once that is there."""

    library: str
    page: str


class Drawings:
    """Those of one kernel. Whoever shows its messages asks it for what is ``wanted``."""

    def __init__(self) -> None:
        self._scripts: dict[str, str | None] = {}
        self._waiting: OrderedDict[str, Drawing] = OrderedDict()

    def wanted(self) -> tuple[str, str] | None:
        """A library whose script is not there, and the expression whose value it is."""
        for drawing in self._waiting.values():
            if drawing.library not in self._scripts:
                return drawing.library, SCRIPTS[drawing.library]
        return None

    def give(self, library: str, script: Any) -> Iterator[dict[str, Any]]:
        """The contents of ``update_display_data`` to send, with their frames: not to be sanitised.
        Each is made when it is asked for, as each has the script.

        ``script`` is what the kernel said, None where it could not.
        """
        fits = isinstance(script, str) and 0 < len(script) <= LONGEST_SCRIPT
        self._scripts[library] = _packed(script) if fits else None
        found = {name: one for name, one in self._waiting.items() if one.library == library}
        for name in found:
            del self._waiting[name]
        return (
            {
                "data": self._data(one),
                "metadata": {},
                "transient": {"display_id": name},
            }
            for name, one in found.items()
        )

    def forget(self) -> None:
        """The kernel was restarted: another may have other versions, and none waits."""
        self._scripts.clear()
        self._waiting.clear()

    def shown(self, content: dict[str, Any]) -> dict[str, Any] | None:
        """The content of a display with a figure as it may be shown; None when it has none.

        What is returned is not to be sanitised: its frame is ours.
        """
        data = content.get("data")
        if not isinstance(data, dict):
            return None
        if BOKEH_LOAD in data or _is_place(data):
            return {**_ours(content), "data": {"text/plain": ""}}
        drawing = _drawing(data)
        if drawing is None:
            return None
        passed = _ours(content)
        name = passed["transient"].setdefault("display_id", secrets.token_hex(16))
        self._waiting.pop(name, None)
        if drawing.library not in self._scripts:
            passed.pop("execution_count", None)
            self._waiting[name] = drawing
            while len(self._waiting) > MAX_WAITING or self._size() > LONGEST_WAITING:
                self._waiting.popitem(last=False)
        return {**passed, "data": self._data(drawing)}

    def _size(self) -> int:
        return sum(len(one.page) for one in self._waiting.values())

    def _data(self, drawing: Drawing) -> dict[str, Any]:
        words = f"a figure of {drawing.library}"
        library = self._scripts.get(drawing.library)
        if library is not None:
            return {"text/html": _framed(library, drawing.page), "text/plain": words}
        is_missing = drawing.library in self._scripts
        advice = ADVICE.get(drawing.library, "; its script is not in the sandbox")
        return {"text/plain": words + (advice if is_missing else "")}


def _packed(script: str) -> str:
    """As it is kept, in the notebook too, once a figure."""
    return base64.b64encode(gzip.compress(script.encode("utf-8", "replace"), mtime=0)).decode()


def _in_script(value: Any) -> str:
    """JSON that may stand in a script, where `<` may begin the script's end."""
    return json.dumps(value).replace("<", "\\u003c")


def _framed(library: str, page: str) -> str:
    """HTML that shows ``page`` behind its script, which is packed."""
    return iframe(DRAW.format(library=library, page=_in_script(page)))


def _ours(content: dict[str, Any]) -> dict[str, Any]:
    """What stands beside a display's data, checked."""
    transient = content.get("transient")
    name = transient.get("display_id") if isinstance(transient, dict) else None
    is_name = isinstance(name, str) and len(name) <= LONGEST_ID
    passed: dict[str, Any] = {"metadata": {}, "transient": {"display_id": name} if is_name else {}}
    count = content.get("execution_count")
    if "execution_count" in content:
        passed["execution_count"] = count if type(count) is int and 0 <= count < 1 << 53 else None
    return passed


def _drawing(data: dict[str, Any]) -> Drawing | None:
    html, script = data.get("text/html"), data.get("application/javascript")
    if isinstance(figure := data.get(PLOTLY), dict):
        return Drawing(library="plotly", page=PLOT.format(figure=_in_script(figure)))
    if isinstance(script, str) and BOKEH_EXEC in data:
        return Drawing(library="bokeh", page=_bokeh(script))
    if isinstance(html, str) and (found := VEGA_PAGE.findall(html)):
        # The page loads each library, but those that are there in this version.
        there = {f"{name.replace('-', '', 1)}_version": version for name, version in found}
        page = f"<script>var VEGA_DEBUG = {_in_script(there)}</script>{html}"
        return Drawing(library="altair", page=page)
    for kind, spec in data.items():
        if VEGA.fullmatch(kind) and isinstance(spec, dict):
            return Drawing(library="altair", page=EMBED.format(figure=_in_script(spec)))
    return None


def _bokeh(script: str) -> str:
    """The script, behind the places that it draws in, which came in a display of their own."""
    places = []
    for roots in BOKEH_ROOTS.findall(script):
        for root, place in re.findall(r"\"(\w+)\":\"([\w-]+)\"", roots):
            places.append(f'<div id="{place}" data-root-id="{root}"></div>')
    ended = script.replace("</", "<\\/")
    return f"{''.join(places)}<script>{ended}</script>"


def _is_place(data: dict[str, Any]) -> bool:
    html = data.get("text/html")
    return isinstance(html, str) and (BOKEH_PLACE.fullmatch(html) is not None or BOKEH_LOGO in html)
