"""widget.py: the excludes editor as a program drives it; tests/browser has its page."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from traitlets import TraitError

from moat_nb import ExcludesEditor
from moat_nb.config import exclude_patterns
from moat_nb.errors import ConfigError, ConsentNeeded, EditError, FileChanged
from moat_nb.excludes.draft import Draft
from moat_nb.excludes.file import read
from moat_nb.excludes.suggest import Finding
from moat_nb.excludes.widget import messages as widget_words
from moat_nb.sandbox.guest_client import MountProof

W = "/workspace"
TEXT = """\
mounts:
  - source: .
    target: /workspace
    exclude: [node_modules, gone]  # large
  - ./data:/data
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for path in ("node_modules/x/y", "venv/pyvenv.cfg", "data/set.csv", ".env"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x" * 5000)
    (tmp_path / "moat.yaml").write_text(TEXT)
    return tmp_path


@pytest.fixture
def edit() -> Iterator[Callable[..., ExcludesEditor]]:
    """Opens an editor whose look has ended."""
    opened = []

    def make(path: Path, **options: object) -> ExcludesEditor:
        editor = ExcludesEditor(path, **options)
        opened.append(editor)
        settled(editor)
        return editor

    yield make
    for editor in opened:
        editor.close()


def settled(editor: ExcludesEditor) -> None:
    give_up = time.monotonic() + 20
    while editor.looking == "looking" and time.monotonic() < give_up:
        time.sleep(0.01)
    assert editor.looking == "done"


def ask(editor: ExcludesEditor, *listed: str, target: str = W) -> None:
    editor.excludes = {**editor.excludes, target: list(listed)}


Edit = Callable[..., ExcludesEditor]


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
    (project / "link").symlink_to("node_modules")
    editor = edit(project)
    ask(editor, "l*k")
    assert editor.state == "changed"
    with pytest.raises(ConfigError, match=f"moat.yaml:4:15: {LINK}"):
        editor.save()
    assert (editor.state, editor.can_undo) == ("changed", False)
    assert (project / "moat.yaml").read_text() == TEXT


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


# ---------------------------------------------------------------- the look


def test_a_look_can_be_ended_and_begun_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look stands at a gate of ours, as it would on a slow disk."""
    gate = threading.Event()
    real = os.scandir

    def slow(path: object) -> object:
        gate.wait(20)
        return real(path)

    monkeypatch.setattr("moat_nb.excludes.walk.os.scandir", slow)
    editor = ExcludesEditor(project)
    assert editor.looking == "looking"
    editor.cancel()
    gate.set()
    for thread in threading.enumerate():
        if thread.name == "moat-scan":
            thread.join(20)
    assert (editor.looking, editor.suggestions[W]) == ("part", [])
    editor.rescan()
    settled(editor)
    assert editor.suggestions[W]
    editor.close()


def test_who_observes_the_facts_may_end_the_look_that_is_about_to_show_some(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of two threads would wait for what the other holds, if traits were set under a lock."""
    go, shows = threading.Event(), threading.Event()
    real = ExcludesEditor._on_found

    def scan(*_: object) -> Iterator[Finding]:
        go.wait(20)
        yield Finding(pattern="venv", reason="large", kind="directory", places=1)

    def show(editor: ExcludesEditor, *found: Any) -> None:
        shows.set()
        real(editor, *found)

    monkeypatch.setattr("moat_nb.excludes.widget.scan.scan", scan)
    monkeypatch.setattr(ExcludesEditor, "_on_found", show)
    editor = ExcludesEditor(project)
    asks = threading.Thread(target=ask, args=(editor, "x"), daemon=True)

    def end(_: object) -> None:
        if threading.current_thread() is asks:
            go.set()
            shows.wait(20)
            editor.cancel()

    editor.observe(end, "facts")
    asks.start()
    asks.join(20)
    assert not asks.is_alive()
    assert {"x", "venv"} <= editor.facts[W].keys()
    editor.close()


# ---------------------------------------------------------------- words


def proof(path: str, used: int, kind: str = "tmpfs") -> MountProof:
    return MountProof(
        path=path, type=kind, mode=0o1777, writable=True, executable=True, size=1 << 30, used=used
    )


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("a", "3 MiB of 1 GiB used inside"),
        ("./a/", "3 MiB of 1 GiB used inside"),
        ("**/c", "7 MiB used inside, in 2 places"),
        (".env", "covered inside"),
        ("a/x", ""),
        ("other", ""),
    ],
)
def test_the_use_inside_is_found_by_the_pattern(pattern: str, words: str) -> None:
    proofs = [
        proof(f"{W}/a", 3 << 20),
        proof(f"{W}/b/c", 3 << 20),
        proof(f"{W}/c", 4 << 20),
        proof(f"{W}/.env", 0, "file"),
        proof("/workspace2/other", 1),
    ]
    assert widget_words.inside(W, pattern, proofs) == words


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "not looked for yet"),
        (Finding(pattern="a"), "not on the host"),
        (Finding(pattern="a", complete=False), "not looked for yet"),
        (Finding(pattern="a", kind="file", places=1), "file on the host, being measured"),
        (
            Finding(pattern="a", kind="directory", places=3, size=5 << 20, complete=False),
            "3 directories on the host, at least 5 MiB",
        ),
    ],
)
def test_what_is_on_the_host_is_said_as_far_as_it_is_known(
    found: Finding | None, words: str
) -> None:
    assert widget_words.on_host(found) == words


def test_a_loss_is_told_with_its_largest_parts() -> None:
    memory = "The sandbox restarts: what its kernels hold in memory is lost"
    assert widget_words.loss([proof(W, 0)], known=True) == f"{memory}; its excludes are empty."
    assert widget_words.loss([], known=False).startswith(f"{memory}, and all that was written")
    proofs = [proof(f"/{n}", n << 20) for n in (1, 4, 2, 3)]
    assert widget_words.loss(proofs, known=True) == (
        f"{memory}, and 10 MiB that were written into its excludes "
        "(4 MiB in /4, 3 MiB in /3, 2 MiB in /2, and 1 more)."
    )


def test_where_no_widget_can_show_there_are_the_excludes_and_the_commands(
    edit: Edit, project: Path
) -> None:
    data, _ = edit(project)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    file = f"{project}/moat.yaml"
    lines = [re.sub(r", \d+ KiB", "", line) for line in data["text/plain"].splitlines()]
    assert lines == [
        f"Excludes of {file}",
        f"/workspace (from {project})",
        "  node_modules: directory on the host",
        "  gone: not on the host",
        "  suggested: .env (passwords and tokens)",
        "  suggested: venv (packages built for this machine; the sandbox installs its own)",
        f"  moat-nb exclude add PATH --project {file}",
        f"  moat-nb exclude remove PATH --project {file}",
        f"/data (from {project}/data)",
        "  nothing is excluded",
        f"  moat-nb exclude add PATH --target /data --project {file}",
        f"  moat-nb exclude remove PATH --target /data --project {file}",
    ]


def test_the_text_says_while_the_directory_is_being_looked_at_and_quotes_for_the_shell(
    tmp_path: Path,
) -> None:
    project = tmp_path / "my project"
    project.mkdir()
    (project / "moat.yaml").write_text("mounts: [{source: ., target: /a b}]")
    suggestions = {"/a b": [{"pattern": "**/*.pem", "reason": "a key"}], W: []}
    lines = widget_words.plain(
        Draft.read(project), {"/a b": {}, W: {}}, suggestions, looking=True
    ).splitlines()
    assert "  suggested: '**/*.pem' (a key)" in lines
    assert f"  moat-nb exclude add PATH --target '/a b' --project '{project}/moat.yaml'" in lines
    assert lines[-1] == "The directories are still being looked at: there may be more to suggest."


def test_a_draft_is_put_onto_another_state_of_the_file(project: Path) -> None:
    draft = Draft.read(project).ask({W: ["node_modules/", "new"]})
    (project / "moat.yaml").write_text("mounts: [{source: ., target: /workspace, exclude: [gone]}]")
    assert draft.onto(read(project)).asked == {W: ("new",)}
