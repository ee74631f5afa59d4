"""A pod whose launcher is another process: is it there, and its end. Run as a program it ends one
whose launcher has died."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from moat_nb.config.model import ClusterOptions
from moat_nb.errors import MoatError, StartError
from moat_nb.host.run_directory import SandboxState, is_alive
from moat_nb.runtimes.kubernetes.cluster import Cluster
from moat_nb.runtimes.kubernetes.render import OWNER

__all__ = ["NOTE", "abandoned", "deletion", "end", "is_running", "note_of", "owner_of"]

NOTE = "pod"
"""A start's note of what it made where, beside the sockets' directory."""

GIVE_UP_SECONDS = 300.0
"""For an API that is away for a while."""


def owner_of() -> str:
    """A label's value: this user of this machine."""
    text = f"{os.uname().nodename}\n{os.getuid()}\n{Path.home()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def note_of(cluster: Cluster, pod: str) -> str:
    words = {"context": cluster.context, "namespace": cluster.namespace, "pod": pod}
    return json.dumps(words)


def deletion(note: str) -> list[str]:
    """A command that removes a pod whose launcher has died."""
    return [sys.executable, "-m", "moat_nb.runtimes.kubernetes.stop", note]


def is_running(state: SandboxState, sockets: Path, environ: Mapping[str, str]) -> bool:
    found = _noted(sockets, environ)
    if found is None:
        return False
    cluster, name = found
    try:
        pod = cluster.pod(name)
    except MoatError:
        return True  # only its launcher can tell
    return pod is not None and pod.get("status", {}).get("phase") in ("Pending", "Running")


def end(state: SandboxState, sockets: Path, environ: Mapping[str, str]) -> bool:
    """Delete the pod; false when it had ended. Raises MoatError."""
    found = _noted(sockets, environ)
    if found is None or not is_running(state, sockets, environ):
        return False
    cluster, name = found
    return cluster.delete_pod(name, at_once=True)


def abandoned(cluster: Cluster) -> Iterator[str]:
    """The pods of this user of this machine that have ended, or whose launcher is dead."""
    for pod in cluster.pods(f"{OWNER}={owner_of()}"):
        meta = pod["metadata"]
        launcher = meta.get("annotations", {}).get(OWNER, "")
        ended = pod.get("status", {}).get("phase") in ("Failed", "Succeeded")
        if ended or (launcher and not is_alive(launcher)):
            yield str(meta["name"])


def _noted(sockets: Path, environ: Mapping[str, str]) -> tuple[Cluster, str] | None:
    try:
        return _of(json.loads((sockets.parent / NOTE).read_text()), environ)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _of(note: Mapping[str, str], environ: Mapping[str, str]) -> tuple[Cluster, str]:
    context, namespace, pod = (str(note[name]) for name in ("context", "namespace", "pod"))
    return Cluster(ClusterOptions(context=context, namespace=namespace), environ), pod


def main(note: str) -> None:
    cluster, name = _of(json.loads(note), os.environ)
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while True:
        try:
            cluster.delete_pod(name, at_once=True)
            return
        except StartError as error:
            if time.monotonic() > give_up:
                sys.exit(str(error))
            time.sleep(1)
        except MoatError as error:  # there is no way to it, and no time brings one
            sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
