"""How a student's server is set up; tests/hub has real ones."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from jupyterhub.singleuser.extension import JupyterHubIdentityProvider
from tornado.web import HTTPError

from moat_nb.config.reader import load
from moat_nb.errors import MoatError
from moat_nb.host.machine import Host
from moat_nb.jupyter.hub.single_user import (
    Asked,
    OwnPages,
    in_workspace,
    keep_token_here,
    main,
    settings_of,
    workspace_of,
)
from moat_nb.jupyter.server.app import Directories


@pytest.fixture
def course(tmp_path: Path) -> Path:
    (tmp_path / "course").mkdir()
    file = tmp_path / "course/moat.yaml"
    file.write_text("name: course")
    return file


def test_what_the_spawner_says_is_understood() -> None:
    asked = Asked.parse(["--trust-output", "--runtime", "docker", "/srv/moat.yaml", "~/work"])
    assert asked == Asked(
        moat_yaml="/srv/moat.yaml", workspace="~/work", runtime="docker", trust_output=True
    )


def test_a_workspace_is_made_below_the_home_and_is_the_students_alone(tmp_path: Path) -> None:
    found = workspace_of("~/a/work", tmp_path)
    assert found == tmp_path.resolve() / "a/work"
    assert found.stat().st_mode & 0o777 == 0o700
    assert workspace_of(str(found), tmp_path) == found


def test_a_workspace_that_cannot_be_made_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("")
    with pytest.raises(MoatError, match="work: no workspace can be made there"):
        workspace_of("~/work", tmp_path)


@pytest.mark.parametrize("mode", [0o777, 0o702])
def test_a_workspace_that_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work").chmod(mode)
    with pytest.raises(MoatError, match="others can write to it"):
        workspace_of("~/work", tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="another user's directory is made by root")
def test_a_workspace_that_is_anothers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    os.chown(tmp_path / "work", 12345, 12345)
    with pytest.raises(MoatError, match="is another's"):
        workspace_of("~/work", tmp_path)


@pytest.mark.parametrize(("name", "let_in"), [("ada", True), ("teacher", False)])
def test_nobody_but_the_student_is_let_in(
    monkeypatch: pytest.MonkeyPatch, name: str, let_in: bool
) -> None:
    class Known:
        hub_user = {"name": name, "admin": True}  # noqa: RUF012

    async def get_user(self: Any, handler: Any) -> Any:
        return handler and Known()

    monkeypatch.setattr(JupyterHubIdentityProvider, "get_user", get_user)
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    assert asyncio.run(OwnPages().get_user(None)) is None
    if let_in:
        assert isinstance(asyncio.run(OwnPages().get_user(1)), Known)
    else:
        with pytest.raises(HTTPError, match="ada's server, and theirs alone"):
            asyncio.run(OwnPages().get_user(1))


def test_the_token_is_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "secret")
    monkeypatch.setenv("JPY_API_TOKEN", "secret")
    holder = JupyterHubIdentityProvider()
    keep_token_here(holder)
    assert "secret" not in os.environ.values()
    assert holder.hub_auth.api_token == "secret"
    with pytest.raises(MoatError, match="MoatSpawner starts this program"):
        keep_token_here(JupyterHubIdentityProvider())


def test_a_server_takes_the_hubs_word_and_shows_what_is_harmless(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:4321/user/ada/")
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ada/")
    work = workspace_of("~/work", tmp_path)
    config = in_workspace(load(course, home=tmp_path), work, Host.current())
    assert [mount.source for mount in config.mounts] == [work]
    (tmp_path / "run").mkdir()
    directories = Directories.make(work, data=tmp_path / "data", run=tmp_path / "run")
    asked = Asked.parse([str(course), "~/work"])
    made = settings_of(asked, config, work, directories)
    server = {**made.MoatServer, **made.HubServer}
    assert (server["ip"], server["port"], server["base_url"]) == ("127.0.0.1", 4321, "/user/ada/")
    assert server["identity_provider_class"].__name__ == "OwnPages"
    assert not server["terminals_enabled"]
    kernel = made.ProjectKernelspecs.spec["metadata"]["kernel_provisioner"]["config"]
    assert kernel == {
        "project": str(course.parent),
        "runtime": "bubblewrap",
        "workspace": "notebook",
        "directory": str(work),
        "approved": True,
        "trust_output": False,
        "bound_output": True,
    }
    assert made.WorkspaceContents.trust_widgets is False


def test_a_file_that_is_none_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "moat.yaml"), str(tmp_path / "work")]) == 1
    assert capsys.readouterr().err.startswith("moat-nb: ")
