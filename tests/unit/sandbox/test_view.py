"""A sandbox, a mount plan and doctor's findings, as a user reads them."""

from __future__ import annotations

import re
from dataclasses import replace

from moat_nb.cli.doctor import Finding, Report, of_findings
from moat_nb.host.machine import User
from moat_nb.planning.limits import MIB, Limits
from moat_nb.planning.mounts import Bind, EmptyFile, MountPlan, MountPoint, Tmpfs, Volume, of_mounts
from moat_nb.planning.spec import ContainerSpec
from moat_nb.sandbox.guest_client import Exit
from moat_nb.sandbox.mount_proof import MountProof
from moat_nb.sandbox.usage import Sample
from moat_nb.sandbox.view import KernelView, SandboxView, SidecarView, of_sandbox
from moat_nb.text.summary import as_html, as_text

PLAN = MountPlan(
    mounts=(
        Bind(source="/home/u/p", target="/workspace"),
        Volume(name="moat-p-cache", target="/cache", read_only=True),
        Tmpfs(target="/tmp", size=512 * MIB, role="tmp"),
        Tmpfs(target="/workspace/node_modules", size=64 * MIB),
        EmptyFile(target="/workspace/.env"),
    ),
    missing=(MountPoint(root="/home/u/p", relative="node_modules"),),
    keep=("/data/v",),
)
SPEC = ContainerSpec(
    name="p",
    role="kernel",
    project="/home/u/p",
    runtime="docker",
    image="python:3.11",
    command=("python3",),
    user=User(1000, 1000),
    env=(),
    workdir="/workspace",
    mounts=PLAN,
    limits=Limits(memory=2048 * MIB, cpus=1.5),
)


def proof(path: str, used: int = 0, problem: str | None = None) -> MountProof:
    return MountProof(
        path=path,
        type="tmpfs",
        mode=0o1777,
        writable=True,
        executable=True,
        size=64 * MIB,
        used=used,
        problem=problem,
    )


RUNNING = SandboxView(
    id="0badcafe",
    name="p",
    spec=SPEC,
    network="none (the kernel has loopback only)",
    proofs=(proof("/workspace/node_modules", 3 * MIB), proof("/workspace/.env")),
    memory=300 * MIB,
    kernels=(
        KernelView(
            pid=7,
            samples=(
                Sample(age=4, memory=100 * MIB, cpu=None),
                Sample(age=2, memory=200 * MIB, cpu=0.1),
                Sample(age=0, memory=200 * MIB, cpu=1.5),
            ),
        ),
        KernelView(pid=9),
    ),
    sidecars=(SidecarView(name="postgres", image="postgres:16", state="ready"),),
)

FACTS = """\
project     /home/u/p
runtime     docker
image       python:3.11
user        1000:1000
network     none (the kernel has loopback only)
limits      memory 2 GiB, 512 processes, 1.5 CPUs, /dev/shm 64 MiB, core 0,
            nofile 4096
"""


def test_a_running_sandbox() -> None:
    assert as_text(of_sandbox(RUNNING)) == (
        "Sandbox p (0badcafe), running\n"
        + FACTS
        + """\
memory      300 MiB of 2 GiB in use

mounts
  TARGET                   TYPE        MODE     SOURCE OR SIZE           IN USE
  /workspace               bind        rw       /home/u/p
  /cache                   volume      ro       moat-p-cache
  /tmp                     tmpfs       1777 rw  512 MiB (tmp)
  /workspace/node_modules  tmpfs       1777 rw  64 MiB                   3 MiB of 64 MiB
  /workspace/.env          empty file  ro       covers an excluded file  covered

kernels
  PID  STATE    MEMORY            CPU
  7    running  ▅██ 200 MiB       ▁█ 150%
  9    running  not measured yet

sidecars
  NAME      STATE  IMAGE
  postgres  ready  postgres:16"""
    )


def test_where_a_browser_finds_its_ports_is_a_fact() -> None:
    view = replace(RUNNING, ports=(("web", "http://web.p-0badcafe.localhost:45678"),))
    assert "\nport web    http://web.p-0badcafe.localhost:45678\n" in as_text(of_sandbox(view))


def test_a_kernel_that_died_and_an_exclude_that_came_undone_are_said_first() -> None:
    died = KernelView(pid=7, ended=Exit(code=-11, stderr="Fatal Python error\n  at <cell>"))
    stopped = KernelView(pid=8, ended=Exit(code=0))
    undone = proof("/workspace/node_modules", problem="it came undone")
    view = replace(RUNNING, proofs=(undone,), memory=None, kernels=(died, stopped), sidecars=())
    text = as_text(of_sandbox(view))
    assert text.startswith(
        "Sandbox p (0badcafe), running, but an exclude does not hold\n"
        "the kernel 7 ended: killed by SIGSEGV; its last lines on stderr:\n"
        "Fatal Python error\n"
        "  at <cell>\n"
        "the kernel 8 ended: exit code 0\n" + FACTS
    )
    assert "64 MiB                   it came undone\n" in text
    assert text.endswith(
        "kernels\n" + "  PID  STATE              MEMORY  CPU\n"
        "  7    killed by SIGSEGV\n" + "  8    exit code 0"
    )


def test_a_sandbox_that_is_gone_says_why_and_nothing_of_its_use() -> None:
    view = SandboxView(
        id="0badcafe",
        name="p",
        spec=SPEC,
        network="none (the kernel has loopback only)",
        gone="it was stopped",
        answers=False,
    )
    text = as_text(of_sandbox(view))
    assert text.startswith("Sandbox p (0badcafe), ended\nit was stopped\n" + FACTS + "\nmounts\n")
    assert "kernels" not in text


def test_a_guest_that_does_not_answer_is_told() -> None:
    view = replace(RUNNING, answers=False)
    first = as_text(of_sandbox(view)).splitlines()[0]
    assert first == "Sandbox p (0badcafe), running, but its guest does not answer"


def test_what_a_sandbox_named_or_said_is_escaped_in_the_page() -> None:
    mounts = MountPlan(mounts=(Tmpfs(target="/w/<b>\x1b[2J/node_modules", size=MIB),))
    ended = KernelView(pid=1, ended=Exit(code=1, stderr="<script>alert(1)</script>"))
    view = replace(RUNNING, spec=replace(SPEC, mounts=mounts), kernels=(ended,))
    page = as_html(of_sandbox(view))
    assert "&lt;script&gt;alert(1)" in page and "/w/&lt;b&gt;\ufffd[2J/node" in page
    assert "<script" not in page


def test_a_mount_plan() -> None:
    shown = PLAN._repr_mimebundle_()
    assert shown["text/plain"] == as_text(of_mounts(PLAN))
    assert shown["text/html"] == as_html(of_mounts(PLAN))
    assert shown["text/plain"] == (
        """\
Mount plan, 5 mounts

mounts, in order
  TARGET                   TYPE        MODE     SOURCE OR SIZE
  /workspace               bind        rw       /home/u/p
  /cache                   volume      ro       moat-p-cache
  /tmp                     tmpfs       1777 rw  512 MiB (tmp)
  /workspace/node_modules  tmpfs       1777 rw  64 MiB
  /workspace/.env          empty file  ro       covers an excluded file

made on the host at the start, where missing
  PATH                    AT THE END
  /home/u/p/node_modules  removed at the end if still empty
  /data/v                 kept"""
    )


FINDINGS = (
    Finding(group="runtimes", subject="docker", verdict="no", detail="nothing answers", hint="x"),
    Finding(group="runtimes", subject="bubblewrap", verdict="ok", detail="0.8.0"),
    Finding(group="machine", subject="cgroups", verdict="ok", detail="v2"),
)


def test_findings_are_shown_in_a_page_by_group_with_what_can_be_used_first() -> None:
    summary = of_findings(FINDINGS)
    assert as_text(summary) == (
        """\
This machine, runs sandboxes on bubblewrap

runtimes
  SUBJECT     VERDICT  WHAT WAS FOUND   WHAT TO DO
  docker      no       nothing answers  x
  bubblewrap  ok       0.8.0

machine
  SUBJECT  VERDICT  WHAT WAS FOUND  WHAT TO DO
  cgroups  ok       v2"""
    )
    assert as_text(of_findings(FINDINGS[:1])).startswith("This machine, no runtime can be used\n")


def test_a_report_shows_findings_as_the_command_line_does_and_as_a_page() -> None:
    shown = Report(FINDINGS)._repr_mimebundle_()
    assert shown["text/plain"].startswith("runtimes\n  docker           no    nothing answers\n")
    assert re.search("bubblewrap", shown["text/html"])
