"""Values of a moat.yaml as the places where they stand give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_nb.config.model import Config
from moat_nb.config.reader import read_config
from moat_nb.errors import ConfigError

HOME = Path("/home/ada")
FILE = Path("/home/ada/My Project/moat.yaml")


def config(text: str) -> Config:
    return read_config(text.encode(), path=FILE, home=HOME)


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config(text)
    return [str(problem) for problem in caught.value.problems]


def test_a_key_without_a_value_counts_as_not_given() -> None:
    assert config("name:\nmounts:\nnetwork: ~\nkernel: null\nenv:\n") == config("")


def test_a_wrong_mapping_is_reported_once() -> None:
    assert len(refused("env: [a]\nsecrets: b\nnetwork: c\n")) == 3


def test_merge_keys_take_over_what_the_mapping_does_not_say_itself() -> None:
    read = config(
        "x: &x {A: '1', B: '1', C: '1'}\ny: &y {C: '2', D: '2'}\nenv: {<<: [*x, *y], A: '0'}\n"
    )
    assert dict(read.env) == {"A": "0", "B": "1", "C": "1", "D": "2"}
    assert refused("env: {<<: [a]}") == ["moat.yaml:1:12: <<: only mappings can be merged"]
