"""A plan that was made on another machine."""

from __future__ import annotations

from pathlib import Path

from moat_nb.host.machine import Host, User
from moat_nb.planning.capabilities import Capabilities
from moat_nb.planning.kernel import plan_kernel
from moat_nb.planning.mounts import Bind
from moat_nb.planning.workspace_copy import with_copy
from moat_nb.runtimes.elsewhere.localised import localised
from tests.unit.projects import Make

SSH = Capabilities(
    name="ssh",
    images=False,
    sidecars=False,
    shares_unix_sockets=False,
    elsewhere="ssh://gpu",
    memory=8 << 30,
    cpus=3,
)


def test_it_has_that_machines_python_user_memory_and_directories(config: Make, host: Host) -> None:
    made = config("mounts: [{source: ., target: /workspace, exclude: [node_modules]}]\n")
    plan = plan_kernel(with_copy(made, host, "ssh://gpu"), host, SSH)
    assert plan.spec.command[0] == "python3" and plan.spec.tunnel
    assert plan.spec.limits.memory == 4 << 30
    assert not [mount for mount in plan.spec.mounts if isinstance(mount, Bind)]
    assert "PATH" not in dict(plan.spec.env)

    spec = localised(plan.spec, made, host, User(7, 8), lambda name: Path("/copies", name))
    assert spec.command == (host.executable, *plan.spec.command[1:])
    assert spec.user == User(7, 8) and spec.runtime == "bubblewrap"
    assert dict(spec.env)["PATH"].startswith(str(Path(host.executable).parent))
    sources = {m.target: m.source for m in spec.mounts if isinstance(m, Bind)}
    assert sources["/workspace"] == "/copies/moat.workspace.new"
    assert "/workspace/node_modules" in {m.target for m in spec.mounts.excludes}
