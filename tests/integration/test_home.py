"""What stands in a sandbox's HOME and beside its mounts is the kernel's user's."""

from __future__ import annotations

import pytest

from moat_nb.errors import StartError
from moat_nb.jupyter.kernel_manager import Kernel
from tests.integration.conftest import Launcher
from tests.integration.test_jupyter import run

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


def test_a_volume_in_the_workspace_is_the_kernels_users_and_keeps_what_it_holds(
    on_docker: Launcher,
) -> None:
    launcher, name = on_docker, "moat-test-box-c"
    assert launcher.engine is not None
    api = launcher.engine.client.api
    volume = {"name": "c", "target": "/workspace/.cache", "type": "volume"}
    project = launcher.project(volumes=[volume])
    try:
        for kept in ("", "x\n"):  # a new one, then the same; and one of root's that is there
            box = launcher.launch(project)
            assert box.run(["ls", ".cache"], check=True).stdout.decode() == kept
            box.run(["touch", ".cache/x"], check=True)
            box.stop()
        api.remove_volume(name)
        api.create_volume(name)
        box = launcher.launch(project)
        box.run(["touch", ".cache/x"], check=True)
        box.stop()
        assert launcher.left(project) == []
    finally:
        api.remove_volume(name, force=True)


def test_a_volume_of_another_user_is_refused_and_stays_his(on_docker: Launcher) -> None:
    launcher, name = on_docker, "moat-test-box-his"
    assert launcher.engine is not None
    client = launcher.engine.client
    volume = {"name": "his", "target": "/his", "type": "volume"}
    project = launcher.project(volumes=[volume])
    chown = ["sh", "-c", "chown 4321 /v; stat -c %u /v"]
    look = ["stat", "-c", "%u", "/v"]
    places = {name: {"bind": "/v", "mode": "rw"}}
    try:
        run = {"remove": True, "volumes": places, "network_mode": "none"}
        assert client.containers.run(launcher.engine.base_image, chown, **run) == b"4321\n"
        with pytest.raises(StartError, match=f"the volume {name} .*belongs to uid 4321"):
            launcher.launch(project)
        assert client.containers.run(launcher.engine.base_image, look, **run) == b"4321\n"
        assert launcher.left(project) == []
    finally:
        client.api.remove_volume(name, force=True)


LEAVE = """\
printf '[core]\\n\\tautocrlf = input\\n' >~/.gitconfig
mkdir -m 700 ~/.ssh && (umask 077 && echo key >~/.ssh/id)
mkdir -p ~/.cache/hf/hub ~/.local/bin && touch ~/.cache/hf/hub/x ~/.cache/kept
printf '#!/bin/sh\\necho ran\\n' >~/.local/bin/tool && chmod +x ~/.local/bin/tool
ln -s .gitconfig ~/link
head -c 70000000 /dev/zero >~/large
"""
LOOK = """\
import os, stat, sys
home = os.path.expanduser("~")
assert open(home + "/link").read() == "[core]\\n\\tautocrlf = input\\n"
open(home + "/.gitconfig", "a").close()
assert stat.S_IMODE(os.stat(home + "/.ssh").st_mode) == 0o700
assert stat.S_IMODE(os.stat(home + "/.ssh/id").st_mode) == 0o600
assert open(home + "/.ssh/id").read() == "key\\n"
assert os.path.getsize(home + "/large") == 70000000
assert os.listdir(home + "/.cache/hf") == []
assert os.path.exists(home + "/.cache/kept")
assert {os.stat(home + "/" + name).st_uid for name in os.listdir(home) if name != "large"} == {
    os.getuid()
}
"""


def test_what_a_build_leaves_in_home_is_in_the_kernels_home(on_docker: Launcher) -> None:
    launcher = on_docker
    assert launcher.engine is not None
    mounts = [*MOUNTS[:1], f"hf:{HOME}/.cache/hf"]
    project = launcher.project(
        name="test-built-home",  # its images are removed, and others' tests have theirs
        mounts=mounts,
        hooks={"post_build_root": f"touch {HOME}/of-root", "post_build": LEAVE},
    )
    (project / "hf").mkdir()
    (project / "node_modules").mkdir()
    api = launcher.engine.client.api
    try:
        box = launcher.launch(project)
        box.run(["python3", "-c", LOOK], check=True)
        assert box.run([f"{HOME}/.local/bin/tool"], check=True).stdout == b"ran\n"
        box.run(["touch", f"{HOME}/of-root"], check=True)
        box.run(["rm", f"{HOME}/link"], check=True)
        box.reset()
        box.run(["python3", "-c", LOOK], check=True)
        box.stop()
        assert list((project / "hf").iterdir()) == []
    finally:
        for image in api.images("moat-nb/test-built-home"):
            for tag in image["RepoTags"]:
                api.remove_image(tag, force=True)


WHO = """\
import getpass, grp, os, pwd, socket
user = pwd.getpwuid(os.getuid())
assert (user.pw_name, user.pw_dir, user.pw_gid) == ("moat", os.environ["HOME"], os.getgid())
assert grp.getgrgid(os.getgid()).gr_name == "moat" and getpass.getuser() == "moat"
assert pwd.getpwnam("root").pw_uid == 0 and pwd.getpwnam("nobody")
assert socket.gethostbyname(socket.gethostname()).startswith("127.")
for path in ("/etc/passwd", "/etc/group"):
    try:
        open(path, "a")
    except OSError:
        continue
    raise SystemExit(path + " can be written")
print(len(pwd.getpwall()) > 3)
"""


def test_the_user_and_the_host_are_known_beside_the_images_own(launcher: Launcher) -> None:
    project = launcher.project(python=True)
    box = launcher.launch(project)
    images = launcher.engine is not None
    with Kernel.start(box) as kernel:
        assert run(kernel.kc, WHO) == f"{images}\n"
    assert box.run(["id", "-un"], check=True).stdout == b"moat\n"
    box.reset()
    box.run(["python3", "-c", WHO], check=True)
    box.stop()
    assert launcher.left(project) == []
