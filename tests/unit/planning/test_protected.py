"""protected.py, protected_names.py: what is found on the host. All directories are real."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from moat_nb.planning import protected
from moat_nb.planning.protected import Found, Look
from moat_nb.planning.protected_names import (
    GIT_FILES,
    NAMES,
    reason,
)


def make(top: Path, *files: str) -> None:
    """Files, and directories where a name ends with a slash."""
    for file in files:
        path = top / file
        (path if file.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not file.endswith("/"):
            path.touch()


def look(top: Path, **options: object) -> Found:
    return Look(top=str(top), **options)()  # type: ignore[arg-type]


def below(top: Path, paths: object) -> set[str]:
    return {os.path.relpath(path, top) for path in paths}  # type: ignore[attr-defined]


def git(*words: str, cwd: Path) -> None:
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],
        cwd=cwd,
        check=True,
        capture_output=True,
    )


def test_what_exists_of_the_names_is_read_only_and_what_holds_it_is_pinned(tmp_path: Path) -> None:
    make(tmp_path, "moat.yaml", ".vscode/tasks.json", ".envrc", "a.code-workspace")
    make(tmp_path, ".github/workflows/ci.yml", ".github/CODEOWNERS", "jupyter_lab_config.py")
    make(tmp_path, "jupyter_x_config.txt", "Makefile", "src/setup.py")
    found = look(tmp_path)
    assert below(tmp_path, found.read_only) == {
        *("moat.yaml", ".vscode", ".envrc", "a.code-workspace", "jupyter_lab_config.py"),
        ".github/workflows",
    }
    assert below(tmp_path, found.pinned) == {".github"}
    assert (found.covered, found.refused, found.left) == ({}, {}, {})


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name.pattern)
def test_each_name_is_found_and_has_its_reason(tmp_path: Path, name: object) -> None:
    pattern = name.pattern  # type: ignore[attr-defined]
    file = pattern.replace("*.", "x.").replace("_*_", "_server_").replace(".*", ".py")
    make(tmp_path, file, f"deep/er/{file}")
    assert below(tmp_path, look(tmp_path).read_only) == {file, f"deep/er/{file}"}
    assert reason(f"deep/er/{file}") == name.by  # type: ignore[attr-defined]


def test_modules_that_a_kernels_start_imports_are_read_only_but_in_packages(tmp_path: Path) -> None:
    make(tmp_path, "types.py", "re/__init__.py", "types/a.ts", "notes/enum.so", "nb/operator.pyc")
    make(tmp_path, "nb/a.ipynb", "nb/__init__.py", "src/p/__init__.py", "src/p/types.py")
    make(tmp_path, "src/p/re/__init__.py")
    assert below(tmp_path, look(tmp_path).read_only) == {
        *("types.py", "re/__init__.py", "notes/enum.so", "nb/operator.pyc")
    }


def test_a_repository_stays_writable_but_for_what_git_runs(tmp_path: Path) -> None:
    git("init", "-q", cwd=tmp_path)
    make(tmp_path, ".git/info/attributes", ".git/config.worktree")
    found = look(tmp_path)
    assert below(tmp_path, found.read_only) == {
        *(".git/config", ".git/hooks", ".git/info/attributes", ".git/config.worktree"),
    }
    assert below(tmp_path, found.pinned) == {".git", ".git/info"}


def test_work_trees_and_submodules_are_repositories_too(tmp_path: Path) -> None:
    main, other = tmp_path / "main", tmp_path / "other"
    for path in (main, other):
        path.mkdir()
        git("init", "-q", cwd=path)
        git("commit", "-q", "--allow-empty", "-m", "x", cwd=path)
    git("worktree", "add", "-q", "../tree", cwd=main)
    git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other), "s/u", cwd=main)
    found = look(main)
    assert {
        *(".git/worktrees/tree/commondir", ".git/worktrees/tree/gitdir", ".gitmodules", "s/u/.git"),
        *(".git/modules/s/u/config", ".git/modules/s/u/hooks"),
    } <= below(main, found.read_only)
    assert {
        *(".git/worktrees", ".git/worktrees/tree", ".git/modules", ".git/modules/s"),
        ".git/modules/s/u",
    } <= below(main, found.pinned)
    assert ".git" in below(tmp_path / "tree", look(tmp_path / "tree").read_only)


def test_a_bare_repository_counts_at_the_mount_and_below(tmp_path: Path) -> None:
    git("init", "-q", "--bare", "inner", cwd=tmp_path)
    inner = tmp_path / "inner"
    assert below(tmp_path, look(tmp_path).read_only) == {"inner/config", "inner/hooks"}
    assert below(tmp_path, look(tmp_path).pinned) == {"inner"}
    assert below(inner, look(inner).read_only) == {"config", "hooks"}
    assert look(inner).pinned == {}


@pytest.mark.parametrize("where", ["", "a"])
def test_three_files_that_look_like_a_bare_repository_hide_no_name(
    tmp_path: Path, where: str
) -> None:
    directory = tmp_path / where
    directory.mkdir(exist_ok=True)
    git("init", "-q", cwd=directory)
    make(directory, "HEAD", "objects", "refs", "config", ".vscode/", ".envrc", "deep/.mcp.json")
    make(directory, ".github/workflows/")
    assert below(directory, look(tmp_path).read_only) == {
        *(".git/config", ".git/hooks", "config", ".vscode", ".envrc", "deep/.mcp.json"),
        ".github/workflows",
    }


def test_decoys_leave_no_room_out_for_the_names_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protected, "MAX_FOUND", 10)
    git("init", "-q", cwd=tmp_path)
    make(tmp_path, *(f"a{number}.code-workspace" for number in range(20)), ".envrc", "mine")
    make(tmp_path, *(f".husky/{number}" for number in range(3)))
    found = look(tmp_path, extra=["mine"])
    wanted = {"mine", ".git/config", ".git/hooks", ".envrc", ".husky"}
    assert wanted <= below(tmp_path, found.read_only)
    assert found.full.endswith(".code-workspace")
    for number in range(20):
        make(tmp_path, f"scripts/{number}")
        (tmp_path / f".husky/link{number}").symlink_to(f"../scripts/{number}")
    found = look(tmp_path, extra=["mine"])
    assert {"mine", ".git/config", ".git/hooks"} <= below(tmp_path, found.read_only)
    assert "/scripts/" in found.full


def test_many_entries_hide_no_directory_above_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, *(f"{number}" for number in range(9)), "a/b/.envrc")
    monkeypatch.setattr(protected, "MAX_ENTRIES", 3)
    found = Look(top=str(tmp_path))([f"{tmp_path}/a/b"])
    assert below(tmp_path, found.read_only) == {"a/b/.envrc"}


def test_links_beyond_the_bound_are_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, *(f".husky/{number}" for number in range(9)))
    monkeypatch.setattr(protected, "MAX_INSIDE", 9)
    assert look(tmp_path).left == {}
    monkeypatch.setattr(protected, "MAX_INSIDE", 8)
    found = look(tmp_path)
    assert below(tmp_path, found.left) == below(tmp_path, found.read_only) == {".husky"}


def test_hooks_and_configs_that_the_config_names_count(tmp_path: Path) -> None:
    git("init", "-q", cwd=tmp_path)
    git("config", "core.hooksPath", "tools/hooks", cwd=tmp_path)
    git("config", "include.path", "../team.gitconfig", cwd=tmp_path)
    make(tmp_path, "tools/hooks/pre-commit", "team.gitconfig")
    found = look(tmp_path)
    assert {"tools/hooks", "team.gitconfig"} <= below(tmp_path, found.read_only)
    assert "tools" in below(tmp_path, found.pinned)


def test_hooks_are_found_by_every_config_that_git_reads(tmp_path: Path) -> None:
    """An included one, a work tree's, a submodule's, and a repository's that is not mounted."""
    main, other = tmp_path / "main", tmp_path / "other"
    for path in (main, other):
        path.mkdir()
        git("init", "-q", cwd=path)
        git("commit", "-q", "--allow-empty", "-m", "x", cwd=path)
    git("config", "include.path", "more", cwd=main)
    (main / ".git/more").write_text("[include]\npath = last # ours\n")
    (main / ".git/last").write_text("[core]\nhooksPath = by-include ; ours\n")
    git("worktree", "add", "-q", "../main/tree", cwd=main)
    git("config", "extensions.worktreeConfig", "true", cwd=main)
    git("config", "--worktree", "core.hooksPath", "by-worktree", cwd=main / "tree")
    git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other), "s/u", cwd=main)
    git("config", "core.hooksPath", "by-submodule", cwd=main / "s/u")
    make(main, "by-include/", "tree/by-include/", "tree/by-worktree/", "s/u/by-submodule/")
    found = below(main, look(main).read_only)
    assert {
        *(".git/more", ".git/last", "by-include", "tree/by-include", "tree/by-worktree"),
        "s/u/by-submodule",
    } <= found
    assert {"by-include", "by-worktree"} <= below(main / "tree", look(main / "tree").read_only)
    assert "by-submodule" in below(main / "s/u", look(main / "s/u").read_only)


def test_a_script_that_a_hook_links_to_counts(tmp_path: Path) -> None:
    make(tmp_path, ".husky/", "scripts/check.sh")
    (tmp_path / ".husky/pre-commit").symlink_to("../scripts/check.sh")
    assert below(tmp_path, look(tmp_path).read_only) == {".husky", "scripts/check.sh"}


def test_an_environment_is_read_only_whole(tmp_path: Path) -> None:
    make(tmp_path, ".venv/pyvenv.cfg", ".venv/lib/x.py", "a/b/env/pyvenv.cfg")
    os.link(tmp_path / ".venv/lib/x.py", tmp_path / "cache.py")  # as uv does
    found = look(tmp_path)
    assert below(tmp_path, found.read_only) == {".venv", "a/b/env"}
    assert found.refused == {}


def test_checkpoints_are_covered_and_a_link_there_is_refused(tmp_path: Path) -> None:
    make(tmp_path, ".ipynb_checkpoints/", "nb/.ipynb_checkpoints/")
    found = look(tmp_path)
    assert below(tmp_path, found.covered) == {".ipynb_checkpoints", "nb/.ipynb_checkpoints"}
    (tmp_path / "nb/.ipynb_checkpoints").rmdir()
    (tmp_path / "nb/.ipynb_checkpoints").symlink_to("/etc")
    found = look(tmp_path)
    assert below(tmp_path, found.covered) == {".ipynb_checkpoints"}
    assert below(tmp_path, found.refused) == {"nb/.ipynb_checkpoints"}


def test_what_cannot_be_protected_is_refused_near_the_top_and_told_of_below(tmp_path: Path) -> None:
    make(tmp_path, "real", "a/x", ".vscode/tasks.json")
    (tmp_path / ".envrc").symlink_to("real")
    os.link(tmp_path / "real", tmp_path / ".exrc")
    os.link(tmp_path / "real", tmp_path / ".vscode/other")
    os.mkfifo(tmp_path / ".mcp.json")
    (tmp_path / "a/.envrc").symlink_to("x")
    found = look(tmp_path)
    refused = {os.path.relpath(path, tmp_path): why for path, why in found.refused.items()}
    assert refused == {
        ".envrc": "is a symbolic link, which can be replaced",
        ".exrc": "has another name (a hard link), by which it can be written",
        ".vscode/other": "has another name (a hard link), by which it can be written",
        ".mcp.json": "is neither a file nor a directory",
    }
    assert below(tmp_path, found.left) == {"a/.envrc"}
    assert look(tmp_path, allowed=list(refused)).refused == {}


def test_protect_adds_and_unprotect_takes_away_with_what_is_below(tmp_path: Path) -> None:
    git("init", "-q", cwd=tmp_path)
    make(tmp_path, "tools/run.sh", ".vscode/tasks.json", "a/.vscode/tasks.json")
    found = look(tmp_path, extra=["tools/run.sh", "none"], allowed=[".vscode", ".git/hooks"])
    read_only = {".git/config", "tools/run.sh", "a/.vscode"}
    assert below(tmp_path, found.read_only) == read_only
    assert below(tmp_path, found.pinned) == {".git", "tools"}
    assert below(tmp_path, look(tmp_path, allowed=[".git"]).read_only) == {"a/.vscode", ".vscode"}
    found = look(tmp_path, allowed=["a/.vscode/tasks.json"])
    assert "a/.vscode" in below(tmp_path, found.read_only)
    assert "a/.vscode/tasks.json" in below(tmp_path, found.pinned)


def test_what_another_mount_covers_is_not_looked_at(tmp_path: Path) -> None:
    make(tmp_path, ".vscode/tasks.json", "a/.envrc", "b/.envrc")
    hidden = {str(tmp_path / ".vscode"), str(tmp_path / "a")}
    found = look(tmp_path, hidden=lambda path: path in hidden)
    assert below(tmp_path, found.read_only) == {"b/.envrc"}


def test_the_look_is_bounded_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, *(f"{number}/.envrc" for number in range(20)), "z.exrc", ".exrc")
    monkeypatch.setattr(protected, "MAX_FOUND", 5)
    found = look(tmp_path)
    assert found.full.endswith("/.envrc")
    assert len(found.read_only) == 5
    assert str(tmp_path / ".exrc") in found.read_only
    monkeypatch.setattr(protected, "MAX_ENTRIES", 3)
    assert str(tmp_path / ".exrc") in look(tmp_path).read_only


@pytest.mark.parametrize(
    ("path", "dangerous"),
    [
        *((f".git/{name.pattern}", True) for name in GIT_FILES),
        ("a/.git/hooks/pre-commit", True),
        (".git/modules/a/b/hooks/x", True),
        (".git/worktrees/a/commondir", True),
        (".git/rebase-merge/git-rebase-todo", True),
        (".vscode/tasks.json", True),
        ("nb/.ipynb_checkpoints", True),
        (".venv/pyvenv.cfg", True),
        (".git/index", False),
        (".git/refs/heads/config", False),
        (".git/logs/hooks", False),
        ("Makefile", False),
        ("src/config", False),
        ("hooks/x", False),
        ("jupyter_a_config.txt", False),
    ],
)
def test_a_path_has_a_reason_or_none(path: str, dangerous: bool) -> None:
    assert bool(reason(path)) is dangerous


def test_the_docs_have_each_name_with_who_runs_it() -> None:
    text = Path(__file__).parents[3].joinpath("docs/security.md").read_text()
    for name in NAMES:
        assert f"| `{name.pattern}` | {name.by} |" in text
    for name in GIT_FILES:
        assert f"| `.git/{name.pattern}` | {name.by} |" in text
