"""What a moat.yaml asks of the host, as a value: all that goes beyond a sandbox of its own project.

It is made of the plan, so that no two spellings of a file are two things, and of the file alone:
what the user adds at a start (an option, a keyword) is the user's own word.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from moat_nb.config.exclude_patterns import is_glob
from moat_nb.config.model import Config, MountEntry, Rule, Service
from moat_nb.planning.kernel import kernel_user
from moat_nb.planning.limits import MIB, Limits
from moat_nb.planning.mounts import Bind, is_below
from moat_nb.planning.spec import ContainerSpec
from moat_nb.sandbox.project import LaunchPlan

__all__ = ["Demand", "Permissions", "Seen", "difference", "of_plan", "own_project"]

KERNELS = "the kernels"

POLICIES = ("none", "strict", "permissive", "bridge")
"""From the closest to the loosest."""

LONGEST = 500
"""Characters of a line that is shown."""

DEFAULT_PIDS = Limits(memory=0).pids
DEFAULT_ULIMITS = {name: hard for name, _, hard in Limits(memory=0).ulimits}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a container sees of the host."""

    by: str
    """:data:`KERNELS`, or a service's name."""
    source: str
    """Absolute, without a link in it."""
    writable: bool
    excludes: tuple[str, ...] = ()
    """Absolute paths and globs below ``source``."""
    where: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.source}, {'writable' if self.writable else 'read-only'}, for {self.by}"


@dataclass(frozen=True, kw_only=True)
class Permissions:
    """The whole of what a file asks for, or of what was approved."""

    mounts: tuple[Seen, ...] = ()
    policy: str = "permissive"
    rules: tuple[str, ...] = ()
    limits: tuple[tuple[str, float], ...] = ()
    """Those above the default; by name."""
    runtime: str = ""
    isolation: str = ""
    protect: tuple[str, ...] = ()
    """Names that the file adds to those that are protected: of which none may be taken away."""
    others: tuple[tuple[str, str], ...] = ()
    """``(kind, which)``: secrets, volumes, hooks, ports of this machine, ..."""
    places: dict[str, str] = field(default_factory=dict, compare=False)
    """``file:line:column`` of what is no mount, by kind."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """One thing that a file asks for and that was not approved."""

    where: str
    what: str
    source: str = ""
    """Of a mount."""

    def __str__(self) -> str:
        what = self.what[:LONGEST] + (" ..." if len(self.what) > LONGEST else "")
        return f"{self.where}: {what}" if self.where else what


# ---------------------------------------------------------------- what is asked


def of_plan(plan: LaunchPlan) -> Permissions:
    file = plan.file
    return Permissions(
        mounts=tuple(_mounts(plan)),
        policy=file.network.policy or "permissive",
        rules=tuple(map(_rule, file.network.rules)),
        limits=tuple(_limits(file, plan.host.memory)),
        runtime=file.kernel.runtime or file.runtime or "",
        isolation=file.kernel.isolation or "",
        protect=file.kernel.protect,
        others=tuple(dict.fromkeys(_others(plan))),
        places={kind: file.place(key) for kind, key in PLACES.items()},
    )


def own_project(project: str, asked: Permissions) -> Permissions:
    """What needs no approval: all of the project, any public host by the proxy."""
    return Permissions(
        mounts=(Seen(by=KERNELS, source=os.path.realpath(project), writable=True),),
        rules=asked.rules if asked.policy == "permissive" else (),
        runtime=asked.runtime,
        isolation=asked.isolation,
    )


PLACES = {
    "policy": "network",
    "limit": "container",
    "runtime": "kernel.runtime",
    "isolation": "kernel.isolation",
    "secret": "secrets",
    "volume": "volumes",
    "hook": "hooks",
    "port of this machine": "network.host",
    "GPUs": "kernel.gpus",
    "protect": "kernel.protect",
    "unprotect": "kernel.unprotect",
    "name server": "container.dns",
    "service run as another user": "kernel.services",
    "kernels run as": "mounts",
}


def _mounts(plan: LaunchPlan) -> Iterator[Seen]:
    binds = {sidecar.name: _sources(sidecar.spec) for sidecar in plan.sidecars}
    binds[KERNELS] = _sources(plan.spec)
    for mount in plan.file.mounts:
        yield _seen(KERNELS, mount, binds[KERNELS], plan)
    for service in plan.file.wanted_services:
        for mount in service.mounts:
            yield _seen(service.name, mount, binds.get(service.name, {}), plan)


def _sources(spec: ContainerSpec) -> dict[str, str]:
    return {mount.target: mount.source for mount in spec.mounts if isinstance(mount, Bind)}


def _seen(by: str, mount: MountEntry, binds: dict[str, str], plan: LaunchPlan) -> Seen:
    """The source as the plan has it, unless an option has put something else in its place."""
    source = os.path.realpath(mount.source)
    if by != KERNELS or mount in plan.config.mounts:
        source = binds.get(mount.target, source)
    excludes = sorted({f"{source.rstrip('/')}/{exclude.pattern}" for exclude in mount.exclude})
    return Seen(
        by=by,
        source=source,
        writable=not mount.read_only,
        excludes=tuple(excludes),
        where=mount.where,
    )


def _rule(rule: Rule) -> str:
    return "; ".join((rule.host, *(" ".join(line) for line in rule.lines)))


def _limits(file: Config, ram: int) -> Iterator[tuple[str, float]]:
    """Those that are looser than a sandbox has where the file says nothing."""
    default = {"memory (MiB)": ram // 2 // MIB, "pids": DEFAULT_PIDS, **DEFAULT_ULIMITS}
    asked: list[tuple[str, float]] = [
        ("memory (MiB)", file.container.memory_mb or 0),
        ("pids", file.kernel.pids),
    ]
    asked += [("memory (MiB)", service.memory_mb or 0) for service in file.wanted_services]
    for name, soft, hard in file.container.ulimits:
        asked.append((name, float("inf") if -1 in (soft, hard) else max(soft, hard)))
    loosest: dict[str, float] = {}
    for name, value in asked:
        if value > default.get(name, 0):
            loosest[name] = max(value, loosest.get(name, 0))
    yield from sorted(loosest.items())


def _others(plan: LaunchPlan) -> Iterator[tuple[str, str]]:
    file = plan.file
    for secret in file.secrets:
        yield "secret", f"{secret.name} ({secret.scheme}://{secret.reference})"
    for volume in (*file.volumes, *(v for s in file.wanted_services for v in s.volumes)):
        yield "volume", f"{volume.name} of projects named {file.name}"
    for name in ("post_build_root", "post_build"):
        if script := getattr(file.hooks, name):
            yield "hook", f"{name} (in the image's build): {script}"
    for name in file.kernel.unprotect:
        yield "unprotect", name
    for port in file.network.host_ports:
        yield "port of this machine", str(port)
    if file.kernel.gpus is not None:
        yield "GPUs", str(file.kernel.gpus)
    for server in file.container.dns:
        yield "name server", server
    yield from _users(plan, file.wanted_services)


def _users(plan: LaunchPlan, services: Iterable[Service]) -> Iterator[tuple[str, str]]:
    """Whose rights are used that are neither the launcher's nor the project's owner's."""
    for service in services:
        if service.user is not None and service.user.uid != plan.host.user.uid:
            yield "service run as another user", f"{service.name} as {service.user}"
    user = kernel_user(plan.file, plan.host)
    own = kernel_user(replace(plan.file, mounts=()), plan.host)
    if user != own:
        yield "kernels run as", f"the owner of the workspace, {user}"


# ---------------------------------------------------------------- what is new


def difference(asked: Permissions, granted: Permissions) -> tuple[Demand, ...]:
    """All of ``asked`` that goes beyond ``granted``."""
    return (
        *_new_mounts(asked, granted),
        *_looser_network(asked, granted),
        *_looser_limits(asked, granted),
        *_changed(asked, granted),
        *(
            _demand(asked, kind, f"{kind} {which}")
            for kind, which in asked.others
            if (kind, which) not in granted.others
        ),
    )


def _demand(asked: Permissions, kind: str, what: str) -> Demand:
    return Demand(where=asked.places.get(kind, ""), what=what)


def _new_mounts(asked: Permissions, granted: Permissions) -> Iterator[Demand]:
    for mount in asked.mounts:
        if any(_covers(known, mount) for known in granted.mounts):
            continue
        why = ""
        for known in granted.mounts:
            if shown := _shown(known, mount) if _reaches(known, mount) else ():
                why = f" (no longer excluded: {', '.join(shown)})"
        yield Demand(where=mount.where, what=f"mount {mount}{why}", source=mount.source)


def _covers(known: Seen, mount: Seen) -> bool:
    """Whether ``mount`` shows nothing that ``known`` does not."""
    return (
        _reaches(known, mount)
        and (known.writable or not mount.writable)
        and not _shown(known, mount)
    )


def _reaches(known: Seen, mount: Seen) -> bool:
    inside = mount.source == known.source or is_below(mount.source, known.source)
    return inside and known.by in (mount.by, KERNELS)


def _shown(known: Seen, mount: Seen) -> tuple[str, ...]:
    """What ``known`` excludes and ``mount`` may show."""
    return tuple(exclude for exclude in known.excludes if _shows(mount, exclude))


def _shows(mount: Seen, exclude: str) -> bool:
    if exclude in mount.excludes:
        return False
    if is_glob(exclude):
        return True  # of whatever it may match there
    if _at_or_below(mount.source, exclude):
        return True
    named = (other for other in mount.excludes if not is_glob(other))
    hidden = any(_at_or_below(exclude, other) for other in named)
    return _at_or_below(exclude, mount.source) and not hidden


def _at_or_below(path: str, parent: str) -> bool:
    return path == parent or is_below(path, parent)


def _looser_network(asked: Permissions, granted: Permissions) -> Iterator[Demand]:
    now, before = asked.policy, granted.policy
    if POLICIES.index(now) > POLICIES.index(before):
        yield _demand(asked, "policy", f"network policy {now} (it was {before})")
        return
    if now in ("none", "bridge"):
        return
    added = [rule for rule in asked.rules if rule not in granted.rules]
    gone = [rule for rule in granted.rules if rule not in asked.rules]
    if now == "permissive":  # there rules refuse, and by default all is allowed
        added = [rule for rule in added if not _only_denies(rule)]
    elif before == "permissive":
        added, gone = (added, []) if granted.rules else ([], [])
    else:
        gone = [rule for rule in gone if "deny" in rule]
    for rule in added:
        yield _demand(asked, "policy", f"network rule {rule}")
    for rule in gone:
        yield _demand(asked, "policy", f"network without the rule {rule}")
    kept = [rule for rule in asked.rules if rule in granted.rules]
    if kept != [rule for rule in granted.rules if rule in asked.rules]:
        yield _demand(asked, "policy", "network rules in another order")


def _only_denies(rule: str) -> bool:
    lines = rule.split("; ")[1:]
    return bool(lines) and all(line.startswith("deny ") for line in lines)


def _looser_limits(asked: Permissions, granted: Permissions) -> Iterator[Demand]:
    known = dict(granted.limits)
    for name, value in asked.limits:
        if value > known.get(name, 0):
            words = "unlimited" if value == float("inf") else f"{value:g}"
            yield _demand(asked, "limit", f"limit {name} {words}, above the default")


def _changed(asked: Permissions, granted: Permissions) -> Iterator[Demand]:
    if asked.runtime != granted.runtime:
        words = f"runtime {asked.runtime or 'auto'} (it was {granted.runtime or 'auto'})"
        yield _demand(asked, "runtime", words)
    if granted.isolation and asked.isolation != granted.isolation:
        yield _demand(asked, "isolation", f"no isolation {granted.isolation} any more")
    for name in granted.protect:
        if name not in asked.protect:
            yield _demand(asked, "protect", f"protected no longer: {name}")


# ---------------------------------------------------------------- as JSON


def as_words(permissions: Permissions) -> dict[str, Any]:
    return {
        "mounts": [
            {"by": m.by, "source": m.source, "writable": m.writable, "excludes": m.excludes}
            for m in permissions.mounts
        ],
        "policy": permissions.policy,
        "rules": permissions.rules,
        "limits": [[name, str(value)] for name, value in permissions.limits],
        "runtime": permissions.runtime,
        "isolation": permissions.isolation,
        "protect": permissions.protect,
        "others": permissions.others,
    }


def of_words(words: Any) -> Permissions:
    """The reverse of :func:`as_words`; KeyError, TypeError or ValueError for anything else."""
    if words["policy"] not in POLICIES:
        raise ValueError(words["policy"])
    return Permissions(
        mounts=tuple(
            Seen(
                by=str(m["by"]),
                source=str(m["source"]),
                writable=bool(m["writable"]),
                excludes=tuple(map(str, m["excludes"])),
            )
            for m in words["mounts"]
        ),
        policy=words["policy"],
        rules=tuple(map(str, words["rules"])),
        limits=tuple((str(name), float(value)) for name, value in words["limits"]),
        runtime=str(words["runtime"]),
        isolation=str(words["isolation"]),
        protect=tuple(map(str, words.get("protect", ()))),
        others=tuple((str(kind), str(which)) for kind, which in words["others"]),
    )
