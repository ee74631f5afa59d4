"""dependencies.py: dependency strings as values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.config.dependencies import APT_PACKAGES, parse
from moat_nb.config.model import Dependency
from moat_nb.errors import Problem

WHERE = "moat.yaml:3:5"


@pytest.mark.parametrize(
    ("text", "kind", "name", "version"),
    [
        ("python", "python", "python", None),
        ("python@3.11", "python", "python", "3.11"),
        (" python@3.12.1 ", "python", "python", "3.12.1"),
        ("node@20", "tool", "node", "20"),
        ("uv", "tool", "uv", None),
        ("uv@0.5.14", "tool", "uv", "0.5.14"),
        ("git", "tool", "git", None),
        ("g++", "tool", "g++", None),
        ("cmake", "tool", "cmake", None),
        ("postgres@15", "service", "postgres", "15"),
        ("mysql", "service", "mysql", None),
        ("redis@7", "service", "redis", "7"),
        ("ollama@0.18.1", "service", "ollama", "0.18.1"),
        ("pip:pandas", "pip", "pandas", None),
        ("pip:pandas>=2,<3", "pip", "pandas", "<3,>=2"),
        ("pip: Flask [ async ] == 3.0", "pip", "Flask[async]", "==3.0"),
        ("pip:uvicorn[b,a]", "pip", "uvicorn[a,b]", None),
        ("npm:typescript", "npm", "typescript", None),
        ("npm:typescript@5.4", "npm", "typescript", "5.4"),
        ("npm:@scope/name", "npm", "@scope/name", None),
        ("npm:@scope/name@^1.2", "npm", "@scope/name", "^1.2"),
    ],
)
def test_a_known_form_becomes_its_kind(
    text: str, kind: str, name: str, version: str | None
) -> None:
    assert parse(text, where=WHERE) == Dependency(
        kind=kind,  # type: ignore[arg-type]
        name=name,
        version=version,
        where=WHERE,
    )


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [
        ("go", "go", None),
        ("go@1.22", "go", "1.22"),
        ("protoc@25.1", "protoc", "25.1"),
        ("playwright", "playwright", None),
        ("bun", "bun", None),
        ("gh", "gh", None),
        ("claude-code", "claude-code", None),
        ("docker:dind", "docker:dind", None),
        ("docker:host", "docker:host", None),
        ("zig", "zig", None),
        ("something-from-next-year@3", "something-from-next-year", "3"),
    ],
)
def test_a_name_that_cannot_be_installed_is_unknown_and_no_error(
    text: str, name: str, version: str | None
) -> None:
    assert parse(text, where=WHERE) == Dependency(
        kind="unknown", name=name, version=version, where=WHERE
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pyhton@3.11", f"{WHERE}: unknown dependency 'pyhton'; did you mean 'python'?"),
        ("nodejs", f"{WHERE}: unknown dependency 'nodejs'; did you mean 'node'?"),
        ("postgresql@15", f"{WHERE}: unknown dependency 'postgresql'; did you mean 'postgres'?"),
        ("playwrite", f"{WHERE}: unknown dependency 'playwrite'; did you mean 'playwright'?"),
        ("pipp:six", f"{WHERE}: unknown dependency 'pipp:'; did you mean 'pip:'?"),
        ("python@3", f"{WHERE}: 'python@3': a Python version is X.Y; write python@3.12, for one"),
        ("python@", "a Python version is X.Y"),
        ("python@3.11; rm -rf /", "is not a dependency"),
        ("git@2", "Debian chooses the version of its packages; write git"),
        ("node@lts", "a version is numbers with dots between; write node or node@N"),
        ("go@", "no version after the @"),
        ("", "'' is not a dependency; write name, name@version, pip:NAME or npm:NAME"),
        ("@3", "is not a dependency"),
        ("pip:", "is not a requirement of pip"),
        ("pip:-r x", "is not a requirement of pip"),
        ("pip:pandas@2.1", "it has an address; write pip:NAME"),
        ("pip:x @ https://example.org/x.whl", "it has an address"),
        ("pip:x; python_version<'3'", "it has a marker"),
        ("npm:", "is not a package of npm"),
        ("npm:Upper", "is not a package of npm"),
        ("npm:x; id", "is not a package of npm"),
        ("npm:x@>=1", "is not a package of npm"),
    ],
)
def test_a_slip_is_refused_with_what_was_probably_meant(text: str, message: str) -> None:
    parsed = parse(text, where=WHERE)
    assert isinstance(parsed, Problem)
    assert message in str(parsed)


@pytest.mark.parametrize("name", ["git", "psql", "redis-cli", "mysql-client"])
def test_every_apt_tool_has_its_debian_package(name: str) -> None:
    assert APT_PACKAGES[name]


@given(st.one_of(st.text(max_size=20), st.text("pi:npm@/abc.1-;$ `", max_size=20)))
def test_any_string_gives_a_value_that_is_safe_on_a_command_line(text: str) -> None:
    parsed = parse(text, where=WHERE)
    if isinstance(parsed, Dependency) and parsed.kind != "pip":
        assert not set(f"{parsed.name}{parsed.version}") & set(" ;$`&|<>\"'\\\n")
        assert not parsed.name.startswith("-")
