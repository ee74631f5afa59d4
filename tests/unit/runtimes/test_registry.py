"""Which runtime is chosen, and what is said of it."""

from __future__ import annotations

import re
import sys

import pytest

from moat_nb.errors import RuntimeUnavailable
from moat_nb.host.machine import Host
from moat_nb.runtimes.registry import choose
from tests.conftest import Engine
from tests.unit.projects import NO_ENGINE, Make


@pytest.mark.parametrize(
    ("wish", "text", "name", "why"),
    [
        ("podman", "kernel: {runtime: docker}\nruntime: apple", "podman", "asked for"),
        (None, "kernel: {runtime: bubblewrap}\nruntime: docker", "bubblewrap", "kernel.runtime"),
        (None, "runtime: docker", "docker", "runtime"),
        (None, "kernel: {runtime: auto}\nruntime: docker", "docker", "runtime"),
    ],
)
def test_a_wish_goes_before_the_files_words(
    config: Make, host: Host, wish: str | None, text: str, name: str, why: str
) -> None:
    chosen, words = choose(wish, config(text), host, NO_ENGINE)
    assert (chosen.capabilities.name, words) == (name, f"runtime: {name} ({why})")


@pytest.mark.parametrize(
    ("platform", "name", "why"),
    [
        ("darwin", "apple", "runtime"),
        ("linux", "bubblewrap", "no engine answers: .*; runtime: apple is for Macs"),
    ],
)
def test_a_file_for_macs_gets_what_answers_elsewhere(
    config: Make,
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    name: str,
    why: str,
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    chosen, words = choose(None, config("runtime: apple"), host, NO_ENGINE)
    assert chosen.capabilities.name == name
    assert re.fullmatch(rf"runtime: {name} \({why}\)", words)


def test_without_an_engine_that_answers_bubblewrap_is_chosen_and_said(
    config: Make, host: Host
) -> None:
    chosen, words = choose(None, config(), host, NO_ENGINE)
    assert chosen.capabilities.name == "bubblewrap"
    assert words == (
        "runtime: bubblewrap (no engine answers: /no/such.sock: nothing answers there)"
    )


@pytest.mark.engine
def test_an_engine_that_answers_is_chosen_and_said(
    config: Make, host: Host, engine: Engine
) -> None:
    chosen, words = choose(None, config(), host, {"DOCKER_HOST": engine.url})
    assert chosen.capabilities.name == "docker"
    version = engine.client.version()["Version"]
    assert words == f"runtime: docker (Docker Engine {version} at {engine.url[7:]})"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "dokcer",
            "dokcer: no such runtime; there are docker, podman, bubblewrap, apple, "
            "kubernetes, ssh://HOST and slurm",
        ),
    ],
)
def test_a_runtime_that_there_is_not_is_refused(
    config: Make, host: Host, name: str, words: str
) -> None:
    with pytest.raises(RuntimeUnavailable) as raised:
        choose(name, config(), host, {})
    assert str(raised.value) == words
