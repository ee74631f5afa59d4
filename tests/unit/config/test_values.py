"""`env:`, `secrets:`, `container:` and the like, read."""

from __future__ import annotations

import pytest

from moat_nb.config.model import Container, Secret
from tests.unit.config.reading import config, refused


def test_values_of_env_are_text_as_written() -> None:
    text = (
        "env: {A: text, B: 3000, C: 0x10, D: yes, E: 3.10, F: '', G: , H: 'null', _I1: \"a\\tb\"}"
    )
    assert config(text).env == (
        ("A", "text"),
        ("B", "3000"),
        ("C", "0x10"),
        ("D", "yes"),
        ("E", "3.10"),
        ("F", ""),
        ("G", ""),
        ("H", "null"),
        ("_I1", "a\tb"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("env: {A B: x}", "moat.yaml:1:7: env: 'A B' is not a variable's name: without spaces"),
        ("env: {'A=B': x}", "is not a variable's name"),
        ("env: {'': x}", "env: '' is not a variable's name"),
        ("env: {A: [x]}", "env.A: a sequence stands where a string must"),
        ("env: [A=x]", "env: a sequence stands where a mapping of keys to values must"),
        ("secrets: {A B: env://X}", "secrets: 'A B' is not a variable's name"),
        ("secrets: {A: }", "secrets.A: missing"),
        ("secrets: {A: env://1X}", "secrets.A: what follows env:// is not a reference; write env:"),
        ("secrets: {A: op://vault/item}", "write op://VAULT/ITEM/FIELD"),
        ("secrets: {A: ssm://}", "write ssm:///PATH or ssm://REGION/PATH"),
        ("secrets: {A: ssm:///}", "write ssm:///PATH"),
        ("secrets: {A: vault://x}", "the value is not a reference to a secret; write env://NAME"),
        ("env: {A: x}\nsecrets: {A: env://B}", "moat.yaml:2:11: 'A' is in env and in secrets"),
    ],
)
def test_a_wrong_variable_or_secret_is_refused(text: str, message: str) -> None:
    assert message in refused(text)


@pytest.mark.parametrize(
    ("reference", "scheme", "rest"),
    [
        ("env://MY_KEY", "env", "MY_KEY"),
        ("op://Dev/OpenAI/api-key", "op", "Dev/OpenAI/api-key"),
        ("op://My Vault/item/section/field", "op", "My Vault/item/section/field"),
        ("ssm:///prod/db/url", "ssm", "/prod/db/url"),
        ("ssm://us-west-2/prod/db", "ssm", "us-west-2/prod/db"),
    ],
)
def test_a_secret_holds_its_reference(reference: str, scheme: str, rest: str) -> None:
    assert config(f"secrets: {{A: {reference}}}").secrets == (
        Secret(name="A", scheme=scheme, reference=rest, where="moat.yaml:1:14"),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("value", ["sk-hunter2", "hunter2://x", "env://hunter2 x", "op://hunter2"])
def test_a_secret_written_into_the_file_is_shown_in_no_error(value: str) -> None:
    assert "hunter2" not in refused(f"secrets: {{A: {value}}}")


def test_container_limits_are_read() -> None:
    text = "container: {memory: 4096, cpus: 1.5, dns: [8.8.8.8, 2001:DB8::1], ulimits: "
    text += "{nofile: {soft: 1024, hard: 65536}, memlock: {soft: -1, hard: -1}}}"
    assert config(text).container == Container(
        memory_mb=4096,
        cpus=1.5,
        dns=("8.8.8.8", "2001:db8::1"),
        ulimits=(("nofile", 1024, 65536), ("memlock", -1, -1)),
        where="moat.yaml:1:1",
    )


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ("memory: 127", "container.memory: '127' is not a whole number of MB from 128 to 16777216"),
        ("memory: 1e3", "is not a whole number"),
        ("memory: 0x400", "is not a whole number"),
        ("memory: 4096 MB", "is not a whole number"),
        (f"memory: {'9' * 5000}", "is not a whole number"),
        ("memory: [1]", "container.memory: a sequence stands where a whole number must"),
        ("cpus: -1", "container.cpus: '-1' is not a number above 0, up to 1024"),
        ("cpus: .inf", "is not a number above 0"),
        ("cpus: .nan", "is not a number above 0"),
        ("cpus: '2'", "is not a number above 0"),
        ("dns: [dns.google]", "container.dns[0]: 'dns.google' is not an IP address"),
        ("dns: 8.8.8.8", "container.dns: '8.8.8.8' stands where a list must"),
        ("ulimits: {nofiles: {soft: 1, hard: 1}}", "unknown ulimit 'nofiles'; did you mean 'nofi"),
        ("ulimits: {nofile: 3}", "ulimits.nofile: '3' stands where a mapping"),
        ("ulimits: {nofile: {soft: 1}}", "ulimits.nofile.hard: missing"),
        ("ulimits: {nofile: {soft: -2, hard: 1}}", "soft: '-2' is not a whole number from -1"),
        ("ulimits: {nofile: {soft: 2, hard: 1}}", "soft 2 is above hard 1"),
        ("ulimits: {nofile: {soft: -1, hard: 1}}", "soft -1 is above hard 1 (-1 is unlimited)"),
        ("memry: 1", "unknown key 'memry' in container; did you mean 'memory'?"),
    ],
)
def test_a_wrong_limit_is_refused(container: str, message: str) -> None:
    assert message in refused(f"container: {{{container}}}")
