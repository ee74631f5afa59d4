"""The runtime of ``kernel.on``, as far as no other machine is needed."""

from __future__ import annotations

import pytest

from moat_nb.config.model import OtherMachine
from moat_nb.errors import Problem, StartError
from moat_nb.host.machine import User
from moat_nb.planning.lacks import Lack
from moat_nb.planning.spec import SandboxSpec
from moat_nb.runtimes.elsewhere.runtime import BubblewrapElsewhere, Facts
from moat_nb.runtimes.elsewhere.serve import _words
from moat_nb.sandbox.project import plan_project
from tests.unit.projects import NO_ENGINE, Make


def test_ssh_is_told_the_host_and_the_port_and_asks_nothing() -> None:
    argv = BubblewrapElsewhere(OtherMachine(ssh="me@gpu:2222", python="python3.12"), {}).argv
    assert argv[-5:-1] == ("-p", "2222", "--", "me@gpu") and "BatchMode=yes" in argv
    assert argv[-1].startswith("exec python3.12 -I -B -c ")


def test_a_machine_that_only_a_file_names_is_asked_nothing(config: Make, host) -> None:
    plan = plan_project(config("kernel: {on: {ssh: gpu}}"), host=host, environ=NO_ENGINE)
    runtime = plan.runtime
    assert runtime.capabilities.unasked and runtime.capabilities.elsewhere == "ssh://gpu"
    assert any("ssh://gpu was not asked" in words for words in plan.spec.notices)
    (words,) = runtime.render(SandboxSpec(kernel=plan.spec))
    assert words["there"] == "not asked"
    with pytest.raises(StartError, match="nobody has approved it"):
        runtime.volumes.token("moat.workspace.x")


def test_a_machine_that_does_not_answer_says_how_to_find_out(tmp_path) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho 'gpu: Permission denied' >&2; exit 255\n")
    ssh.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    found = BubblewrapElsewhere(OtherMachine(ssh="gpu"), environ).available()
    assert not found.usable and found.named
    assert found.detail == "ssh://gpu: exit code 255: gpu: Permission denied"
    assert found.hint == "`ssh gpu python3 -V` should answer without a question"


@pytest.mark.parametrize(
    "problem",
    [
        Problem(where="moat.yaml:1:1", what="w", hint="h", supported=False),
        Lack(where="moat.yaml:1:1", what="w", hint="h", supported=False, name="n", why="y"),
    ],
)
def test_problems_come_back_as_they_were(config: Make, problem: Problem) -> None:
    from moat_nb.runtimes.elsewhere.runtime import _problem

    found = _problem(_words(problem), config(""))
    assert type(found) is type(problem) and found == problem


FACTS = {
    "usable": True,
    "detail": "d\x1b[2J",
    "hint": "",
    "memory": 1,
    "cpus": None,
    "user": [1, 2],
}


def test_what_a_machine_says_of_itself_is_taken_by_type_and_shown_without_control() -> None:
    facts = Facts.parse(FACTS)
    assert (facts.memory, facts.cpus, facts.user) == (1, None, User(1, 2))
    assert "\x1b" not in facts.detail


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        7,
        {},
        FACTS | {"memory": "1"},
        FACTS | {"memory": -1},
        FACTS | {"cpus": 1.5},
        FACTS | {"user": [1]},
        FACTS | {"user": ["root", 0]},
        FACTS | {"user": 5},
    ],
)
def test_an_answer_of_another_form_is_refused_in_words(
    answer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = BubblewrapElsewhere(OtherMachine(ssh="gpu"), {})
    monkeypatch.setattr(runtime, "ask", lambda question, **arguments: answer)
    found = runtime.available()
    assert not found.usable and "ssh://gpu: its answer is none" in found.detail


@pytest.mark.parametrize("answer", [None, {}, {"notices": 1, "remarks": [], "problems": []}])
def test_a_look_of_another_form_is_refused_too(
    answer: object, config: Make, host, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = BubblewrapElsewhere(OtherMachine(ssh="gpu"), {})
    plan = plan_project(config("kernel: {on: {ssh: gpu}}"), host=host, environ=NO_ENGINE)
    monkeypatch.setattr(runtime, "ask", lambda question, **arguments: answer)
    with pytest.raises(StartError, match="its answer is none"):
        runtime.check(plan.spec, plan.config)
