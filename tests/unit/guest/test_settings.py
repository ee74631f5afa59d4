"""What the guest is told on its command line comes back as it was told."""

from __future__ import annotations

import json

import pytest

from moat_nb.guest.settings import Exclude, PortForward, Settings, Skeleton

ALL = Settings(
    excludes=[Exclude("/workspace/a b\n\u00e9", "directory"), Exclude("/workspace/.env", "file")],
    preload=["ipykernel.kernelapp"],
    port_forwards=[PortForward(80, "/run/moat/network/proxy", "host.moat:80")],
    spaces=["/tmp"],
    skeleton=Skeleton("/opt/moat/home", "/home/u"),
)


@pytest.mark.parametrize("settings", [Settings([], [], []), ALL, ALL._replace(in_no_hurry=True)])
def test_the_guest_reads_what_the_launcher_wrote(settings: Settings) -> None:
    assert Settings.from_argv(settings.to_argv()) == settings


def test_no_hurry_is_a_word_behind_the_same_settings() -> None:
    assert ALL._replace(in_no_hurry=True).to_argv() == [*ALL.to_argv(), "--in-no-hurry"]


def test_who_reads_the_command_line_of_a_container_finds_names() -> None:
    assert json.loads(ALL.to_argv()[0])["port_forwards"] == [
        {"port": 80, "path": "/run/moat/network/proxy", "target": "host.moat:80"}
    ]


@pytest.mark.parametrize("text", ["", "{}", '{"excludes": [{"pa": 1}]}', "[]"])
def test_other_words_are_no_settings(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Settings.from_argv([text])
