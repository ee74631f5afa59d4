"""What the excludes editor says of an exclude: on the host, inside, and what a restart loses."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from moat_nb.config import exclude_patterns
from moat_nb.config.model import WORKSPACE
from moat_nb.excludes.draft import Draft
from moat_nb.excludes.suggest import Candidate
from moat_nb.excludes.widget.scan import Candidates
from moat_nb.planning.mounts import is_below
from moat_nb.sandbox.mount_proof import MountProof
from moat_nb.text.tables import amount

__all__ = ["facts", "inside", "loss", "on_host", "plain", "suggestions"]


def on_host(found: Candidate | None) -> str:
    """``directory on the host, 120 MiB``."""
    if found is None or (found.kind is None and not found.complete):
        return "not looked for yet"
    if found.kind is None:
        return "not on the host"
    if found.kind not in {"directory", "file"}:
        return f"a {found.kind} on the host, which no exclude can cover"
    things = "directories" if found.kind == "directory" else "files"
    what = found.kind if found.places == 1 else f"{found.places} {things}"
    if found.size is None:
        return f"{what} on the host, being measured"
    return f"{what} on the host, {'' if found.complete else 'at least '}{amount(found.size)}"


def inside(target: str, pattern: str, proofs: Sequence[MountProof]) -> str:
    """``3 MiB of 1 GiB used inside``; empty where the sandbox has nothing of it."""
    states = exclude_patterns.start([pattern])
    mine = [proof for proof in proofs if _matches(states, target, proof.path)]
    tmpfs = [proof for proof in mine if proof.type == "tmpfs"]
    if not tmpfs:
        return "covered inside" if mine else ""
    used = amount(sum(proof.used for proof in tmpfs))
    if len(tmpfs) > 1:
        return f"{used} used inside, in {len(tmpfs)} places"
    return f"{used} of {amount(tmpfs[0].size)} used inside"


def _matches(states: exclude_patterns.GlobStates, target: str, path: str) -> bool:
    if not is_below(path, target):
        return False
    *above, last = path.removeprefix(target).strip("/").split("/")
    for name in above:
        matched, states = exclude_patterns.step(states, name)
        if matched is not None:
            return False
    return exclude_patterns.step(states, last)[0] is not None


def loss(proofs: Sequence[MountProof], *, known: bool) -> str:
    """What a restart of the sandbox loses, said before it; ``known``: whether it was asked."""
    used = [proof for proof in proofs if proof.type == "tmpfs" and proof.used]
    memory = "The sandbox restarts: what its kernels hold in memory is lost"
    if not known:
        return f"{memory}, and all that was written into its excludes."
    if not used:
        return f"{memory}; its excludes are empty."
    largest = sorted(used, key=lambda proof: -proof.used)
    named = ", ".join(f"{amount(proof.used)} in {proof.path}" for proof in largest[:3])
    more = f", and {len(used) - 3} more" if len(used) > 3 else ""
    total = amount(sum(proof.used for proof in used))
    return f"{memory}, and {total} that were written into its excludes ({named}{more})."


def facts(
    draft: Draft, findings: Candidates, proofs: Sequence[MountProof]
) -> dict[str, dict[str, str]]:
    """By target and pattern, what is on the host and inside."""
    said: dict[str, dict[str, str]] = {}
    for target in draft.saved:
        found = findings.get(target, {})
        listed = dict.fromkeys((*draft.saved[target], *draft.asked[target], *found))
        said[target] = {
            pattern: "; ".join(
                filter(None, (on_host(found.get(pattern)), inside(target, pattern, proofs)))
            )
            for pattern in listed
        }
    return said


def suggestions(draft: Draft, findings: Candidates) -> dict[str, list[dict[str, Any]]]:
    return {
        target: [
            {
                "pattern": one.pattern,
                "reason": one.reason,
                "secret": one.secret,
                "size": one.size,
            }
            for one in findings.get(target, {}).values()
            if one.reason and one.pattern not in saved
        ]
        for target, saved in draft.saved.items()
    }


def plain(
    draft: Draft,
    facts: Mapping[str, Mapping[str, str]],
    suggestions: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    looking: bool,
) -> str:
    """The editor where no widget can show: what is excluded and could be, and how to change it."""
    lines = [f"Excludes of {draft.file.path}"]
    for mount in draft.config.mounts:
        target, listed = mount.target, draft.asked[mount.target]
        lines.append(f"{target} (from {mount.source})")
        lines += [f"  {path}: {facts[target].get(path, '')}" for path in listed]
        lines += [] if listed else ["  nothing is excluded"]
        lines += [
            f"  suggested: {shlex.quote(one['pattern'])} ({one['reason']})"
            for one in suggestions[target]
            if one["pattern"] not in listed
        ]
        of_mount = [] if target == WORKSPACE else ["--target", target]
        options = shlex.join([*of_mount, "--project", str(draft.file.path)])
        lines += [f"  moat-nb exclude {action} PATH {options}" for action in ("add", "remove")]
    if looking:
        lines.append("The directories are still being looked at: there may be more to suggest.")
    return "\n".join(lines)
