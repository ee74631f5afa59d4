"""What went wrong, in words."""

from __future__ import annotations

import pytest

from moat_nb import errors


def test_every_error_derives_from_the_root() -> None:
    found = [value for value in vars(errors).values() if isinstance(value, type)]
    raised = [kind for kind in found if issubclass(kind, BaseException)]
    assert len(raised) >= 9
    assert all(issubclass(kind, errors.MoatError) for kind in raised)
    assert not issubclass(errors.MoatError, (OSError, ValueError))


def test_problems_are_told_with_where_what_and_the_mend() -> None:
    problem = errors.Problem(where="moat.yaml:3:1", what="no", hint="say yes")
    bare = errors.Problem(where="moat.yaml", what="too large")
    error = errors.ConfigError([problem, bare])
    assert error.problems == (problem, bare)
    assert str(error) == "moat.yaml:3:1: no; say yes\nmoat.yaml: too large"


@pytest.mark.parametrize(
    ("code", "stderr", "text"),
    [
        (3, "", "ls -l: exit code 3"),
        (-9, "", "ls -l: signal 9"),
        (3, "no such file\n\n", "ls -l: exit code 3\nno such file"),
    ],
)
def test_a_command_that_failed_says_how(code: int, stderr: str, text: str) -> None:
    error = errors.CommandError(["ls", "-l"], code, stderr)
    assert (str(error), error.argv, error.returncode) == (text, ("ls", "-l"), code)
