"""missing_kind.py: what an exclude is that the host has nothing for."""

from __future__ import annotations

import pytest

from moat_nb.config.model import Exclude
from moat_nb.planning.missing_kind import directories_of, missing_kind

FILES = [
    *(".env", ".env.local", ".envrc", ".netrc", ".npmrc", ".pypirc", ".gitignore", ".coverage"),
    *("secrets.json", "a/b/key.pem", "server.key", ".pgpass", "id_rsa", "data.sqlite3", "song.mp3"),
    *("pack.7z", "my.env", "a.tar.gz", ".kaggle.json", ".bash_history", "Dockerfile"),
    *(".aws/credentials", "home/.ssh/config"),
]
DIRECTORIES = [
    *("node_modules", ".venv", ".venv-3.12", "venv", ".cache", ".mypy_cache", ".pytest_cache"),
    *(".ruff_cache", ".parcel-cache", ".git", ".ssh", ".aws", ".config", ".idea", ".vscode"),
    *(".terraform", ".ipynb_checkpoints", ".next", ".tox", ".envs", ".data", "build", "dist"),
    *("target", "secrets", "deep/er/lib", "python3.11", "v1.2", "conf.d", "my.egg-info"),
    *("bare.git", ".github", "a.b/c", ".env/inner", "a/config", "credentials"),
]


@pytest.mark.parametrize("name", FILES)
def test_a_name_of_a_file(name: str) -> None:
    assert missing_kind(Exclude(pattern=name, where="")) == "file"


@pytest.mark.parametrize("name", DIRECTORIES)
def test_a_name_of_a_directory(name: str) -> None:
    assert missing_kind(Exclude(pattern=name, where="")) == "directory"


def test_what_was_said_is_stronger_than_the_name() -> None:
    assert missing_kind(Exclude(pattern=".env", where="", kind="directory")) == "directory"
    assert missing_kind(Exclude(pattern="lib", where="", kind="file")) == "file"


def test_a_line_of_gitignore_that_ends_in_a_slash_names_a_directory() -> None:
    ignored = directories_of("/\n#.a/\n!.b/\n .c/ \n/x/.f/\n.e\n")
    assert ignored == {"", ".c", "x/.f"}
    for name, kind in {
        ".a": "file",
        "y/.c": "directory",
        "x/.f": "directory",
        ".f": "file",
    }.items():
        assert missing_kind(Exclude(pattern=name, where=""), ignored) == kind
