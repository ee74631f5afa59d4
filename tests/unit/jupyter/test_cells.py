"""What of a kernel's messages is passed on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import zmq

from moat_nb.errors import SandboxGone
from moat_nb.jupyter import cells
from moat_nb.jupyter.cells import Options, _Conversation, json_without_halves
from moat_nb.jupyter.output.safe import sanitise_mimebundle


def shown(data: dict[str, Any], metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    return sanitise_mimebundle(data, metadata or {})[0]


@pytest.mark.parametrize("kind", ["text/html", "text/markdown", "image/svg+xml", "text/latex"])
def test_half_a_character_is_shown_as_one_that_is_missing(kind: str) -> None:
    content = json_without_halves({kind: "a\ud800b", "\udfff": ["\ud800", "\U0001f600"]})
    assert content == {kind: "a\ufffdb", "\ufffd": ["\ufffd", "\U0001f600"]}
    assert shown(content)


@pytest.fixture
def silent() -> Iterator[_Conversation]:
    """With a kernel that has replied, lives, and says nothing more: what it shows does not end."""
    with zmq.Context() as context:
        one, two, three = (context.socket(zmq.PAIR) for _ in range(3))
        client = SimpleNamespace(
            iopub_channel=SimpleNamespace(socket=one),
            shell_channel=SimpleNamespace(socket=two),
            stdin_channel=SimpleNamespace(socket=three),
            execute=lambda code, **options: "id",
            stop_channels=lambda: None,
        )
        kernel: Any = SimpleNamespace(
            kc=client,
            client=lambda: client,
            interrupt_kernel=lambda: None,
            why_ended=lambda: None,
            sandbox=SimpleNamespace(gone=None),
        )
        made = _Conversation(kernel, "1", lambda *message: None, Options())
        made._reply, made._heard = {"status": "ok"}, -math.inf
        yield made
        for socket in (one, two, three):
            socket.close()


@pytest.mark.parametrize(("seconds", "longest"), [(0.1, 5.0), (8.0, 8.0), (None, 60.0)])
def test_a_kernel_that_does_not_answer_gets_no_more_time_than_its_cell_had(
    silent: _Conversation,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float | None,
    longest: float,
) -> None:
    given: list[float] = []
    monkeypatch.setattr(cells, "connect", lambda kernel, timeout: given.append(timeout))
    assert silent.follow(seconds)
    assert given == [pytest.approx(longest, abs=0.5)]


@pytest.mark.parametrize(
    ("gone", "why", "stopped"),
    [(None, None, False), (None, "the kernel ended", True), ("the sandbox ended", None, True)],
)
def test_an_interrupted_cell_has_stopped_where_its_kernel_has_ended_and_not_where_that_is_silent(
    silent: _Conversation,
    monkeypatch: pytest.MonkeyPatch,
    gone: str | None,
    why: str | None,
    stopped: bool,
) -> None:
    def refuse(kernel: Any, timeout: float) -> None:
        raise SandboxGone("the kernel does not answer")

    monkeypatch.setattr(cells, "connect", refuse)
    kernel: Any = silent._kernel
    kernel.sandbox.gone, kernel.why_ended = gone, lambda: why
    assert silent.interrupt() is stopped
