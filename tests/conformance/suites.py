"""The suites that others wrote, and every test of theirs that is left out, with its reason.

A reason is a fact about containers. A suite's version is that of the package that is installed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import version

__all__ = ["CLIENT", "KERNEL_TEST", "NBCLIENT", "PLUGINS", "SERVER", "Suite"]

PLUGINS = (
    "execnet",
    "flaky",
    "msgpack",
    "pytest-asyncio",
    "pytest-console-scripts",
    "pytest-jupyter",
    "pytest-xdist",
    "testpath",
    "xmltodict",
)
"""What the suites import. They stay out of our own environment, as pytest loads every plugin that
it finds there."""

OWN_SOCKETS = (
    "asks for a transport and an address, and compares; a sandbox has no network, so its kernel is "
    "reached by unix sockets in the one directory that both sides see, whatever a client asks for"
)


@dataclass(frozen=True, kw_only=True)
class Suite:
    package: str
    version: str
    paths: tuple[str, ...]
    """Files and directories to collect, relative to the source distribution."""
    options: tuple[str, ...] = ()
    """For pytest."""
    workers: int = 2
    env: dict[str, str] = field(default_factory=dict)
    """``env`` of moat.yaml: what the suite sets in its own process, for kernels to inherit."""
    left_out: dict[str, str] = field(default_factory=dict)
    """``{part of a test's id: reason}``."""


CLIENT = Suite(
    package="jupyter_client",
    version=version("jupyter_client"),
    paths=(
        "tests/test_restarter.py",  # first, as it mostly sleeps
        "tests/test_kernelmanager.py",
        "tests/test_multikernelmanager.py",
        "tests/test_client.py",
    ),
    options=("-p", "no:asyncio"),
    workers=3,
    left_out={"::test_tcp_cinfo": OWN_SOCKETS, "::test_ipc_cinfo": OWN_SOCKETS},
)

SERVER = Suite(
    package="jupyter_server",
    version=version("jupyter_server"),
    paths=("tests/services/kernels", "tests/services/sessions"),
    options=(
        *("-p", "no:asyncio"),
        # The suite's own calls, on a tornado that is newer than it.
        *("-W", "ignore:The method, uri, and version arguments:DeprecationWarning"),
        *("-W", "ignore:The start_line argument to HTTPServerRequest:DeprecationWarning"),
    ),
    workers=3,
)

NBCLIENT = Suite(
    package="nbclient",
    version=version("nbclient"),
    paths=("tests",),
    options=("-o", "asyncio_default_fixture_loop_scope=function"),
    env={
        "IPYKERNEL_CELL_NAME": "<IPY-INPUT>",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        # Two kernels meet here; the suite's own choice is a directory outside the workspace.
        "NBEXECUTE_TEST_PARALLEL_TMPDIR": "/workspace/tests",
    },
)

KERNEL_TEST = Suite(
    package="jupyter_kernel_test", version="0.7.0", paths=("test_moat.py",), workers=0
)
