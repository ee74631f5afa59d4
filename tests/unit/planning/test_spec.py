"""spec.py: what makes one start of a spec different, and what does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from moat_nb.config.model import Rule
from moat_nb.egress.policy.network_policy import NetworkPolicy
from moat_nb.host.machine import User
from moat_nb.planning.limits import Hardening, Limits
from moat_nb.planning.mounts import Bind, MountPlan, Tmpfs
from moat_nb.planning.spec import SOCKETS_SIZE, ContainerSpec, Instance

SPEC = ContainerSpec(
    name="p",
    role="kernel",
    project="/home/ada/p",
    runtime="docker",
    image="python:3.12-slim",
    command=("python3", "/run/moat/guest", "{}"),
    user=User(1000, 1000),
    env=(("HOME", "/home/moatuser"),),
    workdir="/workspace",
    mounts=MountPlan(mounts=(Bind(source="/home/ada/p", target="/workspace"),)),
    limits=Limits(memory=1 << 30),
    labels=(("z", "kept"),),
)
INSTANCE = Instance(
    accounts="/run/user/1000/moat-nb/0123abcd/etc",
    id="0123abcd",
    sockets="/tmp/moat-nb-1000/0123abcd/s",
    network="/tmp/moat-nb-1000/0123abcd/n",
    owner="7:99:boot",
)
EGRESS = NetworkPolicy(policy="strict", rules=(Rule(host="pypi.org"),), file="moat.yaml")


def test_a_start_is_named_labelled_and_has_its_sockets() -> None:
    assert SPEC.instantiate(INSTANCE) == replace(
        SPEC,
        name="moat-p-0123abcd",
        labels=(
            ("moat.nb.owner", "7:99:boot"),
            ("moat.nb.project", "/home/ada/p"),
            ("moat.nb.role", "kernel"),
            ("moat.nb.sandbox", "0123abcd"),
            ("moat.nb.spec", SPEC.digest),
            ("z", "kept"),
        ),
        mounts=MountPlan(
            mounts=(
                Bind(source="/home/ada/p", target="/workspace"),
                Bind(source=INSTANCE.sockets, target=INSTANCE.sockets),
            )
        ),
    )


def test_a_spare_is_told_that_nobody_waits_for_it_and_its_sidecars_are_not() -> None:
    spare = replace(INSTANCE, spare=True)
    assert SPEC.instantiate(spare).command == (*SPEC.command, "--in-no-hurry")
    sidecar = replace(SPEC, role="sidecar")
    assert sidecar.instantiate(spare).command == SPEC.command


@pytest.mark.parametrize(
    "change", [{"egress": EGRESS}, {"network": "bridge"}, {"role": "sidecar", "trust": ("/ca",)}]
)
def test_a_start_with_a_way_out_sees_its_directory_and_cannot_change_it(
    change: dict[str, Any],
) -> None:
    (mount,) = {*replace(SPEC, **change).instantiate(INSTANCE).mounts} - {
        *SPEC.instantiate(INSTANCE).mounts
    }
    assert mount == Bind(source=INSTANCE.network, target="/run/moat/network", read_only=True)


def test_equal_specs_have_equal_digests_of_16_hexadecimal_digits() -> None:
    assert SPEC.digest == replace(SPEC).digest
    assert len(SPEC.digest) == 16
    assert int(SPEC.digest, 16)


@pytest.mark.parametrize(
    "change",
    [
        {"env": (("HOME", "/root"),)},
        {"limits": Limits(memory=1 << 30, pids=511)},
        {"hardening": Hardening(read_only_root=False)},
        {"mounts": MountPlan(mounts=())},
        {"gpus": 1},
        {"network": "bridge"},
        {"egress": EGRESS},
        {"egress": replace(EGRESS, policy="permissive")},
        {"egress": replace(EGRESS, rules=())},
        {"egress": replace(EGRESS, host_ports=(80,))},
        {"trust": ("/etc/ssl/cert.pem",)},
    ],
)
def test_any_change_changes_the_digest(change: dict[str, object]) -> None:
    assert replace(SPEC, **change).digest != SPEC.digest  # type: ignore[arg-type]


def test_nothing_is_loosened_by_default_and_what_is_gets_named() -> None:
    assert Hardening().loosened() == ()
    assert SPEC.loosened() == ()
    assert replace(SPEC, network="bridge").loosened() == ("the engine's own network",)
    loose = Hardening(cap_drop=("NET_RAW",), no_new_privileges=False, read_only_root=False)
    assert loose.loosened() == (
        "capabilities dropped: only NET_RAW",
        "programs may gain privileges (setuid)",
        "the root filesystem can be written",
    )
    assert Hardening(cap_drop=()).loosened() == ("capabilities dropped: only none",)


def test_where_the_stream_carries_all_no_directory_of_the_launchers_is_mounted() -> None:
    spec = replace(SPEC, tunnel=True, network="bridge").instantiate(INSTANCE)
    assert {*spec.mounts} - {*SPEC.mounts} == {
        Tmpfs(target=INSTANCE.sockets, size=SOCKETS_SIZE, role="sockets"),
        Tmpfs(target="/run/moat/network", size=SOCKETS_SIZE, role="sockets"),
    }
