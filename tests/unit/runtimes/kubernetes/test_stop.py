"""A pod whose launcher is another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from moat_nb.config.model import ClusterOptions
from moat_nb.host.run_directory import Owner, SandboxState
from moat_nb.runtimes.kubernetes.cluster import Cluster
from moat_nb.runtimes.kubernetes.stop import NOTE, abandoned, end, is_running, owner_of
from tests.unit.runtimes.kubernetes.api import Api

STATE = SandboxState.__new__(SandboxState)
"""Nothing of it is asked."""
PLACE = "/api/v1/namespaces/ada/pods/p"


def note(directory: Path) -> str:
    text = json.dumps({"context": "tests", "namespace": "ada", "pod": "p"})
    (directory / NOTE).write_text(text)
    return text


def test_the_pod_that_a_start_has_noted_is_ended(api: Api, tmp_path: Path) -> None:
    environ, sockets = api.config(tmp_path), tmp_path / "s"
    assert not is_running(STATE, sockets, environ) and not end(STATE, sockets, environ)
    note(tmp_path)
    assert not end(STATE, sockets, environ)
    for phase, running in (("Pending", True), ("Running", True), ("Succeeded", False)):
        api.answers["GET", PLACE] = 200, {"status": {"phase": phase}}
        assert is_running(STATE, sockets, environ) == running
    api.answers["GET", PLACE] = 200, {"status": {"phase": "Running"}}
    api.answers["DELETE", PLACE] = 200, {}
    assert end(STATE, sockets, environ)
    assert [asked[0] for asked in api.asked].count("DELETE") == 1


def test_a_note_that_is_none_is_no_sandbox(tmp_path: Path) -> None:
    for text in ("", "{", "[]", '{"pod": 1}'):
        (tmp_path / NOTE).write_text(text)
        assert not is_running(STATE, tmp_path / "s", {})


def test_a_reaper_deletes_it_by_a_command(api: Api, tmp_path: Path) -> None:
    environ = {**os.environ, **api.config(tmp_path)}
    command = [sys.executable, "-m", "moat_nb.runtimes.kubernetes.stop", note(tmp_path)]
    subprocess.run(command, env=environ, check=True)
    assert api.asked == [("DELETE", PLACE, None)]


def test_what_is_left_are_this_users_pods_that_ended_or_whose_launcher_is_dead(
    api: Api, tmp_path: Path
) -> None:
    own = str(Owner.of(os.getpid()))
    pods = [
        ("a", "Failed", own),
        ("b", "Running", own),
        ("c", "Running", "1:1:x"),
        ("d", "Running", ""),
    ]
    items = [
        {
            "metadata": {"name": name, "annotations": {"moat.nb.owner": owner}},
            "status": {"phase": phase},
        }
        for name, phase, owner in pods
    ]
    api.answers["GET", "/pods"] = 200, {"items": items}
    assert [*abandoned(Cluster(ClusterOptions(), api.config(tmp_path)))] == ["a", "c"]


def test_an_owner_is_a_labels_value() -> None:
    assert owner_of() == owner_of() and len(owner_of()) == 16
