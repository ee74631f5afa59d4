"""The hub's side: which program a student's server is, with which environment and limits."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pwd
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner
from traitlets import Bool, Unicode, default

from moat_nb.config.file import FILE_NAMES, find
from moat_nb.config.model import Config
from moat_nb.config.reader import load
from moat_nb.errors import ConfigError, MoatError, Problem
from moat_nb.host.cgroups import delegated_place
from moat_nb.host.machine import Host, User
from moat_nb.host.user_cgroup import UserCgroup
from moat_nb.planning.kernel import limits_of
from moat_nb.planning.limits import MIB, Limits

__all__ = ["MoatSpawner", "cgroup_id"]

SERVER_MEMORY = 512 * MIB
"""What a student's server, its relays and the sandbox of its files may have beside the kernels."""
SERVER_PIDS = 512

RUN = Path("/run/moat-nb-hub")
"""Below it each student's XDG_RUNTIME_DIR. In /tmp another user could be there first, and with a
systemd session's a sandbox would be a scope outside of the student's cgroup."""

PASSED_ON = ("LANG", "LC_ALL", "PATH", "TZ")
"""Of the hub's own environment. Neither PYTHONPATH nor LD_LIBRARY_PATH: a server has the
interpreter's own modules."""


class MoatSpawner(LocalProcessSpawner):  # type: ignore[misc]
    """Starts `moat-nb lab` for each student: kernels and files in sandboxes of the course's.

    ``mem_limit`` and ``cpu_limit`` hold for all of a student's processes together, by a cgroup.
    """

    moat_yaml = Unicode(
        help="""The course's moat.yaml, which rules for every student. It is root's, in a directory
        that root alone can write to. What it asks for is approved by standing here."""
    ).tag(config=True)

    workspace = Unicode(
        "~/work",
        help="""The directory of a student that is /workspace in the sandboxes: absolute, or below
        the student's home. It is made if it is missing. {username} is the student's name.""",
    ).tag(config=True)

    runtime = Unicode("bubblewrap", help="As kernel.runtime.").tag(config=True)

    trust_output = Bool(
        False,
        help="""Whether what kernels show may act in the page. A student's page has the hub's
        origin, and script in it the student's rights there, unless c.JupyterHub.subdomain_host
        gives each student an origin.""",
    ).tag(config=True)

    @default("env_keep")
    def _env_keep(self) -> list[str]:
        return list(PASSED_ON)

    @default("cmd")
    def _cmd(self) -> list[str]:
        # -I: no PYTHON* variable, no module of the working directory or of the student's home.
        return [sys.executable, "-I", "-m", "moat_nb.jupyter.hub.single_user"]

    def get_args(self) -> list[str]:
        trust = ["--trust-output"] if self.trust_output else []
        given = self.workspace.replace("{username}", self.user.name)
        course_file = os.path.realpath(self.moat_yaml)  # what was looked at, wherever a link leads
        return [*trust, "--runtime", self.runtime, course_file, given]

    def get_env(self) -> dict[str, str]:
        env: dict[str, str] = super().get_env()
        return {**env, "XDG_RUNTIME_DIR": str(RUN / str(user_of(self.user.name).uid))}

    # -------- a server's life

    async def start(self) -> Any:
        try:
            await asyncio.to_thread(self._prepare)
        except (MoatError, OSError) as error:
            told: Any = RuntimeError(f"{self.user.name}'s server was not started: {error}")
            told.jupyterhub_message = str(told)
            raise told from error
        return await super().start()

    def _prepare(self) -> None:
        """Read the course's file, and make what only root can: the student's run directory and
        cgroup."""
        config = course(self.moat_yaml)
        if self.trust_output and not self.user.settings.get("subdomain_host"):
            raise MoatError(
                "c.MoatSpawner.trust_output: script that a kernel shows would have its student's "
                "rights at the hub, whose origin the page shares; set c.JupyterHub.subdomain_host "
                "too, or leave it out"
            )
        if self.internal_ssl:
            raise MoatError(
                "c.JupyterHub.internal_ssl: JupyterHub has root give files in a student's home to "
                "the student, where a link may lead to others; leave it out"
            )
        make_run_directory(RUN, user_of(self.user.name))
        limits = limits_of(config, Host.current())
        cgroup = self._cgroup
        if cgroup is None:
            self._without_limits(config, limits)
            return
        cgroup.make(
            user_of(self.user.name),
            memory=self.mem_limit or limits.memory + SERVER_MEMORY,
            pids=limits.pids + SERVER_PIDS,
            cpus=self.cpu_limit or limits.cpus,
        )

    def _without_limits(self, config: Config, limits: Limits) -> None:
        why = "the hub may make no cgroup that limits memory"
        if limits.required:
            hint = "run the hub as root where it can (docs/hub.md), or take the key out"
            where = config.place("kernel.require_limits")
            raise ConfigError([Problem(where=where, what=why, hint=hint)])
        self.log.warning(
            "moat: nothing limits what the server of %s and its kernels take together, as %s; "
            "kernel.require_limits: true in %s refuses such a start",
            self.user.name,
            why,
            config.path,
        )

    @property
    def _cgroup(self) -> UserCgroup | None:
        """This server's; None where the hub can make none."""
        place = delegated_place()
        if place is None:
            return None
        return UserCgroup.at(
            place, cgroup_id(user_of(self.user.name).uid, self.hub.api_url, self.name)
        )

    def make_preexec_fn(self, name: str) -> Callable[[], None]:
        become: Callable[[], None] = super().make_preexec_fn(name)
        cgroup = self._cgroup

        def prepare() -> None:
            if cgroup is not None:
                cgroup.join()  # as root, and before anything of the student's runs
            become()

        return prepare

    async def stop(self, now: bool = False) -> None:
        """With all that it started: what is left of it in its cgroup is killed."""
        await super().stop(now=now)
        cgroup = self._cgroup
        if cgroup is not None:
            try:
                await asyncio.to_thread(cgroup.end)
            except Exception as error:  # whatever a student has made there: the hub goes on
                self.log.warning("moat: %s", error)


def cgroup_id(uid: int, hub: str, server: str) -> str:
    """Of what stays, so that a hub finds it after its restart, and of what another hub of this
    machine has not: its address."""
    digest = hashlib.sha256(f"{hub} {server}".encode()).hexdigest()[:8]
    return f"hub-{uid}-{digest}"


def course(moat_yaml: str) -> Config:
    """The course's file; MoatError where it is none that a student's server may follow."""
    if not moat_yaml:
        raise MoatError("c.MoatSpawner.moat_yaml is not set: the path of the course's moat.yaml")
    config = load(os.path.realpath(moat_yaml), home=Path("/"))
    if config.path.name not in FILE_NAMES or find(config.path.parent) != config.path:
        raise MoatError(
            f"c.MoatSpawner.moat_yaml: kernels start by the moat.yaml of a directory, which "
            f"{config.path} is not; give each course a directory, and its file that name"
        )
    for path in (config.path, *config.path.parents) if os.getuid() == 0 else ():
        status = path.stat()
        held = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
        if status.st_uid != 0 or held:
            raise MoatError(
                f"{path} is not root's alone: who can write there would decide what each student's "
                f"server does; chown root {path} && chmod go-w {path}"
            )
    return config


def user_of(name: str) -> User:
    found = pwd.getpwnam(name)
    return User(found.pw_uid, found.pw_gid)


def make_run_directory(base: Path, user: User) -> None:
    base.mkdir(mode=0o755, exist_ok=True)
    own = base / str(user.uid)
    own.mkdir(mode=0o700, exist_ok=True)
    os.chown(own, user.uid, user.gid)
