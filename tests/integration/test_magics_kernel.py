"""%%moat from a real ipykernel: what a front end is shown, asked, and may interrupt."""

import subprocess
import sys
import time

import nbformat
import pytest

from tests.integration.conftest import UNCLOSED_LOOPS
from tests.integration.frontend import opened

pytestmark = UNCLOSED_LOOPS


@pytest.fixture
def project(on_bubblewrap):
    return on_bubblewrap.project(python=True, kernel={"runtime": "bubblewrap"})


@pytest.fixture
def front(project):
    with opened(project) as made:
        made.run("%moat run")  # a start that takes long has a display
        yield made


def test_output_is_shown_as_it_comes_and_as_what_it_is(front):
    ran = front.run(
        "%%moat\nimport sys\nprint('out')\nprint('err', file=sys.stderr)\n"
        "from IPython.display import display, HTML\ndisplay(HTML('<b>x</b>'))\n6 * 7"
    )
    assert ran.text() == "out\n"
    assert ran.text("stderr").endswith("err\n")
    first, second = ran.of("display_data")
    assert first["data"]["text/html"] == "<b>x</b>"
    assert second["data"] == {"text/plain": "42"}


def test_an_error_is_shown_once_and_ends_a_run_of_all_cells(front):
    ran = front.run("%%moat\n1 / 0")
    assert ran.reply["status"] == "error"
    (error,) = ran.of("error")
    assert error["ename"] == "MoatRemoteError"
    assert error["evalue"] == "ZeroDivisionError: division by zero"
    assert "".join(error["traceback"]).count("division by zero") == 1
    assert ran.text() == ""


def test_input_is_asked_here_and_a_password_is_asked_as_one(front):
    asked = []

    def answer(prompt, password):
        asked.append((prompt, password))
        return "the answer"

    ran = front.run(
        "%%moat\nimport getpass\nprint(input('name: '), getpass.getpass('secret: '))",
        answer=answer,
    )
    assert ran.text() == "the answer the answer\n"
    assert asked == [("name: ", False), ("secret: ", True)]


def test_input_is_refused_where_nobody_can_answer(front):
    ran = front.run("%%moat\ninput('name: ')")
    (error,) = ran.of("error")
    assert "StdinNotImplementedError" in error["evalue"]
    assert front.run("%%moat\nprint('and on')").text() == "and on\n"


def test_an_interrupt_here_interrupts_there_and_the_sandbox_goes_on(front):
    def interrupt(kind, content):
        if content.get("text") == "begun\n":
            front.interrupt()

    ran = front.run(
        "%%moat\nimport time\ntry:\n    print('begun', flush=True)\n"
        "    time.sleep(60)\nfinally:\n    print('cleaned up')",
        on_output=interrupt,
    )
    (error,) = ran.of("error")
    assert error["ename"] == "KeyboardInterrupt"
    assert "cleaned up\n" in ran.text()
    assert front.run("%%moat\nprint('and on')").text() == "and on\n"


def test_a_commands_output_is_shown_as_it_comes_and_an_interrupt_goes_to_it(front):
    front.run("%moat run")

    def interrupt(kind, content):
        if content.get("text", "").endswith("begun\n"):
            front.interrupt()

    script = "trap 'echo cleaned up; exit 3' INT; echo begun; while :; do sleep 0.1; done"
    ran = front.run(f'%moat run -- sh -c "{script}"', on_output=interrupt)
    (error,) = ran.of("error")
    assert error["ename"] == "KeyboardInterrupt"
    assert ran.text().endswith("begun\ncleaned up\n")
    assert front.run("%moat run -- echo and on").text().endswith("and on\n")


def test_an_interrupt_ends_the_wait_for_an_answer(front):
    def answer(prompt, password):
        front.interrupt()
        time.sleep(0.5)
        return "too late"

    ran = front.run("%%moat\nprint('got', input('name: '))", answer=answer)
    assert ran.reply["status"] == "error"
    assert "got" not in ran.text()
    assert front.run("%%moat\nprint('and on')").text() == "and on\n"


def test_a_second_interrupt_returns_at_once_from_a_cell_that_does_not_heed_the_first(front):
    def interrupt(kind, content):
        if content.get("text") in ("begun\n", "not yet\n"):
            front.interrupt()

    ran = front.run(
        "%%moat\nimport time\nprint('begun', flush=True)\n"
        "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('not yet', flush=True)\n"
        "    import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n    time.sleep(60)",
        on_output=interrupt,
    )
    assert ran.of("error")[0]["ename"] == "KeyboardInterrupt"
    assert front.run("%moat restart").reply["status"] == "ok"
    assert front.run("%%moat\nprint('and on')").text() == "and on\n"


def test_output_of_a_cell_in_the_background_belongs_to_that_cell(front):
    cell = "%%moat --noblock\nimport time\ntime.sleep(0.5)\nprint('from the background')"
    started = front.client.execute(cell)
    front.client.get_shell_msg(timeout=300)
    waiting = front.client.execute("_.result(30)")
    assert front.client.get_shell_msg(timeout=300)["content"]["status"] == "ok"
    parents = {}
    while "from the background\n" not in parents or waiting not in parents.values():
        message = front.client.get_iopub_msg(timeout=300)
        parents[message["content"].get("text")] = message["parent_header"]["msg_id"]
    assert parents["from the background\n"] == started


def test_a_displays_buffers_arrive(front):
    sent = front.client.execute(
        "%%moat\nkernel = get_ipython().kernel\n"
        "kernel.session.send(kernel.iopub_socket, 'display_data', {'data': {'text/plain': 'x'},\n"
        "    'metadata': {}}, parent=kernel.get_parent('shell'), buffers=[b'one', b'two'])"
    )
    while True:
        message = front.client.get_iopub_msg(timeout=300)
        if message["msg_type"] == "display_data":
            break
    assert message["parent_header"]["msg_id"] == sent
    assert [bytes(buffer) for buffer in message["buffers"]] == [b"one", b"two"]


def test_a_bar_that_is_drawn_over_itself_stays_one(front):
    ran = front.run(
        "%%moat\nimport sys\nfor n in range(3):\n    print(f'\\r{n} of 2', end='', file=sys.stderr)"
    )
    assert ran.text("stderr").endswith("\r0 of 2\r1 of 2\r2 of 2")


def test_a_notebook_with_a_failing_cell_fails_nbconvert(project):
    cells = ["%load_ext moat_nb", "%%moat\nprint('fine')", "%%moat\n1 / 0", "print('not reached')"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nbformat.write(notebook, project / "n.ipynb")
    convert = ("jupyter", "nbconvert", "--to", "notebook", "--execute", "n.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", *convert, "--output", "out.ipynb"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stderr
    assert not (project / "out.ipynb").exists()
