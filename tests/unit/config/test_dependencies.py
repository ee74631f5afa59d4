"""dependencies.py: dependency strings as values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests
from moat_nb.config import registry
from moat_nb.config.dependencies import parse, unknown_problems
from moat_nb.config.model import Dependency
from moat_nb.errors import Problem

WHERE = "moat.yaml:3:5"
COMPAT = Path(tests.__file__).parents[1] / "docs" / "moat-compat.md"


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
        ("pip:requests@2.31.0", "pip", "requests", "==2.31.0"),
        ("pip:httpx[http2]@1!0.27.0rc1", "pip", "httpx[http2]", "==1!0.27.0rc1"),
        ("uv:ruff", "pip", "ruff", None),
        ("uv:ruff@0.6.1", "pip", "ruff", "==0.6.1"),
        ("git@2", "tool", "git", "2"),
        ("go@1.25.6", "tool", "go", "1.25.6"),
        ("bun@1.3.9", "tool", "bun", "1.3.9"),
        ("rust@stable", "tool", "rust", "stable"),
        ("ministack", "service", "ministack", None),
        ("codex-cli@0.146.0", "agent", "codex-cli", "0.146.0"),
        ("helm", "unavailable", "helm", None),
        ("docker:dind", "unavailable", "docker:dind", None),
        ("go:example.org/tool@latest", "unavailable", "go:example.org/tool@latest", None),
        ("cargo:ripgrep", "unavailable", "cargo:ripgrep", None),
        ("zig@0.13", "unknown", "zig", "0.13"),
        ("gem:rails", "unknown", "gem:rails", None),
        ("npm:typescript", "npm", "typescript", None),
        ("npm:typescript@5.4", "npm", "typescript", "5.4"),
        ("npm:@scope/name", "npm", "@scope/name", None),
        ("npm:@scope/name@^1.2", "npm", "@scope/name", "^1.2"),
    ],
)
def test_a_known_form_becomes_its_kind(
    text: str, kind: str, name: str, version: str | None
) -> None:
    (found,) = values(parse(text, where=WHERE))
    assert found == Dependency(
        kind=kind,  # type: ignore[arg-type]
        name=name,
        version=version,
        where=WHERE,
    )


def values(parsed: tuple[Dependency, ...] | Problem) -> tuple[Dependency, ...]:
    assert not isinstance(parsed, Problem), parsed
    return parsed


def test_a_bundle_is_what_it_stands_for() -> None:
    assert [(item.name, item.kind, item.bundle) for item in values(parse("k8s", where=WHERE))] == [
        ("kubectl", "unavailable", "k8s"),
        ("helm", "unavailable", "k8s"),
    ]


def test_each_name_of_moats_registry_is_known_and_of_one_kind() -> None:
    """Those of its registry.yaml; see docs/moat-compat.md."""
    (groups,) = re.findall(
        r"<!-- registry -->(.*?)<!-- end -->", COMPAT.read_text(encoding="utf-8"), re.DOTALL
    )
    names = re.findall(r"`([^`]+)`", groups)
    assert len(names) > 80
    for name in names:
        kinds = {item.kind for item in values(parse(name, where=WHERE))}
        assert kinds and "unknown" not in kinds, name
    assert {*names} == registry.KNOWN - OURS


OURS = {
    *("build-essential", "bzip2", "cmake", "ffmpeg", "g++", "gcc", "gfortran", "git-lfs", "gnupg"),
    *("graphviz", "htop", "imagemagick", "less", "nano", "ninja-build", "openssh-client"),
    *("pandoc", "patch", "pkg-config", "procps", "rsync", "tree", "unzip", "vim", "wget"),
    *("xz-utils", "zip", "pyright", "typescript-language-server"),
}
"""Names that its registry does not have."""


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("pandas", "write pip:pandas for a package of PyPI, npm:pandas for one of npm, or list it"),
        ("zig", "in kernel.skip_dependencies if the kernel can do without it"),
        ("requirements.txt", "write kernel: {requirements: requirements.txt}, or pip:NAME for one"),
        ("environment.yml", "write what environment.yml asks for as pip:NAME; `moat-nb init`"),
        ("golang", "did you mean 'go'?"),
        ("python3", "did you mean 'python'?"),
        ("pyhton", "did you mean 'python'?"),
        ("nodejs", "did you mean 'node'?"),
        ("postgresql", "did you mean 'postgres'?"),
        ("playwrite", "did you mean 'playwright'?"),
    ],
)
def test_a_name_that_nobody_knows_is_refused_with_what_was_probably_meant(
    text: str, hint: str
) -> None:
    found = values(parse(text, where=WHERE))
    (problem,) = unknown_problems(found, ())
    assert str(problem).startswith(f"{WHERE}: unknown dependency '{text}'; ")
    assert hint in problem.hint
    assert not [*unknown_problems(found, (text,))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pipp:six", f"{WHERE}: unknown dependency 'pipp:'; did you mean 'pip:'?"),
        ("python@3", f"{WHERE}: 'python@3': a Python version is X.Y; write python@3.12, for one"),
        ("python@", "a Python version is X.Y"),
        ("python@3.11; rm -rf /", "is not a dependency"),
        ("node@lts", "a version is numbers with dots between; write node or node@N"),
        ("go@", "no version after the @"),
        ("go@1@2", "a version has letters, digits"),
        ("k8s@1", "k8s stands for several programs, which have no version in common; write k8s"),
        ("pandas>=2", "'pandas>=2' is not a dependency; write pip:pandas>=2"),
        ("pip:pandas@latest", "is not a requirement of pip"),
        ("", "'' is not a dependency; write name, name@version, pip:NAME or npm:NAME"),
        ("@3", "is not a dependency"),
        ("pip:", "is not a requirement of pip"),
        ("pip:-r x", "is not a requirement of pip"),
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


@given(st.one_of(st.text(max_size=20), st.text("pi:npm@/abc.1-;$ `", max_size=20)))
def test_any_string_gives_a_value_that_is_safe_on_a_command_line(text: str) -> None:
    parsed = parse(text, where=WHERE)
    for item in () if isinstance(parsed, Problem) else parsed:
        if item.kind != "pip":
            assert not set(f"{item.name}{item.version}") & set(" ;$`&|<>\"'\\\n")
            assert not item.name.startswith("-")
