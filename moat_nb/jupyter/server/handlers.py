"""Which handlers of Jupyter's answer: those that give a page nothing beyond the sandbox's rights.

What is not listed here is not there, so that an extension or a new version adds nothing by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from jupyter_server.base.handlers import APIHandler, Template404
from jupyter_server.serverapp import ServerWebApplication
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler, authenticated

__all__ = ["ALLOWED", "REFUSED", "admits", "guard"]

BASE = "jupyter_server.base.handlers"
SERVICES = "jupyter_server.services"
LAB = "jupyterlab_server"
HUB = "jupyterhub.singleuser.extension"

ALLOWED: Mapping[str, str] = {
    f"{BASE}.APIVersionHandler": "a number",
    f"{BASE}.FileFindHandler": "the pages' own files, of the installation",
    f"{BASE}.PublicStaticFileHandler": "the same, without a token",
    f"{BASE}.RedirectWithParams": "to the first page",
    f"{BASE}.Template404": "an error",
    f"{BASE}.TrailingSlashHandler": "a redirect",
    f"{HUB}.JupyterHubLogoutHandler": "this browser's cookie, and a redirect to the hub",
    f"{HUB}.JupyterHubOAuthCallbackHandler": "a hub's word for who a page's user is",
    "jupyter_server.auth.login.LoginFormHandler": "the token, typed in",
    "jupyter_server.auth.logout.LogoutHandler": "this browser's cookie",
    "jupyter_server.files.handlers.FilesHandler": "the workspace's contents",
    "jupyter_server.kernelspecs.handlers.KernelSpecResourceHandler": "our logos",
    f"{SERVICES}.api.handlers.APIStatusHandler": "counts",
    f"{SERVICES}.api.handlers.IdentityHandler": "a made-up user, kept in this server's memory",
    f"{SERVICES}.config.handlers.ConfigHandler": "a directory that ends with this server",
    f"{SERVICES}.contents.handlers.CheckpointsHandler": "a directory of this server's own",
    f"{SERVICES}.contents.handlers.ContentsHandler": "the workspace's contents",
    f"{SERVICES}.contents.handlers.ModifyCheckpointsHandler": "a directory of this server's own",
    f"{SERVICES}.contents.handlers.TrustNotebooksHandler": "a database of this server's own",
    f"{SERVICES}.events.handlers.SubscribeWebsocket": "what this server's pages have saved",
    f"{SERVICES}.kernels.handlers.KernelActionHandler": "the project's kernels",
    f"{SERVICES}.kernels.handlers.KernelHandler": "the project's kernels",
    f"{SERVICES}.kernels.handlers.MainKernelHandler": "the project's kernels",
    f"{SERVICES}.kernels.websocket.KernelWebsocketHandler": "the project's kernels",
    f"{SERVICES}.kernelspecs.handlers.KernelSpecHandler": "the project's kernelspec",
    f"{SERVICES}.kernelspecs.handlers.MainKernelSpecHandler": "the project's kernelspec",
    f"{SERVICES}.sessions.handlers.SessionHandler": "the project's kernels",
    f"{SERVICES}.sessions.handlers.SessionRootHandler": "the project's kernels",
    f"{LAB}.handlers.LabHandler": "a page",
    f"{LAB}.handlers.NotFoundHandler": "an error",
    f"{LAB}.settings_handler.SettingsHandler": "a directory of this server's own",
    f"{LAB}.themes_handler.ThemesHandler": "the pages' own files, of the installation",
    f"{LAB}.translations_handler.TranslationsHandler": "the same",
    f"{LAB}.workspaces_handler.WorkspacesHandler": "a directory of this server's own",
    "notebook.app.ConsoleHandler": "a page",
    "notebook.app.CustomCssHandler": "the pages' own files, of the installation",
    "notebook.app.FileHandler": "a page",
    "notebook.app.NotebookHandler": "a page",
    "notebook.app.TreeHandler": "a page",
}
"""Classes by their whole names, with what each gives."""

REFUSED: Mapping[str, str] = {
    f"{BASE}.AuthenticatedFileHandler": "opens files with the user's rights",
    f"{BASE}.PrometheusMetricsHandler": "what the process has",
    f"{BASE}.MainHandler": "not needed",
    "jupyter_lsp.handlers.LanguageServerWebSocketHandler": "runs programs on the host",
    "jupyter_lsp.handlers.LanguageServersHandler": "not needed",
    "jupyter_server.nbconvert.handlers.NbconvertFileHandler": "runs converters on the host",
    "jupyter_server.nbconvert.handlers.NbconvertPostHandler": "runs converters on the host",
    "jupyter_server_terminals.api_handlers.TerminalHandler": "a shell on the host",
    "jupyter_server_terminals.api_handlers.TerminalRootHandler": "a shell on the host",
    "jupyter_server_terminals.handlers.TermSocket": "a shell on the host",
    "jupyter_server.view.handlers.ViewHandler": "not needed",
    f"{SERVICES}.api.handlers.APISpecHandler": "not needed",
    f"{SERVICES}.api.handlers.PathResolverHandler": "tells which files the host has",
    f"{SERVICES}.contents.handlers.NotebooksRedirectHandler": "not needed",
    f"{SERVICES}.events.handlers.EventHandler": "not needed",
    f"{SERVICES}.nbconvert.handlers.NbconvertRootHandler": "offers what is refused",
    f"{SERVICES}.security.handlers.CSPReportHandler": "writes any text to the log",
    f"{SERVICES}.shutdown.ShutdownHandler": "ends the server",
    "jupyterlab.handlers.announcements.CheckForUpdateHandler": "asks the network",
    "jupyterlab.handlers.announcements.NewsHandler": "asks the network",
    "jupyterlab.handlers.build_handler.BuildHandler": "runs npm on the host",
    "jupyterlab.handlers.extension_manager_handler.ExtensionHandler": "runs pip on the host",
    "jupyterlab.handlers.plugin_manager_handler.PluginHandler": "changes the installation",
    f"{LAB}.licenses_handler.LicensesHandler": "not needed",
    f"{LAB}.listings_handler.ListingsHandler": "asks the network",
    "notebook.app.TerminalHandler": "there are no terminals",
}
"""Those that are known and left out, with the reason. What is in neither list is refused too."""

_SETTING = re.compile(r"(@[\w-][\w.-]*/)?[\w-][\w.-]*:[\w-][\w.-]*")
_SETTINGS_PATH = re.compile(r".*/lab/api/settings/(.+)")


class NoConverters(APIHandler):
    """The list of nbconvert's formats, for the menu that shows it: there are none."""

    @authenticated
    def get(self) -> None:
        self.finish("{}")


INSTEAD: Mapping[str, type[RequestHandler]] = {
    f"{SERVICES}.nbconvert.handlers.NbconvertRootHandler": NoConverters,
}


def guard(application: ServerWebApplication, hostname: str | None) -> None:
    """Have ``application`` answer for ``hostname`` alone, or for every one where that is None, by
    the handlers of :data:`ALLOWED`."""
    ordinary = application.get_handler_delegate

    def delegate(
        request: HTTPServerRequest, target_class: type[RequestHandler], *rest: Any, **more: Any
    ) -> Any:
        named = hostname is None or request.host_name == hostname
        if not named or not admits(target_class, request.path):
            there = INSTEAD if named else {}
            return ordinary(request, there.get(_name(target_class), Template404))
        return ordinary(request, target_class, *rest, **more)

    application.get_handler_delegate = delegate  # type: ignore[method-assign]


def admits(handler: type[RequestHandler], path: str) -> bool:
    """Whether a request of ``path``, as it was sent, may be answered by ``handler``."""
    if _name(handler) not in ALLOWED:
        return False
    plain = unquote(path)
    if ".." in plain.split("/") or "\\" in plain or "\0" in plain:
        return False
    setting = _SETTINGS_PATH.fullmatch(plain)
    # Of its name a path is made, and `/home/me/.docker:config` would be one of the host's.
    return setting is None or _SETTING.fullmatch(setting[1]) is not None


def _name(handler: type[RequestHandler]) -> str:
    return f"{handler.__module__}.{handler.__qualname__}"
