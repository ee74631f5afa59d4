"""From a Config to a ContainerSpec, on real directories."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from moat_nb.errors import ConfigError, NotSupportedYet
from moat_nb.guest.settings import PortForward, ProvedMount, Settings
from moat_nb.host.machine import MOAT_USER, Host, User
from moat_nb.planning.kernel import PRELOAD, kernel_user, plan_kernel, unsupported, unwritable
from moat_nb.planning.lacks import Lack
from moat_nb.planning.limits import MIB, Limits
from moat_nb.planning.mounts import Bind, EmptyFile, MountPlan, MountPoint, Tmpfs, Volume
from moat_nb.planning.workspace_copy import with_copy
from moat_nb.runtimes.apple import Apple
from moat_nb.runtimes.base import Runtime
from moat_nb.runtimes.bubblewrap.runtime import Bubblewrap
from moat_nb.sandbox.project import plan
from tests.unit.planning.planned import docker, planned
from tests.unit.projects import ADA, NO_ENGINE, Make

# ---------------------------------------------------------------- the whole of it


WHOLE = """
mounts:
  - source: .
    target: /workspace
    exclude: [node_modules, .env, "packages/*/dist"]
  - ./data:/data:ro
volumes:
  - {name: cache, target: /cache}
  - {name: db, target: /db, type: volume, readonly: true}
env: {A: "1", LANG: en_US.UTF-8}
container: {memory: 1024, cpus: 1.5, ulimits: {nofile: {soft: 10, hard: 20}}}
kernel: {pids: 99, tmpfs_size: 256, preload: [json], isolation: gvisor, gpus: 2}
base_image: python:3.12-slim
"""


@pytest.fixture
def whole(home: Path) -> Path:
    """The project of WHOLE."""
    project = home / "p"
    for directory in ("data", "packages/a/dist", "packages/b/dist", "packages/c"):
        (project / directory).mkdir(parents=True)
    (project / ".env").write_text("KEY=1")
    return project


def test_all_mounts_of_a_config_are_planned_and_nothing_is_changed_on_the_host(
    config: Make, host: Host, home: Path, whole: Path
) -> None:
    project = whole
    before = sorted(home.rglob("*"))
    spec = docker(config(WHOLE), host)
    assert sorted(home.rglob("*")) == before
    exclude = 256 * MIB
    cache = str(home / ".local/share/moat-nb/volumes/p/cache")
    assert spec.mounts == MountPlan(
        mounts=(
            Bind(source=cache, target="/cache"),
            Bind(source=f"{project}/data", target="/data", read_only=True),
            Volume(name="moat-p-db", target="/db", read_only=True),
            Bind(source=str(project), target="/workspace"),
            Tmpfs(target="/tmp", size=512 * MIB, role="tmp"),
            Tmpfs(target="/home/moatuser", size=512 * MIB, role="home"),
            EmptyFile(target="/workspace/.env"),
            Tmpfs(target="/workspace/node_modules", size=exclude),
            Tmpfs(target="/workspace/packages/a/dist", size=exclude),
            Tmpfs(target="/workspace/packages/b/dist", size=exclude),
        ),
        missing=(MountPoint(root=str(project), relative="node_modules"),),
        keep=(cache,),
        watched=spec.mounts.watched,
    )
    assert sorted(spec.mounts.watched) == [
        *(str(project), f"{project}/data", f"{project}/packages"),
        *(f"{project}/packages/{name}" for name in ("a", "b", "c")),
    ]


def test_the_guest_is_told_what_to_prove_and_to_import(
    config: Make, host: Host, whole: Path
) -> None:
    spec = docker(config(WHOLE), host)
    python, guest, settings = spec.command
    assert (python, guest) == ("python3", "/run/moat/guest")
    assert Settings.from_argv([settings]) == Settings(
        mounts=[
            ProvedMount("/workspace/.env", "file"),
            ProvedMount("/workspace/node_modules", "directory"),
            ProvedMount("/workspace/packages/a/dist", "directory"),
            ProvedMount("/workspace/packages/b/dist", "directory"),
        ],
        preload=[*PRELOAD, "json"],
        port_forwards=[PortForward(30128, "/run/moat/network/proxy", "")],
        venv="/home/moatuser/.venv",
        spaces=[
            *("/dev/shm", "/cache", "/workspace", "/tmp", "/home/moatuser"),
            *("/workspace/node_modules", "/workspace/packages/a/dist"),
            "/workspace/packages/b/dist",
        ],
    )


def test_all_else_of_a_config_is_planned(config: Make, host: Host, whole: Path) -> None:
    spec = docker(config(WHOLE), host)
    named = ("A", "HOME", "LANG", "LOGNAME", "USER")
    assert [(name, value) for name, value in spec.env if name in named] == [
        ("A", "1"),
        ("HOME", "/home/moatuser"),
        ("LANG", "en_US.UTF-8"),
        ("LOGNAME", "moat"),
        ("USER", "moat"),
    ]
    assert spec.limits == Limits(
        memory=1 << 30,
        pids=99,
        cpus=1.5,
        shm=512 * MIB,
        ulimits=(("core", 0, 0), ("nofile", 10, 20)),
    )
    assert (spec.name, spec.role, spec.project) == ("p", "kernel", str(whole))
    assert (spec.image, spec.user, spec.workdir) == ("python:3.12-slim", ADA, "/workspace")
    assert (spec.network, spec.gpus, spec.hardening.isolation) == ("none", 2, "gvisor")
    assert (spec.labels, spec.dns) == ((), ())
    assert spec.notices[0] == "network: permissive (HTTP and HTTPS to any public host)"


def test_on_bubblewrap_the_kernel_runs_on_the_launchers_python_and_no_image(
    config: Make, host: Host
) -> None:
    spec = plan(config(), "bubblewrap", host=host, environ={}).spec
    assert (spec.runtime, spec.image, spec.command[0]) == ("bubblewrap", None, "/venv/bin/python")
    assert dict(spec.env)["PATH"] == "/venv/bin:/usr/local/bin:/usr/bin:/bin"


def test_where_no_socket_crosses_or_the_file_says_so_the_stream_carries_all(
    config: Make, host: Host
) -> None:
    by_word = docker(config("kernel: {transport: stream}"), host)
    by_nature = planned(config("base_image: i"), Apple(host), host)
    for spec in (by_word, by_nature):
        assert spec.tunnel
        assert Settings.from_argv(spec.command[2:]).proxy_socket == "/run/moat/network/proxy"
    alone = docker(config("kernel: {transport: stream}\nnetwork: {policy: none}"), host)
    assert Settings.from_argv(alone.command[2:]).proxy_socket == ""
    shared = docker(config(""), host)
    assert not shared.tunnel
    assert Settings.from_argv(shared.command[2:]).proxy_socket == ""


def test_a_kernel_of_another_language_preloads_nothing(config: Make, host: Host) -> None:
    spec = docker(config("kernel: {argv: [ir, '{connection_file}']}"), host)
    assert Settings.from_argv(spec.command[2:]).preload == []


def test_without_a_limit_the_memory_is_half_of_the_hosts(config: Make, host: Host) -> None:
    assert docker(config(), host).limits.memory == 4 << 30


# ---------------------------------------------------------------- who runs it


def root(host: Host) -> Host:
    return replace(host, user=User(0, 0))


def test_an_ordinary_launcher_runs_kernels_as_himself_whoever_owns_the_workspace(
    config: Make, host: Host
) -> None:
    assert kernel_user(config(), host) == ADA
    assert kernel_user(config("mounts: ['/usr/share:/workspace']"), host) == ADA


def test_a_root_launcher_runs_kernels_as_the_workspaces_owner(
    config: Make, host: Host, home: Path
) -> None:
    assert kernel_user(config(), root(host)) == ADA
    assert f"user: {ADA}" in docker(config(), root(host)).notices
    assert list(unwritable(config(), root(host))) == []


def test_a_root_launcher_runs_kernels_as_moatuser_when_the_workspace_is_roots_and_says_so(
    config: Make, host: Host
) -> None:
    given = config("mounts: ['/usr/share:/workspace']")
    assert kernel_user(given, root(host)) == MOAT_USER
    notices = docker(given, root(host)).notices
    assert "user: 5000:5000 (moatuser, as root is refused)" in notices
    assert list(unwritable(given, root(host))) == [
        "/usr/share belongs to root: the kernel, 5000:5000, cannot write there; "
        "`chown -R 5000:5000 /usr/share` if it should"
    ]
    assert list(unwritable(replace(given, workspace_mode="volume"), root(host))) == []


@pytest.mark.parametrize("uid", [0, 1000])
def test_a_workspace_that_does_not_exist_is_an_error_of_the_file_for_every_launcher(
    config: Make, host: Host, uid: int
) -> None:
    with pytest.raises(ConfigError, match="does not exist; create it"):
        docker(config("mounts: ['./nope:/workspace']"), replace(host, user=User(uid, uid)))


# ---------------------------------------------------------------- what is refused


UNSUPPORTED = """
workspace: {mode: volume}
kernel:
  preload: [json]
  argv: [ir, "{connection_file}"]
"""


def test_all_that_is_not_supported_yet_is_told_at_once_with_its_places(
    config: Make, host: Host
) -> None:
    given = with_copy(config(UNSUPPORTED), host)
    git = given.directory / ".git"
    git.write_text("gitdir: elsewhere")
    with pytest.raises(NotSupportedYet) as raised:
        docker(given, host)
    assert str(raised.value).splitlines() == [
        "moat.yaml:3:1: workspace.mode: volume copies no worktree and no submodule, and "
        f"{git} is a file; use the repository's main checkout, or workspace.mode: bind",
        "moat.yaml:5:3: kernel.preload beside kernel.argv is not supported yet; "
        "take kernel.preload out",
    ]


@pytest.mark.parametrize("runtime", [Bubblewrap, Apple])
def test_a_runtime_without_sidecars_does_without_services_and_says_which_have_them(
    config: Make, host: Host, runtime: Callable[[Host], Runtime]
) -> None:
    name = runtime(host).capabilities.name
    given = config('dependencies:\n  - "redis@7"')
    plan = plan_kernel(given, host, runtime(host).capabilities)
    (lack,) = plan.problems
    assert isinstance(lack, Lack)
    assert str(lack) == (
        f"moat.yaml:3:5: redis: {name} cannot run any service beside a kernel; use --runtime "
        "docker or podman"
    )
    assert plan.spec.hosts == ()
    assert docker(given, host).hosts == ("redis",)
    own = config("kernel: {services: {web: {image: 'a:1'}}}")
    with pytest.raises(NotSupportedYet, match=f"web: {name} cannot run any service"):
        planned(own, runtime(host), host)


def test_more_cpus_than_there_are_are_no_limit_and_told(config: Make, host: Host) -> None:
    host = replace(host, cpus=2)
    given = config("container: {cpus: 16}")
    spec = docker(given, host)
    assert spec.limits.cpus is None
    assert "container.cpus: 16, and this machine has 2" in spec.notices
    assert docker(config("container: {cpus: 1.5}"), host).limits.cpus == 1.5
    assert docker(config("container: {cpus: 0, memory: 0}"), host).limits.cpus is None


def test_name_servers_are_asked_on_the_engines_network_alone(config: Make, host: Host) -> None:
    dns = "container: {dns: [192.0.2.1]}"
    assert docker(config(dns), host).dns == ()
    assert [key.name for key in config(dns).unused] == ["container.dns"]
    bridge = config(f"{dns}\nnetwork: {{policy: bridge}}")
    assert (docker(bridge, host).dns, bridge.unused) == (("192.0.2.1",), ())


@pytest.mark.parametrize("runtime", [Bubblewrap, Apple])
def test_a_service_that_the_kernel_does_without_is_refused_by_no_runtime(
    config: Make, host: Host, runtime: Callable[[Host], Runtime]
) -> None:
    given = config("dependencies: ['redis@7']\nkernel: {skip_dependencies: [redis]}")
    assert planned(given, runtime(host), host).hosts == ()
    assert docker(given, host).hosts == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "network: {policy: none}",
        "network: {policy: strict, rules: [pypi.org], host: [8080]}",
        "workspace: {mode: bind}",
        "kernel: {transport: ipc, pool: 0, preload: [json]}",
        "dependencies: [python@3.11, 'redis@7']",
    ],
)
def test_what_is_supported_is_not_refused(config: Make, text: str) -> None:
    assert unsupported(config(text)) == ()


# ---------------------------------------------------------------- secrets


def test_neither_a_secret_nor_the_launchers_environment_is_in_the_spec(
    config: Make, host: Host
) -> None:
    environ = {"API_KEY": "hunter2-secret", "OTHER": "hunter2-other"}
    given = config("secrets: {API_KEY: 'env://API_KEY'}\nenv: {A: b}")
    for runtime in ("docker", "podman", "bubblewrap"):
        made = plan(given, runtime, host=host, environ={**environ, **NO_ENGINE})
        assert "hunter2" not in repr(made)
        spec = made.spec
        everything = repr(spec) + json.dumps(asdict(spec), default=str)
        assert "hunter2" not in everything
        assert "API_KEY" not in everything
        assert "('A', 'b')" in everything
