"""What of a file's permissions goes beyond those that it is held against, each in a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from moat_nb.config.exclude_patterns import is_glob
from moat_nb.planning.mounts import is_within
from moat_nb.sandbox.permissions import KERNELS, POLICIES, Permissions, Seen

__all__ = ["Demand", "difference"]


@dataclass(frozen=True, kw_only=True)
class Demand:
    """One thing that a file asks for and that was not approved."""

    where: str
    what: str
    source: str = ""
    """Of a mount."""

    def __str__(self) -> str:
        """Whole, however long: what is not shown is not approved."""
        return f"{self.where}: {self.what}" if self.where else self.what


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
        yield Demand(where=mount.where, what=f"mount {mount}{mount.note}{why}", source=mount.source)


def _covers(known: Seen, mount: Seen) -> bool:
    """Whether ``mount`` shows nothing that ``known`` does not."""
    return (
        _reaches(known, mount)
        and (known.writable or not mount.writable)
        and not _shown(known, mount)
    )


def _reaches(known: Seen, mount: Seen) -> bool:
    return is_within(mount.source, known.source) and known.by in (mount.by, KERNELS)


def _shown(known: Seen, mount: Seen) -> tuple[str, ...]:
    """What ``known`` excludes and ``mount`` may show."""
    return tuple(exclude for exclude in known.excludes if _shows(mount, exclude))


def _shows(mount: Seen, exclude: str) -> bool:
    if exclude in mount.excludes:
        return False
    if is_glob(exclude):
        return True  # of whatever it may match there
    if is_within(mount.source, exclude):
        return True
    named = (other for other in mount.excludes if not is_glob(other))
    return is_within(exclude, mount.source) and not is_within(exclude, *named)


def _looser_network(asked: Permissions, granted: Permissions) -> Iterator[Demand]:
    now, before = asked.policy, granted.policy
    if POLICIES.index(now) > POLICIES.index(before):
        yield _demand(asked, "policy", f"network policy {now} (it was {before})")
        return
    if _as_close(asked, granted):
        return
    added = [rule for rule in asked.rules if rule not in granted.rules]
    gone = [rule for rule in granted.rules if rule not in asked.rules]
    for rule in added:
        yield _demand(asked, "policy", f"network rule {rule}")
    for rule in gone:
        yield _demand(asked, "policy", f"network without the rule {rule}")
    if not added and not gone:
        yield _demand(asked, "policy", "network rules in another order")


def _as_close(asked: Permissions, granted: Permissions) -> bool:
    """Whether the rules of ``asked``, whose policy is no looser, surely allow no more.

    The first rule for a host decides alone, so any rule may be what keeps a later one from its
    hosts: only at the end is one taken away or added without an effect on others.
    """
    now, before = asked.policy, granted.policy
    if now == "none" or before == "bridge":
        return True
    if now == "strict":  # what no rule is about is refused
        all_was_allowed = before == "permissive" and not granted.rules
        return all_was_allowed or asked.rules == granted.rules[: len(asked.rules)]
    known = len(granted.rules)
    return asked.rules[:known] == granted.rules and all(map(_only_denies, asked.rules[known:]))


def _only_denies(rule: str) -> bool:
    lines = rule.split("; ")[1:]
    return bool(lines) and all(line.startswith("deny ") for line in lines)


def _looser_limits(asked: Permissions, granted: Permissions) -> Iterator[Demand]:
    now = {**asked.defaults, **dict(asked.limits)}
    known = {**asked.defaults, **dict(granted.limits)}
    for name, value in now.items():
        if value > known.get(name, 0):
            was = f"it was {_amount(known[name])}" if name in known else "it was not set"
            yield _demand(asked, "limit", f"limit {name} {_amount(value)} ({was})")


def _amount(value: float) -> str:
    return "unlimited" if value == float("inf") else f"{value:g}"


def _changed(asked: Permissions, granted: Permissions) -> Iterator[Demand]:
    if asked.runtime != granted.runtime:
        words = f"runtime {asked.runtime or 'auto'} (it was {granted.runtime or 'auto'})"
        yield _demand(asked, "runtime", words)
    if granted.isolation and asked.isolation != granted.isolation:
        yield _demand(asked, "isolation", f"no isolation {granted.isolation} any more")
    if granted.require_limits and not asked.require_limits:
        yield _demand(asked, "require_limits", "limits required no longer")
    for name in granted.protect:
        if name not in asked.protect:
            yield _demand(asked, "protect", f"protected no longer: {name}")
