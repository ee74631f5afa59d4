"""What the guest found of a network that is to lead nowhere."""

from __future__ import annotations

from collections.abc import Sequence

from moat_nb.errors import ProofError

__all__ = ["prove_closed"]

HINT = (
    "have a NetworkPolicy that its cluster enforces (docs/kubernetes.md has one), or say "
    "kernel.kubernetes.network: unenforced"
)


def prove_closed(tried: Sequence[str], reached: Sequence[str]) -> None:
    """Raises ProofError where something answered, or there was nothing to try."""
    if reached:
        words = f"the sandbox reached {', '.join(reached)} by itself"
    elif not tried:
        words = "there is nothing that the sandbox could try to reach"
    else:
        return
    raise ProofError(f"network: the cluster does not keep the pod from others: {words}; {HINT}")
