"""What a sandboxed kernel sends to act in its client's page, and what of it arrives there.

The kernels are started as a Jupyter server starts them. The control is a plain kernel, of which all
arrives. tests/browser/test_output.py has the same in real pages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from moat_nb.cli.bench.kernels import native_kernel, plain_kernel
from tests.integration.frontend import FrontEnd

MARK = "fetch('/api/terminals')"
"""What would be run in the page. In a mere text its quotes are escaped, and it is another."""

# What front ends put into the page as it is, wherever a sandbox may write it.
FRAMED = re.compile(r'srcdoc="[^"]*"')

BEGIN = f"""
import uuid
from IPython import get_ipython
from IPython.display import *
MARK = {MARK!r}
OWN = "<img src=x onerror=\\"" + MARK + "\\">"
kernel = get_ipython().kernel
def send(kind, content, **keys):
    kernel.session.send(kernel.iopub_socket, kind, content, parent=kernel.get_parent(), **keys)
def widget(name, module='@jupyter-widgets/controls', **state):
    state = {{**state, '_model_module': module, '_model_module_version': '2.0.0',
        '_model_name': name + 'Model', '_view_module': module,
        '_view_module_version': '2.0.0', '_view_name': name + 'View'}}
    comm = uuid.uuid4().hex
    send('comm_open', {{'comm_id': comm, 'target_name': 'jupyter.widget',
        'data': {{'state': state, 'buffer_paths': []}}}}, metadata={{'version': '2.1.0'}})
    return comm
"""


@dataclass(frozen=True, kw_only=True)
class Attack:
    name: str
    cell: str


ATTACKS = [
    Attack(name="HTML with a handler", cell="display(HTML(OWN))"),
    Attack(name="a script", cell="display(HTML('<script>' + MARK + '</script>'))"),
    Attack(name="JavaScript", cell="display(Javascript(MARK))"),
    Attack(name="Markdown with HTML", cell="display(Markdown('# x\\n' + OWN))"),
    Attack(name="SVG with a script", cell="display(SVG('<svg onload=\"' + MARK + '\"></svg>'))"),
    Attack(
        name="a link that is a script",
        cell="display(HTML('<a href=\"javascript:' + MARK + '\">x</a>'))",
    ),
    Attack(
        name="an update of a display",
        cell="d = display('x', display_id=True); d.update(HTML(OWN))",
    ),
    Attack(name="a result", cell="HTML(OWN)"),
    Attack(name="a type of its own", cell="display({'application/vnd.x+json': OWN}, raw=True)"),
    Attack(
        name="a pager's page",
        cell="get_ipython().payload_manager.write_payload({'source': 'page',"
        " 'data': {'text/html': OWN}, 'start': 0})",
    ),
    Attack(name="HTML of ipywidgets", cell="widget('HTML', value=OWN)"),
    Attack(
        name="a later value of it",
        cell="c = widget('HTML', value='x'); send('comm_msg', {'comm_id': c,"
        " 'data': {'method': 'update', 'state': {'value': OWN}, 'buffer_paths': []}})",
    ),
    Attack(
        name="HTML in a description",
        cell="widget('Text', value='', description=OWN, description_allow_html=True)",
    ),
    Attack(
        name="outputs of a widget",
        cell="widget('Output', '@jupyter-widgets/output', outputs=[{'output_type':"
        " 'display_data', 'data': {'text/html': OWN}, 'metadata': {}}])",
    ),
    Attack(name="a widget's code", cell="widget('Any', 'anywidget', _esm=MARK)"),
    Attack(
        name="all states at once",
        cell="send('comm_open', {'comm_id': 'd' * 32, 'target_name': 'jupyter.widget.control',"
        " 'data': {}}); send('comm_msg', {'comm_id': 'd' * 32, 'data': {'method': 'update_states',"
        " 'states': {'e' * 32: {'model_name': 'HTMLModel', 'model_module':"
        " '@jupyter-widgets/controls', 'model_module_version': '2.0.0',"
        " 'state': {'value': OWN}}}, 'buffer_paths': []}})",
    ),
    Attack(
        name="a message to a page's extension",
        cell="send('comm_open', {'comm_id': 'c' * 32, 'target_name': 'x', 'data': {'js': MARK}})",
    ),
    Attack(name="a message of no known kind", cell="send('eval_js', {'code': MARK})"),
    Attack(
        name="output for another's cell",
        cell="kernel.session.send(kernel.iopub_socket, 'display_data', {'data': {'text/html': OWN},"
        " 'metadata': {}}, parent={'header': {'msg_id': 'another'}, 'msg_id': 'another'})",
    ),
]


@pytest.fixture(scope="module")
def control() -> Iterator[FrontEnd]:
    with plain_kernel() as manager:
        front = FrontEnd(manager)
        front.run(BEGIN)
        yield front
        front.client.stop_channels()


@pytest.fixture
def sandboxed(launcher: Any) -> Iterator[FrontEnd]:
    project = launcher.project(python=True)
    with native_kernel(project, launcher.runtime) as manager:
        front = FrontEnd(manager)
        front.run(BEGIN)
        yield front
        front.client.stop_channels()


def arrived(front: FrontEnd, cell: str) -> str:
    """``acts`` where the mark reached the page's own text, else ``shut in`` or ``left out``."""
    messages: list[dict[str, Any]] = []
    client = front.client
    message_id = client.execute(cell)
    reply = client.get_shell_msg(timeout=60)
    assert reply["parent_header"]["msg_id"] == message_id
    messages.append(reply["content"].get("payload") or {})
    while True:
        message = client.get_iopub_msg(timeout=60)
        kind, content = message["msg_type"], message["content"]
        ours = message["parent_header"].get("msg_id") == message_id
        if ours and kind == "status" and content["execution_state"] == "idle":
            break
        if kind in ("execute_input", "error", "stream"):
            continue
        data = content.get("data")
        if isinstance(data, dict):
            data.pop("text/plain", None)
        messages.append(content)
    page = json.dumps(messages).replace('\\"', '"')
    if MARK in FRAMED.sub("", page):
        return "acts"
    return "shut in" if "srcdoc" in page else "left out"


def test_nothing_arrives_that_acts(
    sandboxed: FrontEnd, control: FrontEnd, launcher: Any, table: Any
) -> None:
    for start in ("first start", "restart"):
        for attack in ATTACKS:
            happened, controlled = arrived(sandboxed, attack.cell), arrived(control, attack.cell)
            name = f"output: {attack.name} ({start})"
            table(name, launcher.runtime, "does not act", happened, controlled)
            assert happened in ("shut in", "left out"), name
            assert controlled == "acts", name
        if start == "first start":
            sandboxed.manager.restart_kernel(now=True)
            sandboxed.client.wait_for_ready(timeout=60)
            sandboxed.run(BEGIN)
