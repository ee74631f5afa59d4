"""%moat and %%moat in a real InteractiveShell, with real sandboxes."""

import pytest

from moat_nb import CellInterrupted, MoatError, MoatRemoteError
from tests.integration.notebook import opened


@pytest.fixture
def notebook(on_bubblewrap):
    project = on_bubblewrap.project(python=True, kernel={"runtime": "bubblewrap"})
    with opened(project) as made:
        yield made


@pytest.fixture
def on_each(launcher):
    project = launcher.project(python=True, kernel={"runtime": launcher.runtime})
    with opened(project) as made:
        yield made


def test_a_cell_starts_the_nearest_sandbox_and_says_so_once(on_each):
    first = on_each.good("%%moat\nimport os; print(os.getcwd())")
    assert first.stdout == "/workspace\n"
    assert "started the sandbox test-box" in first.stderr
    assert on_each.good("%%moat\nprint(os.getpid() > 0)").stderr == ""


def test_streams_arrive_each_on_its_own(notebook):
    ran = notebook.good("%%moat\nimport sys\nprint('out')\nprint('err', file=sys.stderr)")
    assert ran.stdout == "out\n"
    assert ran.stderr.endswith("err\n")


def test_an_error_there_is_an_error_here_with_its_traceback_once(notebook):
    ran = notebook.run("%%moat\ndef f():\n    1 / 0\nf()")
    assert isinstance(ran.error, MoatRemoteError)
    assert (ran.error.ename, ran.error.evalue) == ("ZeroDivisionError", "division by zero")
    assert ran.stdout.count("division by zero") == 1
    assert "run_cell" not in ran.stdout
    assert notebook.good("%%moat\nprint('and on')").stdout == "and on\n"


def test_an_error_of_moat_itself_is_shown_as_its_text(notebook):
    ran = notebook.run("%%moat nobody\n1")
    assert isinstance(ran.error, MoatError)
    assert ran.stdout.startswith("MoatError: nobody: this notebook has no sandbox of this name")
    assert "Traceback" not in ran.stdout


def test_the_last_value_is_displayed_and_kept_there(notebook):
    (shown,) = notebook.good("%%moat\n6 * 7").data
    assert shown["text/plain"] == "42"
    (shown,) = notebook.good("%%moat\n_ + 1").data
    assert shown["text/plain"] == "43"


def test_a_display_is_updated_from_a_later_cell_under_an_id_that_is_ours(notebook):
    made = notebook.good("%%moat\nh = display('one', display_id='known')")
    update = notebook.good("%%moat\nh.update('two')")
    (first,), (second,) = made.outputs, update.outputs
    assert (first.update, second.update) == (False, True)
    assert first.transient == second.transient
    assert first.transient["display_id"] != "known"


def test_a_cell_that_takes_too_long_is_interrupted(notebook):
    ran = notebook.run("%%moat --timeout 0.5\nimport time; time.sleep(60)")
    assert isinstance(ran.error, CellInterrupted)
    assert notebook.good("%%moat --timeout 10\nprint('and on')").stdout == "and on\n"
