"""A moat.yaml as Moat's users have them, on every runtime: what cannot be had stops nothing."""

from __future__ import annotations

from typing import Any

import pytest

from moat_nb import ImageError, NotSupportedYet
from tests.integration.conftest import UNCLOSED_LOOPS, Launcher
from tests.integration.test_jupyter import Installed, connected, installed, runtime

__all__ = ["installed", "runtime"]

pytestmark = UNCLOSED_LOOPS

OF_MOAT = {
    "name": "My Survey",
    "dependencies": ["go-extras", "claude-code", "docker:dind"],
    "env": {"spring.profiles.active": "dev", "npm_config_//host/:_auth": "x"},
    "container": {"memory": 0, "cpus": 4096 / 4, "dns": ["192.0.2.1"]},
    "devices": [{"name": "board"}],
    "kernel": {"requirements": "requirements.txt"},
}


def test_a_file_of_moats_starts_without_what_cannot_be_had_and_says_so(launcher: Launcher) -> None:
    project = launcher.project(**OF_MOAT)
    (project / "requirements.txt").write_text("packaging >= 20  # of this file\n")
    box = launcher.launch(project)
    assert box.config.name == "my-survey"
    told = "\n".join(box.spec.notices)
    for name in ("gofumpt (go-extras)", "golangci-lint (go-extras)", "docker:dind"):
        assert name in told
    assert "container.cpus: 1024, and this machine has " in told
    assert "claude-code" not in told
    asked = ("spring.profiles.active", "npm_config_//host/:_auth")
    assert box.run(["printenv", *asked], check=True).stdout == b"dev\nx\n"
    assert box.run(["python3", "-c", "import packaging"]).returncode == 0
    listed = [key.name for key in box.config.unused]
    assert listed == ["devices", "container.dns", "dependencies: claude-code"]


def test_what_is_required_and_cannot_be_had_is_refused(launcher: Launcher) -> None:
    project = launcher.project(dependencies=["git", "helm"], kernel={"require_dependencies": True})
    told, error = {
        "docker": ("kernel.require_dependencies: the image has no helm", ImageError),
        "bubblewrap": (
            "helm: not on this machine, and bubblewrap installs nothing",
            NotSupportedYet,
        ),
    }[launcher.runtime]
    with pytest.raises(error) as raised:
        launcher.launch(project)
    assert told in str(raised.value)
    assert launcher.left(project) == []


def test_a_kernel_of_a_front_end_starts_and_restarts_without_them(installed: Installed) -> None:
    file = installed.project / "moat.yaml"
    file.write_text(
        f"{file.read_text()}\ndependencies: [helm, 'go:example.org/x@latest', pi-cli]\n"
    )
    with connected(installed) as (manager, client):
        said = shown(client, "print(6 * 7)")
        assert "moat: the kernel starts without helm, go:example.org/x@latest: " in said
        assert said.endswith("42\n")
        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=300)
        assert shown(client, "print(6 * 7)") == "42\n"


def shown(client: Any, code: str) -> str:
    """All that a cell prints, what moat-nb says in it first."""
    pieces: list[str] = []

    def collect(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            pieces.append(message["content"]["text"])

    client.execute_interactive(code, timeout=300, output_hook=collect)
    return "".join(pieces)


def test_another_python_than_the_base_images_is_an_error_with_its_line(
    on_docker: Launcher,
) -> None:
    project = on_docker.project(dependencies=["python@3.99"])
    with pytest.raises(ImageError, match=r"moat.yaml:\d+:3: python@3.99, and .* has Python 3\."):
        on_docker.launch(project)
    assert on_docker.left(project) == []


def test_what_a_build_would_run_as_the_user_runs_at_each_start_where_there_is_none(
    on_bubblewrap: Launcher,
) -> None:
    heard: list[str] = []
    hooks = {
        "post_build_root": "apt-get install figlet",
        "post_build": "pwd; touch left; git config --global core.autocrlf input",
        "pre_run": "git config core.autocrlf",
    }
    project = on_bubblewrap.project(hooks=hooks)

    def hear(kind: str, text: str) -> None:
        heard.extend([text] if kind == "pre_run" else [])

    box = on_bubblewrap.launch(project, on_event=hear)
    for _ in range(2):
        assert "".join(heard) == "/home/moatuser\ninput\n"
        assert box.run(["ls", "/home/moatuser/left"]).returncode == 0
        assert not (project / "left").exists()
        heard.clear()
        box.reset()
    told = "the kernel starts without hooks.post_build_root: bubblewrap builds no image"
    assert told in "\n".join(box.spec.notices)
