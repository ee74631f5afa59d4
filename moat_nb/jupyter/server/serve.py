"""From a project to a running server, and to its end."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Literal

from moat_nb.config.reader import load
from moat_nb.errors import MoatError
from moat_nb.host.machine import Host
from moat_nb.host.scratch import scratch_directory
from moat_nb.jupyter.server.workspace import Workspace
from moat_nb.planning.workspace_copy import copy_notices
from moat_nb.sandbox.approval import Approve, check
from moat_nb.sandbox.project import LaunchPlan, plan_project
from moat_nb.text.terminal import LOGGER

__all__ = ["serve"]

EXTENSIONS = {"lab": "jupyterlab", "notebook": "notebook"}
"""The server extension of each front end, which is a module of the same name."""


def serve(
    directory: str,
    *,
    front_end: Literal["lab", "notebook"],
    runtime: str | None = None,
    port: int | None = None,
    browser: bool = True,
    before: Callable[[LaunchPlan], None] = lambda plan: None,
    approve: Approve | None = None,
) -> int:
    """Serve the nearest project until a signal ends it, and everything that it started with it.

    ``before`` is called with what will be started; ``approve`` is :meth:`Sandbox.launch`'s.
    Raises MoatError where the extra ``lab`` is not installed, and what a start of the project's
    sandbox raises.
    """
    host = Host.current()
    config = load(directory, home=host.home)
    _require("jupyter_server", EXTENSIONS[front_end])
    if config.kernel.workspace == "notebook":
        words = "kernel.workspace: notebook is for kernels that other clients start"
        raise MoatError(f"{config.path}: {words}; this server has one workspace")
    plan = plan_project(config, runtime, host=host)
    before(plan)
    approved = check(plan, approve)
    if plan.runtime.capabilities.unasked:
        plan = plan_project(config, runtime, host=host, ask=True)
    of_copy = copy_notices(plan.config, plan.runtime.capabilities.elsewhere)
    limits = plan.runtime.notices(plan.spec, plan.image)
    for words in (*plan.without, *limits, *of_copy):
        LOGGER.warning("%s", words)
    with scratch_directory("moat-nb-lab-") as run:
        from moat_nb.jupyter.server import app

        directories = app.Directories.make(config.directory, data=host.data_dir, run=run)
        directories.enter()
        app.write_page_config()
        workspace = Workspace(config, runtime, approved)

        def server() -> app.MoatServer:
            settings = app.traits(
                front_end,
                tuple(filter(importlib.util.find_spec, EXTENSIONS.values())),
                config,
                runtime=runtime,
                directories=directories,
                port=port,
                browser=browser,
            )
            return app.MoatServer(
                config=settings, workspace=workspace, no_browser_open_file=not browser
            )

        app.serve(workspace, server)
    return 0


def _require(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MoatError(f"{module} is not installed here: pip install 'moat-nb[lab]'")
