"""What a page may name, and what a sandbox may answer."""

from __future__ import annotations

import pytest

from moat_nb.config.model import Hooks, Network, Secret, Service
from moat_nb.config.reader import read_config
from moat_nb.jupyter.server.workspace import Facts, bare, inside

FACTS = {"type": "file", "size": 1, "modified": 2, "created": 3, "writable": True}


@pytest.mark.parametrize(
    ("path", "found"),
    [("", "/workspace"), ("/a//b/", "/workspace/a/b"), ("é", "/workspace/é")],
)
def test_a_path_is_below_the_workspace(path: str, found: str) -> None:
    assert inside(path) == found


@pytest.mark.parametrize("path", ["..", "a/../b", "./a", "a\0", "\udcff"])
def test_other_paths_are_none(path: str) -> None:
    with pytest.raises(OSError, match="no path of the workspace"):
        inside(path)


def test_facts_are_what_was_told() -> None:
    assert Facts.parse(FACTS) == Facts(type="file", size=1, modified=2, created=3, writable=True)


@pytest.mark.parametrize(
    "wrong",
    [{"type": "x"}, {"size": -1}, {"size": "1"}, {"modified": 1e300}, {"created": None}],
)
def test_facts_of_another_kind_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError):
        Facts.parse({**FACTS, **wrong})


def test_a_time_beyond_all_calendars_is_one_that_can_be_shown() -> None:
    assert Facts.parse({**FACTS, "modified": 1 << 62}).modified == 1 << 37


def test_the_files_sandbox_has_no_secret_no_service_no_way_out_and_runs_no_hook(tmp_path) -> None:
    text = b"""
name: p
secrets: {A: "env://A"}
dependencies: [postgres@16]
network: {policy: permissive}
hooks: {pre_run: "touch x"}
kernel: {pool: 2}
"""
    config = read_config(text, path=tmp_path / "moat.yaml", home=tmp_path)
    assert [type(config.secrets[0]), type(config.services[0])] == [Secret, Service]
    found = bare(config)
    assert (found.secrets, found.services, found.network) == ((), (), Network(policy="none"))
    assert found.hooks == Hooks()
    assert (found.kernel.pool, found.kernel.spare) == (0, False)
    assert found.mounts == config.mounts
