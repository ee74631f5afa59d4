"""suggest.py: what a project might exclude, and how large it is, by a bounded look."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from moat_nb.config.exclude_patterns import check
from moat_nb.excludes import suggest
from moat_nb.excludes.suggest import scan
from moat_nb.planning.walk import Budget
from tests.unit.excludes.looks import found, make


@pytest.mark.parametrize(
    ("paths", "pattern", "reason"),
    [
        (["node_modules/"], "node_modules", "packages built for this machine"),
        ([".venv/"], ".venv", "packages"),
        (["sub/venv/"], "sub/venv", "packages"),
        (["__pycache__/"], "__pycache__", "a cache"),
        (["a/__pycache__/", "b/__pycache__/"], "**/__pycache__", "a cache"),
        ([".mypy_cache/"], ".mypy_cache", "a cache"),
        ([".pytest_cache/"], ".pytest_cache", "a cache"),
        ([".ipynb_checkpoints/"], ".ipynb_checkpoints", "old states of notebooks"),
        (["target/", "Cargo.toml"], "target", "what a build has made; Cargo.toml is beside it"),
        (["target/"], "target", "what a build has made, if it is what its name says"),
        (["dist/", "package.json"], "dist", "package.json is beside it"),
        (["build/", "setup.py"], "build", "setup.py is beside it"),
        ([".next/"], ".next", "what Next.js has built"),
        ([".gradle/"], ".gradle", "Gradle's cache"),
        ([".terraform/"], ".terraform", "what Terraform has fetched"),
        (["go/vendor/", "go/go.mod"], "go/vendor", "copies of dependencies; go.mod is beside it"),
        ([".env"], ".env", "passwords"),
        ([".env.local"], ".env.local", "passwords"),
        (["tls/server.pem"], "tls/server.pem", "a key or a certificate"),
        (["tls/a.pem", "b.pem"], "**/*.pem", "a key or a certificate"),
        (["id_rsa"], "id_rsa", "a private SSH key"),
        ([".netrc"], ".netrc", "passwords for other machines"),
        ([".aws/credentials"], ".aws", "credentials of AWS"),
        ([".envrc"], ".envrc", "passwords"),
        ([".streamlit/secrets.toml"], ".streamlit/secrets.toml", "passwords"),
        (["client_secret_7.json"], "client_secret_7.json", "passwords"),
        (["service-account-x.json"], "service-account-x.json", "a key of Google's cloud"),
        (["a.tfstate.backup"], "a.tfstate.backup", "Terraform's state"),
        (["cert.p12"], "cert.p12", "a key with its certificate"),
        ([".ssh/"], ".ssh", "private keys"),
        (["my key é.pem"], "my*key**.pem", "a key"),
    ],
)
def test_what_is_worth_an_exclude_is_suggested_with_its_reason(
    tmp_path: Path, paths: Sequence[str], pattern: str, reason: str
) -> None:
    make(tmp_path, *paths)
    one = found(tmp_path)[pattern]
    assert reason in one.reason
    assert one.size is not None
    assert one.complete
    assert check(pattern) is None


@pytest.mark.parametrize(
    "path",
    [
        "src/main.py",
        ".env.example",
        ".env/",
        "node_modules",
        "id_rsa.pub",
        "pem",
        ".git/node_modules/",
        "cache/small",
        "caches.py",
        "credentials.py",
        "secrets/",
    ],
)
def test_what_only_looks_like_it_is_not(tmp_path: Path, path: str) -> None:
    make(tmp_path, path)
    assert found(tmp_path) == {}


def test_a_data_cache_is_suggested_when_it_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert suggest.CACHE_BYTES == 100_000_000
    make(tmp_path, ".cache/a", "hf_cache/b")
    assert found(tmp_path) == {}
    monkeypatch.setattr(suggest, "CACHE_BYTES", 5000)
    assert set(found(tmp_path)) == {".cache", "hf_cache"}


def test_secrets_come_first_and_what_is_excluded_before_them(tmp_path: Path) -> None:
    make(tmp_path, "node_modules/x", ".env", "data/")
    order = [one.pattern for one in scan(tmp_path, ["data"], Budget())]
    assert order == ["data", ".env", "node_modules"] * 2


def test_an_exclude_is_no_suggestion_and_is_measured_where_it_is(tmp_path: Path) -> None:
    make(tmp_path, "a/node_modules/x", "b/node_modules/y", ".env")
    result = found(tmp_path, "**/node_modules", "./.env/", "gone")
    assert set(result) == {"**/node_modules", "./.env/", "gone"}
    modules, env, gone = result.values()
    assert (modules.kind, modules.places, modules.reason) == ("directory", 2, "")
    assert (env.kind, env.places) == ("file", 1)
    assert (gone.kind, gone.places, gone.size, gone.complete) == (None, 0, 0, True)


def test_sizes_are_those_of_du_which_counts_a_linked_file_once(tmp_path: Path) -> None:
    make(tmp_path, "node_modules/a/x", "node_modules/a/b/y", "outside")
    os.link(tmp_path / "node_modules/a/x", tmp_path / "node_modules/again")
    with (tmp_path / "node_modules/sparse").open("wb") as stream:
        stream.truncate(1 << 30)
    du = subprocess.run(
        ["du", "-s", "--block-size=1", tmp_path / "node_modules"], capture_output=True, check=True
    )
    assert found(tmp_path)["node_modules"].size == int(du.stdout.split()[0])


def test_the_first_word_comes_before_anything_is_measured(tmp_path: Path) -> None:
    make(tmp_path, "node_modules/x")
    first = next(iter(scan(tmp_path, [], Budget())))
    assert (first.pattern, first.size) == ("node_modules", None)


def test_a_look_without_sizes_measures_nothing(tmp_path: Path) -> None:
    make(tmp_path, ".env", "node_modules/", ".cache/x", "data/")
    looked = suggest.unmeasured(tmp_path, ["data"], Budget())
    assert [(one.pattern, one.size) for one in looked] == [
        ("data", None),
        (".env", None),
        ("node_modules", None),
    ]


def test_no_link_is_followed(tmp_path: Path) -> None:
    """What a sandbox put there must not show what lies elsewhere."""
    make(tmp_path, "elsewhere/node_modules/x", "project/node_modules/")
    (tmp_path / "project/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "project/venv").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "project/node_modules/out").symlink_to(tmp_path / "elsewhere")
    result = found(tmp_path / "project", "link/node_modules", "link")
    assert set(result) == {"link/node_modules", "link", "node_modules"}
    assert result["link/node_modules"].kind == result["link"].kind == "symbolic link"
    assert result["node_modules"].size < 10_000


def test_what_no_exclude_can_cover_is_told_from_what_is_not_there(tmp_path: Path) -> None:
    make(tmp_path, "file")
    os.mkfifo(tmp_path / "pipe")
    result = found(tmp_path, "pipe", "file/below", "gone/below")
    assert [result[name].kind for name in result] == ["special file", None, None]


def test_more_suggestions_than_a_page_holds_are_cut_and_excludes_never(tmp_path: Path) -> None:
    make(tmp_path, *(f".env.{i}" for i in range(150)), "data/x")
    budget = Budget()
    result = found(tmp_path, "data", *(f"gone/{i}" for i in range(150)), budget=budget)
    assert len(result) == 151 + suggest.MAX_SUGGESTIONS
    assert budget.over


def test_what_is_no_directory_has_no_suggestions(tmp_path: Path) -> None:
    make(tmp_path, "file")
    assert list(scan(tmp_path / "file", ["x"], Budget())) == []
    assert list(scan(tmp_path / "gone", ["x"], Budget())) == []
