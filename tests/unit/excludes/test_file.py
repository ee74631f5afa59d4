"""moat.yaml written back whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from moat_nb.errors import ConfigError, FileChanged
from moat_nb.excludes import file as moat_file
from tests.conftest import Project
from tests.ordinary_user import ORDINARY, command


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "moat.yaml"
    path.write_bytes(b"name: old\r\n")
    return path


def test_a_file_is_replaced_with_its_mode_and_owner(path: Path) -> None:
    path.chmod(0o640)
    if os.getuid() == 0:
        for one in (path, path.parent):
            os.chown(one, ORDINARY.uid, ORDINARY.gid)
    before = path.stat()
    saved = moat_file.save(moat_file.read(path.parent), "name: é\r\n")
    after = path.stat()
    assert path.read_bytes() == saved.data == "name: é\r\n".encode()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert after.st_ino != before.st_ino, "it was replaced, not written over"
    assert names(path.parent) == ["moat.yaml"]


def test_what_was_saved_can_be_saved_again_and_undone(path: Path) -> None:
    first = moat_file.read(path)
    second = moat_file.save(first, "name: new\n")
    moat_file.save(second, first.text)
    assert path.read_bytes() == first.data


def test_a_file_that_changed_meanwhile_is_left_alone(path: Path) -> None:
    file = moat_file.read(path)
    path.write_bytes(b"name: another\n")
    with pytest.raises(FileChanged, match=r"moat.yaml: was changed on disk since it was read"):
        moat_file.save(file, "name: new\n")
    assert path.read_bytes() == b"name: another\n"
    assert names(path.parent) == ["moat.yaml"]


def test_the_same_bytes_written_again_are_no_change(path: Path) -> None:
    file = moat_file.read(path)
    path.unlink()
    path.write_bytes(file.data)
    assert moat_file.save(file, "name: new\n").data == path.read_bytes()


def test_a_file_that_is_gone_is_not_made_again(path: Path) -> None:
    file = moat_file.read(path)
    path.unlink()
    with pytest.raises(FileChanged, match="cannot be opened any more"):
        moat_file.save(file, "name: new\n")
    assert names(path.parent) == []


def test_a_link_is_followed_neither_to_read_nor_to_write(path: Path) -> None:
    """A sandbox can put one there, to make its user write elsewhere."""
    file = moat_file.read(path)
    victim = path.with_name("victim")
    path.rename(victim)
    path.symlink_to(victim)
    with pytest.raises(FileChanged):
        moat_file.save(file, "name: new\n")
    with pytest.raises(ConfigError, match="links are not followed"):
        moat_file.read(path)
    assert victim.read_bytes() == file.data


def test_a_pipe_is_not_waited_for(path: Path) -> None:
    file = moat_file.read(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FileChanged, match="is not a regular file any more"):
        moat_file.save(file, "name: new\n")


def test_the_old_name_of_the_file_is_edited_too(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text("name: old\n")
    (tmp_path / "notebooks").mkdir()
    moat_file.save(moat_file.read(tmp_path / "notebooks"), "name: new\n")
    assert (tmp_path / "agent.yaml").read_text() == "name: new\n"


def test_what_is_no_text_is_refused_with_its_place(path: Path) -> None:
    path.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"moat.yaml:1:10: the byte 0xe9 is not UTF-8"):
        moat_file.read(path)


def test_who_may_not_write_there_is_told_so_and_nothing_changes(project: Project) -> None:
    directory = project("name: old\n")
    (directory / "moat.yaml").chmod(0o644)
    os.chown(directory, 0, 0) if os.getuid() == 0 else directory.chmod(0o555)
    code = (
        "from moat_nb import errors\n"
        "from moat_nb.excludes import file as moat_file\n"
        "try: moat_file.save(moat_file.read('.'), 'name: new')\n"
        "except errors.EditError as error: print(error)"
    )
    argv, env = command([sys.executable, "-c", code])
    done = subprocess.run(
        argv, env={**os.environ, **env}, cwd=directory, capture_output=True, text=True, check=False
    )
    directory.chmod(0o755)  # to be removed
    assert "moat.yaml: cannot be replaced (Permission denied)" in done.stdout, done.stderr
    assert names(directory) == ["moat.yaml"]
    assert (directory / "moat.yaml").read_text() == "name: old\n"


def test_another_owner_is_not_taken_over(project: Project) -> None:
    """In a directory of their own, an ordinary user could replace the file, but not keep whose it
    is."""
    directory = project("name: old\n")
    if os.getuid() == 0:
        os.chown(directory / "moat.yaml", 0, 0)
    (directory / "moat.yaml").chmod(0o644)
    code = "from moat_nb.excludes import file; file.save(file.read('.'), 'name: new')"
    argv, env = command([sys.executable, "-c", code])
    done = subprocess.run(
        argv, env={**os.environ, **env}, cwd=directory, capture_output=True, text=True, check=False
    )
    if os.getuid() == 0:
        assert "cannot be replaced (Operation not permitted)" in done.stderr
        assert (directory / "moat.yaml").read_text() == "name: old\n"
    else:
        assert (directory / "moat.yaml").read_text() == "name: new"
    assert names(directory) == ["moat.yaml"]


SAVE = """\
import os, resource, signal
from moat_nb import errors
from moat_nb.excludes import file as moat_file
file = moat_file.read('.')
{}
try: moat_file.save(file, 'name: ' + 'n' * 5000)
except errors.EditError as error: print(error)
"""


def save_where(directory: Path, breaks: str) -> subprocess.CompletedProcess[str]:
    """A large file saved in a process of its own, in which ``breaks`` was run before."""
    return subprocess.run(
        [sys.executable, "-c", SAVE.format(breaks)],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_file_that_cannot_be_written_whole_is_not_put_there(path: Path) -> None:
    """As on a full disk: a part of the new text is written before the error."""
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"
    done = save_where(path.parent, limit)
    assert "cannot be replaced (File too large); nothing was changed\n" in done.stdout, done.stderr
    assert names(path.parent) == ["moat.yaml"]
    assert path.read_bytes() == b"name: old\r\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a disk of one page")
def test_on_a_full_disk_the_old_file_stays_whole(tmp_path: Path) -> None:
    code = SAVE.format("")
    script = (
        "mount -t tmpfs -o size=4096,mode=0755 full . && cd . && cd $PWD && "
        "printf 'name: old\\n' >moat.yaml;"
        f'"{sys.executable}" -c "$CODE"; ls -A; cat moat.yaml'
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        env={**os.environ, "CODE": code},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    said, *rest = done.stdout.splitlines()
    assert "cannot be replaced (No space left on device); nothing was changed" in said, done.stderr
    assert rest == ["moat.yaml", "name: old"]


def test_who_is_killed_before_the_new_file_is_in_its_place_leaves_the_old_one(path: Path) -> None:
    done = save_where(path.parent, "os.replace = lambda *a, **k: os.kill(os.getpid(), 9)")
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"name: old\r\n"
    moat_file.save(moat_file.read(path), "name: new\n")
    assert path.read_bytes() == b"name: new\n"


def test_a_disk_that_does_not_confirm_the_new_name_is_told_from_one_that_refuses_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No disk here fails so at will."""
    real = os.fsync

    def failing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(FileChanged, match="was replaced, but the disk did not confirm it") as error:
        moat_file.save(moat_file.read(path), "name: new\n")
    assert "nothing" not in str(error.value)
    assert path.read_bytes() == b"name: new\n"
    assert names(path.parent) == ["moat.yaml"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a\nb\n", "a\nc\n", "--- f\n+++ f (new)\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"),
        (
            "a",
            "a\nb",
            "--- f\n+++ f (new)\n@@ -1 +1,2 @@\n-a\n\\ No newline at end of file\n+a\n+b\n"
            "\\ No newline at end of file\n",
        ),
        ("a\r\n", "a\r\nb\r\n", "--- f\n+++ f (new)\n@@ -1 +1,2 @@\n a\n+b\n"),
        ("a\x0cb\n", "a\x0cb\n", ""),
    ],
)
def test_a_diff_shows_each_line_that_changes(before: str, after: str, expected: str) -> None:
    assert moat_file.diff(before, after, "f") == expected
