"""Dependencies where nothing is installed: the missing are named, the present are not."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from moat_nb.config.model import Config, Dependency, Hooks, KernelOptions
from moat_nb.host.machine import Host, User
from moat_nb.planning.lacks import Lack
from moat_nb.planning.limits import Limits
from moat_nb.planning.mounts import MountPlan
from moat_nb.planning.spec import ContainerSpec
from moat_nb.runtimes.bubblewrap.dependencies import missing_dependencies
from moat_nb.runtimes.bubblewrap.runtime import Bubblewrap

SPEC = ContainerSpec(
    name="project",
    role="kernel",
    project="/project",
    runtime="bubblewrap",
    image=None,
    command=("python3",),
    user=User(1000, 1000),
    env=(),
    workdir="/workspace",
    mounts=MountPlan(mounts=()),
    limits=Limits(memory=1 << 30),
)

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


def config(*dependencies: Dependency, **kernel: object) -> Config:
    return Config(
        path=Path("/project/moat.yaml"),
        name="project",
        dependencies=dependencies,
        kernel=KernelOptions(**kernel),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    "present",
    [
        Dependency(kind="python", name="python", version=HERE),
        Dependency(kind="python", name="python"),
        Dependency(kind="pip", name="ipykernel"),
        Dependency(kind="pip", name="ipykernel", version=">=6"),
        Dependency(kind="python", name="python", version=f"{HERE}.1"),
        Dependency(kind="tool", name="sh"),
        Dependency(kind="tool", name="procps"),
        Dependency(kind="unavailable", name="go:example.org/x/sh@latest"),
        Dependency(kind="agent", name="claude-code"),
        Dependency(kind="service", name="redis"),
    ],
)
def test_what_the_host_has_is_no_problem(present: Dependency) -> None:
    assert missing_dependencies(config(present), "/usr/bin:/bin") == ()


@pytest.mark.parametrize(
    ("absent", "words"),
    [
        (Dependency(kind="python", name="python", version="2.7"), f"python, which is {HERE}"),
        (Dependency(kind="pip", name="no-such-distribution"), "not installed for"),
        (Dependency(kind="pip", name="ipykernel", version="<1"), "not <1"),
        (Dependency(kind="npm", name="no-such-package"), "npm install --global"),
        (Dependency(kind="tool", name="no-such-tool"), "not on this machine"),
        (Dependency(kind="tool", name="typescript"), "install it, or use docker"),
        (Dependency(kind="unavailable", name="go:example.org/no-such@1"), "not on this machine"),
        (Dependency(kind="unavailable", name="docker:host"), "a sandbox gets no engine"),
    ],
)
def test_what_the_host_lacks_is_named_with_the_way_out(absent: Dependency, words: str) -> None:
    (problem,) = missing_dependencies(config(absent), "/usr/bin:/bin")
    assert words in str(problem)
    assert isinstance(problem, Lack) == (absent.kind != "python")
    skipped = config(absent, skip_dependencies=(absent.name,))
    assert missing_dependencies(skipped, "/usr/bin:/bin") == ()


def test_everything_that_is_missing_is_named_at_once() -> None:
    tools = [Dependency(kind="tool", name=f"no-such-tool-{n}") for n in range(3)]
    found = missing_dependencies(config(*tools, packages=("no-such-distribution>=2",)), "/usr/bin")
    assert len(found) == 4


def test_bubblewrap_refuses_an_image_and_does_without_roots_hook() -> None:
    runtime = Bubblewrap(host := Host.current())
    user = host.user if host.user.uid else User(1000, 1000)
    spec = replace(SPEC, user=user)
    (problem,) = runtime.check(spec, replace(config(), base_image="debian:12"))
    assert problem.words.endswith("there are no images; use docker, or take it out")
    assert not isinstance(problem, Lack)
    (lack,) = runtime.check(spec, replace(config(), hooks=Hooks(post_build_root="true")))
    assert isinstance(lack, Lack)
    assert lack.why == "bubblewrap builds no image, and runs nothing as root"
    hooks = Hooks(post_build="true", pre_run="true")
    assert runtime.check(spec, replace(config(), hooks=hooks)) == ()
