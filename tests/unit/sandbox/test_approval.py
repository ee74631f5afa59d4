"""Who has approved what, and where that is kept."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from moat_nb.config.model import Config
from moat_nb.config.reader import read_config
from moat_nb.errors import ApprovalNeeded, ConfigError, MoatError
from moat_nb.host.machine import Host
from moat_nb.sandbox.approval import Records, check, check_again, demands, forget_excludes
from moat_nb.sandbox.demands import Demand
from moat_nb.sandbox.project import LaunchPlan, plan_project
from tests.unit.projects import NO_ENGINE

Plan = Callable[..., LaunchPlan]


@pytest.fixture
def read(host: Host) -> Callable[..., Config]:
    for name in ("p/sub", "elsewhere", ".ssh", ".config/gh"):
        (host.home / name).mkdir(parents=True)

    def made(text: str, directory: str = "p") -> Config:
        path = host.home / directory / "moat.yaml"
        return read_config(text.replace("HOME", str(host.home)).encode(), path=path, home=host.home)

    return made


@pytest.fixture
def plan(host: Host, read: Callable[..., Config]) -> Plan:
    return lambda *words: plan_project(read(*words), "docker", host=host, environ=NO_ENGINE)


def yes(new: tuple[Demand, ...]) -> bool:
    return True


def no(new: tuple[Demand, ...]) -> bool:
    return False


ELSEWHERE = "mounts: ['HOME/elsewhere:/data']"
WITH_EXCLUDE = "mounts: [{source: ., target: /workspace, exclude: [.env]}]"


def test_a_project_that_asks_nothing_starts_and_what_it_has_is_kept(plan: Plan, host: Host) -> None:
    check(plan(WITH_EXCLUDE))
    (kept,) = Records(host.approvals)
    assert kept.project == str(host.home / "p")
    (file,) = host.approvals.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(host.approvals.stat().st_mode) == 0o700


def test_the_error_says_what_is_asked_and_which_command_allows_it(plan: Plan, host: Host) -> None:
    with pytest.raises(ApprovalNeeded) as raised:
        check(plan(ELSEWHERE))
    assert str(raised.value) == (
        f"{host.home}/p: this moat.yaml asks for what nobody has approved:\n"
        f"  moat.yaml:1:10: mount {host.home}/elsewhere, writable, for the kernels\n"
        f"if you want this, run: moat-nb allow {host.home}/p"
    )
    assert not host.approvals.exists()
    with pytest.raises(ApprovalNeeded):
        check(plan(ELSEWHERE), no)
    assert not host.approvals.exists()


def test_what_was_approved_is_asked_once_and_less_passes(plan: Plan) -> None:
    check(plan(ELSEWHERE), yes)
    check(plan(ELSEWHERE), no)
    check(plan(ELSEWHERE.replace("/data", "/data:ro")), no)
    with pytest.raises(ApprovalNeeded):  # as the last start had less
        check(plan(ELSEWHERE), no)


def test_a_start_of_what_was_approved_asks_nobody_and_keeps_nothing(plan: Plan, host: Host) -> None:
    """As a restart, and a spare, of a file that has been another meanwhile."""
    first = check(plan(ELSEWHERE), yes)
    (file,) = host.approvals.iterdir()
    check(plan(WITH_EXCLUDE))
    kept = file.read_bytes()
    check_again(plan(ELSEWHERE), first)
    assert file.read_bytes() == kept
    with pytest.raises(ApprovalNeeded, match="elsewhere"):
        check(plan(ELSEWHERE))
    file.unlink()
    check_again(plan(ELSEWHERE), first)
    assert list(host.approvals.iterdir()) == []


def test_a_link_that_leads_elsewhere_since_is_not_what_was_approved(plan: Plan, host: Host) -> None:
    for name in ("elsewhere", ".ssh"):
        (host.home / name / "deep").mkdir(parents=True)
    link = host.home / "link"
    link.symlink_to("elsewhere")
    linked = "mounts: ['HOME/link/deep:/data']"
    first = check(plan(linked), yes)
    check_again(plan(linked), first)
    link.unlink()
    link.symlink_to(".ssh")
    with pytest.raises(ApprovalNeeded, match=r"/\.ssh/deep, writable"):
        check_again(plan(linked), first)


def test_an_exclude_that_goes_is_asked_for_at_the_second_start(plan: Plan) -> None:
    check(plan(WITH_EXCLUDE))
    with pytest.raises(ApprovalNeeded, match=r"no longer excluded: .*/p/\.env"):
        check(plan(""))
    assert [str(demand) for demand in demands(plan(WITH_EXCLUDE))] == []


def test_a_file_that_a_sandbox_wrote_below_its_project_is_held_against_that(
    plan: Plan, host: Host
) -> None:
    """No record is not the first start of somebody's own project there."""
    text = "mounts: [{source: ., target: /workspace, exclude: [sub/.env]}]\nnetwork: {policy: none}"
    check(plan(text))
    with pytest.raises(ApprovalNeeded) as raised:
        check(plan("", "p/sub"))
    assert f"(no longer excluded: {host.home}/p/sub/.env)" in str(raised.value)
    assert "network policy permissive (it was none)" in str(raised.value)
    check(plan(WITH_EXCLUDE + "\nnetwork: {policy: none}", "p/sub"))
    check(plan("", "elsewhere"))  # where no sandbox can write


def test_a_file_that_several_sandboxes_could_write_is_held_against_each(
    plan: Plan, host: Host
) -> None:
    """The closest of them as well as the nearest."""
    check(plan("network: {policy: strict, rules: [a.org]}"))
    (host.home / "q").mkdir()
    check(plan("mounts: [.:/workspace, HOME/p:/p]\nnetwork: {policy: none}", "q"), yes)
    asked = plan("network: {policy: strict, rules: [a.org]}\nkernel: {gpus: all}", "p/sub")
    assert [demand.what for demand in demands(asked)] == [
        "GPUs all",
        "network policy strict (it was none)",
    ]
    check(plan("network: {policy: none}", "p/sub"))


@pytest.mark.parametrize("later", ["read-only", "moved", "as before"])
def test_what_a_sandbox_could_write_once_is_held_against_it_later(
    plan: Plan, host: Host, later: str
) -> None:
    check(plan("network: {policy: none}"))
    planted = "p/sub"
    if later == "read-only":
        check(plan("mounts: ['.:/workspace:ro']\nnetwork: {policy: none}"))
    elif later == "moved":
        (host.home / "p").rename(host.home / "q")
        planted = "q/sub"
    with pytest.raises(ApprovalNeeded, match="network policy permissive"):
        check(plan("", planted))
    check(plan("", "elsewhere"))


def test_what_a_caller_mounts_can_be_written_too(host: Host, read: Callable[..., Config]) -> None:
    mounts = {"mounts": [f"{host.home}/elsewhere:/other"]}
    file = read("network: {policy: none}")
    check(plan_project(file, "docker", host=host, environ=NO_ENGINE, overrides=mounts))
    with pytest.raises(ApprovalNeeded, match="network policy permissive"):
        check(plan_project(read("", "elsewhere"), "docker", host=host, environ=NO_ENGINE))


def test_the_records_of_directories_that_are_gone_are_removed(plan: Plan, host: Host) -> None:
    check(plan(""))
    check(plan("", "elsewhere"))
    (host.home / "elsewhere").rmdir()
    records = Records(host.approvals)
    assert list(records.remove_gone()) == [str(host.home / "elsewhere")]
    assert [record.project for record in records] == [str(host.home / "p")]
    assert list(records.remove_gone()) == []


def test_places_of_keys_must_be_named(plan: Plan, host: Host) -> None:
    ssh, around = f"{host.home}/.ssh", f"{host.home}/.config"
    for source in (ssh, around):
        text = f"mounts: ['{source}:/s:ro']"
        with pytest.raises(ApprovalNeeded, match=f"allow {host.home}/p --keys {source}$"):
            check(plan(text), yes)
        with pytest.raises(ApprovalNeeded):
            check(plan(text), yes, keys=(str(host.home / "elsewhere"),))
    check(plan(f"mounts: ['{ssh}:/s:ro']"), yes, keys=(ssh,))
    check(plan(f"mounts: ['{ssh}:/s:ro']"))


def test_the_records_are_no_source(plan: Plan, host: Host) -> None:
    check(plan(""))
    for source in (host.approvals, host.data_dir, host.data_dir.parent):
        with pytest.raises(ConfigError, match="what sandboxes may have is kept in"):
            plan(f"mounts: ['{source}:/s:ro']")


def test_a_record_that_cannot_be_read_is_no_first_start(plan: Plan, host: Host) -> None:
    check(plan(WITH_EXCLUDE))
    (file,) = host.approvals.iterdir()
    for broken in (b"", b"[]", b'{"project": "x"}', b"\xff"):
        file.write_bytes(broken)
        with pytest.raises(MoatError, match=r"cannot be read .*remove it, and run `moat-nb allow`"):
            check(plan(""), yes)


def test_a_record_that_may_not_be_read_is_no_first_start(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(plan(WITH_EXCLUDE))

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(MoatError, match="cannot be read"):
        check(plan(""), yes)


def test_a_record_that_cannot_be_read_is_told_of_and_stops_no_other_project(
    plan: Plan, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    check(plan(""))
    (file,) = host.approvals.iterdir()
    file.write_text('{"project": "x", "permissions": {"policy": "a later one"}}')
    check(plan("", "elsewhere"))
    (told,) = caplog.messages
    assert told.startswith(f"{file}: what was approved cannot be read")


def test_where_nothing_can_be_kept_a_plain_project_starts_and_no_other(
    plan: Plan, host: Host
) -> None:
    host.data_dir.parent.mkdir(parents=True)
    host.data_dir.touch()
    check(plan(""))
    with pytest.raises(MoatError, match="cannot be kept"):
        check(plan(ELSEWHERE), yes)


def test_a_user_who_takes_an_exclude_away_has_approved_just_that(
    plan: Plan, read: Callable[..., Config], host: Host
) -> None:
    two = WITH_EXCLUDE.replace(".env", ".env, keys")
    check(plan(two))
    written_by_the_sandbox = WITH_EXCLUDE.replace(".env", "keys")
    forget_excludes(host.approvals, read(written_by_the_sandbox), read(""))
    with pytest.raises(ApprovalNeeded) as raised:
        check(plan(""))
    assert ".env" in str(raised.value) and "keys" not in str(raised.value).replace("--keys", "")
    forget_excludes(host.approvals, read(two), read(""))
    check(plan(""))


def test_a_hostile_name_is_shown_harmlessly(plan: Plan, host: Host) -> None:
    name = os.fsdecode(b"a\x1b]52;c;x\x07")
    Path(host.home, name).mkdir()
    with pytest.raises(ApprovalNeeded) as raised:
        check(plan(f'mounts: ["{host.home}/a\\e]52;c;x\\a:/d"]'))
    assert "\x1b" not in str(raised.value) and "\x07" not in str(raised.value)
