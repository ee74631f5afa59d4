"""A container whose launcher is another process: is it there, and its end.

A container has a name of its own for each start, so no other can be mistaken for it.
"""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Mapping
from pathlib import Path

from moat_nb.errors import MoatError
from moat_nb.host.cleanup import connect_http, remove_container
from moat_nb.host.run_directory import SandboxState
from moat_nb.runtimes.docker.endpoint import EndpointError, endpoint_of
from moat_nb.runtimes.docker.engine import sockets as engine_sockets

__all__ = ["end", "is_running"]

ENGINE_SECONDS = 3.0


def is_running(state: SandboxState, sockets: Path, environ: Mapping[str, str]) -> bool:
    """Whether an engine has the container of ``state``, or might: it cannot be reached."""
    try:
        return _engine_with(state, environ) is not None
    except EndpointError:
        return True


def end(state: SandboxState, sockets: Path, environ: Mapping[str, str]) -> bool:
    """Remove the container and return when it is gone; False when it was gone already.

    Raises MoatError when the engine does not remove it, or cannot be reached.
    """
    engine = _engine_with(state, environ)
    if engine is None:
        return False
    try:
        remove_container(engine, state.container, settled=time.monotonic())
    except OSError as error:
        raise MoatError(f"{state.container}: {engine} did not remove it: {error}") from error
    if _engine_with(state, environ) is not None:
        raise MoatError(f"{state.container}: {engine} did not remove it; look into its log")
    return True


def _engine_with(state: SandboxState, environ: Mapping[str, str]) -> str | None:
    """The socket of the engine that has the container, of those that a start would try, or of the
    one elsewhere that it was started on. Raises EndpointError."""
    if state.engine:
        environ = {**environ, "DOCKER_HOST": state.engine}
    for path in engine_sockets(environ, endpoint_of(environ)):
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = connect_http(path, timeout=ENGINE_SECONDS)
            try:
                connection.request("GET", f"/containers/{state.container}/json")
                if connection.getresponse().status == http.client.OK:
                    return path
            finally:
                connection.close()
    return None
