"""What a sandbox says of its memory and CPU is checked before it is believed."""

from __future__ import annotations

from typing import Any

import pytest

from moat_nb.sandbox.usage import Sample, Usage


def message(samples: Any, **fields: Any) -> dict[str, Any]:
    return {"memory": None, "kernels": [{"id": "1", "samples": samples}], **fields}


def test_cpu_is_what_was_used_between_two_samples() -> None:
    rows = [[4000, 100, 0], [2000, 200, 1000], [0, 300, 5000]]
    assert Usage.parse(message(rows, memory=7)) == Usage(
        memory=7,
        kernels={
            "1": (
                Sample(age=4.0, memory=100, cpu=None),
                Sample(age=2.0, memory=200, cpu=0.5),
                Sample(age=0.0, memory=300, cpu=2.0),
            )
        },
    )


def test_cpu_time_that_went_with_a_process_that_nobody_waited_for_is_no_negative_use() -> None:
    found = Usage.parse(message([[2000, 1, 900], [0, 1, 100]]))
    assert [one.cpu for one in found.kernels["1"]] == [None, 0]


def test_a_sandbox_without_kernels_and_without_a_cgroup_has_little_to_say() -> None:
    assert Usage.parse({"memory": None, "kernels": []}) == Usage()


@pytest.mark.parametrize(
    "hostile",
    [
        {},
        {"memory": None},
        {"memory": -1, "kernels": []},
        {"memory": "1", "kernels": []},
        {"memory": 1.5, "kernels": []},
        {"memory": None, "kernels": {}},
        {"memory": None, "kernels": [{}] * 5000},
        {"memory": None, "kernels": ["x"]},
        {"memory": None, "kernels": [{"id": 1, "samples": [[0, 0, 0]]}]},
        message(None),
        message([]),
        message({}),
        message([[1, 0, 0]] * 61),
        message([3]),
        message([[1, 2]]),
        message([[1, 2, 3, 4]]),
        message([[0, 1 << 64, 0]]),
        message([[0, True, 0]]),
        message([[0, 0, float("inf")]]),
        message([[-1, 0, 0]]),
        message([[1, 0, 0], [1, 0, 0]]),
        message([[1, 0, 0], [2, 0, 0]]),
    ],
)
def test_what_no_guest_of_ours_sends_is_refused(hostile: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Usage.parse(hostile)
