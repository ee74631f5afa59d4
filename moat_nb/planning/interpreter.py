"""What a sandbox without an image sees of the launcher's Python: parts of its prefixes.

Never a prefix: beside an interpreter lie `pip.conf` with an index's password, an excluded `.env`,
or, where it was made in a home directory, all of that. What an exclude hides stays hidden, also
where a part or the host's own programs hold it under another name.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path

from moat_nb.errors import ConfigError, Problem
from moat_nb.host.machine import Host
from moat_nb.planning.mount_paths import points
from moat_nb.planning.mounts import (
    Bind,
    EmptyFile,
    Mount,
    MountPlan,
    Tmpfs,
    Volume,
    is_below,
    is_within,
)
from moat_nb.planning.resolve_mounts import forbidden

__all__ = ["SYSTEM", "search_path", "with_interpreter"]

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""The host's own programs, which a sandbox without an image sees whole."""

NEEDED = ("bin", "lib", "pyvenv.cfg")
"""Without these no kernel starts."""
PARTS = (*NEEDED, "include", "lib64", "share")
CONDA = (
    *("compiler_compat", "fonts", "libexec", "plugins", "sbin", "targets"),
    *("aarch64-conda-linux-gnu", "x86_64-conda-linux-gnu"),
    # By part: `etc` has the tools' settings, and keys may lie in `ssl`.
    *("etc/fonts", "ssl/cacert.pem", "ssl/cert.pem", "ssl/openssl.cnf"),
)
"""Packages of conda's put files there too; `conda-meta` has the channels' tokens."""
PRIVATE = ("pip.conf", ".condarc", "condarc", ".netrc", "conda-meta")
"""Covered where a prefix lies among the host's own programs."""

PRIVATE_SIZE = 1 << 20
"""Bytes of the tmpfs over a directory of those."""


def search_path(host: Host) -> str:
    """The ``PATH`` of a sandbox that is made of the host's programs: the interpreter's first."""
    return f"{Path(host.executable).parent}:/usr/local/bin:/usr/bin:/bin"


def with_interpreter(plan: MountPlan, where: str, host: Host) -> MountPlan:
    """The plan, and what of the interpreter it shows, and of the host's own programs it covers.

    Looks at the host. ``where`` is the place of what chose this interpreter. Raises ConfigError
    with all that is refused.
    """
    excluded = tuple(_excluded(plan))
    hidden = {path for path, _ in excluded}
    parts: dict[str, Bind] = {}
    covers: dict[str, Mount] = {}
    problems: list[Problem] = []
    for prefix in _prefixes(host):
        if is_within(prefix, *SYSTEM):
            covers.update((mount.target, mount) for mount in _private(prefix))
            continue
        for part in _parts(prefix):
            rule = _hidden_by(part, plan) or _rule(part, hidden, host)
            if not rule:
                parts[part.target] = part.bind
            elif part.name in NEEDED and rule != _OWN:
                what = f"{part.target}, of the Python that kernels run on here, is refused: {rule}"
                problems.append(Problem(where=where, what=what, hint=_HINT))
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    covers.update(_covers(excluded, parts.values()))
    taken = {mount.target for mount in plan}
    more = (mount for mount in (*parts.values(), *covers.values()) if mount.target not in taken)
    return plan.with_mounts(*more)


_HINT = "run the launcher from a virtual environment in a directory of its own, or use docker"
_OWN = "a mount of the user's own stands there"


@dataclass(frozen=True, kw_only=True)
class _Part:
    prefix: str
    name: str
    source: str
    """The host's path, without a link in it."""

    @property
    def target(self) -> str:
        return posixpath.join(self.prefix, self.name)

    @property
    def bind(self) -> Bind:
        return Bind(source=self.source, target=self.target, read_only=True, role="interpreter")


def _prefixes(host: Host) -> Iterator[str]:
    """All names by which the interpreter is found, each once."""
    # A venv's python may be a link to another name of the installation than base_prefix is (uv,
    # pyenv, Homebrew), so the place where the links end is needed too, and those on the way.
    installation = str(Path(host.executable).resolve().parent.parent)
    known = [*host.prefixes, installation]
    real = {os.path.realpath(prefix) for prefix in known}
    on_the_way = [hop for hop in _hops(host.executable) if os.path.realpath(hop) in real]
    yield from dict.fromkeys((*known, *on_the_way))


def _hops(program: str, most: int = 40) -> Iterator[str]:
    """The prefix of each link that ``program`` is, one after the other."""
    for _ in range(most):
        try:
            link = os.readlink(program)  # noqa: PTH115 - text in, text out
        except OSError:
            return
        program = posixpath.normpath(posixpath.join(posixpath.dirname(program), link))
        yield posixpath.dirname(posixpath.dirname(program))


def _parts(prefix: str) -> Iterator[_Part]:
    names = (*PARTS, *CONDA) if Path(prefix, "conda-meta").is_dir() else PARTS
    for name in names:
        if Path(prefix, name).exists():
            yield _Part(prefix=prefix, name=name, source=os.path.realpath(f"{prefix}/{name}"))


def _hidden_by(part: _Part, plan: MountPlan) -> str:
    """Which mount of the plan stands in the part's place or above; empty where it can be bound."""
    above = [mount for mount in plan if is_within(part.target, mount.target)]
    there = max(above, key=lambda mount: len(mount.target), default=None)
    if there is None or (isinstance(there, Tmpfs) and there.role != "exclude"):
        return ""
    if isinstance(there, Bind):
        below = posixpath.relpath(part.target, there.target)
        if posixpath.normpath(posixpath.join(there.source, below)) == part.source:
            return _OWN if there.target == part.target else ""
    own = isinstance(there, (Bind, Volume)) and not is_below(part.prefix, there.target)
    return _OWN if own else f"{there.target} of moat.yaml hides it"


def _rule(part: _Part, hidden: Set[str], host: Host) -> str:
    """Why the part may not be seen; empty when it may."""
    real = os.path.realpath(part.prefix)
    if not is_below(part.source, real) and not is_within(part.source, *SYSTEM):
        # Who can write to the prefix, a sandbox perhaps, could show itself any directory.
        return f"it is a link out of the prefix, to {part.source}"
    if part.source in hidden:
        return "moat.yaml excludes it"
    data = os.path.realpath(host.data_dir.parent)
    if part.name == "share" and is_within(data, part.source):
        return f"programs keep a user's data in {data}"
    runs = map(os.path.realpath, host.run_directories)
    return forbidden(part.source, os.path.realpath(host.home), runs)


def _private(prefix: str) -> Iterator[Mount]:
    """What covers the settings of a prefix that is seen whole."""
    for name in PRIVATE:
        path = f"{prefix}/{name}"
        mode = os.lstat(path).st_mode if os.path.lexists(path) else 0
        if stat.S_ISDIR(mode):
            yield Tmpfs(target=path, size=PRIVATE_SIZE)
        elif stat.S_ISREG(mode):
            yield EmptyFile(target=path)


def _excluded(plan: MountPlan) -> Iterator[tuple[str, Tmpfs | EmptyFile]]:
    """What covers each exclude, by the exclude's path on the host."""
    for path, cover in points(plan, plan.excludes):
        assert isinstance(cover, (Tmpfs, EmptyFile))
        yield path, cover


def _covers(
    excluded: Iterable[tuple[str, Tmpfs | EmptyFile]], parts: Iterable[Bind]
) -> Iterator[tuple[str, Mount]]:
    """The same covers where a part, or the host's own programs, would show what is excluded."""
    shown = [(part.source, part.target) for part in parts]
    shown += [(tree, tree) for tree in SYSTEM]
    for path, cover in excluded:
        for source, target in shown:
            if is_below(path, source):
                there = posixpath.join(target, posixpath.relpath(path, source))
                yield there, replace(cover, target=there)
