"""Apple's ``container``: rendered as whole output, and held to its documentation by a stub."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import tests
from moat_nb.config.model import Config
from moat_nb.config.reader import read_config
from moat_nb.errors import StartError
from moat_nb.host.machine import Host, User
from moat_nb.planning.limits import MIB, Hardening, Limits
from moat_nb.planning.mounts import Bind, EmptyFile, MountPlan, Tmpfs, Volume, build
from moat_nb.planning.spec import ContainerSpec, SandboxSpec
from moat_nb.runtimes import apple
from moat_nb.runtimes.apple import Apple
from moat_nb.runtimes.base import UNLIMITED_FILES

STUB = Path(tests.__file__).with_name("apple_stub.py")
HOST = Host(
    user=User(501, 20),
    home=Path("/Users/ada"),
    data_dir=Path("/Users/ada/.local/share/moat-nb"),
    memory=8 << 30,
    executable="/usr/bin/python3",
    prefixes=(),
)
SPEC = ContainerSpec(
    name="moat-p-0a1b2c3d",
    role="kernel",
    project="/Users/ada/p",
    runtime="apple",
    image="python:3.12-slim",
    command=("python3", "/run/moat/guest", "{}"),
    user=User(501, 20),
    env=(("HOME", "/home/moatuser"), ("NOTE", "a=b, c")),
    workdir="/workspace",
    mounts=MountPlan(
        mounts=build(
            [
                Bind(source="/Users/ada/p", target="/workspace"),
                Bind(source="/Users/ada/data", target="/data", read_only=True),
                Tmpfs(target="/workspace/.venv", size=1024 * MIB),
                Tmpfs(target="/tmp", size=512 * MIB, role="tmp"),
            ]
        )
    ),
    limits=Limits(memory=2 << 30, cpus=2.0),
    labels=(("moat.nb.role", "kernel"),),
)


def test_a_spec_is_rendered_whole():
    (rendered,) = Apple(HOST).render(SandboxSpec(kernel=SPEC))
    assert rendered == [
        *("container", "run", "--name", "moat-p-0a1b2c3d", "--rm", "--interactive", "--init"),
        *("--progress", "none", "--network", "none", "--no-dns"),
        *("--user", "501:20", "--workdir", "/workspace", "--cap-drop", "ALL", "--read-only"),
        *("--memory", "2048M", "--shm-size", "64M", "--cpus", "2"),
        *("--ulimit", "core=0:0", "--ulimit", "nofile=4096:4096", "--ulimit", "nproc=512:512"),
        *("--env", "HOME=/home/moatuser", "--env", "NOTE=a=b, c", "--label", "moat.nb.role=kernel"),
        *("--mount", "type=bind,source=/Users/ada/data,target=/data,readonly"),
        *("--mount", "type=bind,source=/Users/ada/p,target=/workspace"),
        *("--mount", "type=tmpfs,destination=/tmp,mode=1777,size=512M"),
        *("--mount", "type=tmpfs,destination=/workspace/.venv,mode=1777,size=1024M"),
        *("--mount", f"type=bind,source={apple.GUEST},target=/run/moat/guest,readonly"),
        *("--entrypoint", "python3", "python:3.12-slim", "/run/moat/guest", "{}"),
    ]
    assert json.loads(json.dumps(rendered)) == rendered


def test_without_cpus_and_with_a_writable_root_their_options_are_left_out():
    loose = replace(SPEC, limits=Limits(memory=2 << 30), hardening=Hardening(read_only_root=False))
    (rendered,) = Apple(HOST).render(SandboxSpec(kernel=loose))
    assert [word for word in rendered if word in ("--cpus", "--read-only")] == []


def test_the_notices_name_what_the_virtual_machine_makes_up_for():
    limits, hardening = Apple(HOST).notices(SPEC)
    assert "2048 MiB" in limits
    assert "512 processes" in limits
    assert "no-new-privileges" in hardening
    assert Apple(HOST).remarks(SPEC) == (UNLIMITED_FILES,)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"user": User(0, 0)}, "the kernel's user is root"),
        ({"limits": Limits(memory=1 << 30, cpus=1.5)}, "container.cpus 1.5: only whole"),
        ({"limits": Limits(memory=1 << 30, cpus=0.5)}, "container.cpus 0.5: only whole"),
        ({"gpus": 1}, "kernel.gpus 1"),
        ({"dns": ("1.1.1.1",)}, "container.dns 1.1.1.1"),
        ({"ports": (("web", 80),)}, "ports: what listens for them needs Linux"),
        ({"network": "bridge"}, "network.policy bridge: there is no network"),
        ({"hardening": Hardening(isolation="gvisor")}, "kernel.isolation gvisor"),
        (
            {"mounts": MountPlan(mounts=(EmptyFile(target="/workspace/.env"),))},
            "exclude /workspace/.env: a single file cannot be covered; use docker",
        ),
        ({"mounts": MountPlan(mounts=(Volume(name="v", target="/v"),))}, "volume v"),
        ({"mounts": MountPlan(mounts=(Bind(source="/a,b", target="/a"),))}, "mount /a,b"),
        ({"mounts": MountPlan(mounts=(Tmpfs(target="/a=b", size=MIB),))}, "mount /a=b"),
    ],
)
def test_what_container_cannot_honour_is_refused_and_never_dropped(change, words):
    config = Config(path=Path("/Users/ada/p/moat.yaml"), name="p", base_image="i")
    (problem,) = Apple(HOST).check(replace(SPEC, **change), config)
    assert problem.words.startswith("apple: ")
    assert words in problem.words
    assert not problem.supported


# ------------------------------------------------------------------------ against the stub


class Stub:
    """The stub as an executable ``container``, and what it was called with."""

    def __init__(self, directory):
        self.log = directory / "calls"
        self.program = directory / "container"
        words = shlex.join([sys.executable, str(STUB), str(self.log)])
        self.program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        self.program.chmod(0o755)
        self.runtime = Apple(HOST, str(self.program))

    @property
    def calls(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def stub(tmp_path):
    return Stub(tmp_path)


@pytest.fixture
def spec(tmp_path):
    """SPEC with sources that exist, and a command that stands in for the guest."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    mounts = [
        Bind(source=str(workspace), target="/workspace"),
        Tmpfs(target="/workspace/.venv", size=MIB),
        Tmpfs(target="/tmp", size=MIB, role="tmp"),
    ]
    echo = "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)"
    return replace(
        SPEC,
        mounts=MountPlan(mounts=build(mounts)),
        command=(sys.executable, "-c", echo),
    )


def begin(stub, spec):
    return stub.runtime.start(SandboxSpec(kernel=spec), None).kernel


def test_every_argument_is_documented_and_bytes_go_both_ways(stub, spec, monkeypatch):
    monkeypatch.setattr("moat_nb.runtimes.pipes.GRACE_SECONDS", 60)
    attach_stream = begin(stub, spec)
    attach_stream.send(b"hello\n")
    assert attach_stream.receive() == b"HELLO\n"
    attach_stream.close()
    assert attach_stream.last_words() == "exit code 0"
    assert stub.calls == [
        stub.runtime.render(SandboxSpec(kernel=spec))[0][1:],
        ["delete", "--force", "moat-p-0a1b2c3d"],
    ]


def test_the_guests_environment_is_the_specs(stub, spec):
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    attach_stream = begin(stub, replace(spec, command=(sys.executable, "-c", code)))
    found = json.loads(b"".join(iter(attach_stream.receive, b"")))
    attach_stream.close()
    found.pop("LC_CTYPE", None)  # Python's own
    assert found == dict(SPEC.env)


def test_a_refusal_of_the_engine_is_told_in_its_own_words(stub, spec):
    attach_stream = begin(stub, replace(spec, name="!"))
    assert attach_stream.receive() == b""
    assert (
        attach_stream.last_words() == "exit code 64: Error: The value '!' is invalid for '--name'"
    )
    attach_stream.close()


def test_a_bind_of_a_single_file_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    text = f"name: p\nbase_image: i\nmounts: ['{file}:/file']\n".encode()
    config = read_config(text, path=tmp_path / "moat.yaml", home=tmp_path)
    mounts = MountPlan(mounts=(Bind(source=str(file), target="/file"),))
    (problem,) = Apple(HOST).check(replace(SPEC, mounts=mounts), config)
    assert str(problem) == (
        f"moat.yaml:3:10: apple: {file}: a single file cannot be bound; bind the directory it is "
        "in, or use docker"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["--tmpfs", "/tmp"],
        ["--pids-limit", "5"],
        ["--network", "bridge0,bridge1"],
        ["--mount", "type=tmpfs,destination=/x,exec"],
        ["--mount", "type=tmpfs,destination=/x,uid=5"],
        ["--mount", "type=bind,source=/etc/hosts,destination=/x"],
        ["--cpus", "1.5"],
        ["--ulimit", "as=1"],
        ["--ulimit", "core=0", "--ulimit", "core=1"],
        ["--name", "a1", "--name", "b1"],
    ],
)
def test_the_stub_refuses_what_is_not_documented(stub, words):
    argv = [str(stub.program), "run", *words, "image"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert done.stderr.startswith("Error: ")


@pytest.mark.parametrize(
    "answers, detail, hint",
    [
        ({}, "container 1.0.0", ""),
        ({"version": "container CLI version 0.12.3"}, "too old", "install container 1.0"),
        ({"version": "hello"}, "does not answer", "install container 1.0"),
        ({"status": 1}, "services are not running", "container system start"),
    ],
)
def test_available_says_what_is_missing(stub, monkeypatch, answers, detail, hint):
    monkeypatch.setattr("moat_nb.runtimes.apple.PROBE_SECONDS", 60)
    monkeypatch.setenv("APPLE_STUB", json.dumps(answers))
    found = stub.runtime.available()
    assert found.usable is (answers == {})
    assert detail in found.detail
    assert hint in found.hint


def test_without_the_command_it_is_not_available(tmp_path):
    found = Apple(HOST, str(tmp_path / "nothing")).available()
    assert (found.usable, "not installed" in found.detail) == (False, True)
    assert found.hint.startswith("on a Mac, install container")


def test_what_sidecars_need_is_refused_where_there_are_none():
    assert not Apple(HOST).capabilities.sidecars
    with pytest.raises(StartError, match="apple: there are no sidecars"):
        _ = Apple(HOST).containers
