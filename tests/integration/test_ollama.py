"""Models of an ollama service, pulled at a start from a registry on an internet of the tests' own.

The server is a stand-in (``tests/ollama_server.py``).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import ordinary_user
from tests.conftest import Engine
from tests.egress.internet import Internet
from tests.integration.conftest import Launcher, wait_until
from tests.integration.test_egress import Sandboxed
from tests.integration.test_sidecars import containers
from tests.service_images import ollama_image

TINY, ENDLESS = "registry.test/library/tiny", "registry.test/library/endless"
MIRROR = {"policy": "strict", "rules": ["registry.test", "blobs.test"]}

TAGS = """
import os, urllib.request
print(urllib.request.urlopen(os.environ["MOAT_OLLAMA_URL"] + "/api/tags").read().decode())
"""


@pytest.fixture(scope="module")
def image(engine: Engine) -> Iterator[str]:
    with ollama_image(engine.client, engine.base_image) as tag:
        yield tag


Make = Callable[..., Path]
Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def project(on_docker: Launcher, image: str) -> Make:
    """``project(*models, network)``, and beside it a directory for the user's data."""

    def make(*models: str, network: Any = MIRROR) -> Path:
        made = on_docker.project(
            dependencies=["ollama"],
            services={"ollama": {"image": image, "models": list(models)}},
            network=network,
        )
        for name in ("data", "run"):
            (made.parent / name).mkdir(mode=0o700)
            on_docker.give(made.parent / name, on_docker.owner)
        return made

    return make


@pytest.fixture
def begin(net: Internet, on_docker: Launcher) -> Iterator[Begin]:
    """``begin(project)``: a launcher on the machine of the tests' internet; as an ordinary user if
    told so."""
    with contextlib.ExitStack() as undo:

        def begun(project: Path, *, ordinary: bool = False) -> subprocess.Popen[str]:
            argv = [sys.executable, "-m", "tests.egress.launched", "docker", str(project)]
            environ = {
                **os.environ,
                "SSL_CERT_FILE": str(net.authority),
                "XDG_DATA_HOME": str(project.parent / "data"),
            }
            if ordinary:
                argv, extra = ordinary_user.command(argv)
                home, run = str(project.parent), str(project.parent / "run")
                environ |= {**extra, "HOME": home, "XDG_RUNTIME_DIR": run}
            process = subprocess.Popen(
                net.on_this_machine(*argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environ,
            )
            undo.enter_context(process)
            undo.callback(process.kill)
            return process

        yield begun


def models_in(box: Sandboxed) -> list[str]:
    code, out, err = box("run", ["python3", "-c", TAGS])
    assert code == 0, err
    return [model["name"] for model in json.loads(out)["models"]]


def kept(project: Path) -> list[Path]:
    """The files of models, sizes and owners of which can be looked at."""
    directory = project.parent / "data/moat-nb/volumes/test-box/ollama-models"
    return sorted(path for path in directory.rglob("*") if path.is_file())


def failed(process: subprocess.Popen[str]) -> str:
    """The error's text of a launcher that could not start."""
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (1, "")
    return err.rpartition("moat_nb.errors.StartError: ")[2]


# ---------------------------------------------------------------- starts that succeed


@pytest.mark.parametrize("ordinary", [False, True], ids=["root", "ordinary"])
def test_a_model_is_pulled_at_the_first_start_and_is_there_at_the_next(
    project: Make, begin: Begin, on_docker: Launcher, ordinary: bool
) -> None:
    made = project(TINY)
    with begin(made, ordinary=ordinary) as process:
        box = Sandboxed(process)
        assert models_in(box) == [f"{TINY}:latest"]
        passed = [[method, host, outcome] for method, host, _, outcome, _ in box.trace(3)]
        assert passed == [
            ["CONNECT", "registry.test", "passed"],
            ["CONNECT", "registry.test", "passed"],
            ["CONNECT", "blobs.test", "passed"],
        ]
        process.communicate()
    files = kept(made)
    assert [path.stat().st_size for path in files][:1] == [3_000_000]
    assert {path.stat().st_uid for path in files} == {on_docker.owner.uid}
    with begin(made, ordinary=ordinary) as process:
        box = Sandboxed(process)
        assert models_in(box) == [f"{TINY}:latest"]
        assert box("trace") == []
        process.communicate()
    assert on_docker.left(made) == []
    assert kept(made) == files


def test_two_starts_at_once_take_turns_so_that_a_model_is_pulled_once(
    project: Make, begin: Begin
) -> None:
    made = project(TINY)
    boxes = [Sandboxed(process) for process in [begin(made), begin(made)]]
    assert [models_in(box) for box in boxes] == [[f"{TINY}:latest"]] * 2
    assert wait_until(lambda: sorted(len(box("trace")) for box in boxes) == [0, 3])


def test_a_registry_whose_tls_is_opened_for_its_rules_is_trusted(
    project: Make, begin: Begin
) -> None:
    rules = [{"registry.test": ["allow GET /v2/library/tiny/**"]}, "blobs.test"]
    box = Sandboxed(begin(project(TINY, network={"policy": "strict", "rules": rules})))
    assert models_in(box) == [f"{TINY}:latest"]
    assert ["GET", "registry.test", 200, "passed"] in [row[:4] for row in box.trace(3)]


# ---------------------------------------------------------------- starts that fail


def test_a_model_that_does_not_exist_fails_the_start_and_no_other_is_pulled_after_it(
    project: Make, begin: Begin, on_docker: Launcher
) -> None:
    made = project("registry.test/library/nope:7b", TINY)
    said = failed(begin(made))
    assert re.match(r"\S+/moat\.yaml:\d+:\d+: ollama \(moat-nb-test/service-ollama:\w+\) ", said)
    assert (
        "could not pull registry.test/library/nope:7b: pull model manifest: file does not exist; "
        "correct its name, see that registry.ollama.ai can be reached, or take it out of models"
    ) in said
    assert "Listening on 127.0.0.1:11434" in said
    assert on_docker.left(made) == []
    assert kept(made) == []


@pytest.mark.parametrize(
    ("rules", "refused"), [([], "registry.test"), (["registry.test"], "blobs.test")]
)
def test_a_host_that_the_rules_do_not_allow_is_told_with_the_rule_to_add(
    project: Make, begin: Begin, on_docker: Launcher, rules: list[str], refused: str
) -> None:
    made = project(TINY, network={"policy": "strict", "rules": rules})
    said = failed(begin(made))
    assert f"could not pull {TINY}: " in said
    assert (
        f"\nrefused: {refused} is not in network.rules (policy strict); "
        f'add "- {refused}" to network.rules in moat.yaml, and start the sandbox anew\n'
        "a model comes from registry.ollama.ai, and from the hosts of its storage\n"
    ) in said
    assert on_docker.left(made) == []


def is_pulling(made: Path) -> bool:
    return any(path.name.endswith("-partial") and path.stat().st_size for path in kept(made))


@pytest.mark.parametrize("victim", ["ollama", "kernel"])
def test_a_death_during_a_pull_fails_the_start(
    project: Make, begin: Begin, on_docker: Launcher, engine: Engine, victim: str
) -> None:
    made = project(ENDLESS)
    process = begin(made)
    assert wait_until(lambda: is_pulling(made), 60)
    engine.client.api.kill(containers(engine, made)[victim]["Id"])
    said = failed(process)
    if victim == "ollama":
        assert f"ended while it pulled {ENDLESS}\n" in said
        assert "exited with 137" in said
    assert on_docker.left(made) == []


def test_a_pull_is_shown_and_a_launcher_that_is_interrupted_meanwhile_leaves_nothing(
    project: Make, begin: Begin, on_docker: Launcher
) -> None:
    made = project(ENDLESS)
    process = begin(made)
    assert wait_until(lambda: is_pulling(made), 60)
    assert process.stderr is not None
    while process.stderr.readline() != f"moat-nb: ollama: pulling {ENDLESS}\n":
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert on_docker.left(made) == []
