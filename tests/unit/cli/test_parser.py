"""Commands, options, and the help of each."""

import pytest

from tests.unit.cli.helpers import moat

COMMANDS = [
    "init",
    "plan",
    "run",
    "shell",
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
        (["plna"], "there is no command 'plna'; did you mean 'plan'?"),
        (["ls"], "there is no command 'ls'; did you mean 'ps'?"),
        (["frobnicate", "."], "there is no command 'frobnicate'; `moat-nb --help` lists all"),
        (["plan", "--", "ls"], "only `moat-nb run` takes a command after --"),
        (["stop"], "one of the arguments"),
        (["stop", "box", "--all"], "not allowed with argument"),
        (["run", ".", "ls"], "unrecognized arguments: ls; a command stands after --: "),
        (["run", "no-such", "-l"], "arguments: -l; a command stands after --: moat-nb run -- no-"),
        (["run", "-q", "no-such"], "no-such: no such file or directory; a command stands after --"),
        (["run", "--quite"], "unrecognized arguments: --quite\n"),
        (["plan", ".", "x"], "unrecognized arguments: x\n"),
        (["kernel"], "the following arguments are required: -f"),
    ],
)
def test_a_usage_error_says_what_is_wrong_and_exits_with_2(words, complaint):
    done = moat(*words)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_help_is_a_command_too():
    assert moat("help").stdout == moat("--help").stdout
    assert moat("help", "plan").stdout == moat("plan", "--help").stdout


def test_the_version_is_the_packages_own():
    import moat_nb

    assert moat("--version").stdout == f"moat-nb {moat_nb.__version__}\n"
