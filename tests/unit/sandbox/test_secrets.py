"""secrets.py: fetched at launch, by programs of the users' own; never shown.

``op`` and ``aws`` are little programs on a PATH of the test's own, as users have theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from moat_nb.config.model import Secret, Service
from moat_nb.errors import ConfigError
from moat_nb.sandbox import secrets
from moat_nb.sandbox.secrets import fetch, fetch_of_services

Program = Callable[..., None]
OP = Secret(name="TOKEN", scheme="op", reference="vault/item/field", where="moat.yaml:3:3")
SSM = Secret(name="DB", scheme="ssm", reference="/prod/db", where="moat.yaml:4:3")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "bin").mkdir()
    return {"PATH": f"{tmp_path}/bin", "API": "from-env"}


@pytest.fixture
def program(tmp_path: Path, environ: dict[str, str]) -> Program:
    def make(name: str, script: str, first_line: str = "#!/bin/sh") -> None:
        path = tmp_path / "bin" / name
        path.write_text(f"{first_line}\nPATH=/usr/bin:/bin\n{script}\n")
        path.chmod(0o755)

    return make


def problem(secret: Secret, environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as raised:
        fetch((secret,), environ)
    return str(raised.value)


def test_env_is_taken_from_the_launchers_environment(environ: dict[str, str]) -> None:
    secret = Secret(name="KEY", scheme="env", reference="API")
    assert fetch((secret,), environ) == {"KEY": "from-env"}


def test_an_empty_variable_is_a_value_and_a_missing_one_is_none(environ: dict[str, str]) -> None:
    secret = Secret(name="KEY", scheme="env", reference="OTHER", where="moat.yaml:2:3")
    assert fetch((secret,), {"OTHER": ""}) == {"KEY": ""}
    assert problem(secret, environ) == (
        "moat.yaml:2:3: secret KEY (env://OTHER): OTHER is not set where Jupyter or moat-nb "
        "was started; `export OTHER=...` and start it again"
    )


def test_each_service_gets_its_own_and_all_that_is_missing_is_said(environ: dict[str, str]) -> None:
    def service(name: str, reference: str) -> Service:
        where = f"moat.yaml:{len(name)}:3"
        secret = Secret(name="KEY", scheme="env", reference=reference, where=where)
        return Service(name=name, secrets=(secret,))

    found = fetch_of_services([service("a", "API"), Service(name="b")], environ)
    assert found == {"a": {"KEY": "from-env"}, "b": {}}
    with pytest.raises(ConfigError) as raised:
        fetch_of_services([service("a", "X"), service("bb", "Y")], environ)
    said = str(raised.value).splitlines()
    assert [line.split(": ")[0] for line in said] == ["moat.yaml:1:3", "moat.yaml:2:3"]


def test_op_is_asked_for_the_reference_and_its_answer_is_the_value(
    environ: dict[str, str], program: Program
) -> None:
    program("op", 'printf "%s|" "$@"; printf "é\\n"')
    assert fetch((OP,), environ) == {"TOKEN": "read|--no-newline|op://vault/item/field|é\n"}


def test_aws_is_asked_for_the_parameter_and_its_one_newline_is_taken_off(
    environ: dict[str, str], program: Program
) -> None:
    program("aws", 'printf "%s " "$@"; printf "\\n\\n"')
    value = (
        "ssm get-parameter --with-decryption --output text --query Parameter.Value --name "
        "/prod/db \n"
    )
    assert fetch((SSM,), environ) == {"DB": value}
    without_slash = Secret(name="DB", scheme="ssm", reference="prod/db")
    assert fetch((without_slash,), environ) == {"DB": value}


def test_the_programs_get_the_launchers_environment(
    environ: dict[str, str], program: Program
) -> None:
    program("op", 'printf "$API"')
    assert fetch((OP,), environ) == {"TOKEN": "from-env"}


def test_a_program_that_is_missing_is_named(environ: dict[str, str]) -> None:
    assert problem(OP, environ) == (
        "moat.yaml:3:3: secret TOKEN (op://vault/item/field): the command 'op' is not installed"
    )
    assert "the command 'aws' is not installed" in problem(SSM, environ)


def test_a_program_that_fails_is_quoted(environ: dict[str, str], program: Program) -> None:
    program("op", "echo half-a-value; echo '[ERROR] not signed in' >&2; exit 6")
    assert problem(OP, environ).endswith("op: [ERROR] not signed in")
    program("op", "exit 6")
    assert problem(OP, environ).endswith("op: exit code 6")


def test_a_program_that_cannot_be_run_is_said_to_be_so(
    environ: dict[str, str], program: Program
) -> None:
    program("op", "", first_line="#!/no/such/interpreter")
    assert problem(OP, environ).endswith("'op' cannot be run: No such file or directory")


def test_a_program_that_does_not_answer_is_given_up(
    environ: dict[str, str], program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "TIMEOUT", 0.3)
    program("op", "exec sleep 1000")
    assert problem(OP, environ).endswith("op did not answer in 0.3 s")


def test_a_value_that_is_no_text_is_refused_and_not_shown(
    environ: dict[str, str], program: Program
) -> None:
    program("op", "printf 'SECRET\\377'")
    with pytest.raises(ConfigError) as raised:
        fetch((OP,), environ)
    assert str(raised.value).endswith("op gave a value that is not UTF-8 text")
    chain: BaseException | None = raised.value
    while chain is not None:
        assert "SECRET" not in repr(chain)
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)


def test_all_that_cannot_be_had_is_told_at_once(environ: dict[str, str]) -> None:
    good = Secret(name="KEY", scheme="env", reference="API")
    with pytest.raises(ConfigError) as raised:
        fetch((OP, good, SSM), environ)
    assert [item.where for item in raised.value.problems] == ["moat.yaml:3:3", "moat.yaml:4:3"]
