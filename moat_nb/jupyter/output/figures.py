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

__all__ = ["FIGURE", "LIBRARY", "Figures"]

FIGURE = "application/vnd.plotly.v1+json"

LIBRARY = "__import__('plotly').offline.get_plotlyjs()"
"""What the kernel there is asked for: JavaScript, 5 MB of it."""

# The script is kept compressed, as it is kept in the notebook once a figure.
DRAW = """\
<div id="figure"></div><script>(async () => {{
const bytes = Uint8Array.from(atob("{library}"), letter => letter.charCodeAt(0));
const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
const script = document.createElement("script");
script.textContent = await new Response(stream).text();
document.head.append(script);
const figure = {figure};
await Plotly.newPlot("figure", figure.data, figure.layout, {{...figure.config, responsive: true}});
if (figure.frames) Plotly.addFrames("figure", figure.frames);
}})()</script>"""


class Figures:
    """Draws those of one session."""

    def __init__(self) -> None:
        self._library: str | None = None

    def give_library(self, script: str) -> None:
        self._library = base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode()

    def forget_library(self) -> None:
        """Another sandbox may have another version of it."""
        self._library = None

    def drawn(self, figure: Any) -> str | None:
        """HTML that draws ``figure`` (JSON-ready); None as long as there is no script."""
        if self._library is None:
            return None
        # In a script `<` may begin the script's end.
        text = json.dumps(figure).replace("<", "\\u003c")
        return iframe(DRAW.format(library=self._library, figure=text))
