"""A moat.yaml's services as plans of sidecars."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import moat_nb
from moat_nb.config.model import MountEntry
from moat_nb.config.reader import read_config
from moat_nb.config.readiness import Command, LogLine, Port
from moat_nb.errors import StartError
from moat_nb.host.machine import Host, User
from moat_nb.host.run_directory import RunDir
from moat_nb.planning import kernel as kernel_module
from moat_nb.planning import services
from moat_nb.planning.capabilities import Capabilities
from moat_nb.planning.kernel import plan_kernel
from moat_nb.planning.limits import MIB, Hardening
from moat_nb.planning.mounts import Bind, EmptyFile, MountPlan, Tmpfs, Volume
from moat_nb.planning.services import ENTRYPOINT, plan_services
from moat_nb.planning.spec import Instance, SandboxSpec
from moat_nb.runtimes.docker import seccomp
from moat_nb.runtimes.docker.engine import EngineFacts
from moat_nb.runtimes.docker.runtime import Docker
from tests.unit.planning.sidecars import MOUNTING, OLLAMA, OWN, PASSWORD, Read, plans
from tests.unit.projects import ADA

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
        Tmpfs(target="/home/moatuser", size=512 * MIB, role="home"),
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
    sandbox = SandboxSpec(kernel=kernel, sidecars=(spec,)).instantiate(instance)
    _, rendered = Docker("docker", {}, EngineFacts()).render(sandbox)
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
    assert config["SecurityOpt"] == ["no-new-privileges:true", seccomp.option(podman=False)]
    assert config["ReadonlyRootfs"]
    assert config["Mounts"] == []
    assert set(config["Tmpfs"]) == {"/tmp", "/home/moatuser", "/data"}


def test_a_user_of_the_images_own_stays_in_a_rootless_engine_and_the_kernels_becomes_its_0(
    read: Read, host: Host
) -> None:
    found = plans(read("dependencies: [redis]\nkernel: {services: {a: {image: 'a:1'}}}"), host)
    rootless = Docker("docker", {}, EngineFacts(rootless=True))
    redis, other = found["redis"].spec, found["a"].spec
    rendered = rootless.render(SandboxSpec(kernel=redis, sidecars=(other,)))
    assert [words["body"]["User"] for words in rendered] == ["999:999", "0:0"]


# ---------------------------------------------------------------- what each is handed


def test_a_password_is_neither_in_a_plan_nor_in_what_is_printed_of_it(
    read: Read, host: Host
) -> None:
    given = read("dependencies: [mysql]\nservices: {mysql: {env: {MYSQL_ROOT_PASSWORD: hunter2}}}")
    plan = plans(given, host)["mysql"]
    assert "hunter2" not in repr(plan)
    assert "hunter2" not in repr(given)
    assert "hunter2" not in json.dumps(asdict(plan.spec), default=str)


# ---------------------------------------------------------------- kernel.services


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


# ---------------------------------------------------------------- models


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
        Tmpfs(target="/tmp", size=2 << 30, role="tmp"),
        Tmpfs(target="/home/moatuser", size=2 << 30, role="home"),
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
            Tmpfs(target="/tmp", size=2 << 30, role="tmp"),
            Tmpfs(target="/home/moatuser", size=2 << 30, role="home"),
        )


# ---------------------------------------------------------------- limits


def test_a_services_limits_are_the_kernels_but_for_its_memory(read: Read, host: Host) -> None:
    text = (
        "dependencies: [redis, mysql]\nservices: {redis: {memory: 256}}\n"
        "container: {memory: 1024, cpus: 2, ulimits: {nproc: {soft: 9, hard: 9}}}"
    )
    found = plans(read(text), host)
    limits = found["redis"].spec.limits
    assert (limits.memory, limits.cpus) == (256 * MIB, 2.0)
    assert ("nproc", 9, 9) in limits.ulimits
    assert limits.shm == 128 * MIB
    assert found["mysql"].spec.limits == replace(limits, memory=1 << 30, shm=512 * MIB)


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
