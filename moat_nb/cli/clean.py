"""`moat-nb clean`: what launchers left that died together with their reapers, and what was approved
for projects that are gone."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moat_nb.config.model import ClusterOptions
from moat_nb.errors import MoatError
from moat_nb.host.machine import Host
from moat_nb.host.run_directory import (
    Owner,
    base_directory,
    is_alive,
    sandbox_states,
    sweep,
)
from moat_nb.planning.caches import directory_of
from moat_nb.planning.image import IMAGE_LABEL, REPOSITORY
from moat_nb.planning.spec import SOCKETS_LABEL
from moat_nb.planning.workspace_copy import tree_of
from moat_nb.runtimes.docker.engine import connect, engine_errors
from moat_nb.runtimes.docker.runtime import Docker
from moat_nb.runtimes.kubernetes.cluster import Cluster
from moat_nb.runtimes.kubernetes.stop import abandoned as abandoned_pods
from moat_nb.sandbox.approval import Records
from moat_nb.text.tables import amount
from moat_nb.text.terminal import one_line

if TYPE_CHECKING:
    from docker import APIClient

__all__ = ["abandoned", "clean", "our_images", "unnoted"]

STARTING_SECONDS = 24 * 3600
"""A start without a note for a day is none: the longest build of an image takes hours."""


def clean(*, images: bool, caches: bool = False, runtime: str | None = None) -> int:
    """Say each thing that was removed, or that there was none."""
    base = base_directory(os.environ, os.getuid())
    done = [f"directory {base / id}" for id in sweep(base)]
    for path in unnoted(base, time.time()):
        shutil.rmtree(path, ignore_errors=True)
        done.append(f"directory {path}")
    done += [f"approval of {name}" for name in Records(Host.current().approvals).remove_gone()]
    done += _clean_caches(base, Host.current(), remove=caches)
    workspaces = Host.current().workspaces
    if copies := [one for one in _entries(workspaces) if tree_of(one).is_dir()]:
        words = f"the copies of {len(copies)} projects stay in {workspaces}"
        print(f"{words}; `moat-nb discard` removes that of the project here")
    for socket, elsewhere in _engines():
        done += _clean_engine(socket, base, images, elsewhere=elsewhere)
    if runtime is not None:
        done += _clean_cluster(runtime)
    print("\n".join(f"removed {one_line(what)}" for what in done) or "nothing to remove")
    return 0


def _clean_caches(base: Path, host: Host, *, remove: bool) -> list[str]:
    """Those of projects without a sandbox; a link in one is removed, and not what it leads to."""
    running = {directory_of(state.project, host).name for _, state in sandbox_states(base) if state}
    found = [directory for directory in _entries(host.caches) if directory.name not in running]
    if found and not remove:
        print(f"the caches of {len(found)} projects stay in {host.caches}; --cache removes them")
    done = []
    for directory in found if remove else ():
        shutil.rmtree(directory, ignore_errors=True)
        left = directory.exists()
        done += [] if left else [f"cache {directory}"]
        if left:
            print(f"{directory} stays: not all of it can be removed")
    return done


def _entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def unnoted(base: Path, now: float) -> Iterator[Path]:
    """Directories whose start never came to write its note."""
    for run_dir, sandbox_state in sandbox_states(base):
        if sandbox_state is None and now - run_dir.path.stat().st_mtime > STARTING_SECONDS:
            yield run_dir.path


def _engines() -> Iterator[tuple[str, bool]]:
    """The sockets of the engines that answer, each once, and whether they are elsewhere."""
    runtimes = [Docker(name, os.environ) for name in ("docker", "podman")]
    answering = {
        runtime.socket: bool(runtime.capabilities.elsewhere)
        for runtime in runtimes
        if runtime.available().usable and runtime.socket is not None
    }
    yield from answering.items()


def _clean_engine(socket: str, base: Path, images: bool, *, elsewhere: bool) -> list[str]:
    client = connect(socket)
    done: list[str] = []
    try:
        for container in abandoned(_containers(client), base, elsewhere=elsewhere):
            name = container["Names"][0].lstrip("/")
            remove = partial(client.remove_container, container["Id"], force=True, v=True)
            done += _attempt(f"container {name}", remove)
        found = our_images(client.images())
        for name in found if images else ():
            done += _attempt(f"image {name}", partial(client.remove_image, name))
        if found and not images:
            size = amount(sum(found.values()))
            print(f"{len(found)} images of moat-nb's stay ({size}); --images removes them")
    except engine_errors() as error:
        raise MoatError(f"the engine at {socket}: {error}") from error
    finally:
        client.close()
    return done


def _clean_cluster(runtime: str) -> list[str]:
    """The pods of the current context that are left of this user's. Raises MoatError."""
    if runtime != "kubernetes":
        raise MoatError(f"--runtime {runtime}: only a cluster wants to be named (kubernetes)")
    cluster = Cluster(ClusterOptions(), os.environ)
    found = [*abandoned_pods(cluster)]
    for name in found:
        cluster.delete_pod(name, at_once=True)
    return [f"pod {name} of {cluster.where}" for name in found]


def _attempt(what: str, remove: Callable[[], object]) -> Iterator[str]:
    from docker.errors import APIError

    try:
        remove()
        yield what
    except APIError as error:
        print(f"{what} stays: {error.explanation}")


def _containers(client: APIClient) -> list[dict[str, Any]]:
    found = client.containers(all=True, filters={"label": ["moat.nb.owner"]})
    return [dict(container) for container in found]


def abandoned(
    containers: Iterable[Mapping[str, Any]], base: Path, *, elsewhere: bool = False
) -> Iterator[Mapping[str, Any]]:
    """Those of ``containers`` (the engine's list) whose launcher is dead.

    Only launchers that keep their directories below ``base`` are looked for: another user's, or
    one in a container, cannot be seen from here, and would pass for dead. So would those of other
    machines on an engine ``elsewhere``: there it must be of this machine's present run.
    """
    own = Owner.of(os.getpid())
    for container in containers:
        # A sidecar has no mount of the directory, and is labelled with it.
        sources = [container["Labels"].get(SOCKETS_LABEL, "")]
        sources += [mount.get("Source", "") for mount in container["Mounts"]]
        ours = any(Path(source).is_relative_to(base) for source in sources)
        owner = container["Labels"]["moat.nb.owner"]
        if elsewhere and (own is None or not owner.endswith(f":{own.boot}")):
            continue
        if ours and not is_alive(owner):
            yield container


def our_images(images: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """``{tag, or id without one: size}`` of the images that were built or tagged for a project."""
    found = {}
    for image in images:
        tags = [tag for tag in image.get("RepoTags") or () if tag != "<none>:<none>"]
        # Podman puts `localhost/` in front of a name without a registry.
        ours = [tag for tag in tags if tag.removeprefix("localhost/").startswith(f"{REPOSITORY}/")]
        if not tags and IMAGE_LABEL in (image.get("Labels") or {}):
            ours = [image["Id"]]
        found.update(dict.fromkeys(ours, image["Size"]))
    return found
