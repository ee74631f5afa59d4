"""services.py, recipes.py and parse_own_services.py: a moat.yaml's sidecars as plans."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import moat_nb
from moat_nb.config.model import Config, MountEntry, Service
from moat_nb.config.reader import read_config
from moat_nb.config.readiness import Command, LogLine, Port
from moat_nb.errors import ConfigError, StartError
from moat_nb.host.machine import Host, User
from moat_nb.host.run_directory import RunDir
from moat_nb.planning import kernel as kernel_module
from moat_nb.planning import services
from moat_nb.planning.capabilities import Capabilities
from moat_nb.planning.kernel import plan_kernel
from moat_nb.planning.limits import MIB, Hardening
from moat_nb.planning.mounts import Bind, EmptyFile, MountPlan, Tmpfs, Volume
from moat_nb.planning.services import ENTRYPOINT, SidecarPlan, plan_services
from moat_nb.planning.spec import Instance, SandboxSpec
from moat_nb.runtimes.docker.engine import EngineFacts
from moat_nb.runtimes.docker.runtime import Docker
from moat_nb.sandbox.pool import key_of
from moat_nb.sandbox.project import LaunchPlan

ADA = User(os.getuid(), os.getgid()) if os.getuid() else User(1000, 1000)

Read = Callable[[str], Config]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "home" / "p"
    directory.mkdir(parents=True)
    if os.getuid() == 0:
        os.chown(directory, ADA.uid, ADA.gid)
    return directory


@pytest.fixture
def host(project: Path) -> Host:
    return Host(
        user=ADA,
        home=project.parent,
        data_dir=project.parent / ".local/share/moat-nb",
        memory=8 << 30,
        executable="/venv/bin/python",
        prefixes=("/venv",),
    )


@pytest.fixture
def read(project: Path) -> Read:
    def parse(text: str) -> Config:
        path = project / "moat.yaml"
        return read_config(f"name: p\n{text}".encode(), path=path, home=project.parent)

    return parse


def plans(config: Config, host: Host) -> dict[str, SidecarPlan]:
    kernel = plan_kernel(config, host, Capabilities(name="docker")).spec
    return {plan.name: plan for plan in plan_services(config, kernel, host)}


def refused(read: Read, host: Host, text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        plans(read(text), host)
    return str(raised.value)


# ---------------------------------------------------------------- the whole of one


def test_a_service_is_planned_whole_as_hardened_as_the_kernel(read: Read, host: Host) -> None:
    given = read(
        "dependencies: ['postgres@15']\n"
        "services: {postgres: {memory: 1024, env: {POSTGRES_DB: app}}}\n"
        "kernel: {pids: 99, tmpfs_size: 300}\n"
    )
    plan = plans(given, host)["postgres"]
    spec = plan.spec
    assert (spec.name, spec.role, spec.image) == ("p-postgres", "sidecar", "postgres:15")
    assert (spec.user, spec.keep_user, spec.network) == (User(999, 999), True, "sandbox")
    assert spec.hardening == Hardening()
    assert spec.hardening.loosened() == ()
    assert (spec.limits.memory, spec.limits.pids) == (1 << 30, 99)
    assert spec.env == ()
    assert spec.mounts.mounts == (
        Tmpfs(target="/tmp", size=512 * MIB, role="tmp"),
        Tmpfs(target="/home/moat", size=512 * MIB, role="home"),
        Tmpfs(target="/var/lib/postgresql", size=300 * MIB, role="data"),
        Tmpfs(target="/var/run/postgresql", size=300 * MIB, role="data"),
    )
    assert spec.command[:2] == ("/bin/sh", "-c")
    assert spec.command[-1] == ENTRYPOINT
    assert (plan.ports, plan.wait, plan.where) == ((5432,), True, "moat.yaml:3:12")


BODY_KEYS = {"NetworkMode": "container:moat-p-0123abcd", "AutoRemove": True, "Init": True}


def test_a_sidecar_is_rendered_in_the_network_of_the_sandbox_without_its_guest(
    read: Read, host: Host
) -> None:
    given = read("dependencies: [redis]")
    kernel = plan_kernel(given, host, Capabilities(name="docker")).spec
    (plan,) = plan_services(given, kernel, host)
    instance = Instance.of(RunDir(Path("/run/moat-nb/0123abcd")), "7:99:boot")
    spec = plan.on(("docker-entrypoint.sh",), ("redis-server",), "TERM", ("/data",))
    (spec,) = SandboxSpec(kernel=kernel, sidecars=(spec,)).instantiate(instance).sidecars
    rendered = Docker("docker", {}, EngineFacts()).render(spec)
    assert rendered["name"] == "moat-p-redis-0123abcd"
    body: dict[str, Any] = rendered["body"]
    assert body["Cmd"][-3:] == ["docker-entrypoint.sh", "redis-server", "-"]
    assert body["Entrypoint"] == []
    assert "Hostname" not in body
    assert (body["User"], body["Env"], body["WorkingDir"]) == ("999:999", [], "")
    assert body["Labels"] == {
        "moat.nb.owner": "7:99:boot",
        "moat.nb.project": str(read("").directory),
        "moat.nb.role": "sidecar",
        "moat.nb.sandbox": "0123abcd",
        "moat.nb.service": "redis",
        "moat.nb.sockets": "/run/moat-nb/0123abcd/s",
        "moat.nb.spec": body["Labels"]["moat.nb.spec"],
    }
    config = body["HostConfig"]
    assert {key: config[key] for key in BODY_KEYS} == BODY_KEYS
    assert config["CapDrop"] == ["ALL"]
    assert config["SecurityOpt"] == ["no-new-privileges:true"]
    assert config["ReadonlyRootfs"]
    assert config["Mounts"] == []
    assert set(config["Tmpfs"]) == {"/tmp", "/home/moat", "/data"}


def test_a_user_of_the_images_own_stays_in_a_rootless_engine_and_the_kernels_becomes_its_0(
    read: Read, host: Host
) -> None:
    found = plans(read("dependencies: [redis]\nkernel: {services: {a: {image: 'a:1'}}}"), host)
    rootless = Docker("docker", {}, EngineFacts(rootless=True))
    assert rootless.render(found["redis"].spec)["body"]["User"] == "999:999"
    assert rootless.render(found["a"].spec)["body"]["User"] == "0:0"


# ---------------------------------------------------------------- what each is handed

PASSWORD = "pw0"


@pytest.mark.parametrize(
    ("name", "env", "to_sidecar", "to_kernel"),
    [
        (
            "postgres",
            {},
            {
                "POSTGRES_PASSWORD": PASSWORD,
                "PGDATA": "/var/lib/postgresql/data/pgdata",
                "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256",
            },
            {
                "MOAT_POSTGRES_HOST": "127.0.0.1",
                "MOAT_POSTGRES_PORT": "5432",
                "MOAT_POSTGRES_USER": "postgres",
                "MOAT_POSTGRES_PASSWORD": PASSWORD,
                "MOAT_POSTGRES_DB": "postgres",
                "MOAT_POSTGRES_URL": "postgresql://postgres:pw0@127.0.0.1:5432/postgres",
            },
        ),
        (
            "postgres",
            {"POSTGRES_USER": "ada", "POSTGRES_PASSWORD": "a/b @", "PGDATA": "/x"},
            {
                "POSTGRES_USER": "ada",
                "POSTGRES_PASSWORD": "a/b @",
                "PGDATA": "/x",
                "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256",
            },
            {
                "MOAT_POSTGRES_HOST": "127.0.0.1",
                "MOAT_POSTGRES_PORT": "5432",
                "MOAT_POSTGRES_USER": "ada",
                "MOAT_POSTGRES_PASSWORD": "a/b @",
                "MOAT_POSTGRES_DB": "ada",
                "MOAT_POSTGRES_URL": "postgresql://ada:a%2Fb%20%40@127.0.0.1:5432/ada",
            },
        ),
        (
            "mysql",
            {},
            {"MYSQL_ROOT_PASSWORD": PASSWORD, "MYSQL_DATABASE": "moat"},
            {
                "MOAT_MYSQL_HOST": "127.0.0.1",
                "MOAT_MYSQL_PORT": "3306",
                "MOAT_MYSQL_USER": "root",
                "MOAT_MYSQL_PASSWORD": PASSWORD,
                "MOAT_MYSQL_DB": "moat",
                "MOAT_MYSQL_URL": "mysql://root:pw0@127.0.0.1:3306/moat",
            },
        ),
        (
            "mysql",
            {"MYSQL_USER": "ada", "MYSQL_DATABASE": "d"},
            {
                "MYSQL_ROOT_PASSWORD": PASSWORD,
                "MYSQL_DATABASE": "d",
                "MYSQL_USER": "ada",
                "MYSQL_PASSWORD": PASSWORD,
            },
            {
                "MOAT_MYSQL_HOST": "127.0.0.1",
                "MOAT_MYSQL_PORT": "3306",
                "MOAT_MYSQL_USER": "ada",
                "MOAT_MYSQL_PASSWORD": PASSWORD,
                "MOAT_MYSQL_DB": "d",
                "MOAT_MYSQL_URL": "mysql://ada:pw0@127.0.0.1:3306/d",
            },
        ),
        (
            "redis",
            {},
            {},
            {
                "MOAT_REDIS_HOST": "127.0.0.1",
                "MOAT_REDIS_PORT": "6379",
                "MOAT_REDIS_PASSWORD": PASSWORD,
                "MOAT_REDIS_URL": "redis://:pw0@127.0.0.1:6379",
            },
        ),
        (
            "ollama",
            {},
            {
                "OLLAMA_HOST": "127.0.0.1:11434",
                "OLLAMA_MODELS": "/models",
                "OLLAMA_NOPRUNE": "1",
                "HOME": "/home/moat",
            },
            {
                "MOAT_OLLAMA_HOST": "127.0.0.1",
                "MOAT_OLLAMA_PORT": "11434",
                "MOAT_OLLAMA_URL": "http://127.0.0.1:11434",
            },
        ),
    ],
)
def test_a_built_in_service_gets_its_images_variables_and_the_kernel_where_it_is(
    read: Read,
    host: Host,
    name: str,
    env: dict[str, str],
    to_sidecar: dict[str, str],
    to_kernel: dict[str, str],
) -> None:
    given = read(f"dependencies: [{name}]\nservices: {{{name}: {{env: {json.dumps(env)}}}}}")
    inputs = plans(given, host)[name].inputs(PASSWORD)
    assert dict(inputs.env) == to_sidecar
    assert dict(inputs.kernel) == to_kernel
    assert PASSWORD not in repr(inputs)


@pytest.mark.parametrize(
    ("env", "arguments"),
    [
        ({"POSTGRES_HOST_AUTH_METHOD": "trust"}, "--auth-host=trust"),
        ({"POSTGRES_INITDB_ARGS": "--data-checksums"}, "--data-checksums"),
    ],
)
def test_how_postgres_lets_in_who_comes_from_127_0_0_1_is_the_files_to_say(
    read: Read, host: Host, env: dict[str, str], arguments: str
) -> None:
    given = read(f"dependencies: [postgres]\nservices: {{postgres: {{env: {json.dumps(env)}}}}}")
    inputs = plans(given, host)["postgres"].inputs(PASSWORD)
    assert inputs.env["POSTGRES_INITDB_ARGS"] == arguments


def test_redis_is_told_its_password_by_its_config_and_by_no_variable(
    read: Read, host: Host
) -> None:
    given = read("dependencies: [redis]\nservices: {redis: {env: {REDIS_PASSWORD: 'a\"b'}}}")
    inputs = plans(given, host)["redis"].inputs(PASSWORD)
    assert inputs.stdin.splitlines()[0] == 'requirepass "a\\"b"'
    assert inputs.env == {}


def test_a_password_is_neither_in_a_plan_nor_in_what_is_printed_of_it(
    read: Read, host: Host
) -> None:
    given = read("dependencies: [mysql]\nservices: {mysql: {env: {MYSQL_ROOT_PASSWORD: hunter2}}}")
    plan = plans(given, host)["mysql"]
    assert "hunter2" not in repr(plan)
    assert "hunter2" not in repr(given)
    assert "hunter2" not in json.dumps(asdict(plan.spec), default=str)


def test_a_spare_with_another_env_of_a_service_is_another(read: Read, host: Host) -> None:
    """Though no repr has it."""

    def key(password: str) -> str:
        env = f"{{REDIS_PASSWORD: {password}}}"
        given = read(f"dependencies: [redis]\nservices: {{redis: {{env: {env}}}}}")
        runtime = Docker("docker", {}, EngineFacts())
        spec = plan_kernel(given, host, Capabilities(name="docker")).spec
        sidecars = plan_services(given, spec, host)
        return key_of(
            LaunchPlan(
                config=given,
                runtime=runtime,
                why="why",
                spec=spec,
                image=None,
                sidecars=sidecars,
                environ={},
            )
        )

    assert key("one") == key("one")
    assert key("one") != key("other")


# ---------------------------------------------------------------- kernel.services

OWN = """
dependencies: [postgres]
kernel:
  services:
    search:
      image: example/search:2
      command: [serve, --verbose]
      ports: [9200, 9300]
      env: {MODE: single}
      memory: 512
      wait: false
      user: 1000:1001
      ready: {log: started, timeout: 5}
    postgres:
      ready: {command: [pg_isready], timeout: 9}
      user: "70"
"""


def test_any_other_service_is_given_under_kernel_and_a_built_in_one_is_told_more_there(
    read: Read, host: Host
) -> None:
    found = plans(read(OWN), host)
    search, postgres = found["search"], found["postgres"]
    assert search.spec.image == "example/search:2"
    assert search.spec.command[-3:] == (ENTRYPOINT, "serve", "--verbose")
    assert search.ports == (9200, 9300)
    assert (search.spec.user, search.wait) == (User(1000, 1001), False)
    assert search.ready == LogLine(text="started", timeout=5.0)
    assert search.inputs(PASSWORD).env == {"MODE": "single"}
    assert search.inputs(PASSWORD).kernel == {
        "MOAT_SEARCH_HOST": "127.0.0.1",
        "MOAT_SEARCH_PORT": "9200",
    }
    assert postgres.ready == Command(argv=("pg_isready",), timeout=9.0)
    assert (postgres.spec.user, postgres.spec.image) == (User(70, 70), "postgres:17")


def test_a_service_of_the_files_own_runs_as_the_kernel_does_and_is_ready_at_its_port(
    read: Read, host: Host
) -> None:
    found = plans(read("kernel: {services: {a: {image: 'a:1', ports: [8001]}}}"), host)
    assert (found["a"].spec.user, found["a"].spec.keep_user) == (ADA, False)
    assert found["a"].ready == Port(port=8001)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A: {image: a}", "moat.yaml:2:21: 'A' cannot name a service: lower-case letters"),
        ("localhost: {image: a}", "'localhost' cannot name a service"),
        ("a: {}", "kernel.services.a.image: missing; give it a value"),
        ("a: {image: 'a b'}", "kernel.services.a.image: 'a b' is not the name of an image"),
        ("a: {image: a, port: 1}", "'port' in kernel.services.a; did you mean 'ports'?"),
        ("a: {image: a, ports: [0]}", "kernel.services.a.ports[0]: '0' is not a whole number"),
        ("a: {image: a, user: 0}", "UID or UID:GID, numbers above 0: a sidecar never runs as root"),
        ("a: {image: a, user: root}", "'root' is not UID or UID:GID"),
        ("a: {image: a, ready: {timeout: 1}}", "ready: no check given; give port, command or log"),
        ("a: {image: a, ready: {port: 1, log: x}}", "ready: port and log given"),
        ("a: {image: a, mounts: ['.:/etc']}", "the target '/etc' is refused"),
        ("a: {image: a, mounts: ['.:/a', './b:/a']}", "a second mount at /a"),
        ("redis: {}", "kernel.services.redis is given, but redis is not among the dependencies"),
        ("postgres: {image: a}", "unknown key 'image' in kernel.services.postgres"),
    ],
)
def test_a_wrong_service_is_refused_with_its_place(
    read: Read, host: Host, text: str, message: str
) -> None:
    whole = f"kernel: {{services: {{{text}}}}}\ndependencies: [postgres]"
    assert message in refused(read, host, whole)


def test_two_services_on_one_port_are_refused_with_both_places(read: Read, host: Host) -> None:
    own = "kernel: {services: {cache: {image: 'a:1', ports: [80, 6379]}}}"
    assert refused(read, host, f"dependencies: [redis]\n{own}") == (
        "moat.yaml:3:21: cache listens at port 6379, as redis (moat.yaml:2:16); "
        "they share 127.0.0.1: give one of them another port"
    )
    assert plans(read(f"dependencies: [redis]\n{own.replace('6379', '6380')}"), host)


# ---------------------------------------------------------------- models

OLLAMA = "dependencies: [ollama]\nservices: {ollama: {models: [tiny, 'qwen:7b']}}\n"
STRICT = "network: {policy: strict, rules: [registry.ollama.ai]}\n"


def test_models_are_pulled_by_the_kernels_way_out_and_kept_below_the_users_data(
    read: Read, host: Host
) -> None:
    config, trusting = read(OLLAMA + STRICT), replace(host, trust=("/etc/ca.pem",))
    kernel = plan_kernel(config, trusting, Capabilities(name="docker")).spec
    (plan,) = plan_services(config, kernel, trusting)
    spec, kept = plan.spec, str(host.data_dir / "volumes/p/ollama-models")
    assert (spec.image, spec.user, spec.keep_user) == ("ollama/ollama:latest", ADA, False)
    assert spec.mounts.mounts == (
        Bind(source=kept, target="/models"),
        Tmpfs(target="/tmp", size=512 * MIB, role="tmp"),
        Tmpfs(target="/home/moat", size=512 * MIB, role="home"),
    )
    assert spec.mounts.keep == (kept,)
    assert (spec.egress, spec.trust, spec.network) == (kernel.egress, kernel.trust, "sandbox")
    assert kernel.egress is not None
    assert spec.env == ()
    instance = Instance.of(RunDir(Path("/run/moat-nb/0123abcd")), "7:99:boot")
    way_out = Bind(source="/run/moat-nb/0123abcd/n", target="/run/moat/network", read_only=True)
    assert way_out in tuple(spec.instantiate(instance).mounts)
    env = plan.inputs(PASSWORD).env
    assert env["HTTPS_PROXY"] == "http://127.0.0.1:30128"
    assert env["SSL_CERT_FILE"] == "/run/moat/network/ca.pem"
    assert env["OLLAMA_MODELS"] == "/models"


def test_an_ollama_without_models_has_no_way_out_and_keeps_nothing(read: Read, host: Host) -> None:
    trusting = replace(host, trust=("/etc/ca.pem",))
    plan = plans(read("dependencies: [ollama]"), trusting)["ollama"]
    assert (plan.spec.egress, plan.spec.trust, plan.spec.has_way_out) == (None, (), False)
    assert Tmpfs(target="/models", size=1024 * MIB, role="data") in tuple(plan.spec.mounts)
    assert plan.spec.mounts.keep == ()
    assert "HTTPS_PROXY" not in plan.inputs(PASSWORD).env


def test_what_the_file_says_of_ollamas_variables_wins_over_the_way_outs(
    read: Read, host: Host
) -> None:
    text = OLLAMA.replace("models", "env: {HTTPS_PROXY: 'http://127.0.0.1:9'}, models")
    assert plans(read(text), host)["ollama"].inputs(PASSWORD).env["HTTPS_PROXY"].endswith(":9")


def test_on_the_engines_network_models_need_no_proxy_but_the_certificates(
    read: Read, host: Host
) -> None:
    text = f"{OLLAMA}network: {{policy: bridge}}"
    plan = plans(read(text), replace(host, trust=("/etc/ca.pem",)))["ollama"]
    assert (plan.spec.egress, plan.spec.has_way_out) == (None, True)
    env = plan.inputs(PASSWORD).env
    assert "HTTPS_PROXY" not in env
    assert env["SSL_CERT_FILE"] == "/run/moat/network/ca.pem"
    assert not plans(read(text), host)["ollama"].spec.has_way_out


def test_rules_and_models_make_another_sidecar_of_it(read: Read, host: Host) -> None:
    texts = [OLLAMA, OLLAMA + STRICT, "dependencies: [ollama]\n"]
    assert len({plans(read(text), host)["ollama"].spec.digest for text in texts}) == 3


@pytest.mark.parametrize(
    "place", ["mounts: ['.:/models:ro']", "volumes: [{name: m, target: /models, type: volume}]"]
)
def test_models_are_kept_where_the_file_says(
    read: Read, host: Host, project: Path, place: str
) -> None:
    kept: dict[str, object] = {
        "mounts": Bind(source=str(project), target="/models", read_only=True),
        "volumes": Volume(name="moat-p-m", target="/models"),
    }
    for models in (OLLAMA, "dependencies: [ollama]\n"):
        spec = plans(read(f"{models}kernel: {{services: {{ollama: {{{place}}}}}}}"), host)[
            "ollama"
        ].spec
        assert spec.mounts.mounts == (
            kept[place.partition(":")[0]],
            Tmpfs(target="/tmp", size=512 * MIB, role="tmp"),
            Tmpfs(target="/home/moat", size=512 * MIB, role="home"),
        )


@pytest.mark.parametrize("policy", ["{policy: none}", "{policy: none, host: [8080]}"])
def test_models_are_refused_where_nothing_can_be_reached(
    read: Read, host: Host, policy: str
) -> None:
    assert refused(read, host, f"{OLLAMA}network: {policy}") == (
        "moat.yaml:3:12: ollama: models are pulled at the start, and network.policy is none; "
        "say strict, with registry.ollama.ai in network.rules, or take models out and mount those "
        "you have: kernel.services.ollama.mounts: [DIRECTORY:/models:ro]"
    )
    assert plans(read(f"dependencies: [ollama]\nnetwork: {policy}"), host)


def test_models_that_are_not_waited_for_are_refused(read: Read, host: Host) -> None:
    text = "dependencies: [ollama]\nservices: {ollama: {wait: false, models: [tiny]}}"
    assert refused(read, host, text) == (
        "moat.yaml:3:12: ollama: models are waited for, and wait is false; take one of the two out"
    )
    assert plans(read(text.replace(", models: [tiny]", "")), host)


def test_models_are_refused_for_another_user_who_could_not_read_the_certificates(
    read: Read, host: Host
) -> None:
    user = "kernel: {services: {ollama: {user: 4321:4321}}}"
    assert refused(read, host, f"{OLLAMA}{user}") == (
        "moat.yaml:3:12: ollama: only the kernel's user can pull models; "
        "take user out of kernel.services.ollama"
    )
    assert plans(read(f"dependencies: [ollama]\n{user}"), host)


# ---------------------------------------------------------------- limits


def test_a_service_beside_a_kernel_under_gvisor_is_refused_as_they_share_no_loopback(
    read: Read, host: Host
) -> None:
    text = "dependencies: [redis]\nkernel: {isolation: gvisor}"
    assert refused(read, host, text) == (
        "moat.yaml:2:16: redis could not be reached: under gVisor each container has its own "
        "loopback; take kernel.isolation out"
    )


def test_a_services_limits_are_the_kernels_but_for_its_memory(read: Read, host: Host) -> None:
    text = (
        "dependencies: [redis, mysql]\nservices: {redis: {memory: 256}}\n"
        "container: {memory: 1024, cpus: 2, ulimits: {nproc: {soft: 9, hard: 9}}}"
    )
    found = plans(read(text), host)
    limits = found["redis"].spec.limits
    assert (limits.memory, limits.cpus) == (256 * MIB, 2.0)
    assert ("nproc", 9, 9) in limits.ulimits
    assert found["mysql"].spec.limits == replace(limits, memory=1 << 30)


def test_the_moat_yaml_of_the_documentation_is_planned_as_it_says(
    host: Host, project: Path
) -> None:
    page = Path(moat_nb.__file__).parent.parent / "docs" / "services.md"
    texts = re.findall(r"```yaml\n(.*?)```", page.read_text(), flags=re.DOTALL)
    (project / "index").mkdir()
    found, with_models = (
        plans(read_config(text.encode(), path=project / "moat.yaml", home=project.parent), host)
        for text in texts
    )
    assert with_models["ollama"].models == ("qwen:7b", "nomic-embed-text")
    assert set(found) == {"postgres", "redis", "search"}
    assert found["search"].ports == (9200,)
    assert "MOAT_SEARCH_PORT" in found["search"].inputs(PASSWORD).kernel


# ---------------------------------------------------------------- mounts

MOUNTING = """
mounts:
  - source: .
    target: /workspace
    exclude: [.env, secrets, "a/*/deep"]
kernel:
  services:
    a:
      image: a:1
      mounts: {mounts}
"""


@pytest.fixture
def full(project: Path) -> Path:
    for name in ("secrets/inner", "a/b/deep", "a/c"):
        (project / name).mkdir(parents=True)
    (project / ".env").write_text("KEY=1")
    return project


def test_a_sidecar_never_sees_what_an_exclude_of_the_kernels_hides(
    read: Read, host: Host, full: Path
) -> None:
    text = MOUNTING.replace("{mounts}", "['.:/srv', {source: ./a, target: /a, exclude: [c]}]")
    mounts = plans(read(text), host)["a"].spec.mounts
    assert [mount for mount in mounts if isinstance(mount, Bind)] == [
        Bind(source=f"{full}/a", target="/a"),
        Bind(source=str(full), target="/srv"),
    ]
    assert {(mount.target, type(mount)) for mount in mounts.excludes} == {
        ("/srv/.env", EmptyFile),
        ("/srv/secrets", Tmpfs),
        ("/srv/a/b/deep", Tmpfs),
        ("/a/b/deep", Tmpfs),
        ("/a/c", Tmpfs),
    }


@pytest.mark.parametrize("source", ["./secrets", "./secrets/inner", "./.env", "./a/b/deep"])
def test_a_mount_of_what_the_kernel_may_not_see_is_refused(
    read: Read, host: Host, full: Path, source: str
) -> None:
    text = MOUNTING.replace("{mounts}", f"['{source}:/x:ro']")
    message = refused(read, host, text)
    assert "is excluded; what the kernel may not see no sidecar may" in message
    assert message.startswith("moat.yaml:11:16: a mounts ")


def test_a_sidecars_mounts_come_from_the_very_function_the_kernels_come_from(
    read: Read, host: Host, full: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One function by both names, and all that it gives stands in the specs of both, with nothing
    between but a service's own data."""
    given: list[MountPlan] = []

    def lay_out(mounts: Sequence[MountEntry], *rest: Any, **options: Any) -> MountPlan:
        (mount,) = mounts
        odd = Volume(name="odd", target=f"/of{mount.target}")
        given.append(MountPlan(mounts=(odd,), keep=(f"/kept{mount.target}",)))
        return given[-1]

    assert services.lay_out is kernel_module.lay_out
    monkeypatch.setattr(kernel_module, "lay_out", lay_out)
    monkeypatch.setattr(services, "lay_out", lay_out)
    config = read(MOUNTING.replace("{mounts}", "['./a:/srv']"))
    kernel = plan_kernel(config, host, Capabilities(name="docker")).spec
    (sidecar,) = plan_services(config, kernel, host)
    assert [mount.target for plan in given for mount in plan] == ["/of/workspace", "/of/srv"]
    assert [kernel.mounts, sidecar.spec.mounts] == given


def test_a_volume_keeps_a_services_data_and_needs_a_password_that_is_kept_too(
    read: Read, host: Host
) -> None:
    volume = "{name: db, target: /var/lib/postgresql/data, type: volume}"
    own = f"dependencies: [postgres]\nkernel: {{services: {{postgres: {{volumes: [{volume}]}}}}}}"
    message = refused(read, host, own)
    assert "moat.yaml:3:42: postgres keeps its data there" in message
    assert "services.postgres.env: POSTGRES_PASSWORD" in message
    given = read(f"{own}\nservices: {{postgres: {{env: {{POSTGRES_PASSWORD: x}}}}}}")
    assert Volume(name="moat-p-db", target="/var/lib/postgresql/data") in tuple(
        plans(given, host)["postgres"].spec.mounts
    )


def test_a_volume_of_the_hosts_is_refused_where_the_service_could_not_write_to_it(
    read: Read, host: Host
) -> None:
    volume = "{name: db, target: /data}"
    text = f"dependencies: [redis]\nkernel: {{services: {{redis: {{volumes: [{volume}]}}}}}}"
    message = refused(read, replace(host, user=User(1000, 1000)), text)
    assert (
        "redis runs as 999:999, and cannot write to a directory of yours; say type: vol" in message
    )
    plan = plans(read(text), replace(host, user=User(0, 0)))["redis"]
    assert plan.spec.mounts.keep == (str(host.data_dir / "volumes/p/db"),)


def test_what_an_image_calls_a_volume_is_a_tmpfs_unless_something_is_mounted_there(
    read: Read, host: Host
) -> None:
    text = "kernel: {services: {a: {image: 'a:1', mounts: ['.:/kept']}}}"
    plan = plans(read(text), host)["a"]
    spec = plan.on((), ("run",), "INT", ("/kept", "/state"))
    assert Tmpfs(target="/state", size=1024 * MIB, role="data") in tuple(spec.mounts)
    assert Bind(source=str(read("").directory), target="/kept") in tuple(spec.mounts)
    assert spec.command[-3:] == ("moat: these are the mounts", "INT", "run")
    with pytest.raises(StartError, match=r"keeps its data in /kept/data, below the mount at /kept"):
        plan.on((), ("run",), "INT", ("/kept/data",))


def test_a_service_in_the_config_has_no_image_only_where_it_is_built_in(read: Read) -> None:
    given = read(OWN)
    assert {service.name for service in given.services if service.image is None} == {"postgres"}
    assert isinstance(given.services[0], Service)
