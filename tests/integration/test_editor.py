"""The excludes editor on real sandboxes: use inside, what a restart loses, and apply."""

from __future__ import annotations

import time

from moat_nb import ExcludesEditor
from tests.integration.conftest import MIB, Launcher

W = "/workspace"


def test_what_is_asked_for_is_saved_applied_and_covered(launcher: Launcher) -> None:
    project = launcher.project("cache")
    modules = launcher.directory(project / "node_modules")
    (modules / "host.txt").write_text("the host's own")
    box = launcher.launch(project, kernels=False)
    box.run(["dd", "if=/dev/zero", "of=cache/x", "bs=1M", "count=2"], check=True)
    editor = ExcludesEditor(project, sandbox=box)
    try:
        assert editor.facts[W]["cache"].endswith("; 2 MiB of 1 GiB used inside")
        assert editor.inside == [{"path": f"{W}/cache", "size": 1024 * MIB, "used": 2 * MIB}]
        assert box.run(["ls", "node_modules"]).stdout == b"host.txt\n"
        editor.add(W, "node_modules")
        editor.save()
        editor.ask_apply()
        assert (
            "2 MiB that were written into its excludes (2 MiB in /workspace/cache)" in editor.loss
        )
        editor.apply()
        assert box.run(["ls", "node_modules", "cache"]).stdout == b"cache:\n\nnode_modules:\n"
        assert editor.facts[W]["node_modules"].endswith("; 0 bytes of 1 GiB used inside")
        editor.undo()
        editor.apply()
        assert box.run(["ls", "node_modules"]).stdout == b"host.txt\n"
    finally:
        editor.close()
    assert (modules / "host.txt").read_text() == "the host's own"


def test_a_sandbox_that_has_ended_has_no_use_and_can_be_started_again(
    launcher: Launcher,
) -> None:
    box = launcher.launch(launcher.project("cache"), kernels=False)
    box.stop()
    editor = ExcludesEditor(box.config.directory, sandbox=box)
    try:
        assert editor.inside == []
        editor.apply()
        assert box.gone is None
        assert [one["path"] for one in editor.inside] == [f"{W}/cache"]
    finally:
        editor.close()


def test_a_sandbox_writes_the_names_that_are_suggested_and_leads_no_look_astray(
    launcher: Launcher,
) -> None:
    """A link that a kernel makes is not followed, and a name that it makes up is only a name."""
    project = launcher.project()
    box = launcher.launch(project, kernels=False)
    script = (
        "ln -s /etc node_modules; mkdir '<img src=x onerror=alert(1)>'; "
        "touch '<img src=x onerror=alert(1)>/a.pem'"
    )
    box.run(["sh", "-c", script], check=True)
    editor = ExcludesEditor(project)
    give_up = time.monotonic() + 20
    while editor.looking == "looking" and time.monotonic() < give_up:
        time.sleep(0.02)
    (one,) = editor.suggestions[W]
    assert one["pattern"] == "*img*src*x*onerror*alert*1**/a.pem"
    editor.close()
