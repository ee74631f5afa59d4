"""``kernel.runtime: kubernetes`` on a real cluster with two nodes. See `make test-kubernetes`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Engine, Project
from tests.integration.conftest import wait_until
from tests.kubernetes.cluster import CLOSED, NODES, OPEN, Cluster, cluster
from tests.kubernetes.programs import programs
from tests.launchers_elsewhere import (
    BOX,
    KERNEL,
    LOOK,
    finished,
    processes_of,
    started,
    write_files,
)
from tests.service_images import ServiceImages

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can make a cluster")

Make = Callable[..., Path]

POSTGRES = "docker.io/library/postgres:17"
ASKS_POSTGRES = """import os, socket, struct
s = socket.create_connection((os.environ["MOAT_POSTGRES_HOST"], 5432))
s.sendall(struct.pack("!ii", 8, 80877103))
print(s.recv(1), "MOAT_POSTGRES_PASSWORD" in os.environ)"""
"""Whether it speaks TLS, which a server answers with one letter."""

PROVED = "the cluster does not keep the pod from others"


@pytest.fixture(scope="module")
def kubernetes(run_directory: Path, engine: Engine) -> Iterator[Cluster]:
    cache = Path(os.environ.get("MOAT_TEST_CACHE") or run_directory)
    with cluster(run_directory / "kubernetes", programs(cache)) as made:
        archive = run_directory / "kernel.tar"
        with archive.open("wb") as file:
            file.writelines(engine.client.api.get_image(engine.kernel_image))
        for node in NODES:
            made.load(archive, node)
        archive.unlink()
        yield made


@pytest.fixture
def there(kubernetes: Cluster, project: Project, engine: Engine) -> Iterator[Make]:
    """Makes an approved project for it; after the test no pod is there."""

    def make(options: str = "", *, approved: bool = True, **more: str) -> Path:
        words = {
            "name": "far",
            "base_image": engine.kernel_image,
            "network": "{policy: none}",
            "kernel": f"{{runtime: kubernetes, kubernetes: {{grace: 10, {options}}}}}",
            "mounts": "[{source: ., target: /workspace, exclude: [node_modules, secret.txt]}]",
            **more,
        }
        made = project("".join(f"{key}: {value}\n" for key, value in words.items()))
        write_files(made)
        if approved:
            moat_nb(kubernetes, made, "allow", "--yes")
        return made

    yield make
    assert wait_until(lambda: kubernetes.pods() == {}, seconds=60), kubernetes.pods()


def words(kubernetes: Cluster, *more: str, user: str = "launcher") -> list[str]:
    return [*kubernetes.nearby(user), sys.executable, *more]


def moat_nb(
    kubernetes: Cluster, project: Path, *more: str, code: int = 0, user: str = "launcher"
) -> str:
    """What it prints; what it says of its failure too."""
    out, err = finished(words(kubernetes, "-m", "moat_nb", *more, user=user), project, code)
    return out + (err if code else "")


def run(kubernetes: Cluster, project: Path, script: str, **more: Any) -> str:
    return moat_nb(kubernetes, project, "run", "--", "sh", "-c", script, **more)


def test_the_demo_proves_in_a_pod_what_it_proves_here(
    kubernetes: Cluster, there: Make, tmp_path: Path, engine: Engine
) -> None:
    named = ("--runtime", "kubernetes", "--image", engine.kernel_image)
    said = moat_nb(kubernetes, tmp_path, "demo", *named)
    assert re.search(r"/workspace/node_modules +tmpfs +1777 +yes +yes", said)
    assert re.search(r"host's files +untouched", said) and "lead nowhere" in said


def test_a_project_is_copied_there_without_its_excludes_and_brought_back(
    kubernetes: Cluster, there: Make
) -> None:
    project = there()
    assert moat_nb(kubernetes, project, "run", "--", "python3", "-c", LOOK) == (
        "['gone.txt', 'kept.txt', 'moat.yaml', 'node_modules', 'secret.txt', 'src'] []\n"
        "0o1777 True\nnative\n\n"
    )
    script = "echo more >> src/a.py; rm gone.txt; ln -s /etc/passwd link; echo 1 > n"
    assert run(kubernetes, project, script) == ""
    found = moat_nb(kubernetes, project, "diff", "--names").splitlines()
    assert {line.split()[-1] for line in found[1:]} == {"gone.txt", "link", "n", "src/a.py"}
    (project / "kept.txt").write_text("another of the host\n")
    assert run(kubernetes, project, "cat kept.txt n") == "another of the host\n1\n"
    moat_nb(kubernetes, project, "pull", code=1)  # a link that leads out comes when it is named
    assert not (project / "gone.txt").exists() and not (project / "link").is_symlink()
    assert (project / "src/a.py").read_text() == "src/a.py of the host\nmore\n"
    assert (project / "node_modules/host.js").exists()
    moat_nb(kubernetes, project, "discard", "--yes")
    claims = kubernetes.ask("GET", "/api/v1/namespaces/default/persistentvolumeclaims")["items"]
    assert claims == []


def test_nothing_of_the_cluster_is_in_a_pod(kubernetes: Cluster, there: Make) -> None:
    script = "env; ls /var/run/secrets; cat /proc/self/status; ls /proc/1/fd; ls /run/moat"
    said = run(kubernetes, there(), script + "; mount; id -u; : ", code=0)
    assert "KUBERNETES" not in said and "serviceaccount" not in said
    assert re.search(r"CapBnd:\s+0000000000000000", said) and re.search(r"NoNewPrivs:\s+1", said)
    assert re.search(r"Seccomp:\s+2", said) and re.search(r"overlay on / .*\(ro,", said)
    assert re.search(r"on /home/moatuser type tmpfs", said)


def test_a_kernel_that_a_client_starts_and_restarts_is_a_pod(
    kubernetes: Cluster, there: Make
) -> None:
    out, _ = finished(words(kubernetes, "-c", KERNEL), there(), 0)
    assert "'made'" in out and "] False" in out and "10000000 yyy" in out


def test_a_port_of_a_pod_is_reached_here_and_its_volumes_last(
    kubernetes: Cluster, there: Make
) -> None:
    project = there(ports="{web: 3000}", volumes="[{name: data, target: /data}]")
    program = "open('/data/x', 'a').write('1'); print(open('/data/x').read())"
    for expected in ("b'1\\n'", "b'11\\n'"):
        out, _ = finished(words(kubernetes, "-c", BOX, "python3", program), project, 0)
        assert expected in out and "kept.txt of the host" in out


def test_a_database_beside_the_kernel_is_a_container_of_its_pod(
    kubernetes: Cluster, there: Make, services: ServiceImages, run_directory: Path, engine: Engine
) -> None:
    archive = run_directory / "postgres.tar"
    with archive.open("wb") as file:
        file.writelines(engine.client.api.get_image(services.postgres))
    kubernetes.load(archive, CLOSED, f"docker.io/{services.postgres}", POSTGRES)
    archive.unlink()
    given = "{postgres: {env: {POSTGRES_PASSWORD: of-the-file}}}"
    project = there(dependencies="[postgres@17]", services=given)
    assert run(kubernetes, project, f"python3 -c '{ASKS_POSTGRES}'") == "b'N' True\n"
    kept = "{postgres: {volumes: [{name: pg, target: /var/lib/postgresql/data}]}}"
    more = f"kernel: {{runtime: kubernetes, kubernetes: {{grace: 10}}, services: {kept}}}"
    file = project / "moat.yaml"
    file.write_text(re.sub("kernel:.*", more, file.read_text()))
    moat_nb(kubernetes, project, "allow", "--yes")
    for _ in range(2):
        assert run(kubernetes, project, f"python3 -c '{ASKS_POSTGRES}'") == "b'N' True\n"


def test_what_killed_launchers_left_is_cleaned(kubernetes: Cluster, there: Make) -> None:
    with started(words(kubernetes, "-m", "moat_nb"), there()) as launcher:
        for process in reversed(processes_of(launcher)):
            process.kill()  # its reaper too
    assert wait_until(
        lambda: set(kubernetes.pods().values()) <= {"Succeeded", "Failed"}, seconds=60
    )
    assert len(kubernetes.pods()) == 1
    said = moat_nb(kubernetes, there(), "clean", "--runtime", "kubernetes")
    assert "removed pod moat-far-" in said


def test_only_what_the_rules_allow_is_reached_and_by_the_launcher(
    kubernetes: Cluster, there: Make
) -> None:
    served = [*kubernetes.nearby(), sys.executable, "-m", "http.server", "8123"]
    with subprocess.Popen(
        served, cwd=kubernetes.directory / "home", stdout=subprocess.DEVNULL, stderr=-3
    ) as server:
        try:
            project = there(network="{policy: strict, host: [8123]}")
            ask = "python3 -c 'import urllib.request as r; print(r.urlopen(\"%s\").status)'"
            good = ask % "http://localhost:8123/"
            assert wait_until(lambda: run(kubernetes, project, good) == "200\n", seconds=60)
            bad = run(kubernetes, project, ask % "http://example.org/", code=1)
            assert "403" in bad and "network" in bad
        finally:
            server.kill()


def test_a_cluster_that_lets_pods_out_is_refused_unless_the_user_takes_it(
    kubernetes: Cluster, there: Make
) -> None:
    on = f"node_selector: {{kubernetes.io/hostname: {OPEN}}}, tolerations: [{{key: open, operator: "
    on += "Exists}]"
    said = run(kubernetes, there(on), "true", code=125)
    assert PROVED in said and "tcp 10.96.0.1:443" in said
    project = there(f"{on}, network: unenforced", approved=False)
    assert "pods may reach whatever" in run(kubernetes, project, "true", code=125)
    moat_nb(kubernetes, project, "allow", "--yes")
    assert "past the rules" in moat_nb(kubernetes, project, "plan").replace("\n    ", " ")
    assert run(kubernetes, project, "echo ran") == "ran\n"


def test_a_file_that_nobody_approved_makes_nothing(kubernetes: Cluster, there: Make) -> None:
    project = there(approved=False)
    said = run(kubernetes, project, "true", code=125, user="nobody")
    assert "cluster" in said and "allow" in said
    said = moat_nb(kubernetes, project, "plan", user="nobody")
    assert "was not asked" in said.replace("\n    ", " ")


# -------- faults


def test_nothing_is_there_of_a_launcher_that_was_killed(kubernetes: Cluster, there: Make) -> None:
    project = there()
    with started(words(kubernetes, "-m", "moat_nb"), project):
        pass
    assert wait_until(lambda: kubernetes.pods() == {}, seconds=30), kubernetes.pods()
    moat_nb(kubernetes, project, "discard", "--yes")  # nothing holds the copy


def test_a_launcher_that_says_nothing_for_the_grace_has_nothing_there(
    kubernetes: Cluster, there: Make
) -> None:
    with started(words(kubernetes, "-m", "moat_nb"), there()) as launcher:
        stopped = processes_of(launcher)
        for process in stopped:
            process.suspend()
        ended = wait_until(lambda: set(kubernetes.pods().values()) == {"Failed"}, seconds=60)
        for process in stopped:
            process.resume()
        assert ended, kubernetes.pods()
        assert launcher.wait(60) != 0


def test_a_pod_is_listed_and_stopped_by_another_process(kubernetes: Cluster, there: Make) -> None:
    project = there()
    with started(words(kubernetes, "-m", "moat_nb"), project) as launcher:
        assert re.search(r"far +running .* kubernetes ", moat_nb(kubernetes, project, "ps"))
        assert "stopped" in moat_nb(kubernetes, project, "stop", str(project))
        _, err = launcher.communicate(timeout=60)
        assert launcher.returncode != 0 and "the pod was deleted" in err, err


def test_a_program_that_met_the_memory_limit_is_told_of_it(
    kubernetes: Cluster, there: Make
) -> None:
    project = there(container="{memory: 256}")
    said = moat_nb(
        kubernetes, project, "run", "--", "python3", "-c", "x = b'1' * (1 << 30)", code=137
    )
    assert "out of memory" in said and "container.memory" in said


def test_what_the_cluster_refuses_is_told_in_its_words(kubernetes: Cluster, there: Make) -> None:
    said = run(kubernetes, there(base_image="moat-nb-test/none:1"), "true", code=125)
    assert "moat-nb-test/none:1" in said and re.search("ImagePull|ErrImage", said)
    said = run(kubernetes, there(), "true", code=125, user="nobody")
    assert "forbidden" in said and "docs/kubernetes.md has the Role" in said
    assert "has no context other: tests" in run(
        kubernetes, there("context: other", approved=False), "true", code=125
    )


def test_a_quota_that_is_used_up_is_told(kubernetes: Cluster, there: Make) -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "small"}}
    kubernetes.apply(space)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}}
    kubernetes.apply({**quota, "spec": {"hard": {"pods": "0"}}}, "small")
    said = run(kubernetes, there("namespace: small"), "true", code=125, user="admin")
    assert "exceeded quota" in said and "docs/kubernetes.md" not in said


def test_why_no_node_takes_a_pod_is_told_while_it_waits(kubernetes: Cluster, there: Make) -> None:
    project = there("node_selector: {kubernetes.io/hostname: n3}")
    command = words(kubernetes, "-m", "moat_nb", "run", "--", "true")
    with subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True) as launcher:
        assert launcher.stderr is not None
        said = ""
        while "no node takes it" not in said:
            line = launcher.stderr.readline()
            assert line, said
            said += line
        assert "nodes are available" in said
        launcher.terminate()
        launcher.wait(60)


def test_a_pod_that_is_evicted_is_told_of(kubernetes: Cluster, there: Make) -> None:
    with started(words(kubernetes, "-m", "moat_nb"), there()) as launcher:
        (name,) = kubernetes.pods()
        eviction = {"apiVersion": "policy/v1beta1", "kind": "Eviction"}
        place = f"/api/v1/namespaces/default/pods/{name}/eviction"
        meta = {"metadata": {"name": name, "namespace": "default"}}
        kubernetes.ask("POST", place, {**eviction, **meta})
        _, err = launcher.communicate(timeout=60)
    assert launcher.returncode != 0 and "the pod was deleted" in err, err


def test_an_api_server_that_ends_takes_the_sandbox_along_in_words(
    kubernetes: Cluster, there: Make
) -> None:
    with started(words(kubernetes, "-m", "moat_nb"), there()) as launcher:
        kubernetes.end("kube-apiserver")
        _, err = launcher.communicate(timeout=120)
        assert launcher.returncode != 0 and err
    assert wait_until(lambda: kubernetes.ask("GET", "/version"), seconds=60)


def test_a_node_that_is_lost_is_told_of(kubernetes: Cluster, there: Make) -> None:
    with started(words(kubernetes, "-m", "moat_nb"), there()) as launcher:
        kubernetes.end(f"kubelet --config {CLOSED}")
        _, err = launcher.communicate(timeout=120)
        assert launcher.returncode != 0 and err
    assert wait_until(lambda: kubernetes.is_ready(CLOSED), seconds=60)


# -------- the manifest


def test_the_manifest_is_what_plan_prints(kubernetes: Cluster, there: Make) -> None:
    project = there("runtime_class: gvisor, resources: {nvidia.com/gpu: 1}")
    pod = yaml.safe_load(moat_nb(kubernetes, project, "plan", "--manifest"))
    assert pod["spec"]["runtimeClassName"] == "gvisor"
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
