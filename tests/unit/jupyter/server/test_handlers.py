"""Which of Jupyter's handlers answer a page, and for which paths."""

from __future__ import annotations

import subprocess
import sys

import pytest
from jupyter_server.base.handlers import FileFindHandler
from jupyterlab.handlers.extension_manager_handler import ExtensionHandler
from jupyterlab_server.settings_handler import SettingsHandler

from moat_nb.jupyter.server.handlers import ALLOWED, REFUSED, admits

EVERY_RULE = """
import json, sys
from jupyter_server.serverapp import ServerApp

app = ServerApp(
    jpserver_extensions={name: True for name in ("jupyterlab", "notebook")},
    allow_root=True, port=0, log_level=40,
)
app.initialize(argv=[])
rules = list(app.web_app.wildcard_router.rules) + list(app.web_app.default_router.rules)
while rules:
    rule = rules.pop()
    if hasattr(rule.target, "rules"):
        rules.extend(rule.target.rules)
    else:
        print(f"{rule.target.__module__}.{rule.target.__qualname__}")
"""


def test_every_handler_of_what_is_installed_is_known(tmp_path) -> None:
    """A version that brings another is noticed here; until it is listed, it is refused."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", EVERY_RULE], env=env, capture_output=True, text=True, check=True
    )
    there = set(done.stdout.split())
    assert "jupyter_server.services.kernels.handlers.MainKernelHandler" in there
    assert there - ALLOWED.keys() - REFUSED.keys() == set()
    assert not ALLOWED.keys() & REFUSED.keys()


def test_a_handler_that_is_not_listed_is_refused() -> None:
    assert not admits(ExtensionHandler, "/lab/api/extensions")
    assert admits(FileFindHandler, "/static/lab/main.js")


@pytest.mark.parametrize(
    "name",
    [
        "@jupyterlab/apputils-extension:themes",
        "@jupyterlab%2Fapputils-extension%3Athemes",
        "jupyterlab-plotly:plugin",
    ],
)
def test_a_setting_has_a_plugins_name(name: str) -> None:
    assert admits(SettingsHandler, f"/lab/api/settings/{name}")


@pytest.mark.parametrize(
    "name",
    [
        "/home/me/.docker:config",
        "%2Fhome%2Fme%2F.docker%3Aconfig",
        "..%2F..%2Fx:y",
        "@a/..:x",
        "@a/.hidden:x",
        "@a/b:%2Fetc%2Fx",
        "a/b/c:d",
        "a:b%00",
        "a\\b:c",
    ],
)
def test_a_setting_is_no_path_of_the_hosts(name: str) -> None:
    assert not admits(SettingsHandler, f"/lab/api/settings/{name}")
