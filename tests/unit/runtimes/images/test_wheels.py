"""Wheels for an image's interpreter, fetched by the host's pip."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import tests
from moat_nb.errors import ImageError
from moat_nb.runtimes.images.probe import read_probe
from moat_nb.runtimes.images.wheels import Target, download
from moat_nb.text.progress import Silent

FACTS = {
    "libc": "glibc",
    "libc_version": "2.36",
    "abiflags": "",
    "ipykernel": None,
    "markers": {
        "implementation_name": "cpython",
        "implementation_version": "3.10.4",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "6.1.0",
        "platform_system": "Linux",
        "platform_version": "#1 SMP",
        "python_full_version": "3.10.4",
        "python_version": "3.10",
        "sys_platform": "linux",
    },
}


def target(**facts: object) -> Target:
    return read_probe("base:1", json.dumps({**FACTS, **facts}))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory that is the user's whole package index, by pip's own settings."""
    directory = tmp_path / "index"
    directory.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    return directory


def wheel(
    index: Path, name: str, tag: str = "py3-none-any", requires: tuple[str, ...] = ()
) -> None:
    needed = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{needed}"
    with zipfile.ZipFile(index / f"{name}-1-{tag}.whl", "w") as archive:
        archive.writestr(f"{name}-1.dist-info/METADATA", metadata)
        archive.writestr(
            f"{name}-1.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"
        )
        archive.writestr(f"{name}-1.dist-info/RECORD", "")


def fetched(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_free_threaded_python_asks_for_its_own_wheels() -> None:
    markers = {**FACTS["markers"], "python_version": "3.14", "python_full_version": "3.14.0rc1"}
    found = target(abiflags="t", markers=markers)
    assert (found.abi, found.release) == ("cp314t", "3.14.0")


def test_glibc_takes_the_wheels_of_every_older_glibc_and_of_none_newer() -> None:
    found = target(libc_version="2.18").platforms
    assert found == tuple(
        f"{name}_x86_64"
        for name in (
            *("manylinux_2_18", "manylinux_2_17", "manylinux2014", "manylinux_2_16"),
            *("manylinux_2_15", "manylinux_2_14", "manylinux_2_13", "manylinux_2_12"),
            *("manylinux2010", "manylinux_2_11", "manylinux_2_10", "manylinux_2_9"),
            *("manylinux_2_8", "manylinux_2_7", "manylinux_2_6", "manylinux_2_5", "manylinux1"),
            "linux",
        )
    )


def test_musl_takes_musl_wheels_only() -> None:
    found = target(libc="musl", libc_version="1.2.4").platforms
    assert found == tuple(
        f"{name}_x86_64" for name in ("musllinux_1_2", "musllinux_1_1", "musllinux_1_0", "linux")
    )


def test_the_hosts_pip_fetches_what_fits_the_image_not_the_host(
    index: Path, tmp_path: Path
) -> None:
    wheel(index, "native", "cp310-cp310-manylinux_2_17_x86_64")
    wheel(index, "native", "cp39-cp39-manylinux_2_17_x86_64")
    wheel(index, "native", "cp310-cp310-manylinux_2_17_aarch64")
    wheel(index, "native", "cp310-cp310-manylinux_2_39_x86_64")
    download(["native"], target(), tmp_path / "wheels", Silent())
    assert fetched(tmp_path / "wheels") == {"native-1-cp310-cp310-manylinux_2_17_x86_64.whl"}


def test_markers_are_those_of_the_image_not_of_the_host(index: Path, tmp_path: Path) -> None:
    for name in ("old", "new", "arm"):
        wheel(index, name)
    conditions = (
        "old; python_version < '3.7'",
        "new; python_version >= '3.7'",
        "arm; platform_machine == 'armv9'",
    )
    wheel(index, "top", requires=conditions)
    facts = {"python_version": "3.6", "python_full_version": "3.6.1", "platform_machine": "armv9"}
    markers = {**FACTS["markers"], **facts}
    download(["top"], target(markers=markers), tmp_path / "wheels", Silent())
    assert fetched(tmp_path / "wheels") == {
        f"{n}-1-py3-none-any.whl" for n in ("top", "old", "arm")
    }


def test_a_package_without_a_wheel_shows_pips_own_words_and_the_ways_out(
    index: Path, tmp_path: Path
) -> None:
    (index / "ancient-1.tar.gz").write_bytes(b"")
    with pytest.raises(ImageError) as caught:
        download(["ancient"], target(), tmp_path / "wheels", Silent())
    assert "No matching distribution found for ancient" in str(caught.value)
    assert "Python 3.10 on x86_64 with glibc 2.36" in str(caught.value)
    assert "pip wheel" in str(caught.value)


def test_a_requirement_cannot_pass_an_option_to_pip(index: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="--index-url"):
        download(["--index-url=http://127.0.0.1:9"], target(), tmp_path / "wheels", Silent())


def test_a_python_without_pip_is_named_with_what_to_run(index: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    bare = str(venv / "bin" / "python")
    with pytest.raises(ImageError, match=f"{bare} has no pip.* run {bare} -m ensurepip"):
        download(["six"], target(), tmp_path / "wheels", Silent(), executable=bare)


def test_modules_in_the_notebooks_directory_are_not_run_on_the_host(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel(index, "six")
    project = tmp_path / "project"
    project.mkdir()
    for name in ("json", "pip", "runpy", "threading"):
        (project / f"{name}.py").write_text("raise SystemExit('the project ran')")
    monkeypatch.chdir(project)
    download(["six"], target(), tmp_path / "wheels", Silent())
    assert fetched(tmp_path / "wheels") == {"six-1-py3-none-any.whl"}


def test_a_download_ends_when_its_launcher_is_killed_and_leaves_nothing_elsewhere(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        # An index that never answers holds pip for as long as pip lives.
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.getsockname()[1]}/simple")
        (tmp_path / "tmp").mkdir()
        monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
        code = (
            "import pathlib, sys; from tests.unit.runtimes.images.test_wheels import target; "
            "from moat_nb.text import progress; from moat_nb.runtimes.images import wheels; "
            "wheels.download(['six'], target(), pathlib.Path(sys.argv[1]), progress.Silent())"
        )
        root = Path(tests.__file__).parent.parent
        launcher = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "w")], cwd=root)
        try:
            connection, _ = server.accept()
        finally:
            launcher.send_signal(signal.SIGKILL)
            launcher.wait()
        with connection:
            connection.settimeout(30)
            while connection.recv(4096):
                pass
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_markers_take_part_in_no_hash() -> None:
    assert hash(target()) == hash(dataclasses.replace(target(), markers={}))
