"""What a start cannot be faster than: the interpreter's imports, and the engine's own work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid

from moat_nb.planning.kernel import PRELOAD
from moat_nb.planning.spec import LABEL
from moat_nb.runtimes.docker.runtime import Docker

__all__ = ["floors"]


def floors(image: str | None) -> dict[str, float]:
    """One reading of each, in seconds; the engine's only with the ``image`` of a project."""
    found = {"import of ipykernel, in a new interpreter": _imports()}
    if image is not None:
        found["docker: create and start of `true`"] = _engine(image)
    return found


def _imports() -> float:
    environ = {**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}  # or it warns at each import
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {', '.join(PRELOAD)}"], check=True, env=environ)
    return time.perf_counter() - begin


def _engine(image: str) -> float:
    """With no mount, no limit and nothing hardened: the least that the engine can be asked for."""
    api = Docker("docker", os.environ).connect().api
    name = f"moat-bench-{uuid.uuid4().hex[:8]}"
    body = {
        "Image": image,
        "Cmd": ["true"],
        "Labels": {f"{LABEL}.bench": "1"},
        "HostConfig": {"NetworkMode": "none"},
    }
    try:
        begin = time.perf_counter()
        api.create_container_from_config(body, name)
        try:
            api.start(name)
            return time.perf_counter() - begin
        finally:
            api.remove_container(name, force=True)
    finally:
        api.close()
