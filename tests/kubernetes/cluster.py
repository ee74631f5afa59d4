"""A Kubernetes of the tests' own: a control plane and two nodes, in namespaces that end with them.

Its programs are built from Debian's own source package; etcd, containerd and runc are Debian's.
Packets of pods leave node ``n1`` and do not leave ``n2``, as where a NetworkPolicy is in force.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.egress.certificates import write_authority
from tests.engine import NAMESPACES, end_namespace, remove_cgroups
from tests.kubernetes.programs import PAUSE
from tests.launchers_elsewhere import in_network_of

HERE = Path(__file__).parent
ADDRESS = "11.0.10.1"
OPEN, CLOSED = NODES = ("n1", "n2")


STARTED_SECONDS = 180

VOLUMES = 60
WIDE = ("PersistentVolume", "StorageClass", "Namespace")
"""Of no namespace."""

SYSCTLS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
"""A kubelet sets them, and they are the machine's."""

CONTAINERD = """\
version = 2
root = "PLACE/root"
state = "PLACE/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "PLACE/containerd.sock"
[ttrpc]
  address = "PLACE/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/PAUSE"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "PLACE/cni"
"""

CNI = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "ptp",
            "ipam": {
                "type": "host-local",
                "subnet": "10.244.NUMBER.0/24",
                "dataDir": "PLACE/addresses",
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    ],
}

KUBELET = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
    "authorization": {"mode": "AlwaysAllow"},
    "cgroupDriver": "cgroupfs",
    "cgroupRoot": "CGROUP",
    "enforceNodeAllocatable": [],
    "failSwapOn": False,
    "healthzPort": 0,
    "imageGCHighThresholdPercent": 100,
    "imageGCLowThresholdPercent": 99,
    "makeIPTablesUtilChains": False,
    "oomScoreAdj": 0,
    "nodeStatusUpdateFrequency": "3s",
    "evictionHard": {"memory.available": "1Mi"},
}

USERS = {"admin": "system:masters", "launcher": "launchers", "nobody": "nobodies"}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    directory: Path
    pid: int
    """Of its first process."""
    tokens: dict[str, str]

    @property
    def inside(self) -> tuple[str, ...]:
        """Words in front of a command that is to be on the cluster's machine."""
        return ("nsenter", "--target", str(self.pid), "--net", "--mount", "--pid", "--")

    def nearby(self, user: str = "launcher") -> list[str]:
        """Words in front of a launcher's."""
        home = self.directory / "home"
        own = {
            "KUBECONFIG": str(self.directory / f"{user}.conf"),
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home),
            "XDG_DATA_HOME": str(home / "data"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "JUPYTER_DATA_DIR": str(home / "jupyter"),
        }
        return in_network_of(self.pid, own)

    def ask(self, method: str, path: str, body: Any = None, kind: str = "json") -> Any:
        """The API itself, as its admin."""
        words = [
            *(*self.inside, "curl", "--silent", "--max-time", "20", "--request", method),
            *("--cacert", f"{self.directory}/hosts-authority.pem"),
            *("--header", f"Authorization: Bearer {self.tokens['admin']}"),
            *("--header", f"Content-Type: application/{kind}"),
            *(("--data-binary", "@-") if body is not None else ()),
            f"https://{ADDRESS}{path}",
        ]
        text = None if body is None else json.dumps(body).encode()
        done = subprocess.run(words, input=text, capture_output=True, check=False)
        return json.loads(done.stdout or "{}")

    def pods(self, namespace: str = "default") -> dict[str, str]:
        """The phase of each, by its name."""
        found = self.ask("GET", f"/api/v1/namespaces/{namespace}/pods").get("items", [])
        return {pod["metadata"]["name"]: pod["status"]["phase"] for pod in found}

    def end(self, program: str) -> None:
        """Kill what runs by these words; what it was is started again."""
        done = subprocess.run([*self.inside, "pkill", "-KILL", "-f", program], check=False)
        assert done.returncode == 0

    def is_ready(self, node: str) -> bool:
        return node in _ready(self)

    def apply(self, words: Any, namespace: str = "default") -> None:
        version, kind = words["apiVersion"], words["kind"]
        place = f"/apis/{version}" if "/" in version else f"/api/{version}"
        plural = f"{kind.lower()}es" if kind.endswith("Class") else f"{kind.lower()}s"
        plural = plural.replace("policys", "policies")
        within = "" if kind in WIDE else f"/namespaces/{namespace}"
        answer = self.ask("POST", f"{place}{within}/{plural}", words)
        assert answer.get("kind") == kind, answer

    def add_volume(self, number: int) -> None:
        """Nobody here makes volumes when they are asked for, so they are there before."""
        place = self.directory / "volumes" / str(number)
        place.mkdir(parents=True)
        place.chmod(0o777)
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": f"volume-{number}"},
                "spec": {
                    "capacity": {"storage": "20Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": "tests",
                    "hostPath": {"path": str(place)},
                },
            }
        )

    def load(self, archive: Path, node: str, name: str = "", more: str = "") -> None:
        """Have a node know the images of a tar, and that called ``name`` as ``more``, too."""
        socket = f"{self.directory}/{node}/containerd.sock"
        ctr = [*self.inside, "ctr", "--namespace", "k8s.io", "--address", socket, "images"]
        subprocess.run([*ctr, "import", str(archive)], check=True, capture_output=True)
        if more:
            subprocess.run([*ctr, "tag", name, more], check=True, capture_output=True)


@contextlib.contextmanager
def cluster(directory: Path, programs: Path) -> Iterator[Cluster]:
    """Root only. ``programs`` is what ``build.sh`` has made."""
    directory.mkdir()
    group = f"moat-nb-tests-{secrets.token_hex(4)}"
    before = {name: Path("/proc/sys", name).read_text() for name in SYSCTLS}
    tokens = {user: secrets.token_hex(16) for user in USERS}
    _write(directory, group, tokens)
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, directory)
        undo.callback(remove_cgroups, group)
        undo.callback(_put_back, before)
        log = undo.enter_context((directory / "log").open("wb"))
        process = subprocess.Popen(
            [*NAMESPACES, "sh", str(HERE / "machine.sh")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "DIRECTORY": str(directory), "PROGRAMS": str(programs)},
        )
        undo.callback(end_namespace, process)
        first = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        _until(lambda: first.read_text().split())
        made = Cluster(directory=directory, pid=int(first.read_text()), tokens=tokens)
        for node in NODES:
            _until((directory / node / "containerd.sock").exists)
            _until_it_loads(made, programs / "pause.tar", node)
        _until(lambda: _ready(made) == set(NODES))
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        _until(lambda: made.ask("GET", account).get("secrets"))
        _furnish(made)
        yield made


def _furnish(made: Cluster) -> None:
    """What an administrator of any cluster has seen to."""
    rights = HERE.parent.parent / "docs" / "kubernetes.yaml"
    for words in yaml.safe_load_all(rights.read_text()):
        made.apply(words)
    made.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": "tests",
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "kubernetes.io/no-provisioner",
        }
    )
    for number in range(VOLUMES):
        made.add_volume(number)
    # Pods come to the closed one, unless they ask for this one.
    taint = {"spec": {"taints": [{"key": "open", "effect": "NoSchedule"}]}}
    made.ask("PATCH", f"/api/v1/nodes/{OPEN}", taint, "strategic-merge-patch+json")


def _ready(made: Cluster) -> set[str]:
    return {
        node["metadata"]["name"]
        for node in made.ask("GET", "/api/v1/nodes").get("items", [])
        for condition in node["status"].get("conditions", ())
        if condition["type"] == "Ready" and condition["status"] == "True"
    }


def _until_it_loads(made: Cluster, archive: Path, node: str) -> None:
    def loads() -> bool:
        with contextlib.suppress(subprocess.CalledProcessError):
            made.load(archive, node)
            return True
        return False

    _until(loads)


def _write(directory: Path, group: str, tokens: dict[str, str]) -> None:
    (directory / "home").mkdir()
    write_authority(directory, [ADDRESS, "10.96.0.1"])
    shutil.copyfile(directory / "hosts.pem", directory / "api.pem")
    shutil.copyfile(directory / "hosts.pem", directory / "accounts.pem")
    lines = (f'{tokens[user]},{user},{user},"{group}"' for user, group in USERS.items())
    (directory / "tokens.csv").write_text("\n".join(lines) + "\n")
    for user in USERS:
        (directory / f"{user}.conf").write_text(json.dumps(_config(directory, tokens[user])))
    for number, node in enumerate(NODES, 1):
        place = directory / node
        (place / "cni").mkdir(parents=True)
        own = {"PLACE": str(place), "NUMBER": str(number), "PAUSE": PAUSE}
        own["CGROUP"] = f"/{group}/{node}"
        files = {
            "containerd.toml": CONTAINERD,
            "cni/pods.conflist": json.dumps(CNI),
            "kubelet.yaml": json.dumps(KUBELET),
        }
        for name, text in files.items():
            for word, value in own.items():
                text = text.replace(word, value)  # noqa: PLW2901
            (place / name).write_text(text)
        for controller in Path("/sys/fs/cgroup").iterdir():
            if controller.is_dir() and not controller.is_symlink():
                (controller / group / node).mkdir(parents=True)


def _config(directory: Path, token: str) -> Any:
    named = {"name": "tests"}
    authority = str(directory / "hosts-authority.pem")
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tests",
        "clusters": [
            {
                **named,
                "cluster": {
                    "server": f"https://{ADDRESS}",
                    "certificate-authority": authority,
                },
            }
        ],
        "users": [{**named, "user": {"token": token}}],
        "contexts": [{**named, "context": {"cluster": "tests", "user": "tests"}}],
    }


def _put_back(before: dict[str, str]) -> None:
    for name, value in before.items():
        if Path("/proc/sys", name).read_text() != value:
            Path("/proc/sys", name).write_text(value)


def _until(done: Any) -> None:
    give_up = time.monotonic() + STARTED_SECONDS
    while not done():
        assert time.monotonic() < give_up
        time.sleep(0.1)
