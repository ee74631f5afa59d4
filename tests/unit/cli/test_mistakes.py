"""What was probably meant by a slip."""

from __future__ import annotations

import pytest

from moat_nb.cli.main import HANDLERS
from moat_nb.cli.mistakes import _MEANT, no_such, without_dashes


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("instal", "there is no thing 'instal'; did you mean 'install'?"),
        ("rnu", "there is no thing 'rnu'; did you mean 'run'?"),
        ("kill", "there is no thing 'kill'; did you mean 'stop'?"),
        ("xyz", "there is no thing 'xyz'; look"),
    ],
)
def test_a_name_is_known_by_its_letters_or_from_other_programs(name: str, said: str) -> None:
    assert no_such("thing", name, HANDLERS, "look") == said


def test_what_there_is_not_is_not_meant() -> None:
    assert no_such("thing", "kill", ["plan"], "look") == "there is no thing 'kill'; look"
    assert not _MEANT.keys() & HANDLERS.keys()


@pytest.mark.parametrize(
    ("words", "directory", "mend"),
    [
        (["ls"], "ls", "run -- ls"),
        (["-q", "no-such", "a b"], "no-such", "run -q -- no-such 'a b'"),
        (["/", "ls", "-l"], "/", "run / -- ls -l"),
        (["/"], "/", ""),
        (["--quite"], ".", ""),
    ],
)
def test_the_dashes_go_before_the_command(words: list[str], directory: str, mend: str) -> None:
    said = without_dashes("run", words, directory)
    assert said == (f"a command stands after --: {mend}" if mend else "")
