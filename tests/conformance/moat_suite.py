"""A pytest plugin for suites that are not ours: it runs in their process, beside their conftest.

``MOAT_LEFT_OUT`` is JSON, ``{part of a test's id: reason}``: such tests must fail, and the report
says why. Each test whose server has a root directory of its own finds our moat.yaml in it. Limits
of time that a suite sets its single tests (10 s in jupyter_server's) are for a machine that runs
nothing else: ours, of the command line, holds for all.
"""

from __future__ import annotations

import json
import os
import shutil

import pytest

from moat_nb.sandbox.approval import check
from moat_nb.sandbox.project import plan_project

LEFT_OUT = "left out"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    left_out = json.loads(os.environ["MOAT_LEFT_OUT"])
    for item in items:
        item.own_markers[:] = [mark for mark in item.own_markers if mark.name != "timeout"]
        for part, reason in left_out.items():
            if part in item.nodeid:
                words = f"{LEFT_OUT}\n{part}\n{reason}"
                item.add_marker(pytest.mark.xfail(reason=words, strict=True))


@pytest.fixture(autouse=True)
def moat_project(request: pytest.FixtureRequest) -> None:
    if "jp_root_dir" in request.fixturenames:
        root = request.getfixturevalue("jp_root_dir")
        shutil.copy("moat.yaml", root)
        check(plan_project(root), lambda demands: True)  # who wrote it is the test
