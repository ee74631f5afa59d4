"""What a pod's status says, in words."""

from __future__ import annotations

from typing import Any

import pytest

from moat_nb.runtimes.kubernetes.ended import how_it_ended, why_it_waits


def of(state: dict[str, Any], **status: Any) -> dict[str, Any]:
    container = {"name": "kernel", "image": "i:1", "state": state}
    return {"metadata": {}, "status": {"containerStatuses": [container], **status}}


@pytest.mark.parametrize(
    ("pod", "words", "hopeless"),
    [
        ({}, "", False),
        (of({"waiting": {"reason": "ContainerCreating"}}), "", False),
        (
            of({"waiting": {"reason": "ErrImagePull", "message": "not\nfound"}}),
            "ErrImagePull (i:1): not found",
            False,
        ),
        (of({"waiting": {"reason": "ImagePullBackOff"}}), "ImagePullBackOff (i:1)", True),
        (
            of(
                {},
                conditions=[
                    {"type": "PodScheduled", "status": "False", "message": "0/2 nodes \x1b[1m"}
                ],
            ),
            "no node takes it: 0/2 nodes \ufffd[1m",
            False,
        ),
    ],
)
def test_what_it_waits_for(pod: dict[str, Any], words: str, hopeless: bool) -> None:
    assert why_it_waits(pod) == (words, hopeless)


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        ({}, ""),
        (of({"terminated": {"exitCode": 0, "reason": "Completed"}}), ""),
        (of({"terminated": {"exitCode": 4}}), "kernel: exit code 4"),
        (
            of({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
            "kernel: out of memory (OOMKilled), by the limit of container.memory",
        ),
        (
            of({}, reason="Evicted", message="low on memory"),
            "the pod ended: Evicted: low on memory",
        ),
        ({"metadata": {"deletionTimestamp": "now"}, "status": {}}, "the pod was deleted"),
    ],
)
def test_how_it_ended(pod: dict[str, Any], words: str) -> None:
    assert how_it_ended(pod) == words
