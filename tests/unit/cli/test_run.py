"""`moat-nb run`, as far as it needs no sandbox."""

from tests.unit.cli.helpers import moat


def test_run_says_125_for_its_own_errors_since_1_could_be_the_commands(directory):
    done = moat("run", "--runtime", "dokcer", "--", "true", cwd=directory)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("moat-nb: dokcer: no such runtime; there are docker, podman")


def test_run_without_a_command_asks_for_one(directory):
    done = moat("run", cwd=directory)
    assert done.returncode == 125
    assert done.stderr.startswith("moat-nb: moat.yaml: there is no command; give one: moat-nb run")
