"""What was handed in, whatever it is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from moat_nb.errors import MoatError
from moat_nb.grading import submissions
from moat_nb.grading.submissions import (
    Cell,
    Submission,
    Unreadable,
    cells_of,
    check_copied,
    copy_beside,
    copy_for,
    find,
    read_regular,
)


def notebook(*sources: Any, **more: Any) -> str:
    cells = [
        source if isinstance(source, dict) else {"cell_type": "code", "source": source}
        for source in sources
    ]
    return json.dumps({"cells": cells, "nbformat": 4, **more})


def handed_in(top: Path, **files: str) -> Path:
    top.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (top / name.replace("__", ".")).write_text(text)
    return top


def only(path: Path, name: str | None = None) -> Submission:
    (found,) = find([path], name)
    return found


# ---------------------------------------------------------------- which notebook


def test_a_directory_is_a_student_and_its_notebook_the_submission(tmp_path: Path) -> None:
    ada = handed_in(tmp_path / "ada", ps1__ipynb=notebook(), data__csv="1")
    assert only(ada) == Submission(name="ada", notebook=ada / "ps1.ipynb", directory=ada)
    # One of another name is it too, where it is the only one.
    assert only(ada, "other.ipynb").notebook == ada / "ps1.ipynb"


def test_a_notebook_alone_shows_nothing_that_lies_beside_it(tmp_path: Path) -> None:
    top = handed_in(tmp_path / "all", ada__ipynb=notebook(), bob__ipynb=notebook())
    path = top / "ada.ipynb"
    assert only(path) == Submission(name="ada", notebook=path, directory=None)
    copy_for(only(path), tmp_path / "copy")
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["ada.ipynb"]


def test_of_several_notebooks_the_named_one_is_meant(tmp_path: Path) -> None:
    ada = handed_in(tmp_path / "ada", a__ipynb=notebook("1"), b__ipynb=notebook("2"))
    assert only(ada, "b.ipynb").notebook == ada / "b.ipynb"
    for name in (None, "c.ipynb"):
        with pytest.raises(Unreadable, match=r"\(a.ipynb, b.ipynb\); --notebook NAME says which"):
            cells_of(only(ada, name))


def test_links_and_special_files_are_no_notebooks(tmp_path: Path) -> None:
    ada = handed_in(tmp_path / "ada")
    secret = handed_in(tmp_path / "teacher", answers__ipynb=notebook("secret"))
    with pytest.raises(Unreadable, match="no notebook is there"):
        cells_of(only(ada))
    (ada / "ps1.ipynb").symlink_to(secret / "answers.ipynb")
    os.mkfifo(ada / "ps2.ipynb")
    (ada / "ps3.ipynb").mkdir()
    with pytest.raises(Unreadable, match="its notebook is no regular file"):
        cells_of(only(ada))


def test_a_notebook_that_becomes_a_link_or_a_pipe_is_not_read(tmp_path: Path) -> None:
    ada = handed_in(tmp_path / "ada", ps1__ipynb=notebook("1"), other="x")
    found = only(ada)
    path = ada / "ps1.ipynb"
    path.unlink()
    with pytest.raises(Unreadable, match="No such file"):
        cells_of(found)
    os.mkfifo(path)
    with pytest.raises(Unreadable, match="no regular file"):
        cells_of(found)
    path.unlink()
    path.symlink_to(ada / "other")
    with pytest.raises(Unreadable, match="cannot be read"):
        cells_of(found)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/etc")])
def test_what_is_neither_directory_nor_notebook_is_refused(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "ada")
    with pytest.raises(MoatError, match=r"is a link|neither a directory nor a notebook"):
        find([tmp_path / "ada"], None)


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    paths = [handed_in(tmp_path / top / "ada", a__ipynb=notebook()) for top in ("x", "y")]
    single = handed_in(tmp_path / "z", ada__ipynb=notebook()) / "ada.ipynb"
    for one, other in ([paths[0], paths[1]], [paths[0], single], [paths[0], paths[0]]):
        with pytest.raises(MoatError, match="would both be graded as ada"):
            find([one, other], None)
    with pytest.raises(MoatError, match="no submission was given"):
        find([], None)
    with pytest.raises(MoatError, match="bob: No such file"):
        find([tmp_path / "bob"], None)


def test_a_name_can_be_written_and_has_a_bounded_length(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff" + b"y" * 200))
    handed_in(odd, a__ipynb=notebook())
    name = only(odd).name
    assert len(name) == 201 and name.encode()


# ---------------------------------------------------------------- its cells


def test_code_cells_are_numbered_as_the_notebook_has_them(tmp_path: Path) -> None:
    test = {"nbgrader": {"grade": True, "solution": False, "grade_id": "q"}}
    by_hand = {"nbgrader": {"grade": True, "solution": True}}
    text = notebook(
        "a = 1",
        {"cell_type": "markdown", "source": "text"},
        ["b = 1\n", 5, "b = 2"],
        {"cell_type": "code", "source": "assert a", "metadata": test},
        {"cell_type": "code", "source": "plot()", "metadata": by_hand},
        {"cell_type": "code"},
        {"cell_type": "code", "source": "c", "metadata": "none"},
        "half \ud800",
    )
    cells = cells_of(only(handed_in(tmp_path / "ada", a__ipynb=text)))
    assert cells == (
        Cell(number=1, source="a = 1"),
        Cell(number=2, source="text", is_code=False),
        Cell(number=3, source="b = 1\nb = 2"),
        Cell(number=4, source="assert a", test="q"),
        Cell(number=5, source="plot()"),
        Cell(number=7, source="c"),
        Cell(number=8, source="half \N{REPLACEMENT CHARACTER}"),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON: Expecting value"),
        ("{nonsense", "no JSON: Expecting"),
        ("[" * 200_000, "no JSON: "),
        ("9" * 5000, "no JSON: "),
        ("[]", "not of nbformat 4"),
        ("5", "not of nbformat 4"),
        ('{"nbformat": 4}', "not of nbformat 4"),
        ('{"nbformat": 4, "cells": {}}', "not of nbformat 4"),
        (notebook(nbformat=3), "not of nbformat 4"),
        ('{"nbformat": 3, "worksheets": []}', "not of nbformat 4"),
        (notebook(*["1"] * 2001), "more than 2000 cells"),
    ],
)
def test_what_is_no_notebook_is_said(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        cells_of(only(handed_in(tmp_path / "ada", a__ipynb=text)))


def test_bytes_that_are_no_text_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_bytes(b'{"\xff": 1}')
    with pytest.raises(Unreadable, match="no JSON"):
        cells_of(only(tmp_path / "a.ipynb"))


def test_a_file_that_is_too_long_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 10)
    assert read_regular(path, 10) == b"x" * 10
    with pytest.raises(Unreadable, match="a is longer than 0 MiB"):
        read_regular(path, 9)


# ---------------------------------------------------------------- its copy


def listed(top: Path) -> dict[str, str]:
    return {
        str(path.relative_to(top)): path.read_text()
        for path in sorted(top.rglob("*"))
        if path.is_file()
    }


def test_a_copy_has_its_files_and_neither_links_nor_special_ones(tmp_path: Path) -> None:
    ada = handed_in(tmp_path / "ada", a__ipynb="{}")
    handed_in(ada / "data", x__csv="1")
    handed_in(ada / ".ipynb_checkpoints", a__ipynb="old")
    handed_in(ada / ".git", config="x")
    (ada / "link").symlink_to("/etc/passwd")
    (ada / "data" / "all").symlink_to("/etc")
    (ada / "dangling").symlink_to("/no/such")
    os.mkfifo(ada / "pipe")
    copy_for(only(ada), tmp_path / "copy")
    assert listed(tmp_path / "copy") == {"a.ipynb": "{}", "data/x.csv": "1"}
    assert not [path for path in (tmp_path / "copy").rglob("*") if path.is_symlink()]


def test_too_many_files_are_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = handed_in(tmp_path / "ada", a__ipynb="{}", b="x" * 10)
    for name, limit in (("MAX_FILES", 1), ("MAX_COPY", 11)):
        with monkeypatch.context() as patch, pytest.raises(Unreadable, match="more than"):
            patch.setattr(submissions, name, limit)
            copy_for(only(ada), tmp_path / name)


def test_what_is_copied_by_others_is_what_it_seems(tmp_path: Path) -> None:
    good = handed_in(tmp_path / "submitted/ada/ps1", a__ipynb="{}", data="x", timestamp__txt="x")
    (good / "below").mkdir()
    for below in (tmp_path / "submitted", tmp_path, tmp_path / "elsewhere"):
        check_copied(good, below=below)


@pytest.mark.parametrize("which", ["student", "assignment"])
def test_no_directory_of_another_is_copied(tmp_path: Path, which: str) -> None:
    handed_in(tmp_path / "submitted/ada/ps1", a__ipynb="{}")
    eve = tmp_path / "submitted/eve"
    if which == "student":
        eve.symlink_to("ada")
    else:
        eve.mkdir()
        (eve / "ps1").symlink_to("../ada/ps1")
    for below in (tmp_path / "submitted", tmp_path, tmp_path / "elsewhere"):
        with pytest.raises(Unreadable, match="is a link"):
            check_copied(eve / "ps1", below=below)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("link", "is a link"),
        ("pipe", "is no regular file"),
        ("nbgrader_config.py", "is no name for a file that is handed in"),
        ("Jupyter_Server_Config.json", "is no name for a file that is handed in"),
        ("e\x1b]0;x\x07", "is no name for a file that is handed in"),
        ("large.ipynb", "more than can be read"),
        ("large", "more than can be read"),
        ("deep", "nested deeper"),
    ],
)
def test_nothing_unusual_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    ada = handed_in(tmp_path / "submitted/ada/ps1", a__ipynb="{}")
    path = ada / "below" / name
    path.parent.mkdir()
    if name == "link":
        path.symlink_to("/dev/zero")
    elif name == "pipe":
        os.mkfifo(path)
    elif name == "deep":
        path.mkdir()
        monkeypatch.setattr(submissions, "MAX_DEPTH", 1)
    else:
        path.write_text("x" * 20)
    monkeypatch.setattr(submissions, "MAX_NOTEBOOK", 10)
    monkeypatch.setattr(submissions, "MAX_COPY", 30 if name != "large" else 21)
    with pytest.raises(Unreadable, match=words) as found:
        check_copied(ada, below=tmp_path / "submitted")
    assert "\x1b" not in str(found.value)


FILE, DIRECTORY, LINK, OUTWARD = "a file", "a directory", "a link to a file", "a link outward"


@pytest.mark.parametrize("theirs", [None, FILE, DIRECTORY, LINK, OUTWARD])
@pytest.mark.parametrize("mine", [FILE, DIRECTORY])
def test_what_is_given_takes_the_place_of_the_students(
    tmp_path: Path, theirs: str | None, mine: str
) -> None:
    ada = handed_in(tmp_path / "ada", a__ipynb="{}", other="x")
    outside = handed_in(tmp_path / "outside", kept="kept")
    at = ada / "data"
    if theirs == FILE:
        at.write_text("theirs")
    elif theirs == DIRECTORY:
        handed_in(at / "deep", x="theirs")
    elif theirs in (LINK, OUTWARD):
        at.symlink_to("other" if theirs == LINK else outside)
    given = tmp_path / "teacher" / "data"
    handed_in(given if mine == DIRECTORY else given.parent, **{"data": "mine"})
    copy_for(only(ada), tmp_path / "copy")
    copy_beside([given], tmp_path / "copy")
    where = "data/data" if mine == DIRECTORY else "data"
    kept = {"data/deep/x": "theirs"} if theirs == mine == DIRECTORY else {}
    assert listed(tmp_path / "copy") == {"a.ipynb": "{}", "other": "x", where: "mine", **kept}
    assert listed(outside) == {"kept": "kept"}


# ---------------------------------------------------------------- its digest


def test_a_digest_changes_with_each_file_and_with_which_notebook_is_meant(tmp_path: Path) -> None:
    ada = handed_in(tmp_path / "ada", a__ipynb=notebook(), b__ipynb=notebook(), data="1")
    first = only(ada).digest("tests")
    assert first == only(ada).digest("tests")
    named = only(ada, "a.ipynb").digest("tests")
    other = only(ada).digest("other tests")
    (ada / "data").write_text("2")
    assert len({first, named, other, only(ada).digest("tests")}) == 4


def test_a_digest_reads_no_pipe_and_no_link(tmp_path: Path) -> None:
    ada = handed_in(tmp_path / "ada", a__ipynb=notebook())
    before = only(ada).digest()
    os.mkfifo(ada / "pipe")
    (ada / "link").symlink_to("/dev/zero")
    assert only(ada).digest() == before


def test_a_digest_of_a_single_notebook_is_of_it_alone(tmp_path: Path) -> None:
    top = handed_in(tmp_path, ada__ipynb=notebook(), bob__ipynb=notebook())
    before = only(top / "ada.ipynb").digest()
    (top / "bob.ipynb").write_text("changed")
    assert only(top / "ada.ipynb").digest() == before
