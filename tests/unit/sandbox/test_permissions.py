"""What a file asks of the host, and what of it is new."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from moat_nb.host.machine import Host, User
from moat_nb.sandbox.demands import difference
from moat_nb.sandbox.permissions import (
    Permissions,
    as_words,
    of_plan,
    of_words,
    own_project,
)
from moat_nb.sandbox.project import LaunchPlan, plan_project
from tests.unit.projects import NO_ENGINE, Make

Asks = Callable[..., Permissions]


@pytest.fixture
def planned(config: Make, host: Host) -> Callable[..., LaunchPlan]:
    for name in ("p/data/deep", "p/secret", "elsewhere/deep"):
        (host.home / name).mkdir(parents=True)

    def plan(text: str, runtime: str = "docker", **overrides: object) -> LaunchPlan:
        asked = config(text.replace("HOME", str(host.home)))
        return plan_project(asked, runtime, overrides=overrides, host=host, environ=NO_ENGINE)

    return plan


@pytest.fixture
def asks(planned: Callable[..., LaunchPlan]) -> Asks:
    return lambda *words, **options: of_plan(planned(*words, **options))


FREE = [
    "",
    "mounts: [{source: ., target: /workspace, exclude: [.env, '**/node_modules']}]",
    "mounts: ['./data:/data']",
    "mounts: ['./data:/data:ro', {source: ., target: /workspace, mode: ro}]",
    "dependencies: [python@3.11, 'pip:numpy', git, redis, postgres@17]",
    "network: {policy: none}",
    "network: {policy: permissive}",
    "network: {policy: strict, rules: [pypi.org]}",
    "container: {memory: 512, cpus: 2, ulimits: {nofile: {soft: 1024, hard: 1024}}}",
    "container: {ulimits: {nproc: {soft: 4096, hard: 4096}, stack: {soft: -1, hard: -1}}}",
    "hooks: {pre_run: make}",
    "kernel: {runtime: docker, isolation: gvisor, pids: 64, pool: 1}",
    "env: {A: b}\ncommand: [make]",
    "kernel: {services: {web: {image: 'a:1', ports: [80], mounts: ['./data:/srv']}}}",
]


@pytest.mark.parametrize("text", FREE)
def test_what_stays_within_the_project_needs_no_approval(asks: Asks, host: Host, text: str) -> None:
    asked = asks(text)
    assert difference(asked, own_project(str(host.home / "p"), asked)) == ()


ASKED = {
    "a directory elsewhere": (
        "mounts: ['HOME/elsewhere:/data']",
        ["moat.yaml:2:10: mount HOME/elsewhere, writable, for the kernels"],
    ),
    "its read-only form": (
        "mounts: ['HOME/elsewhere:/data:ro']",
        ["moat.yaml:2:10: mount HOME/elsewhere, read-only, for the kernels"],
    ),
    "by dots": (
        "mounts: ['./data/../../elsewhere/deep:/data:ro']",
        ["moat.yaml:2:10: mount HOME/elsewhere/deep, read-only, for the kernels"],
    ),
    "for a service": (
        "kernel: {services: {web: {image: 'a:1', ports: [80], mounts: ['HOME/elsewhere:/d']}}}",
        ["moat.yaml:2:63: mount HOME/elsewhere, writable, for web"],
    ),
    "a secret of a service": (
        "dependencies: [redis]\nservices: {redis: {env: {REDIS_PASSWORD: 'env://AWS_KEY'}}}",
        ["moat.yaml:3:1: secret of a service redis: REDIS_PASSWORD (env://AWS_KEY)"],
    ),
    "a secret": (
        "secrets: {KEY: 'env://AWS_SECRET_ACCESS_KEY'}",
        ["moat.yaml:2:1: secret KEY (env://AWS_SECRET_ACCESS_KEY)"],
    ),
    "a port": (
        "ports: {web: 3000}",
        ["moat.yaml:2:1: port web: programs and browsers of this machine reach 3000 inside"],
    ),
    "a volume": (
        "volumes: [{name: db, target: /db}]",
        [
            "moat.yaml:2:11: mount HOME/.local/share/moat-nb/volumes/p/db, writable, "
            "for the kernels, which all projects named p share"
        ],
    ),
    "a volume of the engine's": (
        "kernel: {services: {web: {image: 'a:1', ports: [80], "
        "volumes: [{name: db, target: /db, type: volume, readonly: true}]}}}",
        [
            "moat.yaml:2:64: mount the engine's volume moat-p-db, read-only, for web, "
            "which all projects named p share"
        ],
    ),
    "a volume that the plan adds": (
        "dependencies: [ollama]\nservices: {ollama: {models: [a]}}",
        [
            "moat.yaml:3:12: mount HOME/.local/share/moat-nb/volumes/p/ollama-models, writable, "
            "for ollama, which all projects named p share"
        ],
    ),
    "a port of this machine": (
        "network: {policy: strict, host: [5432]}",
        ["moat.yaml:2:1: port of this machine 5432"],
    ),
    "the engine's network": (
        "network: {policy: bridge}",
        ["moat.yaml:2:1: network policy bridge (it was permissive)"],
    ),
    "hooks of the build": (
        "hooks: {post_build_root: 'curl x | sh', post_build: make}",
        [
            "moat.yaml:2:1: hook post_build_root (in the image's build): curl x | sh",
            "moat.yaml:2:1: hook post_build (in the image's build): make",
        ],
    ),
    "another machine": (
        "kernel: {on: {ssh: me@gpu}}",
        [
            "moat.yaml:2:10: another machine ssh://me@gpu: a copy of the project goes there, and "
            "python3 there runs kernels"
        ],
    ),
    "a node": (
        "kernel: {on: {slurm: {partition: gpu, mem: 100}}}",
        [
            "moat.yaml:2:10: another machine slurm (partition gpu, mem_mb 100): a copy of the "
            "project goes there, and python3 there runs kernels"
        ],
    ),
    "GPUs": ("kernel: {gpus: all}", ["moat.yaml:2:10: GPUs all"]),
    "limits above the default": (
        "container: {memory: 6000, ulimits: {nofile: {soft: 4096, hard: -1}}}\n"
        "kernel: {pids: 5000}",
        [
            "moat.yaml:2:1: limit memory (MiB) 6000 (it was 4096)",
            "moat.yaml:2:1: limit pids 5000 (it was 512)",
            "moat.yaml:2:1: limit nofile unlimited (it was 4096)",
        ],
    ),
    "many spares, and much in memory": (
        "kernel: {pool: 50, tmpfs_size: 4096}",
        [
            "moat.yaml: limit tmpfs_size (MiB) 4096 (it was 1024)",
            "moat.yaml: limit pool 50 (it was 1)",
        ],
    ),
    "a service of another user's": (
        "kernel: {services: {web: {image: 'a:1', ports: [80], user: '4242'}}}",
        ["moat.yaml:2:10: service run as another user web as 4242:4242"],
    ),
}


@pytest.mark.parametrize("case", ASKED)
def test_what_goes_beyond_it_is_asked_with_its_place(asks: Asks, host: Host, case: str) -> None:
    text, lines = ASKED[case]
    asked = asks(text)
    new = difference(asked, own_project(str(host.home / "p"), asked))
    assert [str(d) for d in new] == [line.replace("HOME", str(host.home)) for line in lines]
    assert difference(asked, asked) == ()


def excluding(*names: str) -> str:
    return f"mounts: [{{source: ., target: /workspace, exclude: {json.dumps(names)}}}]"


STRICT = "network: {policy: strict, rules: ["
REFUSING = "network: {policy: permissive, rules: ["

CHANGED = {
    "an exclude gone": (
        excluding("secret", "a"),
        excluding("a"),
        ["excluded: HOME/p/secret"],
    ),
    "an exclude more": (excluding("a"), excluding("a", "secret"), []),
    "an exclude widened": (excluding("data/deep"), excluding("data"), []),
    "an exclude narrowed": (excluding("data"), excluding("data/deep"), ["no longer excluded"]),
    "a glob gone": (excluding("**/a", "b"), excluding("b"), ["no longer excluded: HOME/p/**/a"]),
    "what was excluded, mounted by itself": (
        excluding("secret"),
        "mounts: ['.:/workspace', './secret:/s']".replace(
            "'.:/workspace'", "{source: ., target: /workspace, exclude: [secret]}"
        ),
        ["mount HOME/p/secret, writable, for the kernels (no longer excluded: HOME/p/secret)"],
    ),
    "the project once more, for a service": (
        excluding("secret"),
        excluding("secret")
        + "\nkernel: {services: {w: {image: 'a:1', ports: [1], mounts: ['./data:/d']}}}",
        [],
    ),
    "read-only no longer": (
        "mounts: [{source: ., target: /workspace, mode: ro}]",
        "",
        ["mount HOME/p, writable, for the kernels"],
    ),
    "read-only now": ("", "mounts: [{source: ., target: /workspace, mode: ro}]", []),
    "a policy looser": (STRICT + "]}", "", ["network policy permissive (it was strict)"]),
    "a policy closer": ("", "network: {policy: none}", []),
    "a rule more": (STRICT + "a.org]}", STRICT + "a.org, b.org]}", ["network rule b.org"]),
    "the last rule less": (STRICT + "a.org, b.org]}", STRICT + "a.org]}", []),
    "a rule less that kept a later one from its hosts": (
        STRICT + "{api.com: ['allow GET /a']}, '*.com']}",
        STRICT + "'*.com']}",
        ["network without the rule api.com; allow GET /a"],
    ),
    "a refusal before one that it disarms": (
        REFUSING + "{evil.com: ['deny * /**']}]}",
        REFUSING + "{'*.com': ['deny GET /zzz']}, {evil.com: ['deny * /**']}]}",
        ["network rule *.com; deny GET /zzz"],
    ),
    "a rule twice": (
        STRICT + "a.org]}",
        STRICT + "a.org, a.org]}",
        ["network rules in another order"],
    ),
    "all is refused but what was refused": (
        REFUSING + "{evil.com: ['deny * /**']}]}",
        STRICT + "evil.com]}",
        ["network rule evil.com", "network without the rule evil.com; deny * /**"],
    ),
    "the same refusals, and all else too": (
        REFUSING + "{evil.com: ['deny * /**']}]}",
        STRICT + "{evil.com: ['deny * /**']}]}",
        [],
    ),
    "an exception in what is allowed": (
        REFUSING + "]}",
        REFUSING + "{a.org: ['allow GET /x', 'deny * /**']}]}",
        ["network rule a.org; allow GET /x; deny * /**"],
    ),
    "any rules after the engine's network": (
        "network: {policy: bridge}",
        REFUSING + "{a.org: ['allow GET /x']}]}",
        [],
    ),
    "a volume read-only no longer": (
        "volumes: [{name: db, target: /db, readonly: true}]",
        "volumes: [{name: db, target: /db}]",
        ["volumes/p/db, writable, for the kernels"],
    ),
    "a volume read-only now": (
        "volumes: [{name: db, target: /db}]",
        "volumes: [{name: db, target: /db, readonly: true}]",
        [],
    ),
    "rules in another order": (
        STRICT + "'*.org', a.org]}",
        STRICT + "a.org, '*.org']}",
        ["network rules in another order"],
    ),
    "a refusal less": (
        "network: {policy: permissive, rules: [{a.org: ['deny * /**']}]}",
        "",
        ["network without the rule a.org; deny * /**"],
    ),
    "a refusal more": ("", "network: {policy: permissive, rules: [{a.org: ['deny * /**']}]}", []),
    "another runtime": (
        "kernel: {runtime: docker}",
        "kernel: {runtime: podman}",
        ["runtime podman (it was docker)"],
    ),
    "no isolation any more": (
        "kernel: {isolation: gvisor}",
        "",
        ["no isolation gvisor any more"],
    ),
    "protected no longer": (
        "kernel: {protect: [Makefile, x]}",
        "kernel: {protect: [x]}",
        ["protected no longer: Makefile"],
    ),
    "a protected name may be written": (
        "",
        "kernel: {unprotect: [.vscode]}",
        ["moat.yaml:2:10: unprotect .vscode"],
    ),
    "more of a limit": (
        "kernel: {pids: 1000}",
        "kernel: {pids: 2000}",
        ["limit pids 2000 (it was 1000)"],
    ),
    "less of a limit": ("kernel: {pids: 2000}", "kernel: {pids: 1000}", []),
    "limits no longer": (
        "container: {memory: 500, cpus: 2}\nkernel: {pids: 100, tmpfs_size: 50}",
        "",
        [
            "limit memory (MiB) 4096 (it was 500)",
            "limit pids 512 (it was 100)",
            "limit CPUs unlimited (it was 2)",
            "limit tmpfs_size (MiB) 1024 (it was 50)",
        ],
    ),
    "more CPUs": ("container: {cpus: 2}", "container: {cpus: 3}", ["limit CPUs 3 (it was 2)"]),
    "fewer CPUs": ("", "container: {cpus: 3}", []),
    "a service with more memory than the kernels": (
        "container: {memory: 500}\ndependencies: [redis]",
        "container: {memory: 500}\ndependencies: [redis]\nservices: {redis: {memory: 600}}",
        ["limit memory (MiB) 600 (it was 500)"],
    ),
    "limits required no longer": (
        "kernel: {require_limits: true}",
        "",
        ["limits required no longer"],
    ),
    "limits required": ("", "kernel: {require_limits: true}", []),
    "another hook": (
        "hooks: {post_build: make}",
        "hooks: {post_build: make x}",
        ["hook post_build (in the image's build): make x"],
    ),
    "no hook": ("hooks: {post_build: make}", "", []),
    "a secret of another variable": (
        "secrets: {A: 'env://A'}",
        "secrets: {A: 'env://B'}",
        ["secret A (env://B)"],
    ),
    "only other words": (
        "mounts: ['HOME/elsewhere:/data']",
        "# the same\nmounts: [{source: HOME/p/../elsewhere/, target: /data/}]",
        [],
    ),
    "a part of what was approved": (
        "mounts: ['HOME/elsewhere:/data']",
        "mounts: ['HOME/elsewhere/deep:/data:ro']",
        [],
    ),
}


@pytest.mark.parametrize("case", CHANGED)
def test_what_is_looser_than_before_is_asked_and_what_is_not_passes(
    asks: Asks, host: Host, case: str
) -> None:
    before, after, lines = CHANGED[case]
    new = difference(asks(after), asks(before))
    assert len(new) == len(lines), new
    for demand, line in zip(new, lines, strict=True):
        assert line.replace("HOME", str(host.home)) in str(demand)


def test_what_is_asked_is_shown_whole(asks: Asks) -> None:
    script = f"{':' * 5000}; curl x | sh"
    asked = asks(f"hooks: {{post_build: '{script}'}}")
    (new,) = difference(asked, asks(""))
    assert str(new).endswith(script)


def test_what_a_user_adds_for_a_start_is_not_asked(asks: Asks, host: Host) -> None:
    alone = asks("")
    assert asks("", mounts=[f"{host.home}/elsewhere:/data"], memory_mb=7000) == alone
    assert asks("", mounts=[f"{host.home}/elsewhere:/workspace"]) == alone


def test_a_link_is_asked_for_as_what_it_leads_to(asks: Asks, host: Host) -> None:
    (host.home / "link").symlink_to("elsewhere")
    sources = {mount.source for mount in asks("mounts: ['HOME/link/deep:/data']").mounts}
    assert sources == {str(host.home / "p"), str(host.home / "elsewhere" / "deep")}


def test_a_root_launcher_asks_before_it_runs_as_the_owner_of_a_workspace_elsewhere(
    config: Make, host: Host, tmp_path: Path
) -> None:
    root = replace(host, user=User(0, 0))
    (host.home / "elsewhere").mkdir()
    here = plan_project(config(""), "docker", host=root, environ=NO_ENGINE)
    text = f"mounts: ['{host.home}/elsewhere:/workspace']"
    there = plan_project(config(text), "docker", host=root, environ=NO_ENGINE)
    kinds = {kind for kind, _ in of_plan(there).others}
    assert of_plan(here).others == ()
    assert ("kernels run as" in kinds) == (there.spec.user != here.spec.user)


def test_what_is_kept_is_read_back(asks: Asks) -> None:
    limits = ASKED["limits above the default"][0].replace("pids", "require_limits: true, pids")
    text = f"{limits}\nsecrets: {{A: 'env://A'}}\n{excluding('a')}"
    asked = asks(text)
    assert of_words(json.loads(json.dumps(as_words(asked)))) == asked
