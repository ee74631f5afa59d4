"""Our program on another machine: its answers of a plan."""

from __future__ import annotations

import os

from moat_nb.planning.kernel import plan_kernel
from moat_nb.planning.workspace_copy import with_copy
from tests.unit.projects import Make
from tests.unit.runtimes.elsewhere.conftest import Connect
from tests.unit.runtimes.elsewhere.test_localised import SSH


def test_a_plan_is_looked_at_there_with_its_places(config: Make, host, connect: Connect) -> None:
    made = with_copy(config("base_image: other\n"), host, "ssh://gpu")
    spec = plan_kernel(made, host, SSH).spec
    looked = connect().ask("look", spec=spec, config=made)
    (problem,) = (one for one in looked["problems"] if "base_image" in one["what"])
    assert problem["where"] == made.place("base_image")
    user = f"user: {os.getuid()}:" if os.getuid() else "user: 5000:5000"
    assert looked["notices"][0].startswith(user)


def test_a_start_that_fails_is_told_and_nothing_is_left(
    config: Make, host, connect: Connect, tmp_path
) -> None:
    import pytest

    from moat_nb.errors import StartError
    from moat_nb.planning.spec import SandboxSpec

    made = with_copy(config(""), host, "ssh://gpu")
    spec = plan_kernel(made, host, SSH).spec
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data" / "moat-nb").mkdir(exist_ok=True)
    (tmp_path / "data" / "moat-nb" / "elsewhere").write_text("in the way")
    with pytest.raises(StartError, match="elsewhere"):
        connect().ask("start", sandbox=SandboxSpec(kernel=spec), grace=10)
