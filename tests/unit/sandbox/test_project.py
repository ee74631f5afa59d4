"""project.py: whoever asks for a project's plan is refused the same, in the same words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import moat_nb
from moat_nb.config.reader import load
from moat_nb.errors import ConfigError, NotSupportedYet
from moat_nb.sandbox.project import plan_project
from moat_nb.sandbox.sandbox import Sandbox

NO_ENGINE = {"DOCKER_HOST": "unix:///no/such.sock"}

Write = Callable[..., Path]

REFUSED = {
    "ports of two services": (
        "docker",
        "dependencies: [postgres@17]\nkernel: {services: {web: {image: 'a:1', ports: [5432]}}}\n",
        ["moat.yaml:2:21: web listens at port 5432, as postgres (moat.yaml:1:16); they share "],
    ),
    "a volume where there are none": (
        "bubblewrap",
        "name: v\nvolumes: [{name: db, target: /db, type: volume}]\n",
        ["moat.yaml:2:11: bubblewrap: volume moat-v-db: there are no named volumes; use type bind"],
    ),
    "an image where there are none": (
        "bubblewrap",
        "base_image: python:3.11-slim\nkernel: {require_dependencies: true}\n"
        "hooks: {post_build_root: 'true'}\n",
        [
            "moat.yaml:1:1: bubblewrap: base_image: there are no images; use docker, or take",
            "moat.yaml:3:1: hooks.post_build_root: bubblewrap builds no image, and runs",
        ],
    ),
    "a package that is not here": (
        "bubblewrap",
        "dependencies: ['pip:no-such-thing-xyz']\nkernel: {require_dependencies: true}\n",
        ["moat.yaml:1:16: no-such-thing-xyz: not installed for the launcher"],
    ),
    "all at once": (
        "bubblewrap",
        "name: all\n"
        "mounts: ['./missing:/data']\n"
        "ports: {web: 30128}\n"
        "dependencies: [redis]\n"
        "base_image: 'a:1'\n"
        "kernel: {gpus: all, require_dependencies: true}\n",
        [
            "moat.yaml:4:16: redis: bubblewrap cannot run any service beside a kernel",
            "moat.yaml:3:1: ports.web: no server in the sandbox can listen at 30128",
            "moat.yaml:2:10: the source ",
            "moat.yaml:5:1: bubblewrap: base_image",
            "moat.yaml:6:10: bubblewrap: kernel.gpus all",
        ],
    ),
}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str, name: str = "moat.yaml") -> Path:
        directory = tmp_path / "p"
        directory.mkdir(exist_ok=True)
        (directory / name).write_text(text)
        return directory

    return written


def environ(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        **NO_ENGINE,
        "JUPYTER_DATA_DIR": str(tmp_path / "jupyter"),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }


def moat(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "moat_nb", *words]
    return subprocess.run(argv, env=environ(tmp_path), capture_output=True, text=True, check=False)


OF_BOTH = {
    "the file's own faults, and what only a look at this machine finds": (
        "moutns: []\nmounts: ['./missing:/data']\ndependencies: [pandas]\nbase_image: 'a:1'\n",
        [
            "moat.yaml:1:1: unknown key 'moutns'; did you mean 'mounts'?",
            "moat.yaml:3:16: unknown dependency 'pandas'; write pip:pandas",
            "moat.yaml:2:10: the source ",
            "moat.yaml:4:1: bubblewrap: base_image",
        ],
    ),
    "a runtime that there is not, without which nothing can be said of another": (
        "kernel: {runtime: dokcer, gpus: all}\n",
        ["moat.yaml:1:19: kernel.runtime: 'dokcer' is not one of"],
    ),
}


@pytest.mark.parametrize("case", OF_BOTH)
def test_what_is_wrong_with_a_file_and_what_a_start_refuses_are_told_at_once(
    case: str, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, starts = OF_BOTH[case]
    monkeypatch.chdir(project := write(text))
    with pytest.raises(ConfigError) as raised:
        plan_project(project, "bubblewrap", environ=NO_ENGINE)
    said = str(raised.value).splitlines()
    assert len(said) == len(starts), said
    for line, start in zip(said, starts, strict=True):
        assert line.startswith(start)
    done = moat(tmp_path, "install", str(project), "--runtime", "bubblewrap")
    assert [line.removeprefix("moat-nb: ") for line in done.stderr.splitlines()] == said


@pytest.mark.parametrize("case", REFUSED)
def test_every_command_refuses_what_a_start_refuses_in_the_same_words(
    case: str, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, text, starts = REFUSED[case]
    project = str(write(text))
    monkeypatch.chdir(project)  # errors name the file as it is seen from here
    with pytest.raises(ConfigError) as raised:
        Sandbox.launch(project, runtime, environ=environ(tmp_path))
    said = str(raised.value).splitlines()
    assert len(said) == len(starts), said
    for line, start in zip(said, starts, strict=True):
        assert line.startswith(start)
    for words in (
        ["plan", project, "--runtime", runtime],
        ["plan", project, "--runtime", runtime, "--json"],
        ["build", project, "--runtime", runtime],
        ["install", project, "--runtime", runtime],
        ["run", "--runtime", runtime, "--", "true"],
    ):
        done = moat(tmp_path, *words)
        assert done.returncode != 0, words
        assert [line.removeprefix("moat-nb: ") for line in done.stderr.splitlines()] == said, words
    assert not (tmp_path / "jupyter").exists()
    with pytest.raises(ConfigError) as planned:
        moat_nb.plan(load(project), runtime, environ=NO_ENGINE)
    assert str(planned.value) == str(raised.value)


def test_a_refusal_names_the_file_that_there_is(write: Write) -> None:
    project = write("name: a\nvolumes: [{name: db, target: /d, type: volume}]\n", "agent.yaml")
    with pytest.raises(NotSupportedYet) as raised:
        plan_project(project, "bubblewrap", environ=NO_ENGINE)
    assert [problem.where for problem in raised.value.problems] == [f"{project}/agent.yaml:2:11"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"memory_mb": 0}, "memory_mb: 0 is no limit; leave it out for the default"),
        ({"cpus": 0.0}, "cpus: 0 is no limit"),
        ({"memory_mb": -1}, "memory_mb: container.memory: "),
        ({"memory_mb": "much"}, "memory_mb: container.memory: "),
        ({"memory_mb": True}, "memory_mb: container.memory: "),
        ({"cpus": -2.0}, "cpus: container.cpus: "),
        ({"cpus": float("nan")}, "cpus: nan is neither text nor a number"),
        ({"pool": -1}, "pool: kernel.pool: "),
        ({"env": {"A=B": "x"}}, "env: env: 'A=B' is not a variable's name"),
        ({"env": {"A": "x\0y"}}, "env: "),
        ({"env": {"KEY": "x"}}, "env: KEY is a secret of moat.yaml"),
        ({"image": "not a ref"}, "image: base_image: "),
        ({"image": object()}, "image: <object "),
        ({"env": {None: "x"}}, "env: None is not text"),
        ({"env": {"A": 1}}, "env: 1 is not text"),
        ({"env": {"A": "\ud800"}}, "env: '\\ud800' holds half a character"),
        ({"env": ["AB"]}, "env: is no mapping"),
        ({"mounts": "/tmp:/x"}, "mounts: is no list"),
        ({"mounts": [5]}, "mounts: 5 is not text"),
        ({"mounts": ["/tmp\0:/x"]}, "mounts: "),
        ({"memory_mb": 512.5}, "memory_mb: container.memory: "),
        ({"mounts": ["nowhere"]}, "--mount nowhere: "),
    ],
)
def test_what_the_file_may_not_say_no_option_may(
    given: dict[str, Any], said: str, write: Write
) -> None:
    project = write("secrets: {KEY: 'env://KEY'}\n")
    with pytest.raises(ConfigError) as raised:
        plan_project(project, "docker", overrides=given, environ=NO_ENGINE)
    assert len(raised.value.problems) == 1
    assert str(raised.value).startswith(said)


def test_what_options_may_say_is_in_the_plan(write: Write) -> None:
    options = {
        "memory_mb": 256,
        "cpus": 0.00005,
        "env": {"A": "yes", "B": 'a: [1]\n\u2028é😀\x85\x1b"\\'},
        "image": "python:3.12-slim",
        "pool": 2,
    }
    made = plan_project(write(""), "docker", overrides=options, environ=NO_ENGINE)
    assert (made.spec.limits.memory, made.spec.limits.cpus) == (256 << 20, 0.00005)
    assert {name: dict(made.spec.env)[name] for name in "AB"} == options["env"]
    assert (made.spec.image, made.config.kernel.pool) == ("python:3.12-slim", 2)


WITHOUT_LINUX = """
import builtins, io, os, sys
import psutil  # which reads /proc itself here, and something else there
for name in ("O_PATH", "memfd_create", "setns", "unshare", "pidfd_open"):
    vars(os).pop(name, None)
sys.platform = "darwin"
real = io.open
def opened(path, *rest, **options):
    asker = sys._getframe(1).f_globals["__name__"]
    if str(path).startswith("/proc") and not asker.startswith("psutil"):
        raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
    return real(path, *rest, **options)
io.open = builtins.open = opened
"""
"""What macOS lacks of what is used here; Path.read_text opens by io.open."""


def test_it_is_planned_on_a_machine_without_what_only_linux_has(
    write: Write, tmp_path: Path
) -> None:
    project = write("base_image: python:3.12-slim\nnetwork: {policy: none}\n")
    code = (
        f"{WITHOUT_LINUX}\n"
        "import moat_nb.sandbox.sandbox\n"
        "from moat_nb.host.run_directory import Owner\n"
        "owner = Owner.of(os.getpid())\n"
        "assert owner is not None and owner.alive\n"
        "from moat_nb.cli.main import main\n"
        f"sys.exit(main(['plan', {str(project)!r}, '--runtime', 'apple', '--json']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environ(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["spec"]["runtime"] == "apple"
