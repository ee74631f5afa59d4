"""Where a sandbox's sources are staged."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from moat_nb.errors import StartError
from moat_nb.host.machine import User
from moat_nb.runtimes.bubblewrap import staging

ROOT = os.getuid() == 0
OWNER = User(1000, 1000) if ROOT else User(os.getuid(), os.getgid())


def test_without_sources_nothing_is_staged():
    assert staging.stage([]) == ({}, ())


def test_each_source_gets_one_place(tmp_path):
    places, words = staging.stage([str(tmp_path), "/usr", str(tmp_path)])
    assert places == {str(tmp_path): "/sys/0", "/usr": "/sys/1"}
    assert words[:6] == ("unshare", "--mount", "--propagation", "slave", "--", "sh")
    status = tmp_path.stat()
    identity = f"{status.st_dev}:{status.st_ino}"
    assert words[-7:-3] == ("/sys/0", str(tmp_path), identity, "/sys/1")


def test_a_source_is_reachable_when_all_directories_above_it_may_be_passed(tmp_path):
    place = Path(tempfile.mkdtemp(prefix="moat-test-", dir="/tmp"))
    try:
        source = place / "source"
        source.mkdir(mode=0o700)
        stranger = User(place.stat().st_uid + 1, place.stat().st_gid + 1)
        answers = {}
        for mode in (0o700, 0o701, 0o711):
            place.chmod(mode)
            answers[mode] = staging.reachable(str(source), stranger)
        assert answers == {0o700: False, 0o701: True, 0o711: True}
        place.chmod(0o700)
        assert staging.reachable(str(source), User(place.stat().st_uid, stranger.gid))
        place.chmod(0o610)
        assert staging.reachable(str(source), User(stranger.uid, place.stat().st_gid))
    finally:
        place.chmod(0o700)
        shutil.rmtree(place)


def test_a_source_is_known_by_itself_and_not_by_a_strangers_link(tmp_path):
    (tmp_path / "real").mkdir()
    status = (tmp_path / "real").stat()
    assert staging.identity(str(tmp_path / "real")) == f"{status.st_dev}:{status.st_ino}"
    link = tmp_path / "link"
    link.symlink_to("real")
    if ROOT:
        assert staging.identity(str(link)) == f"{status.st_dev}:{status.st_ino}"
        os.chown(link, OWNER.uid, OWNER.gid, follow_symlinks=False)
    with pytest.raises(StartError, match="a link may have taken its place"):
        staging.identity(str(link))
    with pytest.raises(StartError, match="No such file"):
        staging.identity(str(tmp_path / "nothing"))


def test_a_circle_of_links_is_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(StartError, match="symbolic links"):
        staging.identity(str(tmp_path / "a"))
