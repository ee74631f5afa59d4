"""What is read of the machine."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from moat_nb.host.machine import Host, timezone
from moat_nb.host.run_directory import base_directory

CODE = "from moat_nb.host.machine import Host; print(Host.current().executable)"


def test_a_python_that_was_called_by_a_relative_path_is_named_by_the_path_that_its_venv_has(
    tmp_path,
):
    """A sandbox has the venv's directory, and none of those that the path leads through."""
    relative = os.path.relpath(sys.executable, tmp_path)
    done = subprocess.run(
        [relative, "-c", CODE], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == os.path.abspath(sys.executable)  # noqa: PTH100 - as it is


def test_the_places_of_run_directories_are_known_to_those_who_plan():
    assert base_directory(os.environ, os.getuid()) in Host.current().run_directories


def test_the_launchers_environment_is_what_its_python_runs_from() -> None:
    environment = Host.current().environment
    assert {os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix)} <= set(environment)
    assert os.path.realpath(sysconfig.get_path("purelib")) in environment
    assert os.path.realpath(sys.prefix) + "/pyvenv.cfg" in environment


def test_an_environment_that_holds_the_volumes_is_left_to_its_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prefix = os.path.realpath(sys.prefix)
    monkeypatch.setenv("XDG_DATA_HOME", f"{prefix}/share")
    environment = Host.current().environment
    assert prefix not in environment
    assert os.path.realpath(sysconfig.get_path("purelib")) in environment


@pytest.mark.parametrize(
    ("given", "zone"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        (":America/New_York", "America/New_York"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "CET-1CEST,M3.5.0,M10.5.0/3"),
        ("UTC", "UTC"),
        (":{link}", "Asia/Tokyo"),
        ("{link}", "Asia/Tokyo"),
        ("", "Asia/Tokyo"),
        (None, "Asia/Tokyo"),
        ("a b\n", ""),
        ("/nowhere", ""),
    ],
)
def test_the_time_zone_is_the_launchers(tmp_path: Path, given: str | None, zone: str) -> None:
    link = tmp_path / "localtime"
    link.symlink_to("/usr/share/zoneinfo/posix/Asia/Tokyo")
    environ = {} if given is None else {"TZ": given.format(link=link)}
    assert timezone(environ, str(link)) == zone


def test_utc_needs_no_word(tmp_path: Path) -> None:
    (tmp_path / "localtime").symlink_to("/usr/share/zoneinfo/Etc/UTC")
    assert timezone({}, str(tmp_path / "localtime")) == ""
    assert timezone({}, str(tmp_path / "nothing")) == ""
