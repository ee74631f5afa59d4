"""A whole course with the real nbgrader: release, hand in, autograde, feedback, formgrader.

nbgrader lies in a directory of its own, which ``make test-grading`` installs: its extensions would
be every other test's too.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import sync_playwright

from tests import ordinary_user
from tests.grading.conftest import as_root, give_all
from tests.grading.test_course import HOSTILE, RAW, manifest
from tests.integration.conftest import Launcher
from tests.served import home_of, served

NBGRADER = Path(sys.prefix, "nbgrader")
ENV = {"PYTHONPATH": str(NBGRADER), "PATH": f"{NBGRADER / 'bin'}:{os.environ['PATH']}"}

LOWEST = "def squares(n):\n    if n < 1:\n        raise ValueError(n)\n"
HONEST = [
    f"{LOWEST}    return [k * k for k in range(1, n + 1)]",
    f"{LOWEST}    return list(map(lambda k: k**2, range(1, n + 1)))",
    f"import math\n{LOWEST}    return [int(math.pow(k, 2)) for k in range(1, n + 1)]",
]
SUM = "def sum_of_squares(n):\n    return sum(squares(n))"
FULL = 3.0
SCRIPT = "<script>document.title = 'taken'; alert('taken')</script>"

CHEATS = {
    "always": "class Yes:\n    __eq__ = lambda self, other: True\n"
    "    __call__ = lambda self, *a: self\nsquares = sum_of_squares = Yes()",
    "patches-assert": "import sys\nsys.excepthook = sys.exit\nimport builtins\n"
    "builtins.AssertionError = builtins.Exception = ValueError\nsquares = sum_of_squares = abs",
    "deletes-outputs": "get_ipython().run_cell = lambda *a, **k: None\nimport sys\n"
    "sys.stdout = sys.stderr = None",
    "says-points": "print('1.0')\n1.0",
    "exits-at-import": "raise SystemExit(0)",
}


@dataclass(frozen=True, kw_only=True)
class Taught:
    """A course of nbgrader's quickstart, with its first notebook alone."""

    directory: Path
    launcher: Launcher
    root: bool

    def __call__(self, *words: str, code: int = 0) -> str:
        """What ``nbgrader WORDS`` says."""
        give_all(self.directory.parent, self.launcher.owner)
        env = {**ENV, "HOME": str(self.directory.parent / "home")}
        env |= {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}
        run = as_root if self.root else ordinary_user.run
        argv = [sys.executable, "-m", *words]
        done = run(argv, env=env, timeout=1200, cwd=str(self.directory))
        assert done.returncode == code, done.stdout + done.stderr
        return str(done.stdout + done.stderr)

    def hand_in(self, student: str, answers: Mapping[str, str] | bytes) -> Path:
        """The released notebook with these answers to the cells of these names."""
        place = self.directory / "submitted" / student / "ps1"
        place.mkdir(parents=True)
        notebook = place / "problem1.ipynb"
        if isinstance(answers, bytes):
            notebook.write_bytes(answers)
            return place
        content = nbformat.read(self.directory / "release/ps1/problem1.ipynb", 4)
        for cell in content.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            cell.source = answers.get(name, cell.source)
        nbformat.write(content, notebook)
        return place

    def scores(self) -> dict[str, float | None]:
        """What each student has by the tests alone."""
        return dict(
            self.ask(
                "SELECT submitted_assignment.student_id, SUM(grade.auto_score) FROM grade"
                " JOIN submitted_notebook ON grade.notebook_id = submitted_notebook.id"
                " JOIN submitted_assignment"
                " ON submitted_notebook.assignment_id = submitted_assignment.id"
                " GROUP BY submitted_assignment.student_id"
            )
        )

    def comments(self) -> dict[str, str]:
        """What nbgrader says below the first answer of each."""
        return {
            student: comment or ""
            for student, comment in self.ask(
                "SELECT submitted_assignment.student_id, comment.auto_comment FROM comment"
                " JOIN base_cell ON comment.cell_id = base_cell.id AND base_cell.name = 'squares'"
                " JOIN submitted_notebook ON comment.notebook_id = submitted_notebook.id"
                " JOIN submitted_assignment"
                " ON submitted_notebook.assignment_id = submitted_assignment.id"
            )
        }

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.directory / "gradebook.db") as gradebook:
            return gradebook.execute(query).fetchall()


@pytest.fixture
def taught(launcher: Launcher, request: pytest.FixtureRequest) -> Iterator[Taught]:
    made = launcher.project(python=True, container={"memory": 1024})
    course = Taught(directory=made, launcher=launcher, root=getattr(request, "param", False))
    (made.parent / "home").mkdir()
    course("nbgrader", "quickstart", "course")
    for path in (made / "course").iterdir():
        path.rename(made / path.name)
    (made / "course").rmdir()
    (made / "source/ps1/problem2.ipynb").unlink()
    with (made / "nbgrader_config.py").open("a") as config:
        config.write(
            "from moat_nb.grading.nbgrader import use_sandboxes\n"
            "use_sandboxes(c, kernel='course')\n"
            f"c.SandboxedExecute.runtime = {launcher.runtime!r}\n"
            "c.Execute.timeout = c.SandboxedExecute.test_timeout = 12\n"
        )
    course("nbgrader", "generate_assignment", "ps1")
    yield course
    shutil.rmtree(made.parent / "home", ignore_errors=True)


ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can be root")


@pytest.mark.timeout(1500)
def test_a_course_is_graded_and_nobody_earns_what_they_did_not(taught: Taught) -> None:
    honest = {
        f"honest-{n}": {"squares": source, "sum_of_squares": SUM}
        for n, source in enumerate(HONEST * 3)
    }
    # All of them on Docker would take ten minutes; test_course.py has them there.
    some = HOSTILE if taught.launcher.engine is None else [*[*HOSTILE][::3], "crashes"]
    hostile = {name: {"squares": HOSTILE[name][0]} for name in some}
    cheats = {name: {"squares": source} for name, source in CHEATS.items()}
    for student, answers in {**honest, **hostile, **cheats, **RAW}.items():
        taught.hand_in(student, answers)
    clumsy, refused = hand_in_clumsily(taught), hand_in_what_is_refused(taught)
    kept = {"source", "submitted", "release", "moat.yaml"}
    before = {name: manifest(taught.directory / name) for name in kept}
    said = taught("nbgrader", "autograde", "ps1", code=1)  # of those that are no notebooks
    assert {name: manifest(taught.directory / name) for name in kept} == before
    for words in refused.values():
        assert words in said
    scores, comments = taught.scores(), taught.comments()
    wrong = {
        student: (scores.get(student), comments.get(student))
        for student in {*honest, *clumsy, *hostile, *cheats, *RAW, *refused}
        if (scores.get(student) or 0.0) != (FULL if student in {*honest, *clumsy} else 0.0)
        or (student in HOSTILE and not comments[student].startswith(tuple(HOSTILE[student][1])))
        or (student in CHEATS and not comments[student])
        or (student in honest and comments[student])
    }
    assert wrong == {}
    taught("nbgrader", "generate_feedback", "ps1")
    pages = {
        path.parent.parent.name: path.read_text()
        for path in (taught.directory / "feedback").glob("*/ps1/problem1.html")
    }
    assert pages.keys() == {*honest, *clumsy, *hostile, *cheats}
    assert "died: " in pages["crashes"]


def hand_in_clumsily(taught: Taught) -> set[str]:
    """What honest students do to notebooks, and what plain nbgrader gives up the course for."""
    right = {"squares": HONEST[0], "sum_of_squares": SUM}
    for student in ("copied-a-cell", "deleted-tests", "another-version", "moved-tests"):
        path = taught.hand_in(student, right) / "problem1.ipynb"
        content = nbformat.read(path, 4)
        tests = [cell for cell in content.cells if is_test(cell)]
        others = [cell for cell in content.cells if not is_test(cell)]
        if student == "copied-a-cell":
            content.cells += [nbformat.from_dict(cell) for cell in tests[:1]]
            content.cells[-1].pop("id", None)
        elif student == "another-version":
            for cell, version in zip(tests, (1, 2, 4, 99), strict=False):
                cell.metadata.nbgrader.schema_version = version
        else:
            content.cells = others if student == "deleted-tests" else [*others, *tests[::-1]]
        nbformat.write(content, path)
    return {"copied-a-cell", "deleted-tests", "another-version", "moved-tests"}


def is_test(cell: Any) -> bool:
    return cell.cell_type == "code" and bool(cell.metadata.get("nbgrader", {}).get("grade"))


def hand_in_what_is_refused(taught: Taught) -> dict[str, str]:
    """For each who has nothing to be copied, what is said of it."""
    right = {"squares": HONEST[0], "sum_of_squares": SUM}
    for student in ("linked", "pipe", "config"):
        place = taught.hand_in(student, right)
        notebook = place / "problem1.ipynb"
        if student == "config":
            (place / "nbgrader_config.py").write_text("open('/tmp/taken', 'w')")
            continue
        notebook.unlink()
        if student == "linked":
            notebook.symlink_to(taught.directory / "source/ps1/problem1.ipynb")
        else:
            os.mkfifo(notebook)
    (taught.directory / "submitted/theirs").mkdir()
    (taught.directory / "submitted/theirs/ps1").symlink_to("../linked/ps1")
    return {
        "linked": "linked/ps1/problem1.ipynb is a link",
        "pipe": "pipe/ps1/problem1.ipynb is no regular file",
        "config": "nbgrader_config.py is no name for a file that is handed in",
        "theirs": "submitted/theirs/ps1 is a link",
    }


def test_no_submission_says_what_a_test_is(taught: Taught) -> None:
    """Nor runs where the tests run."""
    trick = (
        "import sys, json\nT = sys.modules['_moat_inside.tester'].Tester\n"
        "T.run = lambda self, n, s, f: self._ask('R' + json.dumps("
        "{'passed': True, 'why': '', 'value': None, 'printed': ''}))"
    )
    path = taught.hand_in("eve", {"sum_of_squares_application": trick}) / "problem1.ipynb"
    content = nbformat.read(path, 4)
    for cell in content.cells:
        about = cell.metadata.get("nbgrader", {})
        if about.get("grade_id") == "sum_of_squares_application":
            about.update(solution=False, locked=True, points=90)
        elif about.get("solution"):
            about.update(grade=True, solution=False, points=90)
        elif about.get("grade"):
            about.update(points=90, grade_id=f"{about['grade_id']}\x1b]0;x\x07")
    nbformat.write(content, path)
    said = taught("nbgrader", "autograde", "ps1")
    assert taught.scores() == {"eve": 0.0} and "\x1b]0;" not in said
    by_hand = "SELECT COUNT(*) FROM grade WHERE needs_manual_grade AND auto_score IS NULL"
    assert taught.ask(by_hand) == [(2,)]


@pytest.mark.parametrize("taught", [pytest.param(True, marks=ROOT)], indirect=True)
def test_root_grades_too(taught: Taught) -> None:
    taught.hand_in("ada", {"squares": HONEST[0], "sum_of_squares": SUM})
    taught.hand_in("bob", {})
    taught("nbgrader", "autograde", "ps1")
    assert taught.scores() == {"ada": FULL, "bob": 0.0}
    assert "No response" in taught.comments()["bob"]


def test_a_file_that_starts_nothing_is_said_once_and_removes_no_result(taught: Taught) -> None:
    for student in ("ada", "bob"):
        taught.hand_in(student, {"squares": HONEST[0], "sum_of_squares": SUM})
    taught("nbgrader", "autograde", "ps1")
    file = taught.directory / "moat.yaml"
    file.write_text(f"{file.read_text()}\nkernle: {{}}\n")
    said = taught("nbgrader", "autograde", "ps1", "--force", code=1)
    assert said.count("unknown key 'kernle'; did you mean 'kernel'?") == 1
    assert "Traceback" not in said
    assert taught.scores() == {"ada": FULL, "bob": FULL}
    assert len([*taught.directory.glob("autograded/*/ps1/problem1.ipynb")]) == 2


def test_what_a_submission_shows_acts_in_no_page(taught: Taught) -> None:
    """Nor with --no-execute, where the outputs are those that were handed in."""
    show = f"from IPython.display import HTML, display\ndisplay(HTML({SCRIPT!r}))\n"
    show += f"raise ValueError({SCRIPT!r})"
    place = taught.hand_in("eve", {"squares": show, "sum_of_squares_equation": f"$x$ {SCRIPT}"})
    path = place / "problem1.ipynb"
    content = nbformat.read(path, 4)
    content.cells += [
        nbformat.v4.new_markdown_cell(f"{SCRIPT} and <b>more</b>"),
        nbformat.v4.new_raw_cell(SCRIPT, metadata={"raw_mimetype": "text/html"}),
        nbformat.v4.new_code_cell(
            "2",
            outputs=[
                nbformat.v4.new_output("display_data", {"text/html": SCRIPT}),
                nbformat.v4.new_output(
                    "display_data", {"application/javascript": "alert('taken')"}
                ),
            ],
        ),
    ]
    content.metadata["title"] = SCRIPT
    nbformat.write(content, path)
    config = taught.directory / "nbgrader_config.py"
    ours = config.read_text()
    plain = ours.replace("use_sandboxes(c, kernel='course')", "")
    for settings, options, does in (
        (plain, ("--no-execute",), True),  # the control
        (ours, ("--no-execute",), False),
        (ours, (), False),
    ):
        config.write_text(settings)
        taught("nbgrader", "autograde", "ps1", "--force", *options)
        taught("nbgrader", "generate_feedback", "ps1", "--force")
        page = (taught.directory / "feedback/eve/ps1/problem1.html").read_text()
        assert bool(opened(page)) is does, options


def opened(page: str) -> list[str]:
    """What a page does that a submission has had a part in."""
    done: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        tab = browser.new_page()
        tab.on("dialog", lambda dialog: (done.append(dialog.message), dialog.dismiss()))
        tab.route("**/*", lambda route: route.abort())
        tab.set_content(page)
        if "taken" in tab.title():
            done.append(tab.title())
        browser.close()
    return done


def test_formgrader_grades_and_shows(taught: Taught) -> None:
    """By its own button, in a server that has an event loop of its own."""
    taught.hand_in("ada", {"squares": HONEST[0], "sum_of_squares": SUM})
    # formgrader obeys a configuration where such an address leads.
    lead = "![plot](/formgrader?path=submitted/eve/ps1) [plot](/formgrader?path=submitted/eve/ps1)"
    written = {"sum_of_squares_equation": lead, "sum_of_squares_application": f"1 / 0 # {SCRIPT}"}
    taught.hand_in("eve", {"squares": f"1 / 0 # {SCRIPT}", **written})
    home = home_of(taught.directory)
    give_all(taught.directory, taught.launcher.owner)
    words = ["-m", "jupyter", "server", "--no-browser", "--ServerApp.port=0"]
    words += [f"--ServerApp.root_dir={taught.directory}", "--ServerApp.ip=127.0.0.1"]
    words += ["--ServerApp.jpserver_extensions={'nbgrader.server_extensions.formgrader': True}"]
    with served(words, home=home, cwd=taught.directory, **ENV) as server:
        for student in ("ada", "eve"):
            status, said = server("POST", f"/formgrader/api/submission/ps1/{student}/autograde")
            assert (status, said["success"]) == (200, True), said
        _, listed = server("GET", "/formgrader/api/submissions/ps1")
        scores = {one["student"]: (one["autograded"], one["score"]) for one in listed}
        assert scores == {"ada": (True, FULL), "eve": (True, 0)}
        _, notebooks = server("GET", "/formgrader/api/submitted_notebooks/ps1/problem1")
        for one in notebooks:
            status, page = server("GET", f"/formgrader/submissions/{one['id']}/")
            assert status == 200 and b"squares" in page
            assert opened(page.decode()) == []
            assert b'"/formgrader?' not in page


def test_a_notebook_is_validated_in_the_sandbox_whichever_kernel_it_names(taught: Taught) -> None:
    course = str(taught.directory)
    named = ("--name", "course", "--workspace", "notebook", "--runtime", taught.launcher.runtime)
    taught("moat_nb", "install", course, *named)
    look = f"import os\nseen = os.path.exists({course!r})\n{HONEST[0]}"
    check = "if seen:\n    raise SystemExit('it runs outside')\n"
    others = {"sum_of_squares_equation": "$x$", "sum_of_squares_application": "answer = 1"}
    place = taught.hand_in("ada", {"squares": look, "sum_of_squares": f"{check}{SUM}", **others})
    where = f"{place}/problem1.ipynb"
    assert "Success! Your notebook passes all the tests" in taught("nbgrader", "validate", where)
    (place / "problem1.ipynb").write_text(
        (place / "problem1.ipynb").read_text().replace("if seen:", "if not seen:")
    )
    assert "VALIDATION FAILED ON 1 CELL" in taught("nbgrader", "validate", where)
