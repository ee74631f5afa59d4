"""``python -m tests.kubernetes.measure PROGRAMS IMAGE.tar TAG``: what pods cost, beside what the
same cluster takes for no more than ``true``. As root; for docs/scale.md."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from tests.kubernetes.cluster import CLOSED, cluster

TURNS, AT_ONCE, COPIED_MB = 5, 40, 100

CHILD = "--child"


def project(place: Path, name: str, image: str, size: int = 0) -> Path:
    made = place / name
    made.mkdir(parents=True)
    kernel = "kernel: {runtime: kubernetes, kubernetes: {grace: 60, resources: {cpu: 10m}}}"
    limits = "container: {memory: 512}"
    text = f"name: {name}\nbase_image: {image}\nnetwork: {{policy: none}}\n{kernel}\n{limits}\n"
    (made / "moat.yaml").write_text(text)
    if size:
        (made / "data").write_bytes(os.urandom(size << 20))
    for path in (made, *made.iterdir()):
        os.chown(path, 1000, 1000)
    return made


class Timed:
    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def __call__(self, name: str, begun: float) -> None:
        self.seconds.setdefault(name, []).append(time.monotonic() - begun)

    def show(self) -> None:
        for name, values in self.seconds.items():
            print(f"{name:44} {median(values):8.3f} s  {[round(v, 3) for v in values]}")


def bare_pod(api: Any, image: str) -> str:
    """The name of one that runs and does nothing."""
    name = f"floor-{os.urandom(3).hex()}"
    container = {"name": "c", "image": image, "command": ["sleep", "600"]}
    spec = {"restartPolicy": "Never", "containers": [container]}
    words = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    api.until_it_runs(api.make_pod(words), "c")
    return name


def floor(timed: Timed, api: Any, image: str) -> None:
    """A pod that runs ``true`` for who made it."""
    from moat_nb.runtimes.kubernetes.stream import PodStream

    begun = time.monotonic()
    name = bare_pod(api, image)
    stream = PodStream(api.run(name, "c", ("true",)), b"", lambda at_once: None, str)
    while stream.receive():
        pass
    timed("floor: a pod, and true by exec", begun)
    stream.kill()
    stream = PodStream(api.run(name, "c", ("cat",)), b"", lambda at_once: None, str)
    for _ in range(50):
        begun = time.monotonic()
        stream.send(b"x" * 110)
        stream.receive()
        timed("floor: round trip of 110 bytes by exec", begun)
    stream.kill()
    api.delete_pod(name, at_once=True)


def sandboxed(timed: Timed, directory: Path) -> None:
    from moat_nb import Sandbox
    from moat_nb.jupyter.kernel_manager import Kernel

    begun = time.monotonic()
    with Sandbox.launch(directory, approve=lambda demands: True, pooled=False) as box:
        timed("sandbox: launch (with its copy)", begun)
        with Kernel.launch(box) as kernel:
            kernel.kc.execute_interactive("1", timeout=60)
            timed("sandbox: launch to the first answer", begun)
            for _ in range(50):
                begun = time.monotonic()
                kernel.kc.execute_interactive("1", timeout=60)
                timed("sandbox: round trip of a cell", begun)
            begun = time.monotonic()
            kernel.kc.execute_interactive("print('x' * 10**7)", timeout=60, output_hook=len)
            timed("sandbox: 10 MB of output", begun)
        begun = time.monotonic()
    timed("sandbox: stop", begun)


def copied(timed: Timed, api: Any, directory: Path, place: Path, image: str, config: str) -> None:
    from moat_nb import Sandbox

    begun = time.monotonic()
    with Sandbox.launch(directory, approve=lambda demands: True, pooled=False):
        timed(f"sandbox: launch with {COPIED_MB} MB to copy", begun)
    begun = time.monotonic()
    with Sandbox.launch(directory, approve=lambda demands: True, pooled=False):
        timed(f"sandbox: launch, {COPIED_MB} MB there already", begun)
    if shutil.which("kubectl") is None:
        print("kubectl is not here, so nothing is copied by it")
        return
    name = bare_pod(api, image)
    for words in ((f"{directory}/data", f"{name}:/tmp/x"), (f"{name}:/tmp/x", f"{place}/back")):
        begun = time.monotonic()
        subprocess.run(
            ["kubectl", "--kubeconfig", config, "cp", *words], check=True, capture_output=True
        )
        way = "back" if words[1].startswith("/") else "there"
        timed(f"floor: kubectl cp of {COPIED_MB} MB, {way}", begun)
    api.delete_pod(name, at_once=True)


def at_once(place: Path, image: str) -> None:
    from moat_nb import Sandbox
    from moat_nb.runtimes.kubernetes.cluster import Cluster as Api

    asked: list[str] = []
    ask = Api._asked

    def counted(self: Any, question: Any) -> Any:
        asked.append(question.__qualname__)
        return ask(self, question)

    Api._asked = counted  # type: ignore[method-assign]
    directories = [project(place, f"p{number}", image) for number in range(AT_ONCE)]
    warm = Sandbox.launch(directories[0], approve=lambda demands: True, pooled=False)
    calls = len(asked)
    warm.stop()
    print(f"asked of the API by the first start, with its copy: {calls}")
    asked.clear()
    before, boxes, failed = psutil.Process().memory_info().rss, [], []

    def launch(directory: Path) -> None:
        try:
            boxes.append(Sandbox.launch(directory, approve=lambda demands: True, pooled=False))
        except Exception as error:
            failed.append(str(error)[:300])

    begun = time.monotonic()
    threads = [threading.Thread(target=launch, args=(each,)) for each in directories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begun
    grown = (psutil.Process().memory_info().rss - before) / (1 << 20)
    print(f"{len(boxes)} of {AT_ONCE} at once in {seconds:.1f} s; failed: {failed[:3]}")
    print(f"the launcher grew by {grown / max(1, len(boxes)):.2f} MiB each; asked {len(asked)}")
    asked.clear()
    begun = time.monotonic()
    enders = [threading.Thread(target=box.stop) for box in boxes]
    for thread in enders:
        thread.start()
    for thread in enders:
        thread.join()
    print(f"stopped in {time.monotonic() - begun:.1f} s; asked {len(asked)}")


def child(place: Path, image: str, config: str) -> None:
    from moat_nb.config.model import ClusterOptions
    from moat_nb.runtimes.kubernetes.cluster import Cluster as Api

    timed, api = Timed(), Api.of(ClusterOptions(), os.environ)
    directory = project(place, "small", image)
    for _ in range(TURNS):
        floor(timed, api, image)
        sandboxed(timed, directory)
    copied(timed, api, project(place, "large", image, COPIED_MB), place, image, config)
    timed.show()
    at_once(place, image)


def main(programs: str, archive: str, image: str) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        Path(place).chmod(0o711)
        with cluster(Path(place) / "kubernetes", Path(programs)) as made:
            made.load(Path(archive), CLOSED)
            words = [*made.nearby("admin"), sys.executable, "-m", __spec__.name, CHILD]
            config = str(made.directory / "admin.conf")
            subprocess.run([*words, place, image, config], check=True)
            print(json.dumps(made.pods()))


if __name__ == "__main__":
    if sys.argv[1] == CHILD:
        child(Path(sys.argv[2]), *sys.argv[3:])
    else:
        main(*sys.argv[1:])
