"""The suites that others wrote, what each is run on, and their tests that are left out.

A reason is a fact about containers. A suite's version is that of the package that is installed.
A test that is left out runs all the same, and must fail.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.metadata import version

__all__ = ["PLUGINS", "RUNS", "Run", "Suite"]

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

NO_TCP = (
    "asks for the transport tcp and finds ipc; a sandbox has no network that the host could reach, "
    "so its kernel listens on unix sockets whatever a client asks for"
)
OWN_DIRECTORY = (
    "asks for sockets called `test` in the launcher's own directory and finds others; a sandbox "
    "and its launcher see the same sockets only in the one directory that both have mounted"
)


@dataclass(frozen=True, kw_only=True)
class Suite:
    name: str
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
    files: dict[str, str] = field(default_factory=dict)
    """Written beside the suite's own."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A suite, and the kernels that it is given."""

    suite: Suite
    runtime: str
    kernel: str
    """``provisioner``: whichever kernelspec the suite asks for, started by our provisioner. The
    others are a kernelspec of ours: ``python``, ``bash``, or ``shim``, the argv of ``python``."""
    passes: int
    """How many tests passed when this was written; a suite that collects less is not well."""

    @property
    def title(self) -> str:
        return f"{self.suite.name} on {self.runtime}, {self.kernel}"


CLIENT = Suite(
    name="jupyter_client",
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
    left_out={"::test_tcp_cinfo": NO_TCP, "::test_ipc_cinfo": OWN_DIRECTORY},
)

KERNEL_MANAGER = replace(
    CLIENT,
    name="jupyter_client, test_kernelmanager",
    paths=("tests/test_kernelmanager.py",),
    workers=2,
    left_out={},
)

SERVER = Suite(
    name="jupyter_server, kernels, sessions, websockets",
    package="jupyter_server",
    version=version("jupyter_server"),
    paths=("tests/services/kernels", "tests/services/sessions", "tests/base/test_websocket.py"),
    options=(
        *("-p", "no:asyncio"),
        # The suite's own calls, on a tornado that is newer than it.
        *("-W", "ignore:The method, uri, and version arguments:DeprecationWarning"),
        *("-W", "ignore:The start_line argument to HTTPServerRequest:DeprecationWarning"),
    ),
    # No more workers than CPUs: test_cull_dead gives a kernel 5 s until it is looked for.
)

NBCLIENT = Suite(
    name="nbclient",
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
    left_out={
        "Other Comms.ipynb": "the output relay passes no message to a page's extension",
        "SVG.ipynb": "the output relay shows a drawing as an image, in which no script runs",
    },
)

# The suite's own example has every sample of Python; only the kernel is another.
PYTHON_SAMPLES = """\
import test_ipykernel


class MoatTests(test_ipykernel.IPyKernelTests):
    kernel_name = "moat-test-suite"
"""

BASH_SAMPLES = """\
import jupyter_kernel_test


class BashTests(jupyter_kernel_test.KernelTests):
    kernel_name = "moat-test-suite"
    language_name = "bash"
    file_extension = ".sh"
    code_hello_world = "echo hello, world"
    completion_samples = [{"text": "ech", "matches": {"echo"}}]
"""

KERNEL_TEST = Suite(
    name="jupyter_kernel_test",
    package="jupyter_kernel_test",
    version="0.7.0",
    paths=("test_moat.py",),
    workers=0,
    files={"test_moat.py": PYTHON_SAMPLES},
)

BASH_TEST = replace(KERNEL_TEST, files={"test_moat.py": BASH_SAMPLES})

RUNS = (
    Run(suite=SERVER, runtime="bubblewrap", kernel="provisioner", passes=188),
    Run(suite=CLIENT, runtime="bubblewrap", kernel="provisioner", passes=96),
    Run(suite=NBCLIENT, runtime="bubblewrap", kernel="provisioner", passes=125),
    Run(suite=KERNEL_MANAGER, runtime="docker", kernel="provisioner", passes=34),
    Run(suite=KERNEL_TEST, runtime="bubblewrap", kernel="python", passes=11),
    Run(suite=KERNEL_TEST, runtime="docker", kernel="python", passes=11),
    Run(suite=KERNEL_TEST, runtime="bubblewrap", kernel="shim", passes=11),
    Run(suite=BASH_TEST, runtime="bubblewrap", kernel="bash", passes=3),
    Run(suite=BASH_TEST, runtime="docker", kernel="bash", passes=3),
)
"""The longest first: they run side by side."""
