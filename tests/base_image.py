"""A base image for the tests, made from Debian's packages where no registry can be reached.

How mmdebstrap gets root's rights for the files it makes, tried in this order:

- root: ``--mode=root``.
- an ordinary user: ``--mode=unshare``. Needs newuidmap (Debian's uidmap) and a range for the user
  in /etc/subuid and /etc/subgid, which useradd gives; fails where the distribution forbids user
  namespaces.
- anyone who may use the engine: mmdebstrap of this machine in a container with nothing but
  read-only binds of its programs. Needs a local engine on Debian or Ubuntu, and none of the above.

fakechroot needs a further package, and chrootless cannot configure all of these packages.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docker import DockerClient
from docker.errors import ContainerError, ImageNotFound

from moat_nb.config.model import Config
from moat_nb.planning.image import image_plan
from moat_nb.runtimes.images.ensure import ensure_image
from moat_nb.text.progress import Silent

SUITE = "bookworm"
PACKAGES = ("python3", "python3-pip", "python3-venv", "ca-certificates")
REPOSITORY = "moat-nb-test/base"

# All that mmdebstrap and apt are made of; /etc has apt's configuration and certificates.
_PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/var/lib/dpkg")


@dataclass(frozen=True, kw_only=True)
class BaseImages:
    """Tags: Debian with python3, pip and venv, and the same with ipykernel."""

    plain: str
    kernel: str


@contextlib.contextmanager
def base_images(client: DockerClient, cache: Path) -> Iterator[BaseImages]:
    """Both images under tags of this run's own; the tags are gone afterwards.

    ``cache`` keeps the root filesystem, so a directory that outlives the run saves half a minute
    of the next.
    """
    run = secrets.token_hex(4)
    plain, kernel = f"{REPOSITORY}:{run}", None
    try:
        tar = root_filesystem(client, cache)
        # Podman 4.3 imports whatever it is told as :latest, so the tag comes afterwards.
        imported = json.loads(client.api.import_image_from_file(str(tar)))["status"]
        client.api.tag(imported, REPOSITORY, run)
        # Made by what is tested, so that the tests of everything else rest on it too.
        config = Config(path=cache / "moat.yaml", name=f"test-{run}", base_image=plain)
        kernel = ensure_image(image_plan(config), client, Silent())
        yield BaseImages(plain=plain, kernel=kernel)
    finally:
        for tag in filter(None, (kernel, plain)):
            with contextlib.suppress(ImageNotFound):
                client.api.remove_image(tag, force=True)


def root_filesystem(
    client: DockerClient | None,
    cache: Path,
    name: str = SUITE,
    packages: tuple[str, ...] = PACKAGES,
) -> Path:
    """The tar of a Debian root filesystem, ``name.tar``, made in ``cache`` if it is not there yet.

    Without ``client`` it is not tried in a container.
    """
    tar = cache / f"{name}.tar"
    if tar.exists():
        return tar
    cache.mkdir(parents=True, exist_ok=True)
    # A name of its own, so that runs at the same time do not meet and none is left half done.
    unfinished = cache / f"{name}.{secrets.token_hex(4)}.tar"
    try:
        _bootstrap(client, unfinished, packages)
        unfinished.rename(tar)
    finally:
        unfinished.unlink(missing_ok=True)
    return tar


def _bootstrap(client: DockerClient | None, tar: Path, packages: tuple[str, ...]) -> None:
    mode = "root" if os.geteuid() == 0 else "unshare"
    argv, environ = _mmdebstrap(mode, str(tar), packages), dict(os.environ)
    with contextlib.ExitStack() as undo:
        if mode == "root":
            # One that is interrupted leaves its mounts of /proc and /sys, and what lies below.
            argv = ["unshare", "--mount", *argv]
            environ["TMPDIR"] = undo.enter_context(tempfile.TemporaryDirectory(dir=tar.parent))
            Path(environ["TMPDIR"]).chmod(0o755)  # apt fetches as a user of its own
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environ)
    if done.returncode == 0:
        return
    if client is None:
        raise RuntimeError(f"no base image for the tests: mmdebstrap says:\n{done.stderr[-2000:]}")
    try:
        _bootstrap_in_container(client, tar, packages)
    except ContainerError as error:
        raise RuntimeError(
            f"no base image for the tests: mmdebstrap --mode={mode} says:\n{done.stderr}\n"
            f"and in a container:\n{error.stderr!r}"
        ) from error


def _mmdebstrap(mode: str, tar: str, packages: tuple[str, ...]) -> list[str]:
    include = f"--include={','.join(packages)}"
    return ["mmdebstrap", f"--mode={mode}", "--variant=minbase", include, SUITE, tar]


def _bootstrap_in_container(client: DockerClient, tar: Path, packages: tuple[str, ...]) -> None:
    image = f"{REPOSITORY}-tools:{secrets.token_hex(4)}"
    repository, _, tag = image.rpartition(":")
    client.api.import_image_from_data(_empty_tar(), repository=repository, tag=tag)
    binds = [f"{path}:{path}:ro" for path in _PROGRAMS if Path(path).exists()]
    try:
        client.containers.run(
            image,
            # Without mounts of its own it needs no more capabilities than any container has.
            [*_mmdebstrap("root", f"/out/{tar.name}", packages), "--skip=chroot/mount"],
            volumes=[*binds, f"{tar.parent.resolve()}:/out"],
            tmpfs={"/tmp": "rw,exec,dev,suid", "/var/tmp": "rw"},
            environment={"HOME": "/tmp", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            network_mode="host",
            remove=True,
        )
    finally:
        client.api.remove_image(image, force=True)


def _empty_tar() -> bytes:
    file = io.BytesIO()
    tarfile.open(fileobj=file, mode="w").close()
    return file.getvalue()
