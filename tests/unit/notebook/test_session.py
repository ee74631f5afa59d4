"""A notebook's session: which kernel a cell gets, while that is replaced by another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from moat_nb.errors import ConfigError, SandboxGone, StartError
from moat_nb.jupyter.output.drawings import PLOTLY
from moat_nb.notebook import session
from moat_nb.notebook.session import Session, Sessions

NEVER = threading.Event()


class FakeKernel:
    has_kernel = True

    def __init__(self) -> None:
        self.killed, self.closed = threading.Event(), False

    def signal_kernel(self, number: int) -> None:
        self.killed.set()

    def close(self) -> None:
        assert not self.closed
        self.closed = True

    def ended(self) -> None:
        return None


class FakeSandbox:
    timed_out = False
    gone: str | None = None
    wrong_file: Exception | None = None
    wrong_start: Exception | None = None
    wrong_stop: Exception | None = None

    def begin_cell(self) -> None:
        pass

    def stop(self) -> None:
        if self.wrong_stop is not None:
            raise self.wrong_stop
        self.gone = "it was stopped"

    def reset(self, *, before: Callable[[], None]) -> None:
        if self.wrong_file is not None:
            raise self.wrong_file
        before()
        self.stop()
        if self.wrong_start is not None:
            raise self.wrong_start
        self.gone = None


@pytest.fixture
def sandbox() -> Any:
    return FakeSandbox()


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the next starts give: a kernel, or an error."""
    made: list[Any] = []

    def start(sandbox: Any) -> Any:
        found = made.pop(0) if made else FakeKernel()
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(session, "_start_kernel", start)
    return made


def test_a_reset_of_a_wrong_file_leaves_the_kernel_as_it_is(sandbox: Any, kernels: Any) -> None:
    made = Session("x", sandbox)
    with made.my_turn(NEVER) as kernel:
        pass
    sandbox.wrong_file = ConfigError([])
    with pytest.raises(ConfigError):
        made.reset()
    with made.my_turn(NEVER) as after:
        assert after is kernel and not kernel.killed.is_set() and not kernel.closed
    assert made.state == "idle"


def test_after_a_reset_that_fails_cells_say_that_the_sandbox_is_gone(
    sandbox: Any, kernels: Any
) -> None:
    made = Session("x", sandbox)
    sandbox.wrong_start = StartError("no")
    with pytest.raises(StartError):
        made.reset()
    with pytest.raises(SandboxGone, match="`%moat reset` starts it"), made.my_turn(NEVER):
        pass
    assert made.state == "gone"
    with pytest.raises(SandboxGone, match="`%moat reset` starts it"):
        made.restart()
    sandbox.wrong_start = None
    made.reset()
    assert made.state == "idle"


@pytest.mark.parametrize("how", ["restart", "reset"])
def test_another_kernel_is_asked_for_its_own_scripts(sandbox: Any, kernels: Any, how: str) -> None:
    made, figure = Session("x", sandbox), {"data": {PLOTLY: {"data": []}}}
    made.drawings.shown(figure)
    made.drawings.give("plotly", "var x;")
    made.drawings.shown(figure)
    assert made.drawings.wanted() is None
    getattr(made, how)()
    made.drawings.shown(figure)
    assert made.drawings.wanted() is not None


@pytest.mark.parametrize("how", ["restart", "reset"])
def test_after_a_kernel_that_does_not_start_cells_say_what_to_do(
    sandbox: Any, kernels: Any, how: str
) -> None:
    made = Session("x", sandbox)
    kernels.append(SandboxGone("the kernel does not answer"))
    with pytest.raises(SandboxGone, match="does not answer"):
        getattr(made, how)()
    with pytest.raises(SandboxGone, match="`%moat restart` starts one"), made.my_turn(NEVER):
        pass
    assert made.state == "no kernel"
    made.restart()
    assert made.state == "idle"
    made.stop()
    assert made.state == "gone"


@pytest.mark.parametrize("how", ["restart", "reset"])
def test_a_cell_that_waits_runs_in_the_new_kernel(sandbox: Any, kernels: Any, how: str) -> None:
    made = Session("x", sandbox)
    begun = threading.Event()
    ran_in: list[Any] = []

    def running() -> None:
        with made.my_turn(NEVER) as kernel:
            begun.set()
            kernel.killed.wait()  # type: ignore[attr-defined]

    def waiting() -> None:
        with made.my_turn(NEVER) as kernel:
            ran_in.append(kernel)

    first, *others = [threading.Thread(target=running)] + [
        threading.Thread(target=waiting) for _ in range(8)
    ]
    first.start()
    begun.wait()
    for other in others:
        other.start()
    getattr(made, how)()
    for thread in (first, *others):
        thread.join()
    assert len(ran_in) == len(others)
    with made.my_turn(NEVER) as kernel:
        assert all(found is kernel for found in ran_in)
    assert not kernel.closed  # type: ignore[attr-defined]


def test_one_that_cannot_be_stopped_keeps_none_of_the_others(kernels: Any) -> None:
    sessions, told = Sessions(), []
    for name in "abc":
        sessions._known[name] = Session(name, FakeSandbox())  # type: ignore[arg-type]
    sessions.get("a").sandbox.wrong_stop = StartError("no")  # type: ignore[attr-defined]
    with pytest.raises(StartError):
        sessions.stop_all(told=told.append)
    assert [session.name for session in told] == ["b", "c"]
    assert all(session.sandbox.gone for session in told)
