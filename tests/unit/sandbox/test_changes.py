"""changes.py: what changed since a time, the dangerous first. On real files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from moat_nb.planning.walk import Budget
from moat_nb.sandbox.changes import (
    RANKS,
    Changes,
    changes,
    changes_as_text,
    in_a_line,
    leads_out,
)


@pytest.fixture
def start(tmp_path: Path) -> float:
    """After what is there already, and before what the test makes."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old/Makefile").touch()
    (tmp_path / "old/.envrc").touch()
    # What a repository needs, and what an editor obeys, as an earlier sandbox left them.
    (tmp_path / "a/h/x").mkdir(parents=True)
    (tmp_path / "y/.vscode").mkdir(parents=True)
    for name in ("a/h/x/HEAD", "a/h/x/config", "y/.vscode/tasks.json", "y/data.csv"):
        (tmp_path / name).touch()
    (tmp_path / "y/near").symlink_to("../old")
    (tmp_path / "y/far").symlink_to("/etc")
    clock = tmp_path.with_name("clock")
    clock.touch()
    began = time.time()
    while clock.stat().st_ctime < began:
        clock.chmod(0o755)
    return began


def found(top: Path, since: float, **options: object) -> dict[str, str]:
    listed = changes([str(top)], since, **options).found  # type: ignore[arg-type]
    return {os.path.relpath(one.path, top): RANKS[one.rank] for one in listed}


def test_the_dangerous_stands_first(tmp_path: Path, start: float) -> None:
    for name in (".vscode", ".git/hooks", "src"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("src/z.py", "Makefile", ".vscode/tasks.json", ".git/hooks/x", ".git/index"):
        (tmp_path / name).touch()
    for name, mode in (("a.sh", 0o755), ("suid", 0o4755)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "out").symlink_to("../outside")
    (tmp_path / "in").symlink_to("src/z.py")
    assert list(found(tmp_path, start).items()) == [
        (".git/hooks", "host programs run it"),
        (".git/hooks/x", "host programs run it"),
        (".vscode", "host programs run it"),
        (".vscode/tasks.json", "host programs run it"),
        ("suid", "setuid"),
        ("pipe", "device"),
        ("out", "leads out"),
        ("a.sh", "executable"),
        ("Makefile", "run by hand"),
        ("in", "changed"),
        ("src/z.py", "changed"),
    ]


def test_what_is_renamed_into_place_counts_with_all_below_it(tmp_path: Path, start: float) -> None:
    (tmp_path / "a/h/x").rename(tmp_path / ".git")
    (tmp_path / "y").rename(tmp_path / "proj")
    assert found(tmp_path, start) == {
        ".git/config": "host programs run it",
        "proj/.vscode": "host programs run it",
        "proj/.vscode/tasks.json": "host programs run it",
        "proj/far": "leads out",
        "proj/data.csv": "changed",
        "proj/near": "changed",
    }


def test_what_is_done_there_after_a_rename_hides_nothing_that_is_dangerous(
    tmp_path: Path, start: float
) -> None:
    (tmp_path / "a/h/x").rename(tmp_path / ".git")
    (tmp_path / ".git/index").touch()
    (tmp_path / "y").rename(tmp_path / "old/proj")
    (tmp_path / "old/proj/new").touch()
    os.utime(tmp_path / "old", (0, 0))
    assert set(found(tmp_path, start)) >= {".git/config", "old/proj/.vscode/tasks.json"}


def test_an_old_file_is_ordinary_where_another_is_made(tmp_path: Path, start: float) -> None:
    (tmp_path / "y/new").touch()
    (tmp_path / "old/new").touch()
    held = [str(tmp_path / "old")]
    assert set(found(tmp_path, start, held=held)) == {
        "old/new",
        "y/new",
        "y/.vscode",
        "y/.vscode/tasks.json",
    }


def test_a_module_that_a_kernels_start_imports_is_dangerous_but_in_packages(
    tmp_path: Path, start: float
) -> None:
    for name in ("src/p/re", "re"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "__init__.py").touch()
    for name in ("src/p/__init__.py", "src/p/types.py", "types.py", "src/types.pyc"):
        (tmp_path / name).touch()
    dangerous = [name for name, rank in found(tmp_path, start).items() if "host" in rank]
    assert sorted(dangerous) == ["re/__init__.py", "src/types.pyc", "types.py"]


def test_a_notebook_that_brings_widgets_is_dangerous(tmp_path: Path, start: float) -> None:
    (tmp_path / "evil.ipynb").write_text('{"metadata": {"w\\u0069dgets": {"a": {}}}}')
    (tmp_path / "good.ipynb").write_text('{"metadata": {"kernelspec": {}}}')
    (tmp_path / "link.ipynb").symlink_to("evil.ipynb")
    assert found(tmp_path, start) == {
        "evil.ipynb": "host programs run it",
        "good.ipynb": "changed",
        "link.ipynb": "changed",
    }


def test_a_time_that_the_sandbox_sets_does_not_hide_a_change(tmp_path: Path, start: float) -> None:
    (tmp_path / "old/.envrc").write_text("x")
    os.utime(tmp_path / "old/.envrc", (0, 0))
    assert found(tmp_path, start) == {"old/.envrc": "host programs run it"}


def test_a_repository_in_disguise_is_dangerous(tmp_path: Path, start: float) -> None:
    for name in ("x/objects", "x/refs"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "x/HEAD").touch()
    assert found(tmp_path, start)["x/HEAD"] == "host programs run it"


def test_checkpoints_are_dangerous_where_they_are_links(tmp_path: Path, start: float) -> None:
    (tmp_path / "b/.ipynb_checkpoints").mkdir(parents=True)
    (tmp_path / "b/.ipynb_checkpoints/plain").touch()
    (tmp_path / "b/.ipynb_checkpoints/link").symlink_to("../x")
    (tmp_path / ".ipynb_checkpoints").symlink_to("old")
    assert found(tmp_path, start) == {
        ".ipynb_checkpoints": "host programs run it",
        "b/.ipynb_checkpoints/link": "host programs run it",
        "b/.ipynb_checkpoints/plain": "changed",
    }


def test_the_projects_own_names_count_and_what_the_sandbox_cannot_see_does_not(
    tmp_path: Path, start: float
) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "node_modules").mkdir()
    for name in ("tools/run", "node_modules/.envrc", "made", ".env"):
        (tmp_path / name).touch()
    made = (tmp_path / "made").stat()
    assert found(
        tmp_path,
        start,
        names=["tools/run"],
        apart=[f"{tmp_path}/node_modules", f"{tmp_path}/.env"],
        made=[(made.st_dev, made.st_ino)],
    ) == {"tools/run": "host programs run it"}


def test_no_link_is_followed(tmp_path: Path, start: float) -> None:
    outside = tmp_path.with_name("outside")
    outside.mkdir()
    (outside / ".envrc").touch()
    (tmp_path / "link").symlink_to(outside)
    assert found(tmp_path, start) == {"link": "leads out"}
    assert changes([str(tmp_path / "link")], start).found == ()


@pytest.mark.parametrize(
    ("relative", "target", "out"),
    [
        ("a", "b", False),
        ("a/b", "../c", False),
        ("a", "..", True),
        ("a/b", "../../c", True),
        ("a", "/etc", True),
        ("a", "b/../../c", True),
        ("a", "..b", False),
        ("a/m", "link/../secret", True),
        ("a/b/c", ".././../d", False),
    ],
)
def test_where_a_link_leads(relative: str, target: str, out: bool) -> None:
    assert leads_out(relative, target) is out


def test_the_walk_is_bounded_and_says_so(tmp_path: Path, start: float) -> None:
    for number in range(20):
        (tmp_path / str(number)).touch()
    listed = changes([str(tmp_path)], start, budget=Budget(entries=5))
    assert not listed.complete
    assert "there is more than was looked at" in changes_as_text(listed)


def test_names_are_harmless_in_a_terminal(tmp_path: Path, start: float) -> None:
    for name in ("\x1b]0;x\x07.sh", "\udcff.sh", "a\nb.sh"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o4755)
    listed = changes([str(tmp_path)], start)
    text = changes_as_text(listed)
    assert len(listed.found) == 3
    assert all(line.isprintable() for line in text.splitlines())
    assert len(text.splitlines()) == 4
    line = in_a_line(listed)
    assert line is not None
    assert line.isprintable()
    assert line.count(".sh (") == 3


def test_what_is_not_dangerous_needs_no_line_at_the_end(tmp_path: Path, start: float) -> None:
    (tmp_path / "Makefile").touch()
    assert in_a_line(changes([str(tmp_path)], start)) is None
    assert changes_as_text(Changes(found=(), complete=True)) == "nothing changed"
