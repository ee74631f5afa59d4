"""Kernels of one project and no others: their specification, made in memory, and their manager."""

from __future__ import annotations

import os
import uuid
from http import HTTPStatus
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_server.services.kernels.kernelmanager import (
    AsyncMappingKernelManager,
    ServerKernelManager,
)
from jupyter_server.services.sessions.sessionmanager import SessionManager
from tornado.web import HTTPError
from traitlets import Dict, Unicode

from moat_nb.jupyter.bounds import BoundedSockets
from moat_nb.jupyter.kernelspec import LOGOS
from moat_nb.jupyter.server.workspace import inside

__all__ = ["ProjectKernel", "ProjectKernels", "ProjectKernelspecs", "ProjectSessions"]


class ProjectKernelspecs(KernelSpecManager):
    """Knows one kernelspec, whatever is installed, and installs none."""

    name = Unicode(config=True)
    spec = Dict(config=True)
    """As kernel.json has it."""

    def find_kernel_specs(self) -> dict[str, str]:
        return {self.name: str(LOGOS)}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        if kernel_name != self.name:
            raise NoSuchKernel(kernel_name)
        # Without a directory of its own, pages would be served files of the process's.
        return KernelSpec(**self.spec, resource_dir=str(LOGOS))

    def get_all_specs(self) -> dict[str, Any]:
        return {self.name: {"resource_dir": str(LOGOS), "spec": dict(self.spec)}}

    def install_kernel_spec(self, *_: Any, **__: Any) -> str:
        raise PermissionError("this server has the kernels of its project and no others")

    def remove_kernel_spec(self, name: str) -> str:
        raise PermissionError("this server has the kernels of its project and no others")


class ProjectKernel(BoundedSockets, ServerKernelManager):
    pass


class ProjectKernels(AsyncMappingKernelManager):
    """Starts the project's kernel, and nothing else that a request may ask for.

    ``allowed_kernelspecs`` alone would hide other names and yet start them.
    """

    workspace = Unicode(config=True)
    """The workspace's directory on the host: the kernels' working directories are below it."""

    def cwd_for_path(self, path: str, **_: Any) -> str:
        """As a path on the host, which the provisioner maps; nothing there is looked at."""
        try:
            below = inside(path).split("/", 2)[2:]
        except OSError:
            raise HTTPError(HTTPStatus.BAD_REQUEST, reason="no path of the workspace") from None
        return "/".join([self.workspace, *below])

    async def _existing(self, path: str) -> str:
        """The nearest directory: what a session calls its path may be none."""
        contents: Any = getattr(self.parent, "contents_manager")  # noqa: B009
        path = path.strip("/")
        while path and not await contents.dir_exists(path):
            path = path.rpartition("/")[0]
        return path

    async def start_kernel(  # type: ignore[override]
        self,
        *,
        kernel_id: str | None = None,
        path: Any = None,
        kernel_name: str | None = None,
        **kwargs: Any,
    ) -> str:
        name = kernel_name or self.default_kernel_name
        if name != self.default_kernel_name:
            raise HTTPError(
                HTTPStatus.FORBIDDEN, reason="this server has its project's kernel only"
            )
        if kernel_id is not None:
            kernel_id = _checked_id(kernel_id)
        if path is not None:
            path = await self._existing(path)
        started = await super().start_kernel(
            kernel_id=kernel_id, path=path, kernel_name=name, **kwargs
        )
        return str(started)


def _checked_id(kernel_id: str) -> str:
    """It becomes a part of a file's name."""
    try:
        return str(uuid.UUID(kernel_id))
    except (ValueError, AttributeError, TypeError):
        raise HTTPError(HTTPStatus.BAD_REQUEST, reason="no id of a kernel") from None


class ProjectSessions(SessionManager):
    async def start_kernel_for_session(self, *args: Any, **kwargs: Any) -> str:
        """NoSuchKernel for every kernel but the project's: pages then offer that one."""
        name = kwargs.get("kernel_name")
        if name not in (None, self.kernel_manager.default_kernel_name):
            raise NoSuchKernel(name)
        return str(await super().start_kernel_for_session(*args, **kwargs))

    def get_kernel_env(self, path: str | None, name: str | None = None) -> dict[str, str]:
        """A kernel knows its notebook by its path inside."""
        try:
            session = inside(path or "")
        except OSError:
            raise HTTPError(HTTPStatus.BAD_REQUEST, reason="no path of the workspace") from None
        return {**os.environ, "JPY_SESSION_NAME": session}
