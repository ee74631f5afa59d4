"""Attacks by what a sandbox leaves where programs of the host run it: git, Jupyter, editors.

The control is a sandbox of the same project whose moat.yaml gives the protection up; there the
host's own git runs the planted command.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from moat_nb import ConfigError
from moat_nb.planning.protected_names import GIT_FILES, NAMES
from tests import ordinary_user
from tests.integration.conftest import wait_until
from tests.unit.cli.helpers import moat

HOST_GIT = [
    f"{path}:{path}:ro" for path in ("/usr/bin/git", "/usr/lib/git-core") if Path(path).exists()
]
"""For images without git; on bubblewrap it is there."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    name: str
    function: str
    path: str = ".git/config"
    expected: str


ATTACKS = [
    Attack(name="git config, written", function="write", expected="EROFS"),
    Attack(name="git config, replaced", function="replace", expected="EBUSY"),
    Attack(name="git config, exchanged", function="exchange", expected="EBUSY"),
    Attack(name="git config, .git renamed", function="rename_parent", expected="EBUSY"),
    Attack(name="git config, hard link", function="hard_link", expected="EXDEV"),
    Attack(
        name="git config, hard link by /proc",
        function="hard_link_by_descriptor",
        expected="EXDEV",
    ),
    Attack(
        name="git config.worktree, written",
        function="write",
        path=".git/config.worktree",
        expected="EROFS",
    ),
    Attack(
        name="config that is included",
        function="replace",
        path="team.gitconfig",
        expected="EBUSY",
    ),
]


@pytest.fixture
def repository(launcher):
    """``repository(**kernel)``: a project that is a git repository, its owner's."""

    def make(**kernel):
        mounts = [{"source": ".", "target": "/workspace"}]
        if launcher.engine is not None:
            mounts += HOST_GIT
        project = launcher.project(mounts=mounts, kernel=kernel)
        host(launcher, project, "git", "init", "-q")
        for key, value in (
            ("user.name", "a"),
            ("user.email", "a@b"),
            ("extensions.worktreeConfig", "true"),
            ("include.path", "../team.gitconfig"),
        ):
            host(launcher, project, "git", "config", key, value)
        host(launcher, project, "git", "config", "--worktree", "a.b", "c")
        (project / "planted.sh").write_text("#!/bin/sh\ntouch ran\n")
        (project / "planted.sh").chmod(0o755)
        (project / "team.gitconfig").touch()
        for name in (".vscode", ".ipynb_checkpoints"):
            (project / name).mkdir()
        (project / ".vscode/tasks.json").write_text("{}")
        shutil.copy(Path(__file__).with_name("protected_attacks.py"), project)
        for path in project.rglob("*"):
            launcher.give(path, launcher.owner)
        return project

    return make


def host(launcher, project, *argv, check=True):
    """Run a program on the host as the project's owner, as the user would."""
    who = {}
    if os.getuid() == 0:
        who = {"user": launcher.owner.uid, "group": launcher.owner.gid, "extra_groups": []}
    env = {"PATH": os.environ["PATH"], "HOME": str(project)}
    done = subprocess.run(
        argv, cwd=project, env=env, check=check, capture_output=True, text=True, **who
    )
    return done.stdout


def attack_in(box, attack):
    done = box.run(["python3", "protected_attacks.py", attack.function, attack.path])
    return done.stdout.decode().strip() or done.stderr.decode()


def ran(launcher, project):
    """Whether the host's ``git status`` ran what was planted."""
    host(launcher, project, "git", "status", check=False)
    return (project / "ran").exists()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_what_git_runs_cannot_be_planted_at_a_first_start_nor_after_a_restart(
    launcher, repository, table, attack
):
    project = repository()
    box = launcher.launch(project)
    first = attack_in(box, attack)
    box.reset()
    second = attack_in(box, attack)
    happened = "ran" if ran(launcher, project) else first
    box.stop()

    open_project = repository(unprotect=[".git", "team.gitconfig"])
    control = attack_in(launcher.launch(open_project), attack)
    assert control == "done"
    assert ran(launcher, open_project)
    table(attack.name, launcher.runtime, attack.expected, happened, "the host's git status ran it")
    assert (happened, second) == (attack.expected, attack.expected)


AS_USER = """
import sys, moat_nb
from moat_nb.text.progress import Silent
with moat_nb.Sandbox.launch(
    sys.argv[1], sys.argv[2], progress=Silent, approve=lambda demands: True
) as box:
    for _ in range(2):
        for attack in sys.argv[3:]:
            words = ["python3", "protected_attacks.py", *attack.split()]
            print(box.run(words, check=True).stdout.decode().strip())
        box.reset()
"""


def test_an_ordinary_users_launcher_protects_too(launcher, repository, table):
    """At the first start, and at the next."""
    project = repository()
    runs = project.parent / "run"
    runs.mkdir(mode=0o700)
    launcher.give(runs, launcher.owner)
    env = {"PATH": os.environ["PATH"], "HOME": str(runs), "LANG": "C.UTF-8"}
    env |= {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}
    env["XDG_RUNTIME_DIR"] = str(runs)
    attacks = {
        "write .git/config": "EROFS",
        "rename_parent .git/config": "EBUSY",
        "write moat.yaml": "EROFS",
        "link_in_place .ipynb_checkpoints": "EBUSY",
    }
    argv = [sys.executable, "-c", AS_USER, str(project), launcher.runtime, *attacks]
    done = ordinary_user.run(argv, env=env)
    assert done.stdout.split() == [*attacks.values()] * 2, done.stderr
    assert not ran(launcher, project)
    for attack, happened in attacks.items():
        name = f"{attack}, launcher not root"
        table(name, launcher.runtime, happened, happened, "as for a launcher that is root")


HOOKS = [
    ("git hook", ".git/hooks/pre-commit", ".git/hooks"),
    ("hook where core.hooksPath says", ".husky/pre-commit", ".husky"),
    ("script that a hook links to", "scripts/check.sh", ".git/hooks"),
    ("git hook, by another mount", "/git/hooks/pre-commit", ".git/hooks"),
    ("git hook, by a mount of the directory above", "/above/project/.git/hooks/pre-commit", ""),
]


@pytest.mark.parametrize(("name", "path", "hooks"), HOOKS, ids=[name for name, *_ in HOOKS])
def test_what_git_runs_at_a_commit_cannot_be_rewritten(
    launcher, repository, table, name, path, hooks
):
    def made(**kernel):
        project = repository(**kernel)
        directory = project / (hooks or ".git/hooks")
        (project / "scripts").mkdir()
        directory.mkdir(exist_ok=True)
        script = project / "scripts/check.sh"
        if "links" in name:
            (directory / "pre-commit").symlink_to("../../scripts/check.sh")
        else:
            script = directory / "pre-commit"
        script.write_text("#!/bin/sh\n")
        script.chmod(0o755)
        for made in (directory, project / "scripts", script):
            launcher.give(made, launcher.owner)
        host(launcher, project, "git", "config", "core.hooksPath", hooks or ".git/hooks")
        return project, [f"{project.parent}:/above", f"{project}/.git:/git"]

    attack = Attack(name=name, function="write_hook", path=path, expected="EROFS")
    project, mounts = made()
    box = launcher.launch(project, mounts=mounts)
    happened = [attack_in(box, attack)]
    box.reset()
    happened.append(attack_in(box, attack))
    host(launcher, project, "git", "commit", "-q", "--allow-empty", "-m", "x")
    assert not (project / "ran").exists()

    unprotect = [".git", ".husky", "scripts", "config", "hooks", "project"]
    opened, mounts = made(unprotect=unprotect)
    control = attack_in(launcher.launch(opened, mounts=mounts), attack)
    host(launcher, opened, "git", "commit", "-q", "--allow-empty", "-m", "x")
    assert (opened / "ran").exists()
    table(name, launcher.runtime, "EROFS", happened[0], f"{control}, the host's git commit ran it")
    assert happened == ["EROFS", "EROFS"]


def test_git_goes_on_working_inside_and_its_config_fails_clearly(launcher, repository):
    project = repository()
    box = launcher.launch(project)
    box.run(["git", "add", "planted.sh"], check=True)
    box.run(["git", "commit", "-q", "-m", "from inside"], check=True)
    box.run(["git", "checkout", "-q", "-b", "other"], check=True)
    box.run(["git", "stash", "list"], check=True)
    refused = box.run(["git", "config", "a.b", "d"])
    assert refused.returncode != 0
    assert b"could not write config file" in refused.stderr
    assert host(launcher, project, "git", "log", "--format=%s") == "from inside\n"
    assert host(launcher, project, "git", "branch", "--show-current") == "other\n"
    assert host(launcher, project, "git", "fsck") == ""


WAYS = ("write", "replace", "remove", "rename_parent", "hard_link", "change_mode")


def spelt(pattern):
    return pattern.replace("*.", "x.").replace("_*_", "_server_").replace(".*", ".py")


def test_no_protected_name_can_be_changed_in_any_way(launcher, repository, table):
    """Each as a file of its own, or with a file in it."""
    names = [spelt(name.pattern) for name in NAMES if name.pattern not in (".git", "moat.yaml")]
    names += [f".git/{name.pattern}" for name in GIT_FILES if name.pattern != "commondir"]

    def made(**kernel):
        project = repository(**kernel)
        for name in names:
            path = project / name
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        for path in (project, *project.rglob("*")):
            launcher.give(path, launcher.owner)
        return project

    project, opened = made(), made(unprotect=[*names, "moat.yaml", ".git"])
    names.append("moat.yaml")
    before = {name: contents(project / name) for name in names}
    box, control = launcher.launch(project), launcher.launch(opened)
    for name in names:
        happened = {
            way: attack_in(box, Attack(name="", function=way, path=name, expected=""))
            for way in WAYS
        }
        worked = attack_in(control, Attack(name="", function="replace", path=name, expected=""))
        table(f"change {name}", launcher.runtime, "unchanged", ", ".join(happened.values()), worked)
        assert "done" not in happened.values(), (name, happened)
        assert worked == "done"
    assert {name: contents(project / name) for name in names} == before


def contents(path):
    """What it holds, its mode, and which file it is."""
    status = path.lstat()
    inside = sorted(map(str, path.rglob("*"))) if path.is_dir() else path.read_bytes()
    return status.st_ino, status.st_mode, inside


def test_checkpoints_cannot_become_a_link(launcher, repository, table):
    """A Jupyter server copies a notebook there when somebody opens and saves it."""
    attack = Attack(
        name="checkpoints as a link",
        function="link_in_place",
        path=".ipynb_checkpoints",
        expected="EBUSY",
    )
    project, opened = repository(), repository(unprotect=[".ipynb_checkpoints"])
    (project / ".ipynb_checkpoints/kept").touch()
    box = launcher.launch(project)
    assert box.run(["ls", "-A", ".ipynb_checkpoints"], check=True).stdout == b""
    happened = attack_in(box, attack)
    control = attack_in(launcher.launch(opened), attack)
    assert (opened / ".ipynb_checkpoints").is_symlink()
    table(attack.name, launcher.runtime, attack.expected, happened, control)
    assert (happened, control) == (attack.expected, "done")
    assert (project / ".ipynb_checkpoints/kept").exists()


def test_a_link_in_the_place_of_checkpoints_is_refused_at_the_next_start(launcher, repository):
    project = repository()
    (project / ".ipynb_checkpoints").rmdir()
    (project / ".ipynb_checkpoints").symlink_to("/etc")
    with pytest.raises(ConfigError, match=r"\.ipynb_checkpoints is run or obeyed .* a link"):
        launcher.launch(project)


def test_an_editor_of_the_host_can_save_moat_yaml_while_the_sandbox_runs(launcher, repository):
    """By a rename over it, as many do; the running sandbox goes on."""
    project = repository()
    box = launcher.launch(project)
    new = project.parent / "moat.new"
    new.write_text((project / "moat.yaml").read_text() + "# edited\n")
    launcher.give(new, launcher.owner)
    new.replace(project / "moat.yaml")
    assert box.run(["cat", "moat.yaml"], check=True).stdout.endswith(b"# edited\n")
    box.reset()
    assert box.run(["sh", "-c", "echo >> moat.yaml"]).returncode != 0


@pytest.fixture
def heard():
    """What a sandbox told, and ``heard.wait(kind, path)``."""

    class Heard(list):
        def __call__(self, kind, text):
            self.append((kind, text))

        def wait(self, kind, path):
            return wait_until(lambda: any(k == kind and str(path) in t for k, t in self), 60)

    return Heard()


MADE = [
    (".git/commondir", "write"),
    (".envrc", "write"),
    ("new/.vscode", "write"),
    ("jupyter_server_config.py", "write"),
    ("notebooks/.ipynb_checkpoints", "link_in_place"),
]


@pytest.mark.parametrize(("name", "function"), MADE)
def test_a_protected_name_that_is_made_is_told_at_once_and_listed_first(
    launcher, repository, table, heard, name, function
):
    project = repository()
    (project / "notebooks").mkdir()
    launcher.give(project / "notebooks", launcher.owner)
    box = launcher.launch(project, on_event=heard)
    box.run(["sh", "-c", "echo x > ordinary"], check=True)
    attack = Attack(name="", function=function, path=name, expected="done")
    assert attack_in(box, attack) == "done"
    told = heard.wait("protected_made", project / name)
    first = box.changes().found[0]
    table(f"make {name}", launcher.runtime, "told", "told" if told else "silent", "-")
    assert told
    assert first.path == str(project / name)
    assert first.is_dangerous
    paths = [change.path for change in box.changes().found]
    assert str(project / "ordinary") in paths
    assert str(project / "moat.yaml") not in paths
    listed = moat("changes", str(project), env={"NO_COLOR": "1"})
    assert listed.returncode == 0, listed.stderr
    assert str(project / name) in listed.stdout.splitlines()[1]
    box.stop()
    assert any(kind == "changes" and str(project / name) in text for kind, text in heard)
    # The next start protects what is a file by now, and refuses what is a link.
    if function == "write":
        again = launcher.launch(project)
        assert attack_in(again, attack) != "done"
    else:
        with pytest.raises(ConfigError, match="is run or obeyed"):
            launcher.launch(project)


def test_what_is_renamed_into_place_is_told_at_the_end(launcher, repository, heard):
    """An earlier sandbox left it where nothing obeys it, so no change of it is new."""
    project = repository()
    for name in ("a/b/c/d/e/f/g/h/x/config", "a/b/c/d/e/f/g/h/x/HEAD"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    for path in (project / "a", *(project / "a").rglob("*")):
        launcher.give(path, launcher.owner)
    box = launcher.launch(project, on_event=heard)
    box.run(["sh", "-c", "mkdir new; mv a/b/c/d/e/f/g/h/x new/.git; ls new/.git"], check=True)
    paths = [change.path for change in box.changes().dangerous]
    assert paths == [str(project / "new/.git/config")]
    box.stop()
    assert any(kind == "changes" and paths[0] in text for kind, text in heard)


def test_nothing_is_told_of_a_sandbox_that_leaves_nothing_dangerous(launcher, repository, heard):
    project = repository()
    box = launcher.launch(project, on_event=heard)
    box.run(["sh", "-c", "echo x > ordinary; mkdir a; echo y > a/b"], check=True)
    box.run(["git", "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    box.stop()
    assert [kind for kind, _ in heard if kind != "gone"] == []


def test_a_file_that_the_host_replaces_is_told_as_lost_and_its_change_then(
    launcher, repository, heard
):
    """The kernel takes a mount away with the file that it stands on."""
    project = repository()
    box = launcher.launch(project, on_event=heard)
    host(launcher, project, "git", "config", "a.b", "d")
    assert heard.wait("protected_lost", project / ".git/config")
    box.run(["sh", "-c", "echo >> .git/config"], check=True)
    assert heard.wait("protected_changed", project / ".git/config")
    box.reset()
    assert box.run(["sh", "-c", "echo >> .git/config"]).returncode != 0


def test_a_nested_repository_is_protected_and_told_when_it_is_moved_away(
    launcher, repository, heard
):
    project = repository()
    nested = project / "packages/inner"
    nested.mkdir(parents=True)
    for path in (project / "packages", nested):
        launcher.give(path, launcher.owner)
    host(launcher, nested, "git", "init", "-q")
    box = launcher.launch(project, on_event=heard)
    assert box.run(["sh", "-c", "echo >> packages/inner/.git/config"]).returncode != 0
    assert box.run(["mv", "packages/inner/.git", "aside"]).returncode != 0
    box.run(["mv", "packages/inner", "aside"], check=True)
    assert heard.wait("protected_lost", nested / ".git/config")
