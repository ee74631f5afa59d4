"""The first program of a pod and what the launcher runs there, both for real: as processes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from moat_nb.runtimes.kubernetes import inside

PROGRAMS = Path(inside.__file__).parent

GUEST = """
import os, resource, sys
assert sys.path.pop(0) == os.path.dirname(__file__), sys.path
print(sys.argv[1:], resource.getrlimit(resource.RLIMIT_NOFILE), "" in sys.path)
print("an error", file=sys.stderr)
sys.stdout.flush()
print(sys.stdin.readline().strip(), flush=True)
"""


def packed(text: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        member = tarfile.TarInfo("../__main__.py")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text.encode()))
    return len(data.getvalue()).to_bytes(8, "big") + data.getvalue()


def start(program: str, *words: str, cwd: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-c", (PROGRAMS / f"{program}.py").read_text(), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
    )


def test_the_guest_comes_by_the_stream_that_is_handed_over(tmp_path: Path) -> None:
    (tmp_path / "io.py").write_text("raise SystemExit('a module of the workspace')")
    meeting, guest = str(tmp_path / "stream"), str(tmp_path / "guest")
    limits = json.dumps([["nofile", 64, 64]])
    first = start("boot", meeting, limits, guest, "{}", "--more", cwd=tmp_path)
    bridge = start("bridge", meeting, cwd=tmp_path)
    assert bridge.stdin is not None
    out, err = bridge.communicate(packed(GUEST) + b"said\n", timeout=60)
    assert out == b"['{}', '--more'] (64, 64) False\nsaid\n" and err == b"an error\n"
    assert first.wait(60) == 0 and first.communicate() == (b"", b"")
    assert (tmp_path / "guest/__main__.py").read_text() == GUEST
    assert not (tmp_path / "stream").exists()


@pytest.mark.parametrize("sent", [b"", bytes(7), (1 << 40).to_bytes(8, "big"), packed(GUEST)[:-9]])
def test_what_is_no_guest_ends_it(tmp_path: Path, sent: bytes) -> None:
    meeting = str(tmp_path / "stream")
    first = start("boot", meeting, "[]", str(tmp_path / "guest"), "{}", cwd=tmp_path)
    bridge = start("bridge", meeting, cwd=tmp_path)
    _, err = bridge.communicate(sent, timeout=60)
    assert b"the launcher is gone" in err or b"that is no guest" in err
    assert first.wait(60) == 1
    first.communicate()
