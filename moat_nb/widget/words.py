"""What the excludes editor says of an exclude: on the host, inside, and what a restart loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moat_nb import excludes
from moat_nb.link import MountProof
from moat_nb.mounts import is_below
from moat_nb.suggest import Finding
from moat_nb.tables import amount
from moat_nb.widget.draft import Draft

__all__ = ["inside", "loss", "on_host", "plain"]


def on_host(found: Finding | None) -> str:
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
    states = excludes.begin([pattern])
    mine = [proof for proof in proofs if _matches(states, target, proof.path)]
    tmpfs = [proof for proof in mine if proof.type == "tmpfs"]
    if not tmpfs:
        return "covered inside" if mine else ""
    used = amount(sum(proof.used for proof in tmpfs))
    if len(tmpfs) > 1:
        return f"{used} used inside, in {len(tmpfs)} places"
    return f"{used} of {amount(tmpfs[0].size)} used inside"


def _matches(states: excludes.States, target: str, path: str) -> bool:
    if not is_below(path, target):
        return False
    *above, last = path.removeprefix(target).strip("/").split("/")
    for name in above:
        matched, states = excludes.advance(states, name)
        if matched is not None:
            return False
    return excludes.advance(states, last)[0] is not None


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


def plain(draft: Draft, facts: Mapping[str, Mapping[str, str]]) -> str:
    """The editor where no widget can show: what is excluded, and the commands that change it."""
    lines = [f"Excludes of {draft.file.path}"]
    for mount in draft.config.mounts:
        lines.append(f"{mount.target} (from {mount.source})")
        listed = draft.asked[mount.target]
        lines += [f"  {path}: {facts[mount.target].get(path, '')}" for path in listed]
        lines += [] if listed else ["  nothing is excluded"]
    lines += [
        "Change them with:",
        f"  moat-nb exclude add PATH --project {draft.config.directory}",
        f"  moat-nb exclude remove PATH --project {draft.config.directory}",
    ]
    return "\n".join(lines)
