"""Asks an image for its ``python3``: which wheels fit it, and whether it has ipykernel.

The image is a stranger's, and so may be what runs there: it has no network, no rights, little
memory, and as long as a slow machine needs. What it says is read through a limit.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from moat_nb.errors import ImageError
from moat_nb.planning.limits import MIB
from moat_nb.planning.spec import LABEL
from moat_nb.runtimes.images.wheels import TAIL_LINES, Target

if TYPE_CHECKING:
    from docker import APIClient, DockerClient

__all__ = ["probe", "read_probe"]

SECONDS, BUSY_SECONDS = 60.0, 180.0
"""For an answer that takes 0.5 s; the second where more wants to run than there are CPUs."""

LONGEST = 64 << 10
"""Bytes of its answer, of which 1000 are expected."""

MEMORY = 512 * MIB
PIDS = 64

NEWEST_LIBC = 200
"""Minor versions up to it are believed: each is a tag that pip is given."""

_PROBE = """\
import glob, json, os, platform, subprocess, sys
libc, version = platform.libc_ver()
for loader in glob.glob("/lib/ld-musl-*"):
    words = subprocess.run([loader], stderr=subprocess.PIPE).stderr.decode()
    libc, version = "musl", words.split("Version ")[1].split()[0]
try:
    import ipykernel
    kernel = ipykernel.__version__
except ImportError:
    kernel = None
print(json.dumps({
    "libc": libc, "libc_version": version, "abiflags": sys.abiflags, "ipykernel": kernel,
    "markers": {
        "implementation_name": sys.implementation.name,
        "implementation_version": platform.python_version(),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    },
}))
"""


def probe(
    client: DockerClient,
    image: str,
    announce: Callable[[str], None] = lambda name: None,
    unlimited: Collection[str] = (),
) -> Target:
    """Ask ``image``, which is on the engine already, for its ``python3``; about 0.5 s.

    ``announce`` is called with the name of the container before it is made. ``unlimited``: what
    the engine cannot limit. Raises ImageError when it has no python3, one that wheels cannot be
    chosen for, or one that does not answer within the limits.
    """
    from docker.errors import APIError

    api = client.api
    name = f"moat-nb-probe-{secrets.token_hex(8)}"
    announce(name)
    try:
        api.create_container(
            image,
            name=name,
            entrypoint=["python3", "-B", "-c", _PROBE],
            command=[],
            host_config=api.create_host_config(**_limits(unlimited)),
            labels={f"{LABEL}.image": "1"},
            use_config_proxy=False,
        )
        try:
            answer = _answer(api, name, image)
        finally:
            api.remove_container(name, force=True, v=True)
    except APIError as error:
        raise ImageError(
            f"{image}: its python3 cannot be run: {error.explanation}; a kernel's image needs "
            "python3 on the PATH: name such a one by base_image"
        ) from error
    return read_probe(image, answer.decode(errors="replace"))


def _limits(unlimited: Collection[str]) -> dict[str, Any]:
    memory = {} if "memory" in unlimited else {"mem_limit": MEMORY, "memswap_limit": MEMORY}
    processes = {} if "processes" in unlimited else {"pids_limit": PIDS}
    return {
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "read_only": True,
        # The engine would keep on the disk all that it says.
        "log_config": {"Type": "none"},
        **memory,
        **processes,
    }


def _answer(api: APIClient, name: str, image: str) -> bytes:
    """All that it writes until its end; ImageError beyond the limits."""
    # Attached before the start: without a log, what was said before is lost.
    output: Any = api.attach(name, stderr=True, stream=True)
    seconds = _seconds()
    late = threading.Event()

    def give_up() -> None:
        late.set()
        output.close()

    timer = threading.Timer(seconds, give_up)
    answer = bytearray()
    # The stream's own close() leaves the socket to the garbage collector.
    with contextlib.closing(output._response):
        timer.start()
        try:
            api.start(name)
            for part in output:
                answer += part
                if len(answer) > LONGEST:
                    raise _refused(image, f"wrote more than {LONGEST >> 10} KiB")
        finally:
            timer.cancel()
    if late.is_set():
        raise _refused(image, f"did not answer within {seconds:g} s")
    return bytes(answer)


def _seconds() -> float:
    return BUSY_SECONDS if os.getloadavg()[0] > (os.cpu_count() or 1) else SECONDS


def _refused(image: str, what: str) -> ImageError:
    return ImageError(
        f"{image}: its python3 was asked what it is, and {what}, so it was ended; name an image "
        "with a Python of its own as base_image"
    )


def read_probe(image: str, answer: str) -> Target:
    """The Target that the probe's output describes; pure. All of it may be a stranger's words."""
    try:
        return _target(image, json.loads(answer))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        lines = answer.rstrip().splitlines()[-TAIL_LINES:]
        words = "\n".join(line[:1000] for line in lines)
        raise ImageError(
            f"{image}: its python3 does not say which wheels fit it; it said:\n{words}"
        ) from error


def _target(image: str, facts: dict[str, Any]) -> Target:
    major, minor = map(int, facts["libc_version"].split(".")[:2])
    markers, kernel = facts["markers"], facts["ipykernel"]
    texts = (facts["libc"], facts["abiflags"], *markers.values(), *([kernel] if kernel else ()))
    if not all(isinstance(text, str) and len(text) < 1000 and text.isprintable() for text in texts):
        raise ValueError("no text")
    if not (0 <= major <= NEWEST_LIBC and 0 <= minor <= NEWEST_LIBC):
        raise ValueError("no version of a libc")
    if markers["implementation_name"] != "cpython" or facts["libc"] not in ("glibc", "musl"):
        raise ImageError(
            f"{image}: wheels are chosen for CPython on glibc or musl, but its python3 is "
            f"{markers['platform_python_implementation']} on {facts['libc']}; "
            "use a base_image that has all packages already"
        )
    return Target(
        libc=facts["libc"],
        libc_version=(major, minor),
        abi=f"cp{markers['python_version'].replace('.', '')}{facts['abiflags']}",
        markers={name: markers[name] for name in _MARKERS},
        ipykernel=kernel,
    )


_MARKERS = (
    *("implementation_name", "implementation_version", "os_name", "platform_machine"),
    *("platform_python_implementation", "platform_release", "platform_system"),
    *("platform_version", "python_full_version", "python_version", "sys_platform"),
)
