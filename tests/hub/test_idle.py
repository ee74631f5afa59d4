"""Who is away keeps no memory: first the sandbox ends, then the server. docs/hub.md has these
settings with longer times."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

from moat_nb.host.user_cgroup import UserCgroup
from tests.hub.hub import hub
from tests.hub.machine import Machine, moat_config, processes_of
from tests.hub.test_limits import cgroup_of

COURSE = """\
name: idle
network: {policy: none}
container: {memory: 512}
kernel: {idle_timeout: 6}
"""

CULLER = f"""\
c.JupyterHub.services.append({{
    "name": "idle-culler",
    "command": [{sys.executable!r}, "-m", "jupyterhub_idle_culler", "--timeout=30",
                "--cull-every=3"],
}})
c.JupyterHub.load_roles.append({{
    "name": "idle-culler",
    "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
    "services": ["idle-culler"],
}})
c.Spawner.environment = {{"JUPYTERHUB_ACTIVITY_INTERVAL": "3"}}
"""


def until(true: Callable[[], bool], seconds: float = 120) -> bool:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if true():
            return True
        time.sleep(0.5)
    return False


def test_an_idle_sandbox_ends_and_then_the_server(machine: Machine) -> None:
    course = machine.directory / "idle"
    course.mkdir()
    (course / "moat.yaml").write_text(COURSE)
    config = moat_config(course / "moat.yaml", CULLER)
    with hub(machine.directory / "hub-idle", machine.proxy, config) as made:
        ada = made.login("moatada")
        kernel = ada.kernel()
        assert ada.run(kernel, "kept = 42; print(kept)") == "42\n"
        cgroup = cgroup_of(ada)
        assert sandboxes(cgroup) > 1
        assert until(lambda: sandboxes(cgroup) <= 1), "the idle sandbox did not end"
        assert ada.server() is not None
        assert until(lambda: ada.server() is None), made.words()[-3000:]
        # The server has told of its activity, with the token that it keeps.
        assert f"200 POST /hub/api/users/{ada.name}/activity" in made.words()
        assert "invalid credentials" not in made.words()
        assert until(lambda: not Path(cgroup.cgroup.directories[0]).exists())
        ada.start()
        assert ada.run(ada.kernel(), "print(6 * 7)") == "42\n"


def sandboxes(cgroup: UserCgroup) -> int:
    """How many processes of bubblewrap's are in there: the files' own, and those of kernels."""
    found = 0
    for pid in processes_of(cgroup):
        with contextlib.suppress(OSError):  # it has ended
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            found += command[0].endswith(b"bwrap")
    return found
