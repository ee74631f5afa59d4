"""Services that cannot be, refused with their places."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from moat_nb.host.machine import Host, User
from moat_nb.planning.mounts import Volume
from tests.unit.planning.sidecars import MOUNTING, OLLAMA, Read, plans, refused


def test_two_services_on_one_port_are_refused_with_both_places(read: Read, host: Host) -> None:
    own = "kernel: {services: {cache: {image: 'a:1', ports: [80, 6379]}}}"
    assert refused(read, host, f"dependencies: [redis]\n{own}") == (
        "moat.yaml:3:21: cache listens at port 6379, as redis (moat.yaml:2:16); "
        "they share 127.0.0.1: give one of them another port"
    )
    assert plans(read(f"dependencies: [redis]\n{own.replace('6379', '6380')}"), host)


@pytest.mark.parametrize("policy", ["{policy: none}", "{policy: none, host: [8080]}"])
def test_models_are_refused_where_nothing_can_be_reached(
    read: Read, host: Host, policy: str
) -> None:
    assert refused(read, host, f"{OLLAMA}network: {policy}") == (
        "moat.yaml:3:12: ollama: models are pulled at the start, and network.policy is none; "
        "say strict, with registry.ollama.ai in network.rules, or take models out and mount those "
        "you have: kernel.services.ollama.mounts: [DIRECTORY:/models:ro]"
    )
    assert plans(read(f"dependencies: [ollama]\nnetwork: {policy}"), host)


def test_models_that_are_not_waited_for_are_refused(read: Read, host: Host) -> None:
    text = "dependencies: [ollama]\nservices: {ollama: {wait: false, models: [tiny]}}"
    assert refused(read, host, text) == (
        "moat.yaml:3:12: ollama: models are waited for, and wait is false; take one of the two out"
    )
    assert plans(read(text.replace(", models: [tiny]", "")), host)


def test_models_are_refused_for_another_user_who_could_not_read_the_certificates(
    read: Read, host: Host
) -> None:
    user = "kernel: {services: {ollama: {user: 4321:4321}}}"
    assert refused(read, host, f"{OLLAMA}{user}") == (
        "moat.yaml:3:12: ollama: only the kernel's user can pull models; "
        "take user out of kernel.services.ollama"
    )
    assert plans(read(f"dependencies: [ollama]\n{user}"), host)


def test_a_service_beside_a_kernel_under_gvisor_is_refused_as_they_share_no_loopback(
    read: Read, host: Host
) -> None:
    text = "dependencies: [redis]\nkernel: {isolation: gvisor}"
    assert refused(read, host, text) == (
        "moat.yaml:2:16: redis could not be reached: under gVisor each container has its own "
        "loopback; take kernel.isolation out"
    )


@pytest.mark.parametrize("source", ["./secrets", "./secrets/inner", "./.env", "./a/b/deep"])
def test_a_mount_of_what_the_kernel_may_not_see_is_refused(
    read: Read, host: Host, full: Path, source: str
) -> None:
    text = MOUNTING.replace("{mounts}", f"['{source}:/x:ro']")
    message = refused(read, host, text)
    assert "is excluded; what the kernel may not see no sidecar may" in message
    assert message.startswith("moat.yaml:11:16: a mounts ")


def test_a_volume_keeps_a_services_data_and_needs_a_password_that_is_kept_too(
    read: Read, host: Host
) -> None:
    volume = "{name: db, target: /var/lib/postgresql/data, type: volume}"
    own = f"dependencies: [postgres]\nkernel: {{services: {{postgres: {{volumes: [{volume}]}}}}}}"
    message = refused(read, host, own)
    assert "moat.yaml:3:42: postgres keeps its data there" in message
    assert "services.postgres.env: POSTGRES_PASSWORD" in message
    given = read(f"{own}\nservices: {{postgres: {{env: {{POSTGRES_PASSWORD: x}}}}}}")
    assert Volume(name="moat-p-db", target="/var/lib/postgresql/data") in tuple(
        plans(given, host)["postgres"].spec.mounts
    )


def test_a_volume_of_the_hosts_is_refused_where_the_service_could_not_write_to_it(
    read: Read, host: Host
) -> None:
    volume = "{name: db, target: /data}"
    text = f"dependencies: [redis]\nkernel: {{services: {{redis: {{volumes: [{volume}]}}}}}}"
    message = refused(read, replace(host, user=User(1000, 1000)), text)
    assert (
        "redis runs as 999:999, and cannot write to a directory of yours; say type: vol" in message
    )
    plan = plans(read(text), replace(host, user=User(0, 0)))["redis"]
    assert plan.spec.mounts.keep == (str(host.data_dir / "volumes/p/db"),)
