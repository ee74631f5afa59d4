"""A student's server: what MoatSpawner starts, as the student.

It is the server of `moat-nb lab`, with the hub's word for who a page's user is. What a student can
write decides nothing here: the course's moat.yaml is root's, Jupyter's settings are not read, and
the interpreter runs isolated (``-I``).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.singleuser.extension import JupyterHubAuthorizer, JupyterHubIdentityProvider
from tornado.web import HTTPError
from traitlets.config import Config as Traits

from moat_nb.config.model import Config
from moat_nb.config.overrides import override
from moat_nb.config.reader import load
from moat_nb.errors import MoatError
from moat_nb.host.machine import Host
from moat_nb.host.scratch import scratch_directory
from moat_nb.jupyter.server import app
from moat_nb.jupyter.server.workspace import Workspace
from moat_nb.planning.notebook_directory import in_directory
from moat_nb.sandbox.approval import check
from moat_nb.sandbox.project import plan_project
from moat_nb.text.untrusted import as_dict

__all__ = ["HubServer", "main"]

VARIABLES = "JUPYTERHUB_"
SECRETS = ("JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the spawner says."""

    moat_yaml: str
    workspace: str
    runtime: str
    trust_output: bool

    @classmethod
    def parse(cls, argv: Sequence[str]) -> Asked:
        parser = argparse.ArgumentParser(prog="moat_nb.jupyter.hub.single_user")
        parser.add_argument("--trust-output", action="store_true")
        parser.add_argument("--runtime", default="bubblewrap")
        parser.add_argument("moat_yaml")
        parser.add_argument("workspace")
        return cls(**vars(parser.parse_args(argv)))


class HubServer(app.MoatServer):
    """A MoatServer that a hub has started."""

    def initialize(self, *args: object, **options: object) -> None:
        super().initialize(*args, **options)  # type: ignore[arg-type]
        apps = self.extension_manager.extension_apps["jupyterhub"]
        keep_token_here(self.identity_provider, *apps)


class OwnPages(JupyterHubIdentityProvider):  # type: ignore[misc]
    """Lets in the student alone, whatever rights the hub gives an admin: a student's page may have
    script that they put there, in the hub's origin, and it would have the rights of who looks."""

    async def get_user(self, handler: Any) -> Any:
        user = await super().get_user(handler)
        name = os.environ.get("JUPYTERHUB_USER")
        if user is not None and as_dict(getattr(user, "hub_user", None)).get("name") != name:
            raise HTTPError(HTTPStatus.FORBIDDEN, f"this is {name}'s server, and theirs alone")
        return user


def keep_token_here(*holders: Any) -> None:
    """The server's token of the hub's API stays in its memory: what it starts inherits nothing.
    Each of ``holders`` has a ``hub_auth``, which reads the variable when it first needs it."""
    tokens = {holder.hub_auth.api_token for holder in holders}
    if tokens and not all(tokens):
        raise MoatError("the hub gave no JUPYTERHUB_API_TOKEN: MoatSpawner starts this program")
    for name in SECRETS:
        os.environ.pop(name, None)


def main(argv: Sequence[str] | None = None) -> int:
    asked = Asked.parse(sys.argv[1:] if argv is None else argv)
    try:
        return serve(asked)
    except MoatError as error:
        print(f"moat-nb: {error}", file=sys.stderr)
        return 1


def serve(asked: Asked) -> int:
    """Until a signal ends it. Raises MoatError."""
    host = Host.current()
    directory = workspace_of(asked.workspace, host.home)
    config = in_workspace(load(asked.moat_yaml, home=host.home), directory, host)
    # The administrator has named this file in the hub's configuration: that is the approval.
    plan = plan_project(config, asked.runtime, host=host)
    approved = check(plan, lambda demands: True)
    with scratch_directory("moat-nb-hub-") as run:
        directories = app.Directories.make(directory, data=host.data_dir, run=run)
        directories.enter(keep=VARIABLES)
        app.write_page_config()
        workspace = Workspace(config, asked.runtime, approved)

        def server() -> HubServer:
            settings = settings_of(asked, config, directory, directories)
            return HubServer(config=settings, workspace=workspace)

        app.serve(workspace, server)
    return 0


def workspace_of(asked: str, home: Path) -> Path:
    """The student's directory; it is made as the student, so no link of theirs leads root."""
    path = Path(home, asked[2:]) if asked.startswith("~/") else Path(asked)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise MoatError(f"{path}: no workspace can be made there: {error.strerror}") from error
    status = path.stat()
    shared = status.st_mode & 0o002 or (status.st_mode & 0o020 and status.st_gid != os.getuid())
    if status.st_uid != os.getuid() or shared:
        raise MoatError(
            f"{path} is another's, or others can write to it; the student must own it alone "
            "(chmod go-w)"
        )
    return path.resolve()


def in_workspace(config: Config, directory: Path, host: Host) -> Config:
    """The course's file with the student's directory as its workspace."""
    notebook = override(config, home=host.home, workspace="notebook")
    return in_directory(notebook, directory, anywhere=True)


def settings_of(
    asked: Asked, config: Config, directory: Path, directories: app.Directories
) -> Traits:
    """`moat-nb lab`'s, at the place that the hub says and with its authentication."""
    url = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
    pages = tuple(filter(importlib.util.find_spec, app.APPS))
    made = app.traits(
        "lab",
        (*pages, "jupyterhub"),
        config,
        runtime=asked.runtime,
        directories=directories,
        port=url.port,
        browser=False,
        provisioner={
            "trust_output": asked.trust_output,
            "bound_output": True,
            "workspace": "notebook",
            "directory": str(directory),
            "approved": True,
        },
    )
    made.WorkspaceContents.trust_widgets = asked.trust_output
    made.HubServer = Traits(
        any_hostname=True,
        allow_remote_access=True,  # by the hub's proxy
        trust_xheaders=True,
        ip=url.hostname or "127.0.0.1",
        base_url=os.environ.get("JUPYTERHUB_SERVICE_PREFIX") or "/",
        identity_provider_class=OwnPages,
        authorizer_class=JupyterHubAuthorizer,
    )
    return made


if __name__ == "__main__":
    sys.exit(main())
