"""`moat-nb build`: the images, the services' too, ahead of the first start."""

from __future__ import annotations

import os

from moat_nb.config.reader import load
from moat_nb.host.machine import Host
from moat_nb.host.reaper import Janitor
from moat_nb.planning.kernel import make_spec
from moat_nb.planning.services import plan_services
from moat_nb.runtimes.registry import choose
from moat_nb.sandbox.sidecars import Sidecars
from moat_nb.text.progress import for_user

__all__ = ["build"]


def build(directory: str, runtime: str | None) -> int:
    """Raises what a start would, of the file, the runtime and the image."""
    host = Host.current()
    config = load(directory, home=host.home)
    chosen, why = choose(runtime, config, host, os.environ)
    # A file that cannot start builds nothing.
    spec = make_spec(config, chosen, host, why)
    sidecars = plan_services(config, spec, host)
    janitor, progress = Janitor(), for_user()
    try:
        image = chosen.prepare(config, progress, janitor)
        Sidecars.prepare(sidecars, chosen, progress)
    finally:
        progress.close()
        janitor.finish()
    print(image or f"nothing to build: {chosen.name} runs on the host's own files")
    return 0
