"""%moat and %%moat in a real InteractiveShell, with real sandboxes."""

from pathlib import Path

import pytest
from ipywidgets import Widget

from moat_nb import (
    CellInterrupted,
    CommandError,
    ConfigError,
    ExcludesEditor,
    MoatError,
    MoatRemoteError,
    SandboxGone,
    ValueRefused,
)
from moat_nb.cli.main import main
from tests.integration.conftest import wait_until
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
    assert notebook.good("%%moat --timeout 60\nprint('and on')").stdout == "and on\n"


# ---------------------------------------------------------------- values, background, figures


def test_values_go_in_and_come_out(on_each):
    on_each.good("limit = {'a': [1, 2]}")
    ran = on_each.good(
        "%%moat --in limit --out total --out words\n"
        "total = sum(limit['a']); words = 'x' * 3; print(type(limit).__name__)"
    )
    assert ran.stdout == "dict\n"
    names = on_each.shell.user_ns
    assert (names["total"], names["words"]) == (3, "xxx")


def test_a_table_comes_out_as_one(notebook):
    notebook.good("%%moat --out frame\nimport pandas as pd\nframe = pd.DataFrame({'n': [1, 2]})")
    assert list(notebook.shell.user_ns["frame"]["n"]) == [1, 2]


def test_a_value_that_cannot_come_out_is_refused_and_nothing_is_set(notebook):
    ran = notebook.run("%%moat --out f\nf = print")
    assert isinstance(ran.error, ValueRefused)
    assert "--as text" in str(ran.error)
    assert "f" not in notebook.shell.user_ns
    notebook.good("%%moat --out f --as text\nf = print")
    assert notebook.shell.user_ns["f"] == "<built-in function print>"


def test_what_poses_as_a_value_is_never_unpickled(notebook):
    """A sandbox that answers for itself: the codec's own display is replaced."""
    trap = (
        "import IPython.display, base64\n"
        "evil = base64.b64encode(b\"cbuiltins\\nexec\\n(S'import trapped'\\ntR.\").decode()\n"
        "real = IPython.display.publish_display_data\n"
        "IPython.display.publish_display_data = lambda data: real("
        "{kind: {'form': FORM, 'kind': 'x', 'text': evil} for kind in data})\n"
        "value = 1"
    )
    for form in ("'pickle'", "'arrow'", "'frame'", "None", "[]"):
        ran = notebook.run("%%moat --out value\n" + trap.replace("FORM", form))
        assert isinstance(ran.error, ValueRefused)
        notebook.good("%moat restart")
    assert "value" not in notebook.shell.user_ns


def test_moving_values_leaves_nothing_behind_there(notebook):
    notebook.good("given = 1")
    notebook.good("%%moat\nbefore = set(globals()) | {'before', 'got', 'given'}")
    ran = notebook.good("%%moat --in given --out got\ngot = sorted(set(globals()) - before)")
    assert ran.stdout == ""
    assert [name for name in notebook.shell.user_ns["got"] if not name.startswith("_")] == []


def test_a_cell_in_the_background_has_a_handle(notebook):
    notebook.good("%%moat --noblock\nimport time; time.sleep(2)")
    handle = notebook.shell.user_ns["_"]
    assert "running" in repr(handle)
    handle.result(timeout=300)
    assert handle.done() and "done" in repr(handle)


def test_a_cell_waits_for_the_one_in_the_background(notebook):
    notebook.good("%%moat --noblock\nimport time; time.sleep(0.5); done = True")
    assert notebook.good("%%moat\nprint(done)").stdout == "True\n"


def test_a_cell_in_the_background_can_be_cancelled_before_and_after_it_began(notebook):
    notebook.good("%%moat --noblock\nimport time; time.sleep(60)")
    first = notebook.shell.user_ns["_"]
    notebook.good("%%moat --noblock\nprint('never')")
    second = notebook.shell.user_ns["_"]
    second.cancel()
    with pytest.raises(CellInterrupted, match="before it began"):
        second.result(timeout=300)
    first.cancel()
    with pytest.raises(CellInterrupted, match="was cancelled"):
        first.result(timeout=300)
    assert notebook.good("%%moat\nprint('and on')").stdout == "and on\n"


def test_a_restart_ends_a_cell_in_the_background(notebook):
    notebook.good("%%moat --noblock\nimport time; time.sleep(60)")
    handle = notebook.shell.user_ns["_"]
    notebook.good("%moat restart")
    with pytest.raises(SandboxGone):
        handle.result(timeout=300)
    assert notebook.good("%%moat\nprint('and on')").stdout == "and on\n"


def test_a_figure_of_plotlys_is_drawn_by_the_script_of_its_sandbox(notebook):
    ran = notebook.good("%%moat\nimport plotly.graph_objects as go\ngo.Figure(go.Bar(y=[1]))")
    waiting, drawn = ran.outputs
    assert waiting.data == {"text/plain": "a figure of plotly"}
    assert drawn.update and drawn.transient == waiting.transient
    assert "<iframe" in drawn.data["text/html"]
    (again,) = notebook.good("%%moat\ngo.Figure(go.Bar(y=[1]))").outputs
    assert "<iframe" in again.data["text/html"]


def test_a_widget_made_there_is_its_text_and_a_hint(notebook):
    notebook.good("%moat run")
    ran = notebook.good("%%moat\nimport ipywidgets; ipywidgets.IntSlider()")
    assert ran.data == [{"text/plain": "IntSlider(value=0)"}]
    assert ran.stderr.count("\n") == 1 and "moat-nb install" in ran.stderr


def test_a_bar_of_tqdms_moves(notebook):
    notebook.good("%moat run")
    ran = notebook.good(
        "%%moat\nimport time\nfrom tqdm.auto import tqdm\nfor _ in tqdm(range(3)): time.sleep(0.2)"
    )
    first, *moved = ran.outputs
    assert first.data == {"text/plain": "|          |"}  # tqdm gives it words a moment later
    assert {(one.update, *one.transient.values()) for one in moved} == {
        (True, first.transient["display_id"])
    }
    assert moved[-1].data["text/plain"].startswith("100% |██████████| 3/3 [")
    assert "widget" not in ran.stderr


def test_output_is_cleared_when_the_cell_says_so(notebook):
    ran = notebook.good(
        "%%moat\nfrom IPython.display import clear_output as clear\n"
        "print('old'); clear(); print('new')"
    )
    assert ran.stdout.startswith("old\n") and ran.stdout.endswith("new\n")
    assert ran.stdout != "old\nnew\n"


def test_help_is_printed(notebook):
    assert "Prints the values" in notebook.good("%%moat\nprint?").stdout


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("os._exit(3)", ["exit code 3\n"]),
        ("os.kill(os.getpid(), 9)", ["killed by SIGKILL\n"]),
        (
            "def read_nowhere():\n    ctypes.string_at(0)\nread_nowhere()",
            ["killed by SIGSEGV; its last lines on stderr:\n", "in read_nowhere"],
        ),
        ("os.abort()", ["killed by SIGABRT", "Fatal Python error: Aborted"]),
    ],
)
def test_a_kernel_that_dies_says_how_and_a_restart_mends_it(on_each, code, words):
    ran = on_each.run(f"%%moat\nimport ctypes, os\n{code}")
    assert isinstance(ran.error, SandboxGone)
    assert all(word in str(ran.error) for word in [*words, "%moat restart"]), str(ran.error)
    shown = on_each.good("%moat status").data[0]["text/plain"]
    assert all(word.strip() in shown for word in words)
    on_each.good("%moat restart")
    assert on_each.good("%%moat\nprint('and on')").stdout == "and on\n"


def test_a_kernel_out_of_memory_says_so_and_a_restart_mends_it(on_docker):
    """bubblewrap limits what one process may ask for, so there the cell has a MemoryError."""
    project = on_docker.project(
        python=True, kernel={"runtime": "docker"}, container={"memory": 256}
    )
    with opened(project) as notebook:
        ran = notebook.run("%%moat\nx = [b'x' * (n + (1 << 20)) for n in range(2000)]")
        assert isinstance(ran.error, SandboxGone)
        assert "out of memory: the sandbox's memory limit (container.memory) was reached" in str(
            ran.error
        )
        notebook.good("%moat restart")
        assert notebook.good("%%moat\nprint('and on')").stdout == "and on\n"


def test_memory_that_bubblewrap_refuses_ends_no_more_than_the_cell_or_its_kernel(on_bubblewrap):
    project = on_bubblewrap.project(
        python=True, kernel={"runtime": "bubblewrap"}, container={"memory": 256}
    )
    with opened(project) as notebook:
        ran = notebook.run("%%moat\nx = [b'x' * (n + (1 << 20)) for n in range(2000)]")
        if isinstance(ran.error, MoatRemoteError):  # a launcher without a cgroup
            assert ran.error.ename == "MemoryError"
        else:
            assert isinstance(ran.error, SandboxGone)
            assert "out of memory" in str(ran.error) and "container.memory" in str(ran.error)
            notebook.good("%moat restart")
        assert notebook.good("%%moat\nprint('and on')").stdout == "and on\n"


def test_a_sandbox_that_was_stopped_says_so_and_a_reset_mends_it(notebook):
    notebook.good("%moat run")
    ran = notebook.good("%moat status")
    assert "running" in ran.data[0]["text/plain"] and "running" in ran.data[0]["text/html"]
    sandbox = ran.stdout.splitlines()[1].split()[2]
    assert main(["stop", sandbox]) == 0
    ran = notebook.run("%%moat\n1")
    assert isinstance(ran.error, SandboxGone) and "%moat reset" in str(ran.error)
    notebook.good("%moat reset")
    assert notebook.good("%%moat\nprint('and on')").stdout == "and on\n"


def test_run_starts_another_where_the_sandbox_is_gone(notebook):
    notebook.good("%moat run")
    sandbox = notebook.good("%moat status").stdout.splitlines()[1].split()[2]
    assert main(["stop", sandbox]) == 0
    assert wait_until(lambda: "gone" in notebook.good("%moat status").stdout)
    ran = notebook.good("%moat run")
    assert "starting another" in ran.stderr
    assert "running" in ran.data[0]["text/plain"]
    assert notebook.good("%%moat\nprint('and on')").stdout == "and on\n"


# ---------------------------------------------------------------- subcommands


def test_a_command_runs_in_the_sandbox_of_the_notebook(notebook):
    notebook.good("%moat run")  # a start that takes long has a display on stderr
    ran = notebook.good("%moat run -- sh -c 'pwd; echo err >&2'")
    assert ran.stdout.endswith("/workspace\n") and ran.stderr == "err\n"
    notebook.good("%%moat\nopen('/tmp/kept', 'w').close()")
    notebook.good("%moat run -- test -e /tmp/kept")
    ran = notebook.run("%moat run -- sh -c 'exit 3'")
    assert isinstance(ran.error, CommandError) and ran.error.returncode == 3


def test_run_shows_the_sandbox_that_runs_and_takes_no_options_then(notebook):
    notebook.good("%moat run --env A=1")
    assert notebook.good("%%moat\nimport os; print(os.environ['A'])").stdout == "1\n"
    first, again = notebook.good("%moat status").stdout, notebook.good("%moat run")
    assert "running" in again.data[0]["text/plain"]
    assert notebook.good("%moat status").stdout == first
    ran = notebook.run("%moat run --env A=2")
    assert isinstance(ran.error, MoatError) and "runs already" in str(ran.error)


def test_a_project_can_run_twice_under_two_names(notebook):
    notebook.good("%moat run --name a")
    notebook.good("%moat run --name b")
    notebook.good("%%moat a\nname = 'a'")
    ran = notebook.run("%%moat\nname")
    assert isinstance(ran.error, MoatRemoteError) and ran.error.ename == "NameError"
    assert notebook.good("%%moat a\nprint(name)").stdout == "a\n"
    notebook.good("%moat stop a")
    status = notebook.good("%moat status").stdout.splitlines()
    assert len(status) == 2 and status[1].split()[:2] == ["*", "b"]


def test_a_restart_keeps_the_sandboxs_files_and_a_reset_does_not(notebook):
    notebook.good("%%moat\nopen('/tmp/kept', 'w').close(); x = 1")
    notebook.good("%moat restart")
    ran = notebook.good("%%moat\nimport os; print(os.path.exists('/tmp/kept'), 'x' in globals())")
    assert ran.stdout == "True False\n"
    with Path("moat.yaml").open("a") as file:
        file.write("# edited\n")
    words = "moat.yaml has changed since this sandbox started"
    assert words in notebook.good("%moat restart").stderr
    notebook.good("%moat reset")
    assert words not in notebook.good("%moat restart").stderr
    assert notebook.good("%moat run -- sh -c 'ls /tmp/kept || echo gone'").stdout == "gone\n"


def test_a_reset_with_a_wrong_moat_yaml_keeps_the_variables(notebook):
    notebook.good("%%moat\nx = 1")
    file = Path("moat.yaml")
    right = file.read_text()
    file.write_text("mounts: nonsense\n")
    assert isinstance(notebook.run("%moat reset").error, ConfigError)
    assert notebook.good("%%moat\nprint(x)").stdout == "1\n"
    file.write_text(right)
    notebook.good("%moat reset")
    assert notebook.run("%%moat\nx").error.ename == "NameError"


def test_the_excludes_editor_resets_the_sandbox_of_this_notebook_and_no_stopped_one(
    notebook, editors
):
    (shown,) = notebook.good("%moat excludes").data
    assert shown["text/plain"].startswith("Excludes of ")
    alone = next(editors)
    assert not alone.can_apply
    notebook.good("%moat run")
    notebook.good("%%moat\nopen('/tmp/kept', 'w').close()")
    notebook.good("%moat excludes")
    editor = next(editors)
    editor.apply()
    assert notebook.good("%moat run -- sh -c 'ls /tmp/kept || echo gone'").stdout == "gone\n"
    notebook.good("%moat stop")
    with pytest.raises(MoatError, match="it was stopped; `%moat run` starts it"):
        editor.apply()
    assert notebook.good("%moat status").stdout.startswith("no sandbox runs")
    alone.close()
    editor.close()


@pytest.fixture
def editors():
    """Those that were made, in their order."""
    made = []
    Widget.on_widget_constructed(made.append)
    yield (widget for widget in made if isinstance(widget, ExcludesEditor))
    Widget.on_widget_constructed(None)


def test_what_the_command_line_prints_is_printed(notebook):
    notebook.good("%moat run")
    assert "test-box" in notebook.good("%moat ps").stdout
    assert "/workspace" in notebook.good("%moat plan").stdout
    assert "moat.yaml: is there already" in str(notebook.run("%moat init").error)
    (doctor,) = notebook.good("%moat doctor").data
    assert "bubblewrap" in doctor["text/plain"] and "bubblewrap" in doctor["text/html"]
    assert "kernel" in notebook.good("%moat logs").stdout


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%moat rnu", "there is no subcommand 'rnu'; did you mean 'run'?"),
        ("%moat run no-such", "a command stands after --: %moat run -- no-such"),
        ("%moat run no-such -l", "a command stands after --: %moat run -- no-such -l"),
        ("%moat status -- ls", "only `%moat run` takes a command"),
        ("%moat run --env A", "write NAME=VALUE"),
        ("%moat stop nobody", "no sandbox of this name"),
        ("%moat restart", "no sandbox runs"),
        ("%%moat --in missing\n1", "no variable of this name"),
    ],
)
def test_a_line_that_means_nothing_is_refused_with_words(notebook, line, words):
    ran = notebook.run(line)
    assert ran.error is not None and words in str(ran.error)


def test_help_is_shown_of_the_magics_and_of_each_subcommand(notebook):
    assert "%moat run -- npm install" in notebook.shell.find_line_magic("moat").__doc__
    assert "--noblock" in notebook.shell.find_cell_magic("moat").__doc__
    assert "--mount" in notebook.good("%moat run --help").stdout


def test_unloading_ends_the_sandboxes_and_takes_the_magics_away(notebook):
    notebook.good("%moat run")
    notebook.good("%unload_ext moat_nb")
    assert notebook.shell.find_line_magic("moat") is None
    assert notebook.shell.find_cell_magic("moat") is None
    notebook.good("%load_ext moat_nb")
    assert "no sandbox runs" in notebook.good("%moat status").stdout


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("%moat re", {"restart", "reset"}),
        ("%moat run --r", {"--runtime"}),
        ("%moat run --runtime b", {"bubblewrap"}),
        ("%moat run below/", {"below/deeper/"}),
        ("%moat run -- below/", {"below/deeper/", "below/file"}),
        ("%moat stop te", {"test-box"}),
        ("%%moat --no", {"--noblock"}),
        ("%%moat --as j", {"json"}),
        ("%%moat te", {"test-box"}),
    ],
)
def test_tab_completes(notebook, line, completions):
    Path("below/deeper").mkdir(parents=True)
    Path("below/file").touch()
    notebook.good("%moat run")
    assert notebook.completions(line) == completions


def test_other_lines_are_completed_as_without_us(notebook):
    notebook.shell.user_ns["moat_value"] = 1
    assert "moat_value" in notebook.completions("x = moat_v")


def test_values_to_bring_over_are_completed_by_the_notebooks_own(notebook):
    notebook.good("limit = 1\nlimits = 2")
    assert notebook.completions("%%moat --in lim") == {"limit", "limits"}
    assert notebook.completions("%%moat --in limit --out limits") == {"limits"}
    assert "_" not in notebook.completions("%%moat --in ")
    assert "get_ipython" not in notebook.completions("%%moat --in ")


def test_a_real_progress_bar_is_one_line_that_is_written_again(notebook):
    ran = notebook.good(
        "%%moat\nimport sys\nfrom tqdm import tqdm\n"
        "for _ in tqdm(range(3), file=sys.stdout, mininterval=0): pass"
    )
    assert "\r" in ran.stdout and "3/3" in ran.stdout and ran.stdout.count("\n") == 1
