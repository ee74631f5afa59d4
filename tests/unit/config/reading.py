"""A moat.yaml's text, read as that of the project ``/srv/demo`` of the user ``ada``."""

from pathlib import Path

import pytest

from moat_nb.config.model import Config
from moat_nb.config.reader import read_config
from moat_nb.errors import ConfigError

HOME = Path("/home/ada")
PROJECT = Path("/srv/demo")


def config(text: str) -> Config:
    return read_config(text.encode(), path=PROJECT / "moat.yaml", home=HOME)


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config(text)
    return str(caught.value)
