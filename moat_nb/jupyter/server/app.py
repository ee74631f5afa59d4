"""The server: Jupyter's own, with managers of ours, and nothing of its user's configuration."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_server.serverapp import ServerApp
from tornado.log import LogFormatter
from traitlets import Any as AnyTrait
from traitlets import Bool, Unicode
from traitlets.config import Config as Traits

from moat_nb.config.model import WORKSPACE, Config
from moat_nb.jupyter.kernelspec import PREFIX, kernel_json
from moat_nb.jupyter.server.contents import OwnCheckpoints, WorkspaceContents
from moat_nb.jupyter.server.handlers import guard
from moat_nb.jupyter.server.kernels import (
    ProjectKernel,
    ProjectKernels,
    ProjectKernelspecs,
    ProjectSessions,
)
from moat_nb.jupyter.server.workspace import Workspace
from moat_nb.planning.ports import host_label
from moat_nb.text.terminal import for_terminal, one_line

__all__ = ["APPS", "Directories", "MoatServer", "hostname", "serve", "traits", "write_page_config"]


END_SECONDS = 8.0
"""For all kernels together, at the server's end."""

APPS = {"jupyterlab": "LabApp", "notebook": "JupyterNotebookApp"}
"""By server extension the class that takes its settings."""

PAGES = {"lab": "/lab", "notebook": "/tree"}

OWN_ORIGIN: Mapping[str, Any] = {"trust_output": True, "bound_output": True}
"""Of a server whose pages have an origin of their own: script in them has the sandbox's rights."""


@dataclass(frozen=True, kw_only=True)
class Directories:
    """The server's own: ``kept`` from one start to the next, ``run`` for this one alone."""

    kept: Path
    run: Path

    @classmethod
    def make(cls, project: Path, *, data: Path, run: Path) -> Directories:
        """``data`` is moat_nb's own directory of the user's."""
        digest = hashlib.sha256(os.fsencode(project)).hexdigest()[:16]
        made = cls(kept=data / "lab" / digest, run=run)
        for directory in (made.checkpoints, made.settings, made.workspaces, made.data):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in (made.runtime, made.empty, made.temporary):
            directory.mkdir(mode=0o700)
        return made

    @property
    def checkpoints(self) -> Path:
        return self.kept / "checkpoints"

    @property
    def settings(self) -> Path:
        return self.kept / "settings"

    @property
    def workspaces(self) -> Path:
        return self.kept / "workspaces"

    @property
    def data(self) -> Path:
        """Jupyter's data directory: the notebooks' signatures."""
        return self.kept / "data"

    @property
    def runtime(self) -> Path:
        return self.run / "runtime"

    @property
    def empty(self) -> Path:
        return self.run / "empty"

    @property
    def temporary(self) -> Path:
        return self.run / "tmp"

    def enter(self, *, keep: str | None = None) -> None:
        """Have this process, and Jupyter in it, use these and none of the user's. Variables that
        begin with ``keep`` stay: those by which a hub tells its server who it is."""
        for name in [name for name in os.environ if name.startswith(("JUPYTER", "JPY_"))]:
            if keep is None or not name.startswith(keep):
                del os.environ[name]
        os.environ["JUPYTER_NO_CONFIG"] = "1"  # a fresh one, where temporary files are
        os.environ["JUPYTER_DATA_DIR"] = str(self.data)
        os.environ["JUPYTER_RUNTIME_DIR"] = str(self.runtime)
        os.environ["TMPDIR"] = tempfile.tempdir = str(self.temporary)
        os.chdir(self.empty)  # for whatever opens a file by a relative path


class PlainFormatter(LogFormatter):
    """What a page or a kernel named, a file say, cannot steer the user's terminal."""

    def format(self, record: logging.LogRecord) -> str:
        plain = logging.makeLogRecord(record.__dict__)
        lines = record.getMessage().split("\n")
        plain.msg, plain.args = "\n".join(map(one_line, lines)), None
        return for_terminal(super().format(plain))


class MoatServer(ServerApp):
    """Listens on 127.0.0.1 for the name :attr:`hostname` alone, unless :attr:`any_hostname`."""

    name = "moat-nb"
    hostname = Unicode(config=True)
    """``NAME.localhost``, which browsers take for this machine: an origin, and so a cookie and a
    storage, that no other server of the user's shares."""
    any_hostname = Bool(False, config=True)
    """For a server behind a proxy: browsers use the proxy's name, which it does not know."""
    workspace: Workspace = AnyTrait()  # type: ignore[assignment]
    _log_formatter_cls = PlainFormatter

    def load_config_file(self, *_: Any, **__: Any) -> None:
        """There is none."""

    def init_webapp(self) -> None:
        super().init_webapp()
        guard(self.web_app, None if self.any_hostname else self.hostname)

    def init_signal(self) -> None:
        super().init_signal()
        # Nothing is asked at Ctrl-C: what is not saved is in the page, and stays there.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._signal_stop)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    async def cleanup_kernels(self) -> None:
        """One that is gone already, or does not end, keeps neither the others nor the server; what
        is left then ends with this process."""
        manager = self.kernel_manager
        end: Callable[[str], Awaitable[None]] = manager.shutdown_kernel
        ends = [end(kernel_id) for kernel_id in manager.list_kernel_ids()]
        together = asyncio.gather(*ends, return_exceptions=True)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(together, END_SECONDS)

    @property
    def local_url(self) -> str:
        return str(self.public_url)

    @property
    def public_url(self) -> str:
        return str(self._get_urlparts(include_token=True, ip=self.hostname).geturl())

    @property
    def connection_url(self) -> str:
        return str(self._get_urlparts(path=self.base_url, ip=self.hostname).geturl())


def hostname(config: Config) -> str:
    digest = hashlib.sha256(os.fsencode(config.directory)).hexdigest()[:6]
    return f"{host_label(config.name)}-{digest}.localhost"


def traits(
    front_end: str,
    extensions: Iterable[str],
    config: Config,
    *,
    runtime: str | None,
    directories: Directories,
    port: int | None,
    browser: bool,
    provisioner: Mapping[str, Any] = OWN_ORIGIN,
) -> Traits:
    """All settings of the server, as Jupyter takes them; each of the two front ends has a link to
    the other, so ``extensions`` are both where both are installed. ``provisioner`` are further
    traits of MoatProvisioner's."""
    spec = kernel_json(config, runtime=runtime, executable=sys.executable)
    spec["metadata"]["kernel_provisioner"]["config"].update(provisioner)
    kernel = f"{PREFIX}{config.name}".lower()
    source = next((m.source for m in config.mounts if m.target == WORKSPACE), config.directory)
    own_name = hostname(config)
    made = Traits()
    made.MoatServer = Traits(
        hostname=own_name,
        local_hostnames=[own_name],
        ip="127.0.0.1",
        port=port or 8888,
        port_retries=0 if port else 50,
        allow_remote_access=False,
        allow_root=True,  # it has the sandbox's rights, and none of root's
        open_browser=browser,
        log_level=logging.WARNING,
        default_url=PAGES[front_end],
        root_dir=str(directories.empty),
        terminals_enabled=False,
        quit_button=False,
        jpserver_extensions=dict.fromkeys(extensions, True),
        kernel_spec_manager_class=ProjectKernelspecs,
        kernel_manager_class=ProjectKernels,
        session_manager_class=ProjectSessions,
        contents_manager_class=WorkspaceContents,
    )
    made.IdentityProvider = Traits(cookie_name=f"moat-nb-{own_name.split('.')[0]}")
    made.PasswordIdentityProvider.allow_password_change = False
    made.ProjectKernelspecs = Traits(name=kernel, spec=spec)
    made.ProjectKernels = Traits(
        default_kernel_name=kernel,
        workspace=str(source),
        kernel_manager_class=f"{ProjectKernel.__module__}.{ProjectKernel.__name__}",
    )
    made.WorkspaceContents = Traits(checkpoints_class=OwnCheckpoints)
    made.OwnCheckpoints.directory = str(directories.checkpoints)
    for name in APPS.values():
        made[name] = _pages_of(directories)
    made.LabApp.extension_manager = "readonly"
    made.LabApp.news_url = None
    return made


def _pages_of(directories: Directories) -> Traits:
    return Traits(
        user_settings_dir=str(directories.settings),
        workspaces_dir=str(directories.workspaces),
        labextensions_path=[str(Path(sys.prefix, "share", "jupyter", "labextensions"))],
        extra_labextensions_path=[],
        log_level=logging.WARNING,
    )


def serve(workspace: Workspace, make: Callable[[], MoatServer]) -> None:
    """Until a signal ends the server."""
    try:
        workspace.start()
        server = make()
        server.initialize(argv=[])
        server.start()
    finally:
        os.chdir("/")
        workspace.close()
        end_request_threads()


REQUEST_THREAD = "AnyIO worker thread"


def end_request_threads() -> None:
    """A request that is under way when the loop ends leaves its thread of anyio's waiting, and the
    interpreter would wait for that for ever: as JupyterLab does, seen with anyio 4.16."""
    for thread in threading.enumerate():
        if thread.name == REQUEST_THREAD and hasattr(thread, "stop"):
            thread.stop()


PAGE = {
    "buildAvailable": False,
    "buildCheck": False,
    "disabledExtensions": {
        "@jupyterlab/apputils-extension:announcements": True,
        "@jupyterlab/extensionmanager-extension": True,
        "@jupyterlab/lsp-extension": True,
        "@jupyterlab/terminal-extension": True,
    },
}
"""What of the pages asks for what is not there."""


def write_page_config() -> None:
    """In the configuration of this start alone; see :meth:`Directories.enter`."""
    from jupyter_core.paths import jupyter_config_dir

    directory = Path(jupyter_config_dir(), "labconfig")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "page_config.json").write_text(json.dumps(PAGE))
