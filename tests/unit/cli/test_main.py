"""The command line, run as its users run it; what needs a sandbox is in tests/integration."""

import os
import subprocess

from tests.unit.cli.helpers import moat


def test_all_problems_of_a_file_are_shown_one_a_line_without_a_traceback(tmp_path):
    (tmp_path / "moat.yaml").write_text("moutns: []\nnetwork: {policy: open}\n")
    done = moat("plan", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert "moat.yaml:1:1: unknown key 'moutns'; did you mean 'mounts'?" in done.stderr
    assert all(line.startswith("moat-nb: moat.yaml:") for line in lines)


def test_a_reader_that_went_away_ends_it_quietly(directory):
    read, write = os.pipe()
    os.close(read)
    # With nothing to say on stderr, should a child of another thread's hold the pipe for a moment.
    words = ("plan", directory, "--runtime", "docker", "--json")
    done = moat(*words, capture_output=False, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
