"""Commands, options, and the help of each."""

import pytest

from tests.unit.cli.helpers import moat

COMMANDS = [
    "init",
    "plan",
    "run",
    "build",
    "exclude",
    "schema",
    "install",
    "uninstall",
    "ps",
    "logs",
    "trace",
    "stop",
    "clean",
    "doctor",
    "demo",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example(command):
    done = moat(command, "--help")
    assert done.returncode == 0
    assert f"example:\n  moat-nb {command}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 88


def test_the_main_help_lists_every_command():
    listed = [line.split()[0] for line in moat("--help").stdout.splitlines() if line[:4] == "    "]
    assert [name for name in listed if name in COMMANDS] == COMMANDS


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["plna"], "invalid choice: 'plna'"),
        (["plan", "--", "ls"], "only `moat-nb run` takes a command after --"),
        (["stop"], "one of the arguments"),
        (["stop", "box", "--all"], "not allowed with argument"),
        (["run", ".", "ls"], "unrecognized arguments: ls; a command stands after --"),
        (["plan", ".", "x"], "unrecognized arguments: x\n"),
        (["kernel"], "the following arguments are required: -f"),
    ],
)
def test_a_usage_error_says_what_is_wrong_and_exits_with_2(words, complaint):
    done = moat(*words)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_the_version_is_the_packages_own():
    import moat_nb

    assert moat("--version").stdout == f"moat-nb {moat_nb.__version__}\n"
