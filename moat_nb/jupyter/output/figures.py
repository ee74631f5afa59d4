"""plotly's figures, which arrive as data, with the script that draws them: both in a frame.

plotly leaves the drawing to a front end's extension, which runs in the user's page and may load
images from anywhere. So the script is fetched, once a session, from where the figure is: the
sandbox. Whatever that sends, in its frame it can do no more than any script of the sandbox's.
"""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

from moat_nb.jupyter.output.iframe import iframe

__all__ = ["FIGURE", "LIBRARY", "PLOT", "Figures", "framed", "in_script", "packed"]

FIGURE = "application/vnd.plotly.v1+json"

LIBRARY = "__import__('plotly').offline.get_plotlyjs()"
"""What the kernel there is asked for: JavaScript, 5 MB of it."""

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

PLOT = """\
<div id="figure"></div><script>(async () => {{
const figure = {figure};
await Plotly.newPlot("figure", figure.data, figure.layout, {{...figure.config, responsive: true}});
if (figure.frames) Plotly.addFrames("figure", figure.frames);
}})()</script>"""


def packed(script: str) -> str:
    """As it is kept, in the notebook too, once a figure."""
    return base64.b64encode(gzip.compress(script.encode("utf-8", "replace"), mtime=0)).decode()


def in_script(value: Any) -> str:
    """JSON that may stand in a script, where `<` may begin the script's end."""
    return json.dumps(value).replace("<", "\\u003c")


def framed(library: str, page: str) -> str:
    """HTML that shows ``page`` behind its script, which is packed."""
    return iframe(DRAW.format(library=library, page=in_script(page)))


class Figures:
    """Draws those of one session."""

    def __init__(self) -> None:
        self._library: str | None = None

    def give_library(self, script: str) -> None:
        self._library = packed(script)

    def forget_library(self) -> None:
        """Another sandbox may have another version of it."""
        self._library = None

    def drawn(self, figure: Any) -> str | None:
        """HTML that draws ``figure`` (JSON-ready); None as long as there is no script."""
        if self._library is None:
            return None
        return framed(self._library, PLOT.format(figure=in_script(figure)))
