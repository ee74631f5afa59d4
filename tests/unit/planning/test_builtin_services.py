"""What each built-in service is handed, and the kernel of it."""

from __future__ import annotations

import json

import pytest

from moat_nb.host.machine import Host
from tests.unit.planning.sidecars import OLLAMA, PASSWORD, Read, plans


@pytest.mark.parametrize(
    ("name", "env", "to_sidecar", "to_kernel"),
    [
        (
            "postgres",
            {},
            {
                "POSTGRES_PASSWORD": PASSWORD,
                "PGDATA": "/var/lib/postgresql/data/pgdata",
                "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256",
            },
            {
                "MOAT_POSTGRES_HOST": "127.0.0.1",
                "MOAT_POSTGRES_PORT": "5432",
                "MOAT_POSTGRES_USER": "postgres",
                "MOAT_POSTGRES_PASSWORD": PASSWORD,
                "MOAT_POSTGRES_DB": "postgres",
                "MOAT_POSTGRES_URL": "postgresql://postgres:pw0@127.0.0.1:5432/postgres",
            },
        ),
        (
            "postgres",
            {"POSTGRES_USER": "ada", "POSTGRES_PASSWORD": "a/b @", "PGDATA": "/x"},
            {
                "POSTGRES_USER": "ada",
                "POSTGRES_PASSWORD": "a/b @",
                "PGDATA": "/x",
                "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256",
            },
            {
                "MOAT_POSTGRES_HOST": "127.0.0.1",
                "MOAT_POSTGRES_PORT": "5432",
                "MOAT_POSTGRES_USER": "ada",
                "MOAT_POSTGRES_PASSWORD": "a/b @",
                "MOAT_POSTGRES_DB": "ada",
                "MOAT_POSTGRES_URL": "postgresql://ada:a%2Fb%20%40@127.0.0.1:5432/ada",
            },
        ),
        (
            "mysql",
            {},
            {"MYSQL_ROOT_PASSWORD": PASSWORD, "MYSQL_DATABASE": "moat"},
            {
                "MOAT_MYSQL_HOST": "127.0.0.1",
                "MOAT_MYSQL_PORT": "3306",
                "MOAT_MYSQL_USER": "root",
                "MOAT_MYSQL_PASSWORD": PASSWORD,
                "MOAT_MYSQL_DB": "moat",
                "MOAT_MYSQL_URL": "mysql://root:pw0@127.0.0.1:3306/moat",
            },
        ),
        (
            "mysql",
            {"MYSQL_USER": "ada", "MYSQL_DATABASE": "d"},
            {
                "MYSQL_ROOT_PASSWORD": PASSWORD,
                "MYSQL_DATABASE": "d",
                "MYSQL_USER": "ada",
                "MYSQL_PASSWORD": PASSWORD,
            },
            {
                "MOAT_MYSQL_HOST": "127.0.0.1",
                "MOAT_MYSQL_PORT": "3306",
                "MOAT_MYSQL_USER": "ada",
                "MOAT_MYSQL_PASSWORD": PASSWORD,
                "MOAT_MYSQL_DB": "d",
                "MOAT_MYSQL_URL": "mysql://ada:pw0@127.0.0.1:3306/d",
            },
        ),
        (
            "redis",
            {},
            {},
            {
                "MOAT_REDIS_HOST": "127.0.0.1",
                "MOAT_REDIS_PORT": "6379",
                "MOAT_REDIS_PASSWORD": PASSWORD,
                "MOAT_REDIS_URL": "redis://:pw0@127.0.0.1:6379",
            },
        ),
        (
            "ollama",
            {},
            {
                "OLLAMA_HOST": "127.0.0.1:11434",
                "OLLAMA_MODELS": "/models",
                "OLLAMA_NOPRUNE": "1",
                "HOME": "/home/moatuser",
            },
            {
                "MOAT_OLLAMA_HOST": "127.0.0.1",
                "MOAT_OLLAMA_PORT": "11434",
                "MOAT_OLLAMA_URL": "http://127.0.0.1:11434",
            },
        ),
        (
            "ministack",
            {"S3_PERSIST": "0"},
            {"HOME": "/tmp", "S3_PERSIST": "0"},
            {
                "MOAT_MINISTACK_HOST": "127.0.0.1",
                "MOAT_MINISTACK_PORT": "4566",
                "MOAT_MINISTACK_URL": "http://127.0.0.1:4566",
            },
        ),
    ],
)
def test_a_built_in_service_gets_its_images_variables_and_the_kernel_where_it_is(
    read: Read,
    host: Host,
    name: str,
    env: dict[str, str],
    to_sidecar: dict[str, str],
    to_kernel: dict[str, str],
) -> None:
    given = read(f"dependencies: [{name}]\nservices: {{{name}: {{env: {json.dumps(env)}}}}}")
    inputs = plans(given, host)[name].inputs(PASSWORD)
    assert dict(inputs.env) == to_sidecar
    assert dict(inputs.kernel) == to_kernel
    assert PASSWORD not in repr(inputs)


@pytest.mark.parametrize(
    ("env", "arguments"),
    [
        ({"POSTGRES_HOST_AUTH_METHOD": "trust"}, "--auth-host=trust"),
        ({"POSTGRES_INITDB_ARGS": "--data-checksums"}, "--data-checksums"),
    ],
)
def test_how_postgres_lets_in_who_comes_from_127_0_0_1_is_the_files_to_say(
    read: Read, host: Host, env: dict[str, str], arguments: str
) -> None:
    given = read(f"dependencies: [postgres]\nservices: {{postgres: {{env: {json.dumps(env)}}}}}")
    inputs = plans(given, host)["postgres"].inputs(PASSWORD)
    assert inputs.env["POSTGRES_INITDB_ARGS"] == arguments


def test_a_secret_is_in_what_a_start_gives_and_in_no_plan(read: Read, host: Host) -> None:
    given = read(
        "dependencies: [postgres]\nservices: {postgres: {env: {POSTGRES_PASSWORD: 'env://PW'}}}"
    )
    plan = plans(given, host)["postgres"]
    assert plan.service.new_passwords() == ()
    inputs = plan.inputs(PASSWORD, {"POSTGRES_PASSWORD": "of the launcher"})
    assert inputs.env["POSTGRES_PASSWORD"] == "of the launcher"
    assert inputs.kernel["MOAT_POSTGRES_PASSWORD"] == "of the launcher"
    assert inputs.secrets == ("of the launcher",)
    own = read("kernel: {services: {web: {image: 'a:1', env: {KEY: 'env://PW'}}}}")
    inputs = plans(own, host)["web"].inputs(PASSWORD, {"KEY": "x"})
    assert (inputs.env, inputs.secrets) == ({"KEY": "x"}, ("x",))


def test_redis_is_told_its_password_by_its_config_and_by_no_variable(
    read: Read, host: Host
) -> None:
    given = read("dependencies: [redis]\nservices: {redis: {env: {REDIS_PASSWORD: 'a\"b'}}}")
    inputs = plans(given, host)["redis"].inputs(PASSWORD)
    assert inputs.stdin.splitlines()[0] == 'requirepass "a\\"b"'
    assert inputs.env == {}


def test_what_the_file_says_of_ollamas_variables_wins_over_the_way_outs(
    read: Read, host: Host
) -> None:
    text = OLLAMA.replace("models", "env: {HTTPS_PROXY: 'http://127.0.0.1:9'}, models")
    assert plans(read(text), host)["ollama"].inputs(PASSWORD).env["HTTPS_PROXY"].endswith(":9")
