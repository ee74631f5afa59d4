"""The copy of a project on another machine: what goes there, what comes back, and what is lost on
neither side when something fails half-way."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from moat_nb.config.reader import load
from moat_nb.errors import MoatError, StartError
from moat_nb.host.machine import Host, User
from moat_nb.sandbox import archive
from moat_nb.sandbox.workspace_copy import WorkspaceCopy
from moat_nb.sandbox.workspace_elsewhere import WorkspaceElsewhere, copies_elsewhere
from moat_nb.text.progress import Silent

MOAT_YAML = """\
name: far
mounts:
  - source: .
    target: /workspace
    exclude: [node_modules, .env]
"""


@dataclass
class Kept:
    """An engine's volumes, as a directory here: one, for there is one copy."""

    top: Path
    made: str | None = None
    sent: list[set[str]] = field(default_factory=list)
    """Of each archive the paths."""
    busy: bool = False
    fails: bool = False
    """Whether an archive is lost on its way."""

    def owner(self, user: User) -> User:
        return user

    def token(self, name: str) -> str | None:
        return self.made

    def in_use(self, name: str) -> bool:
        return self.busy

    def make(self, name: str, token: str) -> None:
        assert self.made is None
        self.made = token
        self.top.mkdir()

    def remove(self, name: str) -> None:
        if self.busy:
            raise StartError("volume is in use")
        self.made = None
        if self.top.exists():
            shutil.rmtree(self.top)

    def put(self, name: str, archive: Iterable[bytes]) -> None:
        packed = b"".join(archive)
        if self.fails:
            raise StartError("the connection was lost")
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            self.sent.append({one.name.partition("/")[2] for one in tar} - {""})
            for member in tar:
                member.name = member.name.partition("/")[2]
                member.uid, member.gid = os.getuid(), os.getgid()
                if member.name:
                    tar.extract(member, self.top, filter="tar")

    @contextlib.contextmanager
    def get(self, name: str) -> Iterator[Iterator[bytes]]:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(self.top, "workspace")
        yield iter([packed.getvalue()])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    (made / "src").mkdir(parents=True)
    (made / "src/a.py").write_text("a = 1\n")
    (made / "kept.txt").write_text("kept\n")
    (made / "node_modules/left-pad").mkdir(parents=True)
    (made / ".env").write_text("SECRET=1")
    (made / "moat.yaml").write_text(MOAT_YAML)
    return made


@pytest.fixture
def volume(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "volume")


@pytest.fixture
def far(project: Path, tmp_path: Path, volume: Kept) -> WorkspaceElsewhere:
    host = replace(Host.current(), data_dir=tmp_path / "data")
    copy = WorkspaceCopy.of(load(project), host, "ssh://gpu")
    assert copy is not None
    return WorkspaceElsewhere(copy=copy, volumes=volume, where="ssh://gpu")


def start(far: WorkspaceElsewhere) -> tuple[str, ...]:
    return far.prepare(Silent())


def told(far: WorkspaceElsewhere) -> list[tuple[str, str]]:
    far.fetch()
    return [(one.what, one.path) for one in far.copy.differences()]


def names(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}


def test_the_first_start_sends_all_but_the_excludes(
    far: WorkspaceElsewhere, volume: Kept, project: Path
) -> None:
    assert start(far) == ()
    assert names(volume.top) == names(project) - {"node_modules/left-pad"}
    assert (volume.top / ".env").read_text() == ""
    assert told(far) == []


def test_a_later_one_sends_what_changed_alone_and_a_removal_sends_all(
    far: WorkspaceElsewhere, volume: Kept, project: Path
) -> None:
    start(far)
    start(far)
    assert len(volume.sent) == 1
    (project / "src/a.py").write_text("a = 2\n")
    (project / "new").mkdir()
    (project / "new/file").touch()
    start(far)
    assert volume.sent[1:] == [{"src/a.py", "new", "new/file"}]
    (project / "kept.txt").unlink()
    start(far)
    assert not (volume.top / "kept.txt").exists()
    assert {"src/a.py", "moat.yaml"} <= volume.sent[2]


def test_what_a_sandbox_did_comes_back_and_stays_at_the_next_start(
    far: WorkspaceElsewhere, volume: Kept, project: Path
) -> None:
    start(far)
    (volume.top / "src/a.py").write_text("a = 9\n")  # of the same size, in the same second
    os.utime(volume.top / "src/a.py", (project / "src/a.py").stat()[7:9])
    (volume.top / "kept.txt").unlink()
    (volume.top / "kept.txt").mkdir()
    (volume.top / "kept.txt/inner").write_text("x")
    (volume.top / "link").symlink_to("/etc/passwd")
    os.mkfifo(volume.top / "fifo")
    (volume.top / "node_modules/cache").mkdir()
    expected = [
        ("changed", "kept.txt"),
        ("added", "kept.txt/inner"),
        ("added", "link"),
        ("changed", "src/a.py"),
    ]
    assert told(far) == expected
    (project / "more.txt").write_text("more")
    start(far)
    assert told(far) == expected
    assert (volume.top / "more.txt").read_text() == "more"
    far.copy.pull(["src"])
    assert (project / "src/a.py").read_text() == "a = 9\n"


def test_a_copy_that_did_not_end_is_made_again_and_nothing_comes_of_it(
    far: WorkspaceElsewhere, volume: Kept, project: Path
) -> None:
    volume.fails = True
    with pytest.raises(MoatError, match="the connection was lost"):
        start(far)
    assert told(far) == []
    volume.fails = False
    start(far)
    assert names(volume.top) == names(project) - {"node_modules/left-pad"}
    (project / "src/a.py").write_text("a = 2\n")
    volume.fails = True
    with pytest.raises(MoatError, match="the connection was lost"):
        start(far)
    volume.fails = False
    (volume.top / "kept.txt").write_text("half of something")
    start(far)
    assert (volume.top / "kept.txt").read_text() == "kept\n"
    assert told(far) == []


@pytest.mark.parametrize("token", [None, "another"])
def test_a_volume_that_is_gone_or_anothers_removes_nothing(
    far: WorkspaceElsewhere, volume: Kept, project: Path, token: str | None
) -> None:
    start(far)
    (volume.top / "made").write_text("1")
    assert told(far) == [("added", "made")]
    shutil.rmtree(volume.top)
    volume.made = token
    if token is not None:
        volume.top.mkdir()
    assert told(far) == [("added", "made")]
    start(far)
    assert (volume.top / "made").read_text() == "1"
    assert (project / "src/a.py").exists()


def test_while_another_works_on_it_nothing_is_sent(
    far: WorkspaceElsewhere, volume: Kept, project: Path
) -> None:
    start(far)
    volume.busy = True
    (project / "src/a.py").write_text("a = 2\n")
    (words,) = start(far)
    assert "another sandbox works on the copy at ssh://gpu" in words
    assert len(volume.sent) == 1
    (volume.top / "made").write_text("1")
    assert ("added", "made") in told(far)


def test_discard_forgets_it(far: WorkspaceElsewhere, volume: Kept) -> None:
    start(far)
    far.discard()
    assert not far.copy.tree.exists()
    assert volume.made is None and not volume.top.exists()
    assert told(far) == []


def test_what_comes_back_is_no_tar(
    far: WorkspaceElsewhere, volume: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(far)
    monkeypatch.setattr(Kept, "get", lambda self, name: contextlib.nullcontext(iter([b"no"])))
    with pytest.raises(MoatError, match="what came is no tar"):
        far.fetch()
    assert not (far.copy.directory / "incoming").exists()
    assert far.copy.differences() == ()


def test_a_start_that_ends_half_way_takes_nothing_back_from_the_user(
    far: WorkspaceElsewhere, volume: Kept, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(far)
    (volume.top / "made").write_text("1")
    (project / "src/a.py").write_text("a = 2\n")
    (project / "new.txt").write_text("new")

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(WorkspaceElsewhere, "_send", interrupted)
        with pytest.raises(KeyboardInterrupt):
            start(far)
    start(far)
    assert told(far) == [("added", "made")]
    far.copy.pull()
    assert (project / "src/a.py").read_text() == "a = 2\n"
    assert (project / "new.txt").exists()
    assert (volume.top / "made").read_text() == "1"


def test_a_directory_with_an_excluded_file_can_be_removed_there(
    far: WorkspaceElsewhere, volume: Kept, project: Path
) -> None:
    (project / "moat.yaml").write_text(MOAT_YAML.replace(".env", "src/.env"))
    (project / "src/.env").write_text("SECRET=1")
    copy = WorkspaceCopy.of(load(project), Host.current(), "ssh://gpu")
    assert copy is not None
    far = replace(far, copy=replace(far.copy, patterns=copy.patterns))
    start(far)
    assert (volume.top / "src/.env").read_text() == ""
    shutil.rmtree(volume.top / "src")
    assert told(far) == [("removed", "src"), ("removed", "src/a.py")]
    assert start(far) == ()
    assert told(far) == [("removed", "src/a.py")]


@pytest.mark.parametrize("busy", [False, True])
def test_a_file_that_is_excluded_after_it_was_copied_refuses_a_start(
    far: WorkspaceElsewhere, volume: Kept, project: Path, busy: bool
) -> None:
    start(far)
    (volume.top / "kept.txt").write_text("changed there")
    far = replace(far, copy=replace(far.copy, patterns=("kept.txt",)))
    volume.busy = busy
    with pytest.raises(MoatError, match=r"kept.txt is excluded, and the copy at ssh://gpu has"):
        start(far)


def test_what_cannot_be_brought_here_stays_there_and_is_told(
    far: WorkspaceElsewhere, volume: Kept, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(far)
    (volume.top / "good").write_text("1")
    (volume.top / "huge").write_text("2")
    write = archive._write

    def no_room(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
        if place.name == "huge":
            raise OSError(errno.ENOSPC, "there is no room for it")
        write(tar, member, place)

    monkeypatch.setattr(archive, "_write", no_room)
    (words,) = far.fetch()
    assert words == "huge stays there and cannot be brought here: there is no room for it"
    assert [one.path for one in far.copy.differences()] == ["good"]
    (project / "src/a.py").write_text("a = 2\n")
    (words,) = start(far)
    assert "huge stays there" in words
    assert (volume.top / "src/a.py").read_text() == "a = 2\n"
    (project / "kept.txt").unlink()
    with pytest.raises(MoatError, match="huge is in the copy at ssh://gpu and cannot"):
        start(far)
    assert (volume.top / "huge").exists()


def test_what_a_sandbox_made_that_is_excluded_outlives_a_copy_made_anew(
    far: WorkspaceElsewhere, volume: Kept, project: Path
) -> None:
    far = replace(far, copy=replace(far.copy, patterns=("node_modules", ".env", "*.ckpt")))
    start(far)
    (volume.top / "model.ckpt").write_text("weights")
    (volume.top / ".env").write_text("of the sandbox")
    (project / "kept.txt").unlink()
    assert start(far) == ()
    assert len(volume.sent) == 2
    assert (volume.top / "model.ckpt").read_text() == "weights"
    assert (volume.top / ".env").read_text() == "of the sandbox"
    assert told(far) == []
    assert (project / ".env").read_text() == "SECRET=1"


@pytest.mark.parametrize("busy", [False, True])
def test_a_directory_can_be_excluded_after_it_was_copied(
    far: WorkspaceElsewhere, volume: Kept, busy: bool
) -> None:
    """A tmpfs covers it there."""
    start(far)
    (volume.top / "src/a.py").write_text("changed there")
    volume.busy = busy
    far = replace(far, copy=replace(far.copy, patterns=("node_modules", ".env", "src")))
    assert len(start(far)) == 1  # that it stays inside, or that it is busy


def test_where_copies_are_is_known_until_they_are_discarded(
    far: WorkspaceElsewhere, project: Path, tmp_path: Path
) -> None:
    host = replace(Host.current(), data_dir=tmp_path / "data")
    assert copies_elsewhere(project, host) == ()
    start(far)
    assert copies_elsewhere(project, host) == ("ssh://gpu",)
    far.discard()
    assert copies_elsewhere(project, host) == ()
