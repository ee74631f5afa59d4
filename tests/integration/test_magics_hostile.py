"""What a kernel that was taken over sends a notebook: nothing of it acts, and the cell ends."""

import time
from pathlib import Path

import psutil
import pytest

from moat_nb.jupyter.bounds import MAX_MESSAGE
from moat_nb.notebook.display import Replay
from tests.integration.conftest import wait_until
from tests.integration.notebook import opened

# In the sandbox: send any message as the answer to the cell that runs.
SEND = """\
kernel = get_ipython().kernel
def send(kind, content, **options):
    parent = options.pop("parent", kernel.get_parent("shell"))
    kernel.session.send(kernel.iopub_socket, kind, content, parent=parent, **options)
"""


@pytest.fixture
def notebook(on_bubblewrap):
    project = on_bubblewrap.project(python=True, kernel={"runtime": "bubblewrap"})
    with opened(project) as made:
        made.good("%moat run")
        made.good(f"%%moat\n{SEND}")
        yield made


def test_fields_of_wrong_types_are_left_out(notebook):
    ran = notebook.good(
        "%%moat\n"
        "for content in ({}, {'text': 1}, {'text': None, 'name': 5}, {'text': ['a']}):\n"
        "    send('stream', content)\n"
        "for content in ({}, {'data': 1}, {'data': {'text/html': 5}, 'metadata': []},\n"
        "        {'data': {'text/plain': {}}, 'transient': 1}, {'data': {'text/plain': ['x']},\n"
        "        'transient': {'display_id': {}}}, {'data': {'image/png': 7}}):\n"
        "    for kind in ('display_data', 'update_display_data', 'execute_result'):\n"
        "        send(kind, content)\n"
        "send('clear_output', {'wait': 'perhaps'}); send('comm_open', {'target_name': 5})\n"
        "send('no such type', {'a': 1}); send('status', {'execution_state': ['idle']})\n"
        "print('to the end')"
    )
    assert ran.stdout.endswith("to the end\n")
    assert all(set(output.data) <= {"text/plain"} for output in ran.outputs)


def test_what_is_no_message_is_none(notebook):
    ran = notebook.good(
        "%%moat\n"
        "socket = kernel.iopub_socket\n"
        "for parts in ([b'x'], [b'<IDS|MSG>'], [b'<IDS|MSG>', b'bad', *[b'{}'] * 4]):\n"
        "    socket.send_multipart(parts)\n"
        "session = kernel.session\n"
        "for header in (b'5', b'[]', b'{\"msg_id\": 5}', b'[' * 100000, b'\\xff'):\n"
        "    parts = [header, session.pack({'msg_id': session.msg_id}), b'{}', b'{}']\n"
        "    socket.send_multipart([b'<IDS|MSG>', session.sign(parts), *parts])\n"
        "print('to the end')"
    )
    assert ran.stdout == "to the end\n"


def test_a_message_for_another_request_is_not_shown(notebook):
    ran = notebook.good(
        "%%moat\n"
        "send('stream', {'name': 'stdout', 'text': 'forged'}, parent={})\n"
        "send('stream', {'name': 'stdout', 'text': 'mine'})"
    )
    assert ran.stdout == "mine"


def test_a_display_of_the_notebooks_own_cannot_be_updated_from_there(notebook):
    own = notebook.good("from IPython.display import display\ndisplay('own', display_id='own')")
    assert own.outputs[0].transient == {"display_id": "own"}
    ran = notebook.good(
        "%%moat\nsend('update_display_data', {'data': {'text/plain': 'forged'}, 'metadata': {}, "
        "'transient': {'display_id': 'own'}})"
    )
    assert ran.outputs == ()


def test_an_end_that_never_comes_is_not_waited_for(notebook):
    """The reply is there, and the word that the output is over is not."""
    ran = notebook.good(
        "%%moat\nprint('out', flush=True)\n"
        "real = kernel.session.send\n"
        "def without_end(stream, kind, content=None, *args, **options):\n"
        "    if content == {'execution_state': 'idle'}:\n"
        "        kernel.session.send = real\n"
        "    else:\n"
        "        return real(stream, kind, content, *args, **options)\n"
        "kernel.session.send = without_end"
    )
    assert ran.stdout == "out\n"
    assert notebook.good("%%moat\nprint('and on')").stdout == "and on\n"


def test_a_message_that_is_too_long_never_arrives_and_the_cell_ends(notebook):
    ran = notebook.good(
        f"%%moat\nsend('stream', {{'name': 'stdout', 'text': 'x' * {MAX_MESSAGE + 1}}})"
    )
    assert ran.stdout == "" and "64 MiB was lost" in ran.stderr
    assert notebook.good("%%moat\nprint('and on')").stdout == "and on\n"


def test_what_a_sandbox_sends_between_cells_waits_there(notebook):
    before = psutil.Process().memory_info().rss
    notebook.good(
        "%%moat\n"
        "import threading\n"
        "context, parent = kernel.iopub_socket.context, kernel.get_parent('shell')\n"
        "def flood():\n"
        "    for number in range(15):\n"
        "        kernel.session.send(kernel.iopub_socket, 'stream',\n"
        "            {'name': 'stdout', 'text': 'x' * (30 << 20)}, parent=parent)\n"
        "    open('flooded', 'w').close()\n"
        "threading.Thread(target=flood).start()"
    )
    assert wait_until(Path("flooded").exists, 60)
    time.sleep(2)  # for what would come
    grown = psutil.Process().memory_info().rss - before
    assert grown < 250 << 20, f"{grown >> 20} MiB of 450"
    # The kernel goes on where it was; what it sent does not answer this cell.
    assert notebook.good("%%moat\nprint('and on')").stdout == "and on\n"


def test_all_of_very_many_messages_come(notebook):
    """The kernel keeps what the notebook does not take in time."""
    ran = notebook.good(
        "%%moat\nfor number in range(3000):\n    send('stream', {'name': 'stdout', 'text': 'x'})"
    )
    assert ran.stdout == "x" * 3000


def test_an_error_may_not_steer_the_terminal(notebook):
    ran = notebook.run("%%moat\nraise ValueError('\\x1b]0;title\\x07 bad')")
    assert "\x1b]" not in ran.stdout and "\x07" not in ran.stdout
    assert "bad" in str(ran.error)


def test_a_cell_that_is_set_for_the_user_is_not(notebook):
    notebook.good("%%moat\nget_ipython().set_next_input('print(1)')")
    payload = notebook.shell.payload_manager.read_payload()
    assert payload == []


def test_half_a_character_is_shown_as_one_that_is_missing(notebook):
    ran = notebook.good(
        "%%moat\nimport json  # which says in ASCII what no encoding has\n"
        "for kind in ('text/html', 'text/markdown', 'text/plain', 'image/svg+xml'):\n"
        "    content = {'data': {kind: '\\ud800'}, 'metadata': {}}\n"
        "    send('display_data', json.dumps(content).encode())\n"
        "send('stream', json.dumps({'name': 'stdout', 'text': '\\udfff\\U0001f600'}).encode())"
    )
    assert len(ran.outputs) == 4 and ran.stdout == "\ufffd\U0001f600"


def test_a_cell_whose_output_cannot_be_shown_does_not_go_on_there(notebook, monkeypatch):
    def fail(*message):
        raise LookupError("cannot be shown")

    with monkeypatch.context() as patch:
        patch.setattr(Replay, "show", fail)
        ran = notebook.run("%%moat\nprint('out', flush=True)\nimport time; time.sleep(100)")
        assert isinstance(ran.error, LookupError)
    assert notebook.good("%%moat\nprint('and on')").stdout == "and on\n"
