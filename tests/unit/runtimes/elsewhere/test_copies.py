"""Directories in volumes' place; how tar fills them, tests/integration/test_ssh.py has."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from moat_nb.errors import StartError
from moat_nb.host.machine import Host, User
from moat_nb.runtimes.bubblewrap.runtime import Bubblewrap
from moat_nb.runtimes.elsewhere.copies import Copies

NAME = "moat.workspace.0123456789abcdef"


@pytest.fixture
def copies(host: Host) -> Copies:
    return Copies(host, User(os.getuid(), os.getgid()), Bubblewrap(host))


def test_a_copy_is_made_known_by_its_token_and_removed(copies: Copies, host: Host) -> None:
    assert copies.token(NAME) is None
    copies.make(NAME, "t")
    directory = copies.directory(NAME)
    assert copies.token(NAME) == "t" and directory.is_dir()
    assert directory.parent.stat().st_mode & 0o777 == 0o700
    outside = host.data_dir / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (directory / "link").symlink_to(outside)
    copies.remove(NAME)
    assert not directory.exists() and (outside / "kept").exists()
    copies.remove(NAME)


def test_one_that_a_sandbox_has_is_in_use_and_stays(copies: Copies) -> None:
    copies.make(NAME, "t")
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        copies.hold(NAME, first)
        copies.hold(NAME, second)
        assert copies.in_use(NAME)
        with pytest.raises(StartError, match="a sandbox there has it"):
            copies.remove(NAME)
    assert not copies.in_use(NAME) and not copies.in_use("moat.workspace.other")
    copies.remove(NAME)


@pytest.mark.parametrize("name", ["", "..", "moat-a/../../b", "moat.a\n", "other", "/etc/passwd"])
def test_nothing_but_a_copy_has_such_a_name(copies: Copies, name: str) -> None:
    for ask in (copies.directory, copies.token, copies.remove, copies.in_use):
        with pytest.raises(StartError, match="is no name of a copy"):
            ask(name)


def test_a_directory_that_cannot_be_made_says_why(copies: Copies, host: Host) -> None:
    host.data_dir.mkdir(parents=True, exist_ok=True)
    Path(os.path.realpath(host.data_dir), "elsewhere").write_text("in the way")
    with pytest.raises(StartError, match="elsewhere"):
        copies.have(NAME)
