"""What `moat-nb doctor` says of engines, versions and the machine."""

import json
import os
import subprocess
import sys

import pytest

from moat_nb.cli.doctor import Finding, _cluster, describe_engine, exit_code, findings_as_text
from moat_nb.runtimes.base import UNLIMITED_FILES

NOWHERE = {**os.environ, "DOCKER_HOST": "unix:///nonexistent/docker.sock"}
# The relevant part of what the engines answered on the machines of engines.md.
DEBIAN_12 = (
    {
        "Version": "20.10.24+dfsg1",
        "ApiVersion": "1.41",
        "Components": [
            {"Name": "Engine", "Version": "20.10.24+dfsg1"},
            {"Name": "containerd", "Version": "1.6.20~ds1"},
            {"Name": "runc", "Version": "1.1.5+ds1"},
            {"Name": "docker-init", "Version": "0.19.0"},
        ],
    },
    {
        "SecurityOptions": ["name=seccomp,profile=default"],
        "CgroupVersion": "1",
        "CgroupDriver": "cgroupfs",
        "MemoryLimit": True,
        "SwapLimit": True,
        "PidsLimit": True,
        "CpuCfsQuota": True,
        "Runtimes": {"runc": {"path": "runc"}},
    },
)
ROOTLESS_PODMAN = (
    {
        "Version": "5.4.2",
        "ApiVersion": "1.41",
        "Components": [
            {"Name": "Podman Engine", "Version": "5.4.2"},
            {"Name": "OCI Runtime (crun)", "Version": "crun version 1.21\ncommit: 10269840"},
        ],
    },
    {
        "SecurityOptions": ["name=seccomp,profile=default", "name=rootless", "name=apparmor"],
        "CgroupVersion": "2",
        "CgroupDriver": "systemd",
        "Runtimes": {"crun": {"path": "crun"}, "runsc": {"path": "runsc"}},
    },
)


def engine(name, answers):
    return [(f.subject, f.verdict, f.detail) for f in describe_engine(name, *answers)]


def test_an_old_docker_engine_is_described_with_what_it_is_open_to():
    assert engine("docker", DEBIAN_12) == [
        ("engine", "warn", "20.10.24+dfsg1, API 1.41: open to CVE-2024-29018 by its number"),
        (
            "runc",
            "warn",
            "1.1.5: open to CVE-2025-31133, CVE-2025-52565, CVE-2025-52881 by its number",
        ),
        ("rootless", "ok", "no: who may use it is as good as root"),
        ("seccomp", "ok", "seccomp, profile=default"),
        ("AppArmor", "ok", "not in use"),
        ("limits", "ok", "cgroup v1, cgroupfs"),
        ("gVisor", "ok", "not installed (optional)"),
    ]


def test_a_rootless_podman_is_described_and_dockers_advisories_are_not_its():
    assert engine("podman", ROOTLESS_PODMAN) == [
        ("engine", "ok", "5.4.2, API 1.41"),
        ("crun", "ok", "1.21.0"),
        ("rootless", "ok", "rootless: its root is you"),
        ("seccomp", "ok", "seccomp, profile=default"),
        ("AppArmor", "ok", "yes"),
        ("limits", "ok", f"cgroup v2, systemd; {UNLIMITED_FILES}"),
        ("gVisor", "ok", f"kernel.isolation: gvisor can be used; with it {UNLIMITED_FILES}"),
    ]


@pytest.mark.parametrize("options", [[], ["name=seccomp,profile=unconfined"]])
def test_an_engine_without_a_seccomp_filter_is_warned_of(options):
    found = describe_engine("docker", {}, {"SecurityOptions": options})
    (seccomp,) = (f for f in found if f.subject == "seccomp")
    assert seccomp.verdict == "warn"
    assert "every system call is open" in seccomp.detail


def test_an_engine_that_cannot_limit_something_is_warned_of_by_its_name():
    found = describe_engine("docker", {}, {"PidsLimit": False, "MemoryLimit": True})
    (limits,) = (f for f in found if f.subject == "limits")
    assert limits.verdict == "warn"
    assert limits.detail.endswith("it cannot limit processes")


def test_a_cluster_is_named_where_a_kubeconfig_is_and_not_asked(tmp_path):
    (tmp_path / "config").write_text(
        "current-context: c\nclusters: [{name: x, cluster: {server: 'http://127.0.0.1:9'}}]\n"
        "users: []\ncontexts: [{name: c, context: {cluster: x, user: u, namespace: n}}]\n"
    )
    environ = {"KUBECONFIG": str(tmp_path / "config"), "HOME": str(tmp_path)}
    (found,) = _cluster(environ)
    assert found.detail == "Kubernetes (c, namespace n); not asked" and found.verdict == "ok"
    assert [*_cluster({"HOME": str(tmp_path)})] == []
    (tmp_path / "config").write_text("[")
    (broken,) = _cluster(environ)
    assert broken.verdict == "no"


def finding(group, verdict):
    return Finding(group=group, subject="s", verdict=verdict, detail="d")


def test_the_exit_code_is_0_when_any_runtime_is_usable_and_1_when_none_is():
    assert exit_code([finding("runtimes", "no"), finding("runtimes", "ok")]) == 0
    assert exit_code([finding("runtimes", "no"), finding("machine", "ok")]) == 1


def test_the_text_groups_findings_and_puts_the_mend_below():
    mended = Finding(group="docker", subject="runc", verdict="warn", detail="old", hint="update")
    assert findings_as_text([finding("runtimes", "ok"), mended]) == (
        "runtimes\n"
        "  s                ok    d\n"
        "\n"
        "docker\n"
        "  runc             warn  old\n"
        "                         > update"
    )


def doctor(*words):
    argv = [sys.executable, "-m", "moat_nb", "doctor", *words]
    return subprocess.run(
        argv, env=NOWHERE, capture_output=True, text=True, timeout=300, check=False
    )


def test_every_runtime_is_named_with_its_mend_where_it_cannot_be_used():
    done = doctor("--json")
    found = {f["subject"]: f for f in json.loads(done.stdout) if f["group"] == "runtimes"}
    assert list(found) == ["docker", "podman", "bubblewrap", "apple"]
    assert found["docker"]["verdict"] == "no"
    assert "/nonexistent/docker.sock: nothing answers there" in found["docker"]["detail"]
    assert all(bool(f["hint"]) is (f["verdict"] == "no") for f in found.values())
    assert done.returncode == (0 if any(f["verdict"] == "ok" for f in found.values()) else 1)


def test_the_machine_and_jupyter_are_looked_at():
    found = {f["subject"]: f for f in json.loads(doctor("--json").stdout)}
    assert found["sockets"]["detail"].endswith("of the 107 bytes of a path are left")
    assert found["provisioner"]["verdict"] == "ok"
    assert found["cgroups"]["detail"][:2] in ("v1", "v2")
    assert {"user namespaces", "jupyter_client"} <= set(found)


def test_the_table_fits_into_80_columns():
    lines = doctor().stdout.splitlines()
    assert lines[0] == "runtimes"
    assert [line for line in lines if len(line) > 80 and " " in line[25:].strip()] == []
