"""What the guest is told on its command line comes back as it was told."""

from __future__ import annotations

import json

import pytest

from moat_nb.guest.settings import (
    PortForward,
    ProvedMount,
    ServedPort,
    Settings,
    Skeleton,
    with_sockets,
)

ALL = Settings(
    mounts=[
        ProvedMount("/workspace/a b\n\u00e9", "directory"),
        ProvedMount("/workspace/.env", "file"),
    ],
    preload=["ipykernel.kernelapp"],
    port_forwards=[PortForward(80, "/run/moat/network/proxy", "host.moat:80")],
    spaces=["/tmp"],
    skeleton=Skeleton("/opt/moat/home", "/home/u"),
    ports=(3000, 8080),
    sockets="/run/u/moat-nb/0123abcd/s",
)


@pytest.mark.parametrize("settings", [Settings([], [], []), ALL, ALL._replace(in_no_hurry=True)])
def test_the_guest_reads_what_the_launcher_wrote(settings: Settings) -> None:
    assert Settings.from_argv(settings.to_argv()) == settings


def test_no_hurry_is_a_word_behind_the_same_settings() -> None:
    assert ALL._replace(in_no_hurry=True).to_argv() == [*ALL.to_argv(), "--in-no-hurry"]


def test_where_a_starts_sockets_are_is_a_word_behind_the_same_settings() -> None:
    plan = ALL._replace(sockets="").to_argv()
    assert with_sockets(plan, ALL.sockets) == ALL.to_argv()
    assert ALL.forwards == [
        *ALL.port_forwards,
        ServedPort(3000, "/run/u/moat-nb/0123abcd/s/p3000"),
        ServedPort(8080, "/run/u/moat-nb/0123abcd/s/p8080"),
    ]


def test_who_reads_the_command_line_of_a_container_finds_names() -> None:
    assert json.loads(ALL.to_argv()[0])["port_forwards"] == [
        {"port": 80, "path": "/run/moat/network/proxy", "target": "host.moat:80"}
    ]


@pytest.mark.parametrize("text", ["", "{}", '{"mounts": [{"pa": 1}]}', "[]"])
def test_other_words_are_no_settings(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Settings.from_argv([text])
