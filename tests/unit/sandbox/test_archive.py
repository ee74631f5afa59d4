"""A tree as a tar, and the tar of somebody else as a tree."""

from __future__ import annotations

import io
import itertools
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from moat_nb.errors import MoatError
from moat_nb.host.machine import User
from moat_nb.planning.walk import Budget
from moat_nb.sandbox import archive
from moat_nb.sandbox.archive import pack, unpack
from moat_nb.sandbox.tree import Entry, Tree

OWNER = User(4711, 4712)


@pytest.fixture
def into(tmp_path: Path) -> Path:
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


def entries(tree: Tree) -> dict[str, Entry]:
    found = tree.entries(lambda path: False, Budget(entries=1000, seconds=60))
    return {path: entry for path, entry, _ in found}


def test_a_tree_comes_back_as_it_was(tmp_path: Path, into: Path) -> None:
    top = tmp_path / "top"
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/long" / ("n" * 200)).mkdir(parents=True)
    (top / "a/program").write_text("#!/bin/sh\n")
    (top / "a/program").chmod(0o755)
    (top / "big").write_bytes(os.urandom(3_000_001))
    (top / "empty").touch()
    (top / "a/link").symlink_to("/etc/passwd")
    os.mkfifo(top / "fifo")
    (top / os.fsdecode(b"bytes-\xff")).write_text("x")
    with Tree(top) as tree:
        packed = b"".join(pack(tree, entries(tree), "w", OWNER, lambda: None))
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert {(member.uid, member.gid) for member in tar} == {(OWNER.uid, OWNER.gid)}
        assert tar.getmembers()[0].name == "w"
    pieces = (packed[n : n + 700] for n in range(0, len(packed), 700))
    unpack(pieces, "w", into)
    (top / "fifo").unlink()
    with Tree(top) as one, Tree(into) as other:
        first, second = entries(one), entries(other)
        assert first.keys() == second.keys()
        for path, entry in first.items():
            assert (entry.kind, entry.target) == (second[path].kind, second[path].target)
            assert entry.executable == second[path].executable
    assert (into / "big").read_bytes() == (top / "big").read_bytes()


def test_a_file_that_became_shorter_ends_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 5000)
    with Tree(tmp_path) as tree:
        found = entries(tree)
        (tmp_path / "file").write_bytes(b"x")
        with pytest.raises(OSError, match="file has become shorter"):
            b"".join(pack(tree, found, "w", OWNER, lambda: None))


def tar_of(*members: tarfile.TarInfo) -> Iterator[bytes]:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"y" * member.size) if member.isreg() else None)
    yield packed.getvalue()


def member(
    name: str, type: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644
) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = type, link, mode
    made.size = 3 if type == tarfile.REGTYPE else 0
    return made


DIRECTORY, LINK, HARD = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.mark.parametrize(
    "members",
    [
        [member("w/../out")],
        [member("/out")],
        [member("out")],
        [member("w/a/../../out")],
        [member("w/d", LINK, ".."), member("w/d/out")],
        [member("w/d", LINK, "/"), member("w/d/tmp/out")],
        [member("w/d", DIRECTORY), member("w/d", LINK, ".."), member("w/d/../out")],
        [member("w/out", HARD, "../../out")],
        [member("w/out", HARD, "/etc/passwd")],
        [member("w/l", LINK, "/etc/passwd"), member("w/out", HARD, "w/l")],
        [member("w/missing/out")],
        [member("w/out", tarfile.CHRTYPE), member("w/out", tarfile.BLKTYPE)],
        [member("w/out", tarfile.FIFOTYPE)],
        [member("w/" + "d/" * 3000 + "out")],
        [member("w/./out"), member("w//out")],
    ],
)
def test_nothing_is_made_outside_or_below_a_link(
    into: Path, tmp_path: Path, members: list[tarfile.TarInfo]
) -> None:
    unpack(tar_of(member("w", DIRECTORY), *members), "w", into)
    made = {path.name for path in tmp_path.rglob("*")}
    assert "out" not in made
    assert all(stat.S_IMODE(p.lstat().st_mode) & 0o7000 == 0 for p in tmp_path.rglob("*"))


def test_a_name_comes_once_and_a_hard_link_is_a_file(into: Path) -> None:
    again = member("w/a", mode=0o4777)
    unpack(
        tar_of(member("w/a"), again, member("w/b", HARD, "w/a"), member("w/c", LINK, "w/a")),
        "w",
        into,
    )
    assert {path.name: path.is_symlink() for path in into.iterdir()} == {
        "a": False,
        "b": False,
        "c": True,
    }
    assert stat.S_IMODE((into / "a").stat().st_mode) == 0o600
    assert (into / "b").read_bytes() == b"yyy"


@pytest.mark.parametrize("packed", [b"", b"no tar at all" * 100, b"\xff" * 10240])
def test_what_is_no_tar_is_told(into: Path, packed: bytes) -> None:
    with pytest.raises(MoatError, match="what came is no tar"):
        unpack([packed], "w", into)


def test_a_tar_that_ends_too_soon_is_told(into: Path) -> None:
    (packed,) = tar_of(member("w", DIRECTORY), member("w/a"))
    for length in range(0, 2048, 512):
        (into / str(length)).mkdir()
        with pytest.raises(MoatError, match="what came is no tar"):
            unpack([packed[:length]], "w", into / str(length))


def test_what_this_system_cannot_hold_is_told_and_the_rest_comes(into: Path) -> None:
    late = member("w/late")
    late.mtime = 1 << 70
    deep = ["/".join(["w", *["d" * 250] * count]) for count in range(1, 17)]
    directories = [member(path, DIRECTORY) for path in deep]
    (packed,) = tar_of(*directories, member(f"{deep[-1]}/f"), late, member("w/last"))
    failed = unpack([packed], "w", into)
    assert "late" in failed
    assert any("File name too long" in why for why in failed.values())
    assert (into / "last").exists()


def test_a_file_that_the_disk_has_no_room_for_is_told(
    into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "RESERVE", 1 << 62)
    (packed,) = tar_of(member("w/huge"), member("w/l", LINK, "x"))
    assert unpack([packed], "w", into) == {"huge": "there is no room for its 0 MiB here"}
    assert [path.name for path in into.iterdir()] == ["l"]


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_is_not_read_into_memory_however_long_it_says_it_is(
    tmp_path: Path, kind: bytes
) -> None:
    member = tarfile.TarInfo("top/x")
    member.type, member.size = kind, 3 << 30
    pieces = itertools.chain([member.tobuf()], itertools.repeat(bytes(1 << 16)))
    with pytest.raises(MoatError, match="what came is no tar: a header of 3221225472 bytes"):
        unpack(pieces, "top", tmp_path)


def test_headers_of_headers_of_headers_are_no_tar(tmp_path: Path) -> None:
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 2
    one = member.tobuf() + b"a\0".ljust(tarfile.BLOCKSIZE, b"\0")
    with pytest.raises(MoatError, match="what came is no tar"):
        unpack([one * 5000], "top", tmp_path)
