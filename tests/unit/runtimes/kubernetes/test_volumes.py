"""What goes into a claim, and the program there that takes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from moat_nb.config.model import ClusterOptions
from moat_nb.errors import StartError
from moat_nb.host.machine import User
from moat_nb.runtimes.kubernetes.cluster import Cluster
from moat_nb.runtimes.kubernetes.render import PodOptions
from moat_nb.runtimes.kubernetes.volumes import PIECE, PIECES, Claims, _of_size
from tests.unit.runtimes.kubernetes.api import Api

CLAIM = "/persistentvolumeclaims/moat.workspace.0"


@pytest.fixture
def claims(api: Api, tmp_path: Path) -> Claims:
    options = PodOptions(cluster=ClusterOptions(), owner="o")
    cluster = Cluster(ClusterOptions(), api.config(tmp_path))
    return Claims(cluster, options, User(1, 2), lambda: "i:1", {})


def test_an_archive_comes_whole_whatever_its_pieces(tmp_path: Path) -> None:
    data = bytes(range(256)) * 1000
    pieces = [*_of_size([data[:7], b"", data[7:]])]
    assert b"".join(pieces) == data and max(map(len, pieces)) == PIECE
    sent = b"".join(len(piece).to_bytes(4, "big") + piece for piece in pieces)
    command = [sys.executable, "-I", "-S", "-c", PIECES]
    done = subprocess.run(command, input=sent + bytes(4) + b"more", capture_output=True, check=True)
    assert done.stdout == data


def test_a_claim_is_known_by_its_token(api: Api, claims: Claims) -> None:
    assert claims.token("moat.workspace.0") is None
    meta = {"annotations": {"moat.nb.token": "t"}}
    api.answers["GET", CLAIM] = 200, {"metadata": meta}
    assert claims.token("moat.workspace.0") == "t"
    api.answers["GET", CLAIM] = 200, {"metadata": {**meta, "deletionTimestamp": "now"}}
    assert claims.token("moat.workspace.0") is None


def test_a_claim_that_a_pod_has_is_not_removed(api: Api, claims: Claims) -> None:
    running = {"metadata": {}, "status": {"phase": "Running"}}
    api.answers["GET", "/pods"] = 200, {"items": [running]}
    with pytest.raises(StartError, match="a sandbox there has it"):
        claims.remove("moat.workspace.0")
    ended = {"metadata": {}, "status": {"phase": "Succeeded"}}
    leaving = {"metadata": {"deletionTimestamp": "now"}, "status": {"phase": "Running"}}
    api.answers["GET", "/pods"] = 200, {"items": [ended, leaving]}
    assert not claims.in_use("moat.workspace.0")
    claims.remove("moat.workspace.0")


def test_whose_files_they_are_is_who_runs_kernels(claims: Claims) -> None:
    assert claims.owner(User(7, 7)) == User(1, 2)
