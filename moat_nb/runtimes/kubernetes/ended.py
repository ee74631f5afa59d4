"""What a pod's status says: why it does not run yet, and how it ended. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moat_nb.text.terminal import one_line

__all__ = ["has_ended", "how_it_ended", "is_running", "why_it_waits"]

HOPELESS = frozenset(
    {
        *("ErrImageNeverPull", "InvalidImageName", "ImagePullBackOff"),
        *("CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
    }
)
"""What no waiting mends; the first failure of a pull may be a registry's bad moment."""

STARTING = frozenset({"ContainerCreating", "PodInitializing"})
"""What every container waits for."""

MOST = 1000
"""Characters of one reason."""


def has_ended(pod: dict[str, Any], container: str) -> bool:
    """Whether that container of it has, or all of it."""
    phase = pod.get("status", {}).get("phase")
    return phase in ("Failed", "Succeeded") or "terminated" in _state(pod, container)


def is_running(pod: dict[str, Any], container: str) -> bool:
    return "running" in _state(pod, container)


def _state(pod: dict[str, Any], container: str) -> dict[str, Any]:
    states = {each["name"]: each for each in pod.get("status", {}).get("containerStatuses", ())}
    found: dict[str, Any] = states.get(container, {}).get("state", {})
    return found


def why_it_waits(pod: dict[str, Any]) -> tuple[str, bool]:
    """In words, and whether it will never start; empty where all goes as it should."""
    status = pod.get("status", {})
    for each in status.get("containerStatuses", ()):
        waiting = each.get("state", {}).get("waiting", {})
        reason = str(waiting.get("reason", ""))
        if reason and reason not in STARTING:
            image = f" ({each.get('image', '')})" if "Image" in reason else ""
            return _sentence(reason + image, waiting.get("message")), reason in HOPELESS
    for condition in status.get("conditions", ()):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _sentence("no node takes it", condition.get("message")), False
    return "", False


def how_it_ended(pod: dict[str, Any]) -> str:
    """Why a pod's containers run no more; empty where nothing tells."""
    return "; ".join(dict.fromkeys(_ends(pod)))


def _ends(pod: dict[str, Any]) -> Iterator[str]:
    status = pod.get("status", {})
    if reason := status.get("reason"):
        yield _sentence(f"the pod ended: {reason}", status.get("message"))
    if "deletionTimestamp" in pod.get("metadata", {}) and not reason:
        yield "the pod was deleted"
    for each in status.get("containerStatuses", ()):
        ended = each.get("state", {}).get("terminated")
        if not ended:
            continue
        if ended.get("reason") == "OOMKilled":
            yield f"{each['name']}: out of memory (OOMKilled), by the limit of container.memory"
        elif ended.get("exitCode"):
            # What it wrote of its end is the sandbox's own word.
            yield one_line(f"{each['name']}: exit code {ended['exitCode']}")


def _sentence(what: str, more: Any) -> str:
    words = f"{what}: {more}" if more else what
    return one_line(" ".join(words[:MOST].split()))
