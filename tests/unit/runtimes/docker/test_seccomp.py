"""The filter, held beside the engine's published default and beside bubblewrap's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from moat_nb.runtimes.bubblewrap.seccomp import _DENIED
from moat_nb.runtimes.docker import seccomp
from tests.unit.runtimes.docker import published_default as published

PROFILE: dict[str, Any] = json.loads(seccomp.PROFILE.read_bytes())
RULES: list[dict[str, Any]] = PROFILE["syscalls"]
MACHINES = ("amd64", "arm64", "ppc64le", "s390x", "riscv64")


def rules(machine: str) -> list[dict[str, Any]]:
    """Those that hold on a machine."""
    return [
        rule
        for rule in RULES
        if machine in rule.get("includes", {}).get("arches", [machine])
        and machine not in rule.get("excludes", {}).get("arches", [])
    ]


def verdict(machine: str, name: str, *arguments: int) -> str:
    """What the filter says to a call, as libseccomp reads the rules."""
    for rule in rules(machine):
        if name in rule["names"] and all(holds(c, arguments) for c in rule.get("args", [])):
            return str(rule["action"])
    return str(PROFILE["defaultAction"])


def holds(condition: dict[str, Any], arguments: tuple[int, ...]) -> bool:
    found = arguments[condition["index"]]
    if condition["op"] == "SCMP_CMP_MASKED_EQ":
        return found & condition["value"] == condition["valueTwo"]
    assert condition["op"] == "SCMP_CMP_EQ"
    return bool(found == condition["value"])


def test_what_is_not_named_is_refused_and_nothing_depends_on_a_capability() -> None:
    assert (PROFILE["defaultAction"], PROFILE["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    for rule in RULES:
        conditions = {*rule.get("includes", {}), *rule.get("excludes", {})}
        assert conditions <= {"arches", "minKernel"}
        assert rule["action"] == "SCMP_ACT_ALLOW" or rule["names"] == ["clone3"]


@pytest.mark.parametrize("machine", MACHINES)
def test_no_call_is_allowed_that_the_published_default_refuses(machine: str) -> None:
    for rule in rules(machine):
        if rule["action"] != "SCMP_ACT_ALLOW":
            continue
        for name in rule["names"]:
            if name in published.SINCE_LINUX_4_8:
                assert rule["includes"]["minKernel"] == "4.8"
            elif name in published.BY_ARGUMENT:
                assert len(rule["args"]) == 1
            else:
                assert name in published.ALWAYS | published.BY_MACHINE[machine]


def test_of_the_published_default_only_what_hides_its_arguments_is_missing() -> None:
    named = {name for rule in RULES for name in rule["names"]}
    assert published.ALWAYS - named == {"socketcall"}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("above", [0, 1 << 32, 7 << 40], ids=["plain", "above", "far above"])
def test_sockets_of_two_families_are_refused_however_they_are_written(
    machine: str, above: int
) -> None:
    allowed = {
        family
        for family in range(100)
        if verdict(machine, "socket", family + above, 1, 0) == "SCMP_ACT_ALLOW"
    }
    assert allowed == set(range(48)) - {38, 40}
    assert all(published.allows_socket(family) for family in allowed)


@pytest.mark.parametrize("machine", MACHINES)
def test_no_namespace_and_no_personality_but_the_published_is_allowed(machine: str) -> None:
    def clone(flags: int) -> str:
        return verdict(machine, "clone", *((0, flags) if machine == "s390x" else (flags, 0)))

    assert clone(0x1200011) == "SCMP_ACT_ALLOW"
    for bit in range(64):
        namespace = published.NAMESPACES >> bit & 1
        assert clone(1 << bit) == ("SCMP_ACT_ERRNO" if namespace else "SCMP_ACT_ALLOW")
    # All below a page, all around the flag that the published has, and each two flags.
    near = {*range(0x1000), *range(0x20000 - 0x10, 0x20000 + 0x1000)}
    for value in near | {1 << one | 1 << other for one in range(32) for other in range(32)}:
        allowed = verdict(machine, "personality", value) == "SCMP_ACT_ALLOW"
        assert allowed == (value in published.PERSONALITIES)


@pytest.mark.parametrize("name", _DENIED)
def test_what_bubblewrap_denies_is_denied(name: str) -> None:
    assert verdict("amd64", name, 0, 0) == "SCMP_ACT_ERRNO"


def test_programs_of_another_architecture_have_no_calls() -> None:
    assert all(entry["subArchitectures"] == [] for entry in PROFILE["archMap"])


def test_docker_is_given_the_profile_and_podman_its_path() -> None:
    given = seccomp.option(podman=False).removeprefix("seccomp=")
    assert json.loads(given) == PROFILE
    assert seccomp.option(podman=True) == f"seccomp={seccomp.PROFILE}"
