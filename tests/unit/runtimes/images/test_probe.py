"""What an image's python3 says of itself, which may be a stranger's lie."""

from __future__ import annotations

import json

import pytest

from moat_nb.errors import ImageError
from moat_nb.runtimes.images.probe import read_probe
from tests.unit.runtimes.images.test_wheels import FACTS, target


def test_the_probes_answer_is_read_as_what_a_wheel_must_fit() -> None:
    found = target(ipykernel="6.29.5")
    assert (found.abi, found.python, found.libc_version) == ("cp310", "3.10", (2, 36))
    assert str(found) == "Python 3.10 on x86_64 with glibc 2.36"
    assert found.ipykernel == "6.29.5"


STRANGE = (
    "[]",
    "null",
    "{}",
    "[" * 60_000,
    json.dumps({**FACTS, "libc_version": "2.1000000000"}),
    json.dumps({**FACTS, "libc_version": [2, 36]}),
    json.dumps({**FACTS, "markers": []}),
    json.dumps({**FACTS, "markers": {**FACTS["markers"], "platform_machine": {}}}),  # type: ignore[dict-item]
    json.dumps({**FACTS, "abiflags": "\x1b[2J"}),
    json.dumps({**FACTS, "ipykernel": 6}),
)


@pytest.mark.parametrize("answer", STRANGE, ids=range(len(STRANGE)))
def test_a_probe_that_lies_is_refused(answer: str) -> None:
    with pytest.raises(ImageError, match="base:1: its python3 does not say"):
        read_probe("base:1", answer)


@pytest.mark.parametrize("answer", ["", "Segmentation fault\n", "{"])
def test_a_probe_that_says_nothing_useful_is_shown(answer: str) -> None:
    with pytest.raises(ImageError, match="base:1: its python3 does not say") as caught:
        read_probe("base:1", answer)
    assert str(caught.value).endswith(f"it said:\n{answer.rstrip()}")


def test_an_interpreter_that_is_not_cpython_is_refused_with_a_way_out() -> None:
    markers = {
        **FACTS["markers"],
        "implementation_name": "pypy",
        "platform_python_implementation": "PyPy",
    }
    with pytest.raises(ImageError, match="its python3 is PyPy on glibc; use a base_image that"):
        target(markers=markers)
