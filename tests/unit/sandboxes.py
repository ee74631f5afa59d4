"""Sandboxes of other processes, as their run directories tell of them."""

from moat_nb.host.run_directory import Owner, SandboxState

DEAD = Owner(pid=1, start="0", boot="another-boot")


def sandbox_state(id, name, owner, started=0.0):
    return SandboxState(
        id=id,
        name=name,
        project="/p",
        runtime="bubblewrap",
        image=None,
        container=f"moat-{name}-{id}",
        started=started,
        owner=owner,
    )
