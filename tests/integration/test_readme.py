"""What README, its page of everyday use and the notebooks show is what happens."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import moat_nb
from moat_nb.cli.demo import run_notebook, snapshot
from moat_nb.config.reader import read_config
from tests import ordinary_user
from tests.conftest import Engine, Project
from tests.integration.conftest import UNCLOSED_LOOPS
from tests.integration.notebook import opened
from tests.served import give, served
from tests.service_images import ServiceImages

ROOT = Path(moat_nb.__file__).parent.parent
README = (ROOT / "README.md").read_text()


USAGE = (ROOT / "docs" / "usage.md").read_text()
TEACHING = (ROOT / "docs" / "teaching.md").read_text()


def blocks(language: str, page: str = USAGE) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


@pytest.fixture
def shown(project: Project) -> Path:
    """The project of the transcript; its node_modules is root's where the tests are root's."""
    mount = "{source: ., target: /workspace, exclude: [node_modules, .env]}"
    text = f"mounts: [{mount}]\nkernel: {{runtime: bubblewrap}}\n"
    directory = project(text, name="myproject")
    (directory / "node_modules").mkdir(mode=0o755)
    (directory / "node_modules" / "built-for-the-host").write_text("x")
    (directory / ".env").write_text("PASSWORD=x\n")
    return directory


@pytest.fixture
def programs(run_directory: Path) -> Iterator[Path]:
    """A directory for PATH: moat-nb as it is here, and a pip to which all is installed."""
    directory = Path(tempfile.mkdtemp(dir=run_directory))
    texts = {"moat-nb": f'exec {sys.executable} -m moat_nb "$@"', "pip": "exit 0"}
    for name, text in texts.items():
        (directory / name).write_text(f"#!/bin/sh\n{text}\n")
        (directory / name).chmod(0o755)
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


def test_the_transcript_is_what_a_shell_prints(shown: Path, programs: Path) -> None:
    (transcript,) = blocks("console", README)
    (shown / "moat.yaml").unlink()
    env = {**os.environ, **NO_ENGINE, "PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "C"}
    before = snapshot(shown)
    for part in transcript.split("$ ")[1:]:
        command, _, expected = part.partition("\n")
        done = subprocess.run(
            command, shell=True, cwd=shown, env=env, capture_output=True, text=True, check=False
        )
        assert done.stdout == expected, (command, done.stderr)
    (shown / "moat.yaml").unlink()
    assert snapshot(shown) == before


@dataclass(frozen=True, kw_only=True)
class Newcomer:
    """An ordinary user with a home of their own, and a directory with a notebook and a secret."""

    directory: Path
    home: Path
    env: dict[str, str]

    def types(self, block: str) -> str:
        """What a shell prints for a block of commands, all of which must succeed."""
        words = ["sh", "-ec", block]
        done = ordinary_user.run(words, env=self.env, cwd=self.directory, timeout=300)
        assert done.returncode == 0, (block, done.stdout, done.stderr)
        return str(done.stdout + done.stderr)


@pytest.fixture
def newcomer(project: Project, programs: Path) -> Newcomer:
    directory = project("", name="work")
    (directory / "moat.yaml").unlink()
    (directory / ".env").write_text("x")
    code = "import os; print(6 * 7, os.getcwd(), os.path.getsize('.env'))"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbformat.write(notebook, directory / "ada.ipynb")
    home = directory.parent / "home"
    home.mkdir()
    (home / "run").mkdir(mode=0o700)
    for path in (directory, home, home / "run"):
        give(path)
    path = f"{programs}:{sys.prefix}/bin:{os.environ['PATH']}"
    env = {**NO_ENGINE, "HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), "PATH": path}
    return Newcomer(directory=directory, home=home, env=env)


def part(title: str) -> str:
    """The first commands below a heading of README."""
    return blocks("sh", README[README.index(f"## {title}\n") :])[0]


def test_who_has_a_project_is_served_after_three_commands(newcomer: Newcomer) -> None:
    *before, last = part("You have a project").splitlines()
    assert len(before) == 2 and last.startswith("moat-nb lab ")
    assert "wrote moat.yaml" in newcomer.types("\n".join(before))
    words = ["-m", "moat_nb", "lab", "--no-browser"]
    runtime = str(newcomer.home / "run")
    env = {**NO_ENGINE, "XDG_RUNTIME_DIR": runtime}
    with served(words, home=newcomer.home, cwd=newcomer.directory, **env) as ours:
        code, found = ours("GET", "/api/kernelspecs")
        assert code == 200
        (spec,) = found["kernelspecs"].values()
        assert spec["spec"]["display_name"] == "Python 3 (moat: work)"


def test_who_has_a_notebook_has_a_kernel_after_three_commands(newcomer: Newcomer) -> None:
    commands = part("You have a notebook")
    assert len(commands.splitlines()) == 3
    assert "installed moat-work in " in newcomer.types(commands)
    run = "jupyter nbconvert --to markdown --stdout --execute"
    said = newcomer.types(f"{run} --ExecutePreprocessor.kernel_name=moat-work ada.ipynb")
    assert "\n    42 /workspace 0\n" in said


def test_who_has_a_class_grades_it_after_three_commands(newcomer: Newcomer) -> None:
    commands = part("You have a class")
    assert len(commands.splitlines()) == 3
    (newcomer.directory / "square.py").write_text(python_below("You have a class"))
    answers = {
        "ada": "square = lambda n: n * n",
        "bob": "class Yes:\n    __eq__ = lambda s, o: True\nsquare = lambda n: Yes()",
    }
    hand_in(newcomer.directory / "handed-in", answers)
    said = newcomer.types(commands)
    assert re.search(r"ada +1/1 +passed\n", said) and re.search(r"bob +0/1 +failed ", said)
    assert "2 submissions: 1 passed, 1 failed\n" in said
    assert "what each notebook showed: grades/report.html\n" in said


def python_below(title: str, page: str = README) -> str:
    return blocks("python", page[page.index(f"## {title}\n") :])[0]


def hand_in(directory: Path, answers: dict[str, str]) -> None:
    """A directory for each student, with a notebook of one cell."""
    for name, source in answers.items():
        (directory / name).mkdir(parents=True)
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        nbformat.write(made, directory / name / "ps1.ipynb")
    for path in (directory, *directory.rglob("*")):
        give(path)


def test_a_teacher_may_run_what_was_handed_in_with_nbconvert_and_can_leave(
    newcomer: Newcomer,
) -> None:
    page = TEACHING
    commands = blocks("sh", page[page.index("## Only run them\n") :])[0].replace("\\\n", "")
    handed_in = newcomer.directory / "handed-in"
    handed_in.mkdir()
    cells = nbformat.read(newcomer.directory / "ada.ipynb", as_version=4).cells
    cells[0].source += "; open('/tmp/mine', 'x')"  # fails in a sandbox that had one before
    mean = "<script>document.title = 'mean'</script>"
    wrong = nbformat.v4.new_code_cell("1 / 0")
    for name in ("ada", "bob"):
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(mean), *cells, wrong])
        made.metadata["kernelspec"] = {"name": "python3", "display_name": "not this"}
        (handed_in / name).mkdir()
        (handed_in / name / ".env").write_text("x")
        nbformat.write(made, handed_in / name / "ps1.ipynb")
    (handed_in / "bob/ps2.ipynb").symlink_to("../ada/ps1.ipynb")
    (handed_in / "jupyter_nbconvert_config.py").write_text("open('/tmp/obeyed-them', 'x')\n")
    for path in (handed_in, *handed_in.rglob("*")):
        give(path)
    newcomer.types(commands)
    for name in ("ada", "bob"):
        shown = (newcomer.directory / f"results/handed-in/{name}/ps1.html").read_text()
        assert "42 /workspace 0\n" in shown and mean not in shown
    assert not Path("/tmp/obeyed-them").exists()
    assert not (newcomer.directory / "results/handed-in/bob/ps2.html").exists()
    replace(newcomer, directory=handed_in).types(part("To leave"))
    left = {path.name for path in newcomer.home.rglob("*") if path.is_file()}
    assert "kernel.json" not in left, left


def test_the_moat_yaml_that_is_shown_is_valid(tmp_path: Path) -> None:
    for text in blocks("yaml"):
        config = read_config(text.encode(), path=tmp_path / "moat.yaml", home=tmp_path)
        assert config.name == "myproject"


def test_the_python_that_is_shown_runs(shown: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
    exec(code.replace('launch(".")', f"launch({str(shown)!r})"), {})
    said = capsys.readouterr().out
    assert "b'42\\n'" in said
    assert "/workspace/node_modules tmpfs 0o1777 True True" in said


def test_the_cells_that_are_shown_run(shown: Path) -> None:
    (cells,) = blocks("ipython")
    with opened(shown) as notebook:
        *_, out, count = [notebook.good(cell) for cell in cells.split("\n\n")]
    assert out.stdout == "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]\n"
    assert count.stdout.strip() == "0"


@UNCLOSED_LOOPS
def test_the_notebook_of_the_magics_runs_to_its_end(project: Project) -> None:
    directory = project((ROOT / "notebooks" / "moat.yaml").read_text())
    (directory / "node_modules").mkdir(mode=0o755)
    (directory / "node_modules" / "native").write_text("x")
    notebook = nbformat.read(ROOT / "notebooks" / "02_magics_and_excludes.ipynb", as_version=4)
    client = NotebookClient(notebook, resources={"metadata": {"path": str(directory)}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output for output in outputs if output.output_type == "error"] == []
    pages = [
        output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})
    ]
    plain, framed = [page for page in pages if "srcdoc" in page or "<th>n</th>" in page]
    assert "srcdoc" not in plain and "srcdoc" in framed


@UNCLOSED_LOOPS
@pytest.mark.timeout(900)
def test_the_notebook_of_the_sidecars_runs_to_its_end(
    project: Project, engine: Engine, services: ServiceImages
) -> None:
    directory = project("")
    notebook = nbformat.read(ROOT / "notebooks" / "03_sidecars_and_network.ipynb", as_version=4)
    (file,) = [cell for cell in notebook.cells if "%%writefile shop/moat.yaml" in cell.source]
    # No registry here: images of the same servers, made for the tests.
    file.source = file.source.replace("name: shop", "name: test-shop") + (
        f"\nbase_image: {engine.base_image}\n"
        f"services: {{postgres: {{image: '{services.postgres}'}}, "
        f"redis: {{image: '{services.redis}'}}}}\n"
    )
    (file,) = [cell for cell in notebook.cells if "%%writefile fenced/moat.yaml" in cell.source]
    file.source += "\nkernel: {runtime: bubblewrap}\n"
    for cell in notebook.cells:
        cell.source = re.sub(r"^(%moat (restart|reset|stop)) shop", r"\1 test-shop", cell.source)
    (cell,) = [one for one in notebook.cells if 'urlopen("https://elsewhere' in one.source]
    cell.source += "\nimport time; time.sleep(3)"  # else the word of the refusal may come after it
    client = NotebookClient(notebook, timeout=400, resources={"metadata": {"path": str(directory)}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output for output in outputs if output.output_type == "error"] == []
    shown = "".join(str(output) for output in outputs)
    for words in ("MOAT_POSTGRES_URL", "[('apple', 7), ('pear', 5)]", "b'apple'", "'3'", "'True'"):
        assert words in shown
    assert shown.count('add "- elsewhere.example.com" to network.rules') >= 3


def test_the_quickstart_notebook_runs_to_its_end(project: Project) -> None:
    directory = project((ROOT / "notebooks" / "moat.yaml").read_text())
    shutil.copy(ROOT / "notebooks" / "01_quickstart.ipynb", directory)
    (directory / "node_modules").mkdir(mode=0o755)
    (directory / "node_modules" / "native").write_text("x")
    (directory / ".env").write_text("x")
    with (
        moat_nb.Sandbox.launch(directory, "bubblewrap") as box,
        box.start_kernel() as kernel,
    ):
        run_notebook(kernel, directory / "01_quickstart.ipynb")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "notebooks").rglob("*.ipynb")), ids=lambda p: p.name
)
def test_a_notebook_is_kept_without_outputs_and_is_valid(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)
