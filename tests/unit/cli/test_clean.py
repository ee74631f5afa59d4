"""What of a machine is ours, and abandoned."""

import os
from pathlib import Path

from moat_nb.cli.clean import abandoned, our_images, unnoted
from moat_nb.host.run_directory import Owner
from tests.unit.sandboxes import DEAD


def test_a_directory_without_a_note_is_left_until_no_start_can_be_that_old(base):
    now = (base / "cccccccc").stat().st_mtime
    assert list(unnoted(base, now + 23 * 3600)) == []
    assert list(unnoted(base, now + 25 * 3600)) == [base / "cccccccc"]


def container(owner, source):
    return {"Labels": {"moat.nb.owner": str(owner)}, "Mounts": [{"Source": source}, {}]}


def test_a_container_is_abandoned_when_its_launcher_of_ours_is_dead():
    base = Path("/run/moat-nb")
    ours = container(DEAD, "/run/moat-nb/aaaaaaaa/s")
    kept = [
        container(Owner.of(os.getpid()), "/run/moat-nb/bbbbbbbb/s"),
        container(DEAD, "/run/user/1000/moat-nb/cccccccc/s"),
        {"Labels": {"moat.nb.owner": str(DEAD)}, "Mounts": []},
        sidecar(DEAD, "/run/user/1000/moat-nb/cccccccc/s"),
        sidecar(Owner.of(os.getpid()), "/run/moat-nb/bbbbbbbb/s"),
    ]
    beside = sidecar(DEAD, "/run/moat-nb/aaaaaaaa/s")
    assert list(abandoned([*kept, ours, beside], base)) == [ours, beside]


def sidecar(owner, sockets):
    """One without a mount, as most are."""
    return {"Labels": {"moat.nb.owner": str(owner), "moat.nb.sockets": sockets}, "Mounts": []}


def test_images_of_ours_are_known_by_their_name_and_nameless_ones_by_their_label():
    images = [
        {"Id": "1", "RepoTags": ["moat-nb/box:12", "python:3"], "Size": 1},
        {"Id": "2", "RepoTags": ["localhost/moat-nb/box:34"], "Size": 2, "Labels": None},
        {"Id": "3", "RepoTags": None, "Size": 3, "Labels": {"moat.nb.image": "1"}},
        {"Id": "4", "RepoTags": ["<none>:<none>"], "Size": 4, "Labels": {}},
        {"Id": "5", "RepoTags": ["other/moat-nb/box:1", "my/own:1"], "Size": 5},
        {"Id": "6", "RepoTags": ["my/own:2"], "Size": 6, "Labels": {"moat.nb.image": "1"}},
    ]
    assert our_images(images) == {"moat-nb/box:12": 1, "localhost/moat-nb/box:34": 2, "3": 3}
