"""What stands in a sandbox's HOME and beside its mounts is the kernel's user's."""

from __future__ import annotations

from moat_nb.jupyter.kernel_manager import Kernel
from tests.integration.conftest import Launcher

HOME = "/home/moatuser"

MOUNTS = [
    {"source": ".", "target": "/workspace", "exclude": ["node_modules"]},
    f"hf:{HOME}/.cache/huggingface",
    f"models:{HOME}/.local/share/models:ro",
    "pkg:/workspace/node_modules/@scope/pkg:ro",
]
BESIDE = (
    f"{HOME}/.cache/pip",
    f"{HOME}/.cache/huggingface/hub",
    f"{HOME}/.local/share/jupyter/x",
    f"{HOME}/.local/bin",
    "/workspace/node_modules/@scope/other",
    "/workspace/node_modules/.bin",
)


def test_what_is_on_the_way_to_a_mount_can_be_written_beside_it(launcher: Launcher) -> None:
    project = launcher.project(python=True, mounts=MOUNTS)
    for name in ("hf", "models", "pkg"):
        (project / name).mkdir()
        launcher.give(project / name, launcher.owner)
    (project / "pkg/index.js").write_text("")
    (project / "node_modules").mkdir()
    launcher.give(project / "node_modules", launcher.owner)
    box = launcher.launch(project)
    with Kernel.start(box):
        box.run(["mkdir", "-p", *BESIDE], check=True)
        listed = box.run(["ls", "/workspace/node_modules/@scope/pkg"], check=True).stdout
        assert listed == b"index.js\n"
        assert box.run(["touch", f"{HOME}/.local/share/models/x"]).returncode != 0
    assert [path.name for path in (project / "hf").iterdir()] == ["hub"]
    assert list((project / "node_modules").iterdir()) == []
