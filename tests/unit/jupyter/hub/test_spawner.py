"""Which program a student's server is, with what, and which course is refused."""

from __future__ import annotations

import asyncio
import os
import pwd
import sys
from pathlib import Path
from typing import Any

import pytest

from moat_nb.errors import ConfigError, MoatError
from moat_nb.host.cgroups import Place
from moat_nb.host.machine import User
from moat_nb.jupyter.hub import spawner as module
from moat_nb.jupyter.hub.spawner import MoatSpawner, cgroup_id, course, make_run_directory

ME = pwd.getpwuid(os.getuid())


class Named:
    """As much of a hub's user as is asked here."""

    name = ME.pw_name
    url = "/user/me/"
    escaped_name = ME.pw_name
    settings: dict[str, Any] = {}  # noqa: RUF012


class Hub:
    api_url = "http://127.0.0.1:8081/hub/api"


class Told(MoatSpawner):
    """Of no hub: what the hub adds is tried in tests/hub."""

    def get_env(self) -> dict[str, str]:
        return {name: os.environ[name] for name in self.env_keep if name in os.environ}


@pytest.fixture
def spawner(tmp_path: Path) -> MoatSpawner:
    (tmp_path / "moat.yaml").write_text("name: c\nkernel: {require_limits: true}\n")
    made = Told(user=None, orm_spawner=None)
    made.user = Named()
    made.moat_yaml = str(tmp_path / "moat.yaml")
    return made


def test_a_server_runs_isolated_with_the_courses_file(spawner: MoatSpawner) -> None:
    assert spawner.cmd == [sys.executable, "-I", "-m", "moat_nb.jupyter.hub.single_user"]
    assert spawner.get_args() == ["--runtime", "bubblewrap", spawner.moat_yaml, "~/work"]
    spawner.trust_output, spawner.workspace = True, "/srv/work/{username}"
    assert spawner.get_args() == [
        *("--trust-output", "--runtime", "bubblewrap"),
        *(spawner.moat_yaml, f"/srv/work/{ME.pw_name}"),
    ]


def test_nothing_of_the_hubs_environment_chooses_code(
    spawner: MoatSpawner, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH", "LANG"):
        monkeypatch.setenv(name, "x")
    assert spawner.get_env().keys() & {"PYTHONPATH", "LD_LIBRARY_PATH", "LANG"} == {"LANG"}


def test_a_course_must_be_named() -> None:
    with pytest.raises(MoatError, match=r"c\.MoatSpawner\.moat_yaml is not set"):
        course("")


def test_a_course_that_others_can_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "moat.yaml").write_text("name: c")
    (tmp_path / "moat.yaml").chmod(0o666)
    with pytest.raises(ConfigError, match="can be written by everyone"):
        course(str(tmp_path / "moat.yaml"))


def test_a_course_is_the_file_that_kernels_find(tmp_path: Path) -> None:
    (tmp_path / "exam.yaml").write_text("name: c")
    for others in ((), ("moat.yaml",)):
        for name in others:
            (tmp_path / name).write_text("name: d")
        with pytest.raises(MoatError, match="give each course a directory"):
            course(str(tmp_path / "exam.yaml"))
    (tmp_path / "agent.yaml").write_text("name: c")
    with pytest.raises(MoatError, match="give each course a directory"):
        course(str(tmp_path / "agent.yaml"))
    (tmp_path / "link").symlink_to("moat.yaml")
    assert course(str(tmp_path / "link")).path == tmp_path.resolve() / "moat.yaml"


def test_no_file_in_a_home_is_given_away(spawner: MoatSpawner) -> None:
    spawner.internal_ssl = True
    with pytest.raises(RuntimeError, match=r"c\.JupyterHub\.internal_ssl"):
        asyncio.run(spawner.start())


@pytest.mark.skipif(os.getuid() != 0, reason="another user's directory is made by root")
def test_for_root_all_that_leads_to_a_course_is_roots(tmp_path: Path) -> None:
    below = tmp_path / "theirs" / "course"
    below.mkdir(parents=True)
    (below / "moat.yaml").write_text("name: c")
    os.chown(tmp_path / "theirs", 12345, 12345)
    with pytest.raises(MoatError, match="theirs is not root's alone"):
        course(str(below / "moat.yaml"))


@pytest.mark.skipif(os.getuid() != 0, reason="another user's file is made by root")
def test_for_root_a_course_must_be_roots(tmp_path: Path) -> None:
    (tmp_path / "moat.yaml").write_text("name: c")
    for path in (tmp_path, tmp_path / "moat.yaml"):
        os.chown(path, 12345, 12345)
    with pytest.raises(MoatError, match="is not root's alone"):
        course(str(tmp_path / "moat.yaml"))


def test_limits_that_are_required_and_cannot_be_had_are_a_refusal_with_its_place(
    spawner: MoatSpawner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "delegated_place", lambda: None)
    monkeypatch.setattr(module, "RUN", tmp_path / "run")
    with pytest.raises(RuntimeError, match=r"moat.yaml:2:\d+: the hub may make no cgroup") as told:
        asyncio.run(spawner.start())
    assert told.value.jupyterhub_message == str(told.value)


def test_a_run_directory_is_the_students_alone(tmp_path: Path) -> None:
    base = tmp_path / "run"
    make_run_directory(base, User(ME.pw_uid, ME.pw_gid))
    make_run_directory(base, User(ME.pw_uid, ME.pw_gid))
    own = (base / str(ME.pw_uid)).stat()
    assert (own.st_uid, own.st_mode & 0o777) == (ME.pw_uid, 0o700)


def test_each_server_has_a_cgroup_of_its_own_that_a_hub_finds_again(
    spawner: MoatSpawner, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(version=1, parents=(("memory", "/m"),))
    monkeypatch.setattr(module, "delegated_place", lambda: place)
    spawner.hub = Hub()
    first = spawner._cgroup
    assert first is not None
    assert first.cgroup.directories[0].startswith(f"/m/moat-nb-hub-{ME.pw_uid}-")
    assert spawner._cgroup == first
    spawner.hub.api_url = "http://127.0.0.1:9091/hub/api"
    assert spawner._cgroup != first
    assert cgroup_id(1, "a", "") != cgroup_id(1, "a", "second")


def test_script_of_kernels_needs_an_origin_for_each_student(spawner: MoatSpawner) -> None:
    spawner.trust_output = True
    with pytest.raises(RuntimeError, match=r"set c\.JupyterHub\.subdomain_host too"):
        asyncio.run(spawner.start())
