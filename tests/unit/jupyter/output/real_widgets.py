"""Makes every widget of ipywidgets, and writes to stderr what it tells a page.

It is a program of its own, as ipywidgets keeps its widgets in the process.
"""

from __future__ import annotations

import datetime
import json
import sys
from typing import Any

import comm
from comm.base_comm import BaseComm

SENT: list[dict[str, Any]] = []


class Comm(BaseComm):
    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):  # type: ignore
        content = {"comm_id": self.comm_id, "data": data or {}, **keys}
        SENT.append(
            {
                "kind": msg_type,
                "content": content,
                "made_by": MADE[-1],
                "buffers": len(buffers or ()),
            }
        )


MADE = [""]
comm.create_comm = Comm  # type: ignore[assignment]

import ipywidgets  # noqa: E402
from ipywidgets import widgets  # noqa: E402

ARGUMENTS: dict[str, dict[str, Any]] = {
    **{name: {"options": ["a<b>", "b"]} for name in ("Dropdown", "Select", "RadioButtons")},
    "ToggleButtons": {"options": ["a", "b"], "icons": ["check", "bolt fa-spin"], "tooltips": ["x"]},
    **{name: {"options": ["a", "b"]} for name in ("SelectMultiple", "SelectionSlider", "Combobox")},
    "SelectionRangeSlider": {"options": ["a", "b", "c"]},
    "HTML": {"value": "<b>bold</b> and <i>italic</i>", "description": "a < b"},
    "HTMLMath": {"value": "a formula: $x^2$"},
    "Label": {"value": "$E = mc^2$"},
    "Text": {"value": "<img src=x onerror=1> \\href", "placeholder": "type <here>"},
    "Image": {"value": b"\x89PNG", "format": "png", "width": 300, "height": "40%"},
    "Audio": {"value": b"x"},
    "Video": {"value": b"x", "format": "webm"},
    "DatePicker": {"value": datetime.date(2026, 11, 29), "max": datetime.date(2027, 1, 1)},
    "DatetimePicker": {
        "value": datetime.datetime(2026, 1, 1, 1, 2, 3, tzinfo=datetime.timezone.utc)
    },
    "TimePicker": {"value": datetime.time(1, 2, 3)},
    "ColorPicker": {"value": "#ff00aa"},
    "ColorsInput": {"value": ["red", "#00ff00"]},
    "TagsInput": {"value": ["a", "<b>"], "allowed_tags": ["a", "<b>"]},
    "FloatsInput": {"value": [1.5, 2.0], "format": ".3f"},
    "Button": {
        "description": "Go",
        "icon": "check",
        "tooltip": "it's <this>",
        "button_style": "info",
    },
    "Checkbox": {"description": "<b>x</b>", "description_allow_html": True},
    "Layout": {
        **{
            "margin": "0 auto 10px",
            "border": "1px solid rgba(0, 0, 0, .5)",
            "width": "calc(100% - 2px)",
        },
        **{
            "grid_template_areas": '"a b" "c d"',
            "grid_template_columns": "repeat(2, minmax(0, 1fr))",
        },
    },
}


def everything() -> None:
    for _, cls in sorted(widgets.widget._registry.items(), key=str):
        name = cls.__name__
        MADE.append(name)
        if name in ("Link", "DirectionalLink"):
            cls((ipywidgets.Play(), "value"), (ipywidgets.IntSlider(), "value"))
        elif not name.startswith("_"):
            cls(**ARGUMENTS.get(name, {}))
    MADE.append("boxes")
    child = ipywidgets.IntSlider(description="$x$", style={"handle_color": "lightblue"})
    ipywidgets.Tab([child, ipywidgets.HBox([child])], titles=["one", "<two>"], selected_index=1)
    MADE.append("grids")
    grid = ipywidgets.GridspecLayout(2, 3, height="300px")
    grid[0, :2] = ipywidgets.Button(layout={"height": "auto"})
    ipywidgets.AppLayout(header=child, center=child, pane_widths=[1, "20px", 2])
    ipywidgets.TwoByTwoLayout(top_left=child)
    MADE.append("interact")
    ipywidgets.interactive(lambda x, y, z, w: x, x=(0, 10), y=1.5, z="text", w={"a": 1})
    MADE.append("updates")
    child.value = 7
    child.layout.width = "50%"
    out = ipywidgets.Output()
    out.append_stdout("words\n")
    out.append_display_data({"text/plain": "x", "text/html": "<b>x</b>"})
    MADE.append("tqdm")
    import tqdm.notebook

    bar = tqdm.notebook.tqdm_notebook(total=3, desc="so far", display=False)
    bar.update()
    bar.close()
    MADE.append("states")
    control = Comm(target_name="jupyter.widget.control", comm_id="c0", primary=False)
    widgets.Widget.handle_control_comm_opened(
        control, {"metadata": {"version": widgets.widget.__control_protocol_version__}}
    )
    control.handle_msg({"content": {"data": {"method": "request_states"}}})


everything()
sys.stderr.write(json.dumps(SENT))
