from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from moat_nb.errors import ConfigError
from moat_nb.host.machine import Host
from moat_nb.planning.caches import CACHES, cache_binds, directory_of
from moat_nb.planning.mounts import Bind
from moat_nb.planning.spec import HOME
from tests.unit.planning.planned import docker
from tests.unit.projects import Make

ASKED = "kernel:\n  cache: [torch, pip]\n"


def test_each_is_mounted_in_home_from_a_directory_of_the_projects_own(
    config: Make, host: Host, tmp_path: Path
) -> None:
    host = replace(host, data_dir=tmp_path / "data")
    given = config(ASKED)
    spec = docker(given, host)
    binds = [mount for mount in spec.mounts if isinstance(mount, Bind) and mount.role == "cache"]
    below = directory_of(str(given.directory), host)
    assert below.parent == tmp_path / "data/caches"
    assert binds == [
        Bind(source=str(below / "pip"), target=f"{HOME}/.cache/pip", role="cache"),
        Bind(source=str(below / "torch"), target=f"{HOME}/.cache/torch", role="cache"),
    ]
    assert {bind.source for bind in binds} == set(spec.mounts.private) <= set(spec.mounts.keep)
    assert dict(spec.env)["PIP_NO_CACHE_DIR"] == ""
    assert "PIP_NO_CACHE_DIR" not in dict(docker(config(""), host).env)


def test_another_project_of_the_same_name_has_others(config: Make, host: Host) -> None:
    given = config(ASKED)
    other = replace(given, path=given.path.parent / "other/moat.yaml")
    sources = {bind.source for bind in cache_binds(given, host)}
    assert sources.isdisjoint(bind.source for bind in cache_binds(other, host))


@pytest.mark.parametrize("target", [CACHES["pip"], f"{HOME}/.cache", f"{CACHES['pip']}/wheels"])
def test_what_the_file_mounts_there_is_refused(config: Make, host: Host, target: str) -> None:
    mounted = f"volumes: [{{name: mine, target: {target}}}]\n"
    with pytest.raises(ConfigError) as raised:
        docker(config(f"{mounted}kernel: {{cache: [pip]}}"), host)
    assert str(raised.value) == (
        f"moat.yaml:3:10: kernel.cache: pip is kept at {HOME}/.cache/pip, and {target} is mounted; "
        "take pip out of kernel.cache, or that mount out"
    )
