"""The user whose projects the tests plan, and how they write one."""

from __future__ import annotations

import os
from collections.abc import Callable

from moat_nb.config.model import Config
from moat_nb.host.machine import User

ADA = User(os.getuid(), os.getgid()) if os.getuid() else User(1000, 1000)
NO_ENGINE = {"DOCKER_HOST": "unix:///no/such.sock"}
Make = Callable[..., Config]
