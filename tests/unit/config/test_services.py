"""Dependencies and services of a moat.yaml, read."""

from __future__ import annotations

import pytest

from moat_nb.config.model import Dependency, Secret, Service
from tests.unit.config.reading import config, refused


def test_dependencies_keep_the_files_order_and_places() -> None:
    read = config("dependencies:\n- python@3.11\n- pip:six>=1\n- docker:dind\n")
    assert read.dependencies == (
        Dependency(kind="python", name="python", version="3.11", where="moat.yaml:2:3"),
        Dependency(kind="pip", name="six", version=">=1", where="moat.yaml:3:3"),
        Dependency(kind="unavailable", name="docker:dind", where="moat.yaml:4:3"),
    )


def test_a_dependency_given_twice_is_refused_and_of_two_kinds_is_not() -> None:
    assert config("dependencies: [redis, 'pip:redis']")
    assert "dependencies[1]: python is given twice, first at moat.yaml:1:16" in refused(
        "dependencies: [python@3.11, python@3.12]"
    )


def test_the_same_dependency_twice_is_one() -> None:
    read = config("dependencies: [git, go-extras, git, golangci-lint, protoc@29.3, protobuf]")
    assert [(item.name, item.version, item.bundle) for item in read.dependencies] == [
        ("git", None, None),
        ("gofumpt", None, "go-extras"),
        ("govulncheck", None, "go-extras"),
        ("goreleaser", None, "go-extras"),
        ("golangci-lint", None, None),
        ("protoc", "29.3", None),
        ("protoc-gen-go", None, "protobuf"),
        ("protoc-gen-go-grpc", None, "protobuf"),
        ("protoc-gen-validate", None, "protobuf"),
        ("protoc-gen-doc", None, "protobuf"),
    ]


def test_all_wrong_dependencies_are_reported_at_once() -> None:
    text = refused("dependencies: [pyhton@3.11, nodejs, [x], python: 3, pandas]")
    assert len(text.splitlines()) == 5
    assert "moat.yaml:1:16: unknown dependency 'pyhton'; did you mean 'python'?" in text


def test_what_is_skipped_may_be_a_name_that_nobody_knows_or_a_bundle() -> None:
    read = config(
        "dependencies: [zig, k8s, 'pip:a@1', git]\n"
        "kernel: {skip_dependencies: [zig, k8s, 'pip:a@1']}"
    )
    assert read.kernel.skip_dependencies == ("zig", "kubectl", "helm", "a")


def test_an_agents_own_program_is_listed_as_not_used() -> None:
    read = config("dependencies: [node, claude-code, pi-cli]")
    assert [key.name for key in read.unused] == [
        "dependencies: claude-code",
        "dependencies: pi-cli",
    ]
    assert read.unused[0].where == "moat.yaml:1:22"


def test_a_value_of_a_services_env_may_be_a_reference_to_a_secret() -> None:
    (service,) = config(
        "dependencies: [redis]\n"
        "services: {redis: {env: {REDIS_PASSWORD: 'env://RPW', URL: 'http://a.org'}}}"
    ).services
    assert service.env == (("REDIS_PASSWORD", "env://RPW"), ("URL", "http://a.org"))
    assert service.secrets == (
        Secret(name="REDIS_PASSWORD", scheme="env", reference="RPW", where="moat.yaml:2:42"),
    )
    assert "services.redis.env.A: what follows env:// is not a reference; write env" in refused(
        "dependencies: [redis]\nservices: {redis: {env: {A: 'env://1'}}}"
    )


def test_each_service_dependency_gives_a_service_customised_or_not() -> None:
    read = config(
        """\
dependencies: [postgres@17, ollama, redis, git]
services:
  ollama: {memory: 4096, models: [qwen:7b, nomic]}
  postgres:
    env: {POSTGRES_DB: app, N: 1}
    image: postgres:17-alpine
    wait: false
"""
    )
    assert read.services == (
        Service(
            name="postgres",
            version="17",
            env=(("POSTGRES_DB", "app"), ("N", "1")),
            image="postgres:17-alpine",
            wait=False,
            where="moat.yaml:4:3",
        ),
        Service(name="ollama", memory_mb=4096, models=("qwen:7b", "nomic"), where="moat.yaml:3:3"),
        Service(name="redis", where="moat.yaml:1:37"),
    )


@pytest.mark.parametrize(
    ("services", "message"),
    [
        ("redis: {}", "services.redis is given, but redis is not among the dependencies; add to d"),
        ("redis: ", "services.redis is given, but redis is not among the dependencies"),
        ("postgre: {}", "moat.yaml:2:12: unknown service 'postgre'; did you mean 'postgres'?"),
        ("kafka: {}", "unknown service 'kafka'; known: postgres, mysql, redis, ollama"),
        ("postgres: {models: [a]}", "unknown key 'models' in services.postgres"),
        ("postgres: {imge: a}", "did you mean 'image'?"),
        ("postgres: {wait: maybe}", "services.postgres.wait: 'maybe' is neither true nor false"),
        (
            "postgres: {memory: 1}",
            "services.postgres.memory: '1' is not a whole number of MB from 128",
        ),
        ("postgres: {env: {a b: c}}", "services.postgres.env: 'a b' is not a variable's name"),
        ("postgres: [x]", "services.postgres: a sequence stands where a mapping"),
    ],
)
def test_a_wrong_service_is_refused(services: str, message: str) -> None:
    assert message in refused(f"dependencies: [postgres]\nservices: {{{services}}}")


@pytest.mark.parametrize(
    "model", ["qwen", "qwen2.5-coder:7b-q4_K_M", "ada/mine:1", "hf.co/Ada/Some_Model-GGUF:Q4_K_M"]
)
def test_a_model_is_named_as_ollama_names_it(model: str) -> None:
    read = config(f"dependencies: [ollama]\nservices: {{ollama: {{models: ['{model}']}}}}")
    assert read.services[0].models == (model,)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("['']", "services.ollama.models[0]: empty; give it a value"),
        ("['a b']", "'a b' is not a model's name: [[HOST/]NAMESPACE/]NAME[:TAG], such as qwen:7b"),
        ("['https://x/y/z']", "is not a model's name"),
        ("['../../x']", "is not a model's name"),
        ("['a/b/c/d']", "is not a model's name"),
        ("['-x']", "is not a model's name"),
        ("['a:b:c']", "is not a model's name"),
        (f"[{'a' * 81}]", "is not a model's name"),
        ("qwen", "services.ollama.models: 'qwen' stands where a list must"),
        ("[a, b, a]", "moat.yaml:2:36: services.ollama.models[2]: a is given twice, first at moat"),
        ("[a, 'A:latest']", "services.ollama.models[1]: A:latest is given twice"),
    ],
)
def test_a_wrong_list_of_models_is_refused(models: str, message: str) -> None:
    whole = f"dependencies: [ollama]\nservices: {{ollama: {{models: {models}}}}}"
    assert message in refused(whole)
