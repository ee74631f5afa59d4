"""The runtime of ``kernel.runtime: kubernetes``, as far as no cluster is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_nb.config.model import Config
from moat_nb.errors import ConfigError, ImageError, StartError
from moat_nb.host.machine import Host
from moat_nb.host.reaper import Reaper
from moat_nb.planning.image import image_plan
from moat_nb.runtimes.kubernetes.runtime import Kubernetes
from moat_nb.sandbox.project import LaunchPlan, plan_project
from moat_nb.text.progress import Silent
from tests.unit.projects import Make
from tests.unit.runtimes.kubernetes.api import Api

BASE = "base_image: example.org/p:1\n"
CLUSTER = "kernel: {runtime: kubernetes}\n"


@pytest.fixture
def environ(api: Api, tmp_path: Path) -> dict[str, str]:
    api.answers["GET", "/version/"] = 200, {"gitVersion": "v1.20.2"}
    return api.config(tmp_path)


def planned(config: Config, host: Host, environ: dict[str, str], ask: bool = True) -> LaunchPlan:
    return plan_project(config, host=host, environ=environ, ask=ask)


def test_a_cluster_that_only_a_file_names_is_asked_nothing(
    config: Make, host: Host, environ: dict[str, str], api: Api
) -> None:
    plan = planned(config(BASE + CLUSTER), host, environ, ask=False)
    assert plan.runtime.capabilities.unasked and api.asked == []
    with pytest.raises(StartError, match="nobody has approved it"):
        _ = plan.runtime.volumes


def test_a_plan_of_one_that_answers(config: Make, host: Host, environ: dict[str, str]) -> None:
    plan = planned(config(BASE + CLUSTER + "network: {policy: none}\n"), host, environ)
    assert plan.runtime.available().detail == "v1.20.2 at Kubernetes (tests, namespace default)"
    assert plan.spec.closed and plan.spec.grace == 120 and plan.spec.tunnel
    assert plan.spec.limits.memory == 4 << 30


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ("", True),
        ("network: {policy: strict}\n", True),
        ("network: {policy: bridge}\n", False),
        ("unenforced", False),
    ],
)
def test_a_network_is_proved_where_the_rules_say_so(
    config: Make, host: Host, environ: dict[str, str], text: str, closed: bool
) -> None:
    open_one = "kernel: {runtime: kubernetes, kubernetes: {network: unenforced}}\n"
    written = open_one if text == "unenforced" else CLUSTER + text
    plan = planned(config(BASE + written), host, environ)
    assert plan.spec.closed == closed
    told = [words for words in plan.spec.notices if "unenforced" in words]
    assert len(told) == (text == "unenforced")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CLUSTER, "an image must be built, for want of a base_image, ipykernel>=6, and no"),
        (BASE + "kernel: {runtime: kubernetes, pids: 100}\n", "kernel.pids: how many processes"),
        (BASE + "kernel: {runtime: kubernetes, gpus: all}\n", "kernel.gpus: all"),
        (BASE + "kernel: {runtime: kubernetes, isolation: gvisor}\n", "its runtime class says"),
        (
            BASE + CLUSTER + "network: {policy: bridge}\ncontainer: {dns: [192.0.2.1]}\n",
            "container.dns: a Pod has its cluster's name servers",
        ),
        (
            BASE + "dependencies: ['pip:six']\n" + CLUSTER,
            "must be built, for ipykernel>=6, six, and no",
        ),
    ],
)
def test_what_a_pod_cannot_have_is_refused(
    config: Make, host: Host, environ: dict[str, str], text: str, words: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        planned(config(text), host, environ)
    assert words in str(raised.value)


def test_an_image_that_needs_no_build_is_the_files_own(
    config: Make, environ: dict[str, str]
) -> None:
    reaper = Reaper()
    try:
        made = config(BASE)
        runtime = Kubernetes(made, environ)
        assert runtime.prepare(image_plan(made), Silent(), reaper) == "example.org/p:1"
        more = config(BASE + "dependencies: ['pip:six']\n")
        with pytest.raises(ImageError, match=r"kernel\.kubernetes\.registry names none"):
            Kubernetes(more, environ).prepare(image_plan(more), Silent(), reaper)
    finally:
        reaper.finish()
