"""protection.py: what was found on the host, as mounts. All directories are real."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_nb.config.model import Config
from moat_nb.config.reader import load
from moat_nb.planning import protected
from moat_nb.planning.mounts import Bind, Mount, Tmpfs, build
from moat_nb.planning.protection import COVER_SIZE, Protection, protect


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "p"
    for name in (".vscode", ".github/workflows", ".ipynb_checkpoints"):
        (directory / name).mkdir(parents=True)
    return directory


def read(project: Path, kernel: str = "{}") -> Config:
    (project / "moat.yaml").write_text(f"kernel: {kernel}\n")
    return load(project, home=project.parent)


def added(found: Protection, given: list[Mount]) -> list[Mount]:
    return [mount for mount in build(found.mounts) if mount not in given]


def test_a_writable_bind_gets_each_protected_name_over_itself(project: Path) -> None:
    given: list[Mount] = [Bind(source=str(project), target="/workspace")]
    found = protect(given, read(project), {})
    assert added(found, given) == [
        Bind(source=f"{project}/.github", target="/workspace/.github", role="pin"),
        Bind(
            source=f"{project}/.vscode",
            target="/workspace/.vscode",
            read_only=True,
            role="protected",
        ),
        Bind(
            source=f"{project}/moat.yaml",
            target="/workspace/moat.yaml",
            read_only=True,
            role="protected",
        ),
        Tmpfs(target="/workspace/.ipynb_checkpoints", size=COVER_SIZE, role="cover"),
        Bind(
            source=f"{project}/.github/workflows",
            target="/workspace/.github/workflows",
            read_only=True,
            role="protected",
        ),
    ]
    assert found.watched == (str(project), f"{project}/.github")
    assert (found.problems, found.notices) == ((), ())


def test_a_read_only_bind_needs_nothing(project: Path) -> None:
    given: list[Mount] = [Bind(source=str(project), target="/workspace", read_only=True)]
    found = protect(given, read(project), {})
    assert (added(found, given), found.watched) == ([], ())


def test_each_bind_that_shows_a_protected_path_protects_it(project: Path) -> None:
    """Also one of the directory above, and one of what is protected itself."""
    given: list[Mount] = [
        Bind(source=str(project), target="/workspace"),
        Bind(source=str(project.parent), target="/above"),
        Bind(source=f"{project}/.vscode", target="/settings"),
        Bind(source=f"{project}/.github", target="/gh"),
    ]
    found = protect(given, read(project), {})
    read_only = {m.target for m in found.mounts if isinstance(m, Bind) and m.read_only}
    assert read_only == {
        *("/workspace/moat.yaml", "/workspace/.vscode", "/workspace/.github/workflows"),
        *("/above/p/moat.yaml", "/above/p/.vscode", "/above/p/.github/workflows"),
        *("/settings", "/gh/workflows"),
    }


def test_the_projects_file_is_protected_however_deep_it_lies(tmp_path: Path) -> None:
    project = tmp_path / "a/b/c/d/e"
    project.mkdir(parents=True)
    (tmp_path / "a/agent.yaml").touch()
    found = protect([Bind(source=str(tmp_path), target="/w")], read(project), {})
    read_only = {m.target for m in found.mounts if isinstance(m, Bind) and m.read_only}
    assert read_only == {"/w/a/b/c/d/e/moat.yaml", "/w/a/agent.yaml"}


def test_an_exclude_or_another_mount_in_the_place_stays(project: Path) -> None:
    (project / "x").mkdir()
    given: list[Mount] = [
        Bind(source=str(project), target="/workspace"),
        Tmpfs(target="/workspace/.github", size=1),
        Bind(source=f"{project}/x", target="/workspace/.vscode"),
    ]
    found = protect(given, read(project), {})
    assert [mount.target for mount in added(found, given)] == [
        "/workspace/moat.yaml",
        "/workspace/.ipynb_checkpoints",
    ]


def test_what_cannot_be_protected_is_refused_at_its_mount(project: Path) -> None:
    (project / ".envrc").symlink_to("x")
    given: list[Mount] = [Bind(source=str(project), target="/workspace")]
    (problem,) = protect(given, read(project), {"/workspace": "moat.yaml:1:1"}).problems
    assert (problem.where, problem.hint) == (
        "moat.yaml:1:1",
        "put a plain file or directory there, or list .envrc in kernel.unprotect",
    )
    assert f"{project}/.envrc is run or obeyed by programs of the host" in problem.what
    found = protect(given, read(project, "{unprotect: [.envrc]}"), {})
    assert found.problems == ()
    assert found.notices == ("protected names: kernel.unprotect leaves .envrc writable",)


def test_more_names_than_can_be_mounted_are_refused_at_their_mount(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protected, "MAX_FOUND", 5)
    for number in range(9):
        (project / f"{number}.code-workspace").touch()
    given: list[Mount] = [Bind(source=str(project), target="/workspace")]
    (problem,) = protect(given, read(project), {"/workspace": "moat.yaml:1:1"}).problems
    assert (problem.where, problem.hint) == (
        "moat.yaml:1:1",
        "remove what nobody needs, exclude it, or list it in kernel.unprotect",
    )
    assert ".code-workspace is one too many" in problem.what


SHOWN = {
    ".git/hooks": True,
    ".git/config": True,
    ".git": False,
    ".vscode": True,
    ".vscode/deep": True,
    ".envrc": True,
    ".exrc": True,
    "a/b/c/d/e/.husky": True,
    "tools/hooks": True,
    "env/lib": True,
    "mine": True,
    "python/lib": True,
    "src": False,
    "../other/.git/hooks": True,
    "../other/.vscode/deep": True,
    "../other/mine": False,
    "../other/src": False,
}
FILES = (".git/config", ".envrc", ".exrc")


@pytest.mark.parametrize(("name", "read_only"), SHOWN.items(), ids=str)
@pytest.mark.parametrize("workspace", [True, False], ids=["kernel", "sidecar"])
def test_a_bind_of_a_protected_name_or_from_in_it_is_read_only_and_says_so(
    project: Path, name: str, read_only: bool, workspace: bool
) -> None:
    """Also in a container that has nothing else of the project."""
    for each in SHOWN:
        path = project / each
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if each in FILES else path.mkdir(exist_ok=True)
    (project / ".git/config").write_text("[core]\nhooksPath = tools/hooks\n")
    (project / "env/pyvenv.cfg").touch()
    if not workspace:  # what is refused there is read-only by itself
        (project / "other name").hardlink_to(project / ".exrc")
    given: list[Mount] = [Bind(source=str((project / name).resolve()), target="/shown")]
    if workspace:
        given.append(Bind(source=str(project), target="/workspace"))
    config = read(project, "{protect: [mine]}")
    found = protect(given, config, {}, environment=[f"{project}/python"])
    assert found.problems == ()
    (shown,) = [m for m in found.mounts if isinstance(m, Bind) and m.target == "/shown"]
    assert shown.read_only is read_only
    assert shown.role == ("protected" if read_only else "project")
    told = [notice for notice in found.notices if "/shown is read-only" in notice]
    assert len(told) == read_only
    if read_only:
        unprotect = told[0].split("; ")[1].split(" in kernel.unprotect")[0]
        config = read(project, f"{{unprotect: [{unprotect}]}}")
        found = protect(given, config, {}, environment=[f"{project}/python"])
        assert [m for m in found.mounts if m.target == "/shown"] == given[:1]


def test_what_a_bind_shows_of_a_partly_protected_directory_is_protected(project: Path) -> None:
    (project / ".git/info").mkdir(parents=True)
    (project / ".git/info/attributes").touch()
    (project / ".git/config").touch()
    given: list[Mount] = [
        Bind(source=f"{project}/.github", target="/gh"),
        Bind(source=f"{project}/.git", target="/g"),
        Bind(source=f"{project}/.git/info", target="/i"),
    ]
    found = protect(given, read(project), {})
    assert [(m.target, m.read_only) for m in added(found, given) if isinstance(m, Bind)] == [
        *(("/g/config", True), ("/g/info", False), ("/gh/workflows", True)),
        *(("/i/attributes", True), ("/g/info/attributes", True)),
    ]


def test_the_launchers_own_python_is_protected_whatever_its_name(project: Path) -> None:
    """Links and hard links in it are its own matter."""
    packages = project / "tool/lib/python3.12/site-packages"
    packages.mkdir(parents=True)
    (packages / "a.py").touch()
    (project / "cache.py").hardlink_to(packages / "a.py")
    (project / "tool/bin").symlink_to("/usr/bin")
    given: list[Mount] = [Bind(source=str(project), target="/w")]

    def closed(kernel: str = "{}", *more: Mount, environment: str = "tool") -> set[str]:
        paths = [str(project / environment), str(packages)]
        found = protect([*given, *more], read(project, kernel), {}, environment=paths)
        assert found.problems == ()
        targets = {m.target for m in found.mounts if isinstance(m, Bind) and m.read_only}
        return targets - {"/w/moat.yaml", "/w/.vscode", "/w/.github/workflows"}

    assert closed() == {"/w/tool"}
    assert closed(environment="") == {"/w/tool/lib/python3.12/site-packages"}  # it is the project
    assert closed("{unprotect: [tool]}") == set()
    assert closed("{}", Tmpfs(target="/w/tool", size=1)) == set()


def test_a_link_to_the_launchers_python_is_refused(project: Path) -> None:
    (project / "real").mkdir()
    (project / "tool").symlink_to("real")
    given: list[Mount] = [Bind(source=str(project), target="/w")]
    paths = [f"{project}/tool", f"{project}/real"]
    (problem,) = protect(given, read(project), {}, environment=paths).problems
    assert "tool is run or obeyed" in problem.what


def test_a_runtime_that_mounts_no_single_file_protects_directories_and_says_so(
    project: Path,
) -> None:
    given: list[Mount] = [Bind(source=str(project), target="/workspace")]
    found = protect(given, read(project), {}, files=False)
    assert [mount.target for mount in added(found, given)] == [
        *("/workspace/.github", "/workspace/.vscode", "/workspace/.ipynb_checkpoints"),
        "/workspace/.github/workflows",
    ]
    assert [f"{project}/moat.yaml can be changed" in notice for notice in found.notices] == [True]
