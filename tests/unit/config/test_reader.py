"""moat.yaml as a Config; finding and reading it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.config.model import Config, Container, KernelOptions, MountEntry, Network, UnusedKey
from moat_nb.config.reader import load, read_config, slug
from moat_nb.errors import ConfigError

HOME = Path("/home/ada")
FILE = Path("/home/ada/My Project/moat.yaml")
KEYS = (
    *("name", "mounts", "volumes", "workspace", "env", "secrets", "dependencies", "base_image"),
    *("services", "network", "hooks", "container", "command", "ports", "runtime", "sandbox"),
    *("kernel", "source", "target", "exclude", "policy", "rules", "host", "memory", "ulimits"),
    *("dns", "postgres", "ollama", "argv", "packages", "gpus", "skip_dependencies", "nofile"),
)


def config(text: str) -> Config:
    return read_config(text.encode(), path=FILE, home=HOME)


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config(text)
    return [str(problem) for problem in caught.value.problems]


def test_an_empty_file_is_a_project_with_all_defaults() -> None:
    assert config("") == Config(
        path=FILE,
        name="my-project",
        mounts=(MountEntry(source=FILE.parent, target="/workspace", where="moat.yaml"),),
    )


def test_every_top_level_key_lands_in_its_field() -> None:
    read = config(
        """\
name: demo
base_image: ghcr.io/org/base:1.2
runtime: docker
sandbox: none
workspace: {mode: volume}
command: [npm, start]
ports: {web: 3000, api: 8080}
hooks:
  post_build_root: apt-get update
  post_build: git config x y
  pre_run: npm install
"""
    )
    assert (read.name, read.base_image, read.runtime) == ("demo", "ghcr.io/org/base:1.2", "docker")
    assert (read.workspace_mode, read.command) == ("volume", ("npm", "start"))
    assert read.ports == (("web", 3000), ("api", 8080))
    assert read.hooks.post_build_root == "apt-get update"
    assert read.hooks.post_build == "git config x y"
    assert read.hooks.pre_run == "npm install"
    assert read.where["hooks"] == "moat.yaml:8:1"
    assert read.unused == ()


def test_moats_own_keys_are_accepted_and_listed_in_the_files_order() -> None:
    text = "version: 1.0.0\ngrants: [github]\nclaude: {sync_logs: true}\nmcp: [{name: x}]\n"
    text += "network: {keep_policy: a}\n"
    assert config(text).unused == (
        UnusedKey(name="version", where="moat.yaml:1:1"),
        UnusedKey(name="grants", where="moat.yaml:2:1"),
        UnusedKey(name="claude", where="moat.yaml:3:1"),
        UnusedKey(name="mcp", where="moat.yaml:4:1"),
        UnusedKey(name="network.keep_policy", where="moat.yaml:5:11"),
    )


def test_a_stranger_among_the_top_level_keys_is_listed_as_unused() -> None:
    assert config("telemetry: {}\nx-anchors: []\n").unused == (
        UnusedKey(name="telemetry", where="moat.yaml:1:1"),
        UnusedKey(name="x-anchors", where="moat.yaml:2:1"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nmoutns: []", "moat.yaml:2:1: unknown key 'moutns'; did you mean 'mounts'?"),
        ("dependancies: []", "moat.yaml:1:1: unknown key 'dependancies'; did you mean 'depend"),
        ("kernal: {}", "moat.yaml:1:1: unknown key 'kernal'; did you mean 'kernel'?"),
        ("snapshot: {}", "moat.yaml:1:1: unknown key 'snapshot'; did you mean 'snapshots'?"),
        ("hooks: {prerun: x}", "moat.yaml:1:9: unknown key 'prerun' in hooks; did you mean 'pre_r"),
        ("hooks: {zzz: x}", "in hooks; known here: post_build_root, post_build, pre_run"),
        ("workspace: {mod: bind}", "unknown key 'mod' in workspace; did you mean 'mode'?"),
        ("workspace: {mode: copy}", "workspace.mode: 'copy' is not one of bind, volume"),
        ("- a", "moat.yaml:1:1: a sequence stands where a mapping of keys to values must"),
        ("just text", "moat.yaml:1:1: 'just text' stands where a mapping of keys to values must"),
        ("name: [a]", "moat.yaml:1:7: name: a sequence stands where a string must"),
        ("runtime: podman", "moat.yaml:1:10: runtime: 'podman' is not one of docker, apple"),
        ("runtime: {python: 3}", "runtime: a mapping stands where a string must"),
        ("sandbox: gvisor", "sandbox: 'gvisor' is not one of none"),
        ("base_image: 'a b'", "base_image: 'a b' is not the name of an image"),
        ("command: npm start", "command: 'npm start' stands where a list must"),
        ("command: ['', x]", "command: the first item, the program, is empty"),
        ("hooks: {pre_run: ''}", "hooks.pre_run: empty; give it a value, or remove the key"),
        ("ports: {web: 0}", "ports.web: '0' is not a whole number from 1 to 65535"),
        ("ports: {web: '80'}", "ports.web: '80' in quotes is not a whole number"),
        ("ports: {we b: 80}", "ports: 'we b' is not an endpoint's name"),
        ("ports: {web: }", "ports.web: missing"),
        ("ports: {dev_server: 80}", "moat.yaml:1:9: ports: 'dev_server' is not an endpoint's name"),
        ("ports: {-web: 80}", "an endpoint's name: a part of a host's name: letters, digits and -"),
        ("ports: {web: 70000}", "moat.yaml:1:14: ports.web: '70000' is not a whole number from 1"),
        ("ports: {web: 80, Web: 81}", "moat.yaml:1:18: ports: 'Web' and 'web' are one name to"),
    ],
)
def test_a_wrong_value_is_refused_with_place_value_rule_and_mend(text: str, message: str) -> None:
    assert any(message in problem for problem in refused(text))


def test_all_problems_of_a_file_are_reported_at_once_in_its_order() -> None:
    places = [
        line.split(": ")[0]
        for line in refused(
            "kernel: {pool: x}\nmoutns: []\nmounts: [a]\nmounts: [b]\nenv: {1 A: x}\n"
        )
    ]
    assert places == [f"moat.yaml:{place}" for place in ("1:16", "2:1", "3:10", "4:1", "5:7")]


@pytest.mark.parametrize(
    ("name", "kept"),
    [("My Agent", "my-agent"), ("-x", "x"), ("a..b", "a-b"), ("a" * 64, "a" * 63)],
)
def test_any_other_name_is_taken_as_moat_does_by_its_letters_and_digits(
    name: str, kept: str
) -> None:
    assert config(f"name: '{name}'").name == kept


def test_two_names_without_a_letter_of_ours_differ() -> None:
    one, other = (config(f"name: {name}").name for name in ("данные", "データ"))
    assert one != other
    assert re.fullmatch("project-[0-9a-f]{6}", one)


@pytest.mark.parametrize("name", ["demo", "My-Agent", "a.b_c-d", "0", "a" * 63])
def test_a_name_that_fits_containers_and_kernelspecs_is_kept(name: str) -> None:
    assert config(f"name: {name}").name == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [("My Project!", "my-project"), ("a__b", "a-b"), ("日本", "project"), ("x" * 80, "x" * 63)],
)
def test_a_slug_is_a_valid_name(text: str, expected: str) -> None:
    assert slug(text) == expected
    assert config(f"name: {slug(text)}").name == expected


def test_load_names_the_file_as_seen_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "moat.yaml").write_text("name: [a]\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^sub/moat.yaml:1:7: name"):
        load("sub", home=HOME)
    monkeypatch.chdir("/")
    monkeypatch.chdir(tmp_path / "sub")
    with pytest.raises(ConfigError, match=r"^moat.yaml:1:7: name"):
        load(".", home=HOME)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/sub/moat.yaml:1:7: name"):
        load("../sub", home=HOME)


def test_load_reads_the_project_that_the_file_stands_in(tmp_path: Path) -> None:
    (tmp_path / "moat.yaml").write_text("name: demo\n")
    read = load(str(tmp_path), home=HOME)
    assert (read.name, read.directory) == ("demo", tmp_path)
    assert read.mounts[0].source == tmp_path


def test_defaults_of_the_blocks_are_those_of_config() -> None:
    read = config("network: {}\ncontainer: {}\nkernel: {}\n")
    assert read.network == Network(policy="permissive", where="moat.yaml:1:1")
    assert read.container == Container(where="moat.yaml:2:1")
    assert read.kernel == KernelOptions()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab/.:*@~= ", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_any_well_formed_file_gives_a_config_or_problems_with_places(content: object) -> None:
    try:
        assert config(yaml.safe_dump(content)).path == FILE
    except ConfigError as error:
        assert all(problem.where.startswith("moat.yaml:") for problem in error.problems)
