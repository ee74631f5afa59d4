"""The excludes editor as a program drives it; tests/browser has its page."""

from __future__ import annotations

from pathlib import Path

import pytest
from traitlets import TraitError

from moat_nb import ExcludesEditor
from moat_nb.config import exclude_patterns
from moat_nb.errors import ConfigError, ConsentNeeded, EditError, FileChanged
from tests.unit.excludes.widget.editors import TEXT, Edit, W, ask, settled


def test_it_shows_mounts_excludes_and_what_is_there(edit: Edit, project: Path) -> None:
    editor = edit(project)
    assert [mount["target"] for mount in editor.mounts] == [W, "/data"]
    assert editor.mounts[0] == {
        "target": W,
        "source": str(project),
        "read_only": False,
        "saved": ["node_modules", "gone"],
    }
    assert editor.excludes == {W: ["node_modules", "gone"], "/data": []}
    assert editor.facts[W]["node_modules"].startswith("directory on the host, ")
    assert editor.facts[W]["gone"] == "not on the host"
    assert (editor.state, editor.diff, editor.can_undo) == ("unchanged", "", False)


def test_suggestions_come_with_reasons_and_secrets_first(edit: Edit, project: Path) -> None:
    (env, venv) = edit(project).suggestions[W]
    assert (env["pattern"], env["secret"], env["reason"]) == (".env", True, "passwords and tokens")
    assert (venv["pattern"], venv["secret"]) == ("venv", False)
    assert venv["size"] >= 5000


def test_what_is_asked_shows_as_a_diff_and_is_saved(edit: Edit, project: Path) -> None:
    editor = edit(project)
    ask(editor, "node_modules", "gone", ".env")
    assert editor.state == "changed"
    assert "+    exclude: [node_modules, gone, .env]  # large\n" in editor.diff
    assert (project / "moat.yaml").read_text() == TEXT
    editor.save()
    assert (project / "moat.yaml").read_text() == TEXT.replace("gone]", "gone, .env]")
    assert (editor.state, editor.diff, editor.can_undo) == ("unchanged", "", True)
    assert editor.mounts[0]["saved"] == ["node_modules", "gone", ".env"]
    assert editor.message.startswith("Saved ")
    assert ".env" not in [one["pattern"] for one in editor.suggestions[W]]
    settled(editor)


def test_undo_puts_the_bytes_back_one_save_at_a_time(edit: Edit, project: Path) -> None:
    file = project / "moat.yaml"
    file.write_bytes(TEXT.replace("\n", "\r\n").encode())
    editor = edit(project)
    for listed in (["a"], ["a", "b"]):
        ask(editor, *listed)
        editor.save()
    editor.undo()
    assert editor.excludes[W] == ["a"]
    editor.undo()
    assert file.read_bytes() == TEXT.replace("\n", "\r\n").encode()
    with pytest.raises(EditError, match="nothing can be undone"):
        editor.undo()


def test_undo_leaves_alone_what_another_changed_since(edit: Edit, project: Path) -> None:
    editor = edit(project)
    ask(editor, "a")
    editor.save()
    (project / "moat.yaml").write_text("name: another\n")
    with pytest.raises(FileChanged):
        editor.undo()
    assert editor.state == "stale"
    assert (project / "moat.yaml").read_text() == "name: another\n"


def test_what_another_wrote_and_was_read_again_is_no_longer_undone(
    edit: Edit, project: Path
) -> None:
    file = project / "moat.yaml"
    editor = edit(project)
    ask(editor, "a")
    editor.save()
    editor.reload()
    assert (editor.can_undo, editor.message) == (True, "Read moat.yaml again.")
    theirs = file.read_text() + "env: {THEIRS: precious}\n"
    file.write_text(theirs)
    editor.reload()
    assert not editor.can_undo
    assert editor.message == (
        "Read moat.yaml again. It was changed meanwhile, so what was saved before cannot be undone."
    )
    with pytest.raises(EditError, match="nothing can be undone"):
        editor.undo()
    assert file.read_text() == theirs


def test_nothing_to_save_writes_nothing(edit: Edit, project: Path) -> None:
    editor = edit(project)
    before = (project / "moat.yaml").stat()
    editor.save()
    assert (project / "moat.yaml").stat().st_ino == before.st_ino
    assert (editor.can_undo, editor.message) == (False, "There is nothing to save.")


@pytest.mark.parametrize("wrong", ["/etc", "a b", "../x", "node_modules", "node_modules/x", ""])
def test_what_the_validator_refuses_is_refused_in_its_words(
    edit: Edit, project: Path, wrong: str
) -> None:
    editor = edit(project)
    listed = ["node_modules", "gone", wrong]
    ((_, words),) = exclude_patterns.check_all(listed)
    editor.typed = {W: wrong}
    assert editor.typed_problems == ({W: words} if wrong else {})
    with pytest.raises(EditError) as caught:
        editor.add(W, wrong)
    assert str(caught.value) == words
    ask(editor, *listed)
    assert editor.state == "refused"
    assert [problem["words"] for problem in editor.problems] == [words]
    with pytest.raises(EditError):
        editor.save()
    assert (project / "moat.yaml").read_text() == TEXT


def test_to_add_where_there_is_no_mount_is_refused_with_the_mounts(
    edit: Edit, project: Path
) -> None:
    editor = edit(project)
    for act in (
        lambda: editor.add("/x", "a"),
        lambda: setattr(editor, "excludes", {"/x": ["a"]}),
    ):
        with pytest.raises(
            (EditError, TraitError), match="no mount at /x; the mounts are at /workspace, /data"
        ):
            act()


def test_a_parent_of_what_is_listed_is_refused_where_it_is_typed(edit: Edit, project: Path) -> None:
    editor = edit(project)
    editor.add(W, "a/b")
    editor.typed = {W: " a "}
    assert editor.typed_problems == {W: "'a/b' is redundant with 'a'"}
    editor.typed = {W: "c"}
    assert editor.typed_problems == {}


def test_a_string_mount_needs_consent(edit: Edit, project: Path) -> None:
    editor = edit(project)
    ask(editor, "raw", target="/data")
    assert (editor.state, editor.diff) == ("consent", "")
    assert "has to become an object" in editor.consent_needed["/data"]
    with pytest.raises(ConsentNeeded):
        editor.save()
    editor.consent = ["/data"]
    assert editor.state == "changed"
    assert "+  - source: ./data\n+    target: /data\n" in editor.diff
    editor.save()
    assert "    exclude:\n      - raw\n" in (project / "moat.yaml").read_text()


def test_a_file_that_changed_is_not_overwritten_and_wishes_survive_a_reload(
    edit: Edit, project: Path
) -> None:
    editor = edit(project)
    ask(editor, "node_modules", "mine")
    theirs = TEXT.replace("[node_modules, gone]", "[node_modules, gone, theirs]")
    (project / "moat.yaml").write_text(theirs)
    with pytest.raises(FileChanged, match="was changed on disk"):
        editor.save()
    assert editor.state == "stale"
    assert (project / "moat.yaml").read_text() == theirs
    editor.reload()
    assert editor.excludes[W] == ["node_modules", "theirs", "mine"]
    editor.save()
    assert "[node_modules, theirs, mine]  # large" in (project / "moat.yaml").read_text()


def test_a_mount_that_is_not_named_keeps_its_own(edit: Edit, project: Path) -> None:
    editor = edit(project)
    editor.excludes = {"/data": []}
    assert editor.excludes[W] == ["node_modules", "gone"]


def test_what_is_not_saved_is_said_before_it_is_not_applied(edit: Edit, project: Path) -> None:
    applied: list[bool] = []
    editor = edit(project, apply=lambda: applied.append(True))
    editor.ask_apply()
    assert "not saved" not in editor.loss
    ask(editor, "x")
    editor.ask_apply()
    assert editor.loss.endswith("What is not saved yet is not applied.")
    assert applied == []
    editor.apply()
    assert (applied, editor.loss, editor.state) == ([True], "", "changed")


LAID_OUT = """\
mounts:
  - source: .
    target: /workspace
    exclude: [node_modules]
  - ./data:/workspace/data
"""
LINK = "/workspace/link passes through a symbolic link: "


@pytest.mark.parametrize(
    ("text", "wrong", "words"),
    [
        (f"workspace: {{mode: volume}}\n{TEXT}", ".git", "'.git' leaves .git out of the copy that"),
        (
            LAID_OUT,
            "./data/",
            "'data' excludes /workspace/data, where another mount stands; remove",
        ),
        (LAID_OUT, "link", LINK),
        (LAID_OUT, "link/x", LINK.replace("link passes", "link/x passes")),
        (LAID_OUT, "venv/pyvenv.cfg/x", "cannot stand below"),
    ],
)
def test_what_no_start_accepts_is_refused_while_typing_and_not_saved(
    edit: Edit, project: Path, text: str, wrong: str, words: str
) -> None:
    (project / "link").symlink_to("node_modules")
    (project / "moat.yaml").write_text(text)
    editor = edit(project)
    editor.typed = {W: wrong}
    said = editor.typed_problems[W]
    assert words in said
    with pytest.raises(EditError) as caught:
        editor.add(W, wrong)
    assert str(caught.value) == said
    ask(editor, "node_modules", wrong)
    assert (editor.state, [one["index"] for one in editor.problems]) == ("refused", [1])
    with pytest.raises(EditError):
        editor.save()
    assert (project / "moat.yaml").read_text() == text


def test_what_a_glob_would_cover_is_looked_at_before_it_is_saved(edit: Edit, project: Path) -> None:
    for number in range(3):
        (project / f"link{number}").touch()
    text = TEXT + "kernel: {max_excludes: 2}\n"
    (project / "moat.yaml").write_text(text)
    editor = edit(project)
    ask(editor, "l*k*")
    assert editor.state == "changed"
    with pytest.raises(ConfigError, match="the excludes match more than 2 paths"):
        editor.save()
    assert (editor.state, editor.can_undo) == ("changed", False)
    assert (project / "moat.yaml").read_text() == text


def test_an_exclude_that_became_a_link_is_no_obstacle_to_others(edit: Edit, project: Path) -> None:
    (project / "gone").symlink_to("data")
    editor = edit(project)
    assert editor.facts[W]["gone"] == "a symbolic link on the host, which no exclude can cover"
    editor.add(W, ".env")
    editor.save()
    ask(editor, "node_modules", ".env")
    editor.save()
    editor.undo()
    assert editor.excludes[W] == ["node_modules", "gone", ".env"]


def test_discard_asks_for_what_the_file_has(edit: Edit, project: Path) -> None:
    editor = edit(project)
    ask(editor, "x")
    editor.discard()
    assert (editor.state, editor.excludes[W]) == ("unchanged", ["node_modules", "gone"])


def test_a_layout_that_cannot_be_changed_says_what_to_write(edit: Edit, project: Path) -> None:
    text = "x: &x [a]\nmounts:\n- {source: ., target: /workspace, exclude: &l [a]}\nkernel:\n"
    (project / "moat.yaml").write_text(text + "  preload: *l\n")
    editor = edit(project)
    ask(editor, "b")
    assert editor.state == "refused"
    assert "write by hand, in the list of mounts:\n  - source: .\n" in editor.problem


def test_the_old_name_of_the_file_is_edited(edit: Edit, project: Path) -> None:
    (project / "moat.yaml").rename(project / "agent.yaml")
    editor = edit(project / "data")
    assert editor.path == str(project / "agent.yaml")
    ask(editor, "x")
    editor.save()
    assert "[x]" in (project / "agent.yaml").read_text()


def test_without_a_file_or_with_a_wrong_one_there_is_no_editor(project: Path) -> None:
    (project / "moat.yaml").write_text("mounts: [x]\n")
    with pytest.raises(ConfigError, match=r"moat.yaml:1:10: .*'x' is not a mount"):
        ExcludesEditor(project)


def test_every_change_can_be_observed(edit: Edit, project: Path) -> None:
    editor, seen = edit(project), []
    editor.observe(lambda change: seen.append((change["name"], change["new"])), ["diff", "state"])
    ask(editor, "x")
    assert [name for name, _ in seen] == ["diff", "state"]
    assert seen[1] == ("state", "changed")


# ---------------------------------------------------------------- the page's messages


def test_what_fails_on_the_page_is_shown_there(edit: Edit, project: Path) -> None:
    editor = edit(project)

    def broken() -> None:
        raise RuntimeError("no kernel")

    failing = edit(project, apply=broken)
    for one, message, words in (
        (editor, {"do": "undo"}, "nothing was saved here"),
        (editor, {"do": "add", "target": W, "pattern": "a b"}, "unsupported character ' '"),
        (editor, {"do": "apply"}, "no sandbox was given"),
        (failing, {"do": "apply"}, "RuntimeError: no kernel"),
    ):
        one._handle_custom_msg(message, [])
        assert words in one.problem
        assert one.state == "unchanged"


def test_what_was_typed_is_added_and_the_field_emptied(edit: Edit, project: Path) -> None:
    editor = edit(project)
    editor.typed = {W: " dist/ "}
    editor._handle_custom_msg({"do": "add", "target": W, "pattern": " dist/ "}, [])
    assert editor.excludes[W] == ["node_modules", "gone", "dist/"]
    assert (editor.typed, editor.typed_problems) == ({W: ""}, {})
