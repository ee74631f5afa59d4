"""Mounts, excludes and volumes of a moat.yaml, read."""

from __future__ import annotations

import pytest

from moat_nb.config.model import Exclude, MountEntry, VolumeEntry
from moat_nb.config.mounts import RESERVED, RESERVED_TREES, with_mounts
from moat_nb.errors import ConfigError
from moat_nb.planning import spec
from tests.unit.config.reading import HOME, PROJECT, config, refused


def test_strings_and_objects_may_be_mixed() -> None:
    read = config(
        """\
mounts:
  - ./data:/data:ro
  - source: .
    target: /workspace
    exclude:
      - node_modules/
      - "**/.env"
  - ~/x:/x
"""
    )
    assert read.mounts == (
        MountEntry(source=PROJECT / "data", target="/data", read_only=True, where="moat.yaml:2:5"),
        MountEntry(
            source=PROJECT,
            target="/workspace",
            exclude=(
                Exclude(pattern="node_modules", where="moat.yaml:6:9", kind="directory"),
                Exclude(pattern="**/.env", where="moat.yaml:7:9"),
            ),
            where="moat.yaml:3:5",
        ),
        MountEntry(source=HOME / "x", target="/x", where="moat.yaml:8:5"),
    )


@pytest.mark.parametrize(
    ("text", "source", "target", "read_only"),
    [
        ("./data:/data", "/srv/demo/data", "/data", False),
        ("data:/data:rw", "/srv/demo/data", "/data", False),
        ("../shared:/s:ro", "/srv/shared", "/s", True),
        (".:/workspace/", "/srv/demo", "/workspace", False),
        ("/opt/d:/a//b/./c", "/opt/d", "/a/b/c", False),
        ("/opt/d://x", "/opt/d", "/x", False),
        ("~:/h", "/home/ada", "/h", False),
        ("~/a b:/h", "/home/ada/a b", "/h", False),
        ("/d:/usr/local/share/d", "/d", "/usr/local/share/d", False),
        ("/d:/home/moatuser/.cache", "/d", "/home/moatuser/.cache", False),
        ("/d:/devices", "/d", "/devices", False),
    ],
)
def test_a_string_gives_source_target_and_mode(
    text: str, source: str, target: str, read_only: bool
) -> None:
    entry = config(f'mounts: ["{text}"]').mounts[-1]
    assert (str(entry.source), entry.target, entry.read_only) == (source, target, read_only)


def test_the_workspace_is_added_in_front_unless_a_mount_is_there() -> None:
    assert [m.target for m in config("mounts: [/a:/a, /b:/b]").mounts] == ["/workspace", "/a", "/b"]
    assert [str(m.source) for m in config("mounts: [/a:/a, ./src:/workspace]").mounts] == [
        "/a",
        "/srv/demo/src",
    ]


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ("data", "mounts[0]: 'data' is not a mount; write source:target, source:target:ro or "),
        ("a:/b:ro:x", "is not a mount"),
        ("a:/b:wr", "'a:/b:wr' has the mode 'wr', neither ro nor rw"),
        ("a:/b:", "has the mode '', neither ro nor rw"),
        (":/b", "has no source"),
        ("'a:'", "has no target"),
        ("a:b", "the target 'b' is refused: a target is an absolute path in the sandbox"),
        ("a:/b/../c", "the target '/b/../c' is refused: '..' may not stand in it"),
        ("'a:/b,c'", "a target may not hold the character ','"),
        ('"a:/b\\n"', r"a target may not hold the character '\n'"),
        ("~bob/x:/x", "only your own home can be written as ~; write the whole path"),
        ("a:/", "the target '/' is refused: / is the sandbox's own; mount below it or elsewhere"),
        ("a://", "is refused: / is"),
        ("a:/proc", "/proc is the sandbox's own; mount elsewhere"),
        ("a:/proc/self", "/proc is the sandbox's own"),
        ("a:/sys/fs", "/sys is the sandbox's own"),
        ("a:/dev/shm", "/dev is the sandbox's own"),
        ("a:/run/moat", "/run/moat is the sandbox's own"),
        ("a:/run/moat/guest", "/run/moat is the sandbox's own"),
        ("a:/tmp/", "/tmp is the sandbox's own"),
        ("a:/usr", "/usr is the sandbox's own"),
        ("a:/home/moatuser", "/home/moatuser is the sandbox's own"),
        ("[a, b]", "mounts[0]: a sequence stands where a mapping of keys to values must"),
        ("{source: a}", "mounts[0].target: missing; give it a value"),
        ("{}", "mounts[0].source: missing; give it a value"),
        ("{source: '', target: /a}", "mounts[0].source: empty"),
        ("{source: a, target: b}", "mounts[0].target: the target 'b' is refused"),
        ("{source: a, target: /b, mode: r}", "mounts[0].mode: 'r' is not one of ro, rw"),
        ("{source: a, traget: /b}", "unknown key 'traget' in mounts[0]; did you mean 'target'?"),
        ("{source: a, target: /b, exclude: x}", "exclude: 'x' stands where a list must"),
        ("{source: a, target: /b, exclude: [..]}", "exclude[0]: '..' must not contain '..'"),
        ("{source: a, target: /b, exclude: [x, x/]}", "exclude[1]: 'x/' is a duplicate of 'x'"),
        ("{source: a, target: /b, exclude: [x/y, x]}", "[0]: 'x/y' is redundant with 'x'"),
        ("{source: a, target: /b, exclude: ['']}", "exclude[0]: an exclude must not be empty"),
        ("{source: a, target: /b, exclude: [[x]]}", "exclude[0]: a sequence stands where a stri"),
        ("{source: a, target: /b, exclude: [~]}", "exclude[0]: missing"),
    ],
)
def test_a_wrong_mount_is_refused_with_the_rule(mount: str, message: str) -> None:
    text = refused(f"mounts: [{mount}]" if mount[0] in "[{'\"" else f'mounts: ["{mount}"]')
    assert message in text


def test_two_mounts_with_one_target_are_refused_volumes_included() -> None:
    text = refused(
        "name: x\nmounts:\n- a:/t\n- b:/t/\nvolumes:\n- {name: v, target: /t}\n"
        "- {name: w, target: /workspace}\n"
    )
    assert text.splitlines() == [
        "moat.yaml:4:3: a second mount at /t, the first is at moat.yaml:3:3; "
        "give each its own target",
        "moat.yaml:6:3: a second mount at /t, the first is at moat.yaml:3:3; "
        "give each its own target",
        "moat.yaml:7:3: a second mount at /workspace, the first is at moat.yaml; "
        "give each its own target",
    ]


def test_one_mount_given_twice_through_an_alias_is_refused() -> None:
    assert "a second mount at /t" in refused("mounts: [&m {source: a, target: /t}, *m]")


def test_volumes_are_read() -> None:
    text = "name: x\nvolumes:\n- {name: a, target: /a}\n"
    text += "- {name: b_1, target: /workspace/b, readonly: yes, type: volume}\n"
    assert config(text).volumes == (
        VolumeEntry(name="a", target="/a", where="moat.yaml:3:3"),
        VolumeEntry(
            name="b_1",
            target="/workspace/b",
            read_only=True,
            type="volume",
            where="moat.yaml:4:3",
        ),
    )


@pytest.mark.parametrize(
    ("volumes", "message"),
    [
        ("{name: A, target: /a}", "volumes[0].name: 'A' is not a volume's name"),
        ("{name: ../a, target: /a}", "is not a volume's name"),
        ("{target: /a}", "volumes[0].name: missing"),
        ("{name: a}", "volumes[0].target: missing"),
        ("{name: a, target: a}", "volumes[0].target: the target 'a' is refused"),
        ("{name: a, target: /a, type: tmpfs}", "type: 'tmpfs' is not one of bind, volume"),
        ("{name: a, target: /a, readonly: 1}", "readonly: '1' is neither true nor false"),
        ("{name: a, target: /a, readonly: 'true'}", "readonly: 'true' is neither true nor false"),
        ("{name: a, target: /a, source: x}", "unknown key 'source' in volumes[0]"),
        ("a:/a", "volumes[0]: 'a:/a' stands where a mapping of keys to values must"),
        ("{name: a, target: /a}, {name: a, target: /b}", "the volume 'a' is given twice, first"),
    ],
)
def test_a_wrong_volume_is_refused_with_the_rule(volumes: str, message: str) -> None:
    assert message in refused(f"name: x\nvolumes: [{volumes}]")


def test_volumes_need_the_projects_name() -> None:
    assert refused("volumes: [{name: a, target: /a}]") == (
        "moat.yaml:1:10: volumes: volumes are kept by project name, and the file has none; "
        "add name: NAME"
    )


@pytest.mark.parametrize("pattern", [".git", ".git/hooks", "*", "**", ".g*", "**/.git", ".g*/x"])
def test_git_may_not_be_excluded_from_a_workspace_that_is_copied(pattern: str) -> None:
    mounts = f"mounts: [{{source: ., target: /workspace, exclude: ['{pattern}']}}]\n"
    assert config(mounts + "workspace: {mode: bind}")
    assert f"{pattern!r} leaves .git out" in refused(mounts + "workspace: {mode: volume}")


@pytest.mark.parametrize("pattern", [".gitignore", "**/node_modules", "sub/.git"])
def test_other_excludes_of_a_copied_workspace_are_accepted(pattern: str) -> None:
    mounts = f"mounts: [{{source: ., target: /workspace, exclude: ['{pattern}']}}]\n"
    assert config(mounts + "workspace: {mode: volume}").workspace_mode == "volume"


def test_a_mount_elsewhere_may_exclude_git_from_its_own() -> None:
    text = "mounts: [{source: a, target: /a, exclude: [.git]}]\nworkspace: {mode: volume}"
    assert config(text).mounts[1].exclude[0].pattern == ".git"


def test_a_mount_of_the_command_line_is_added() -> None:
    read = with_mounts(config("mounts: [/a:/a]"), ["./b:/b:ro"], home=HOME)
    assert [m.target for m in read.mounts] == ["/workspace", "/a", "/b"]
    assert read.mounts[-1] == MountEntry(
        source=PROJECT / "b", target="/b", read_only=True, where="--mount ./b:/b:ro"
    )


def test_a_mount_of_the_command_line_replaces_the_automatic_workspace_only() -> None:
    replaced = with_mounts(config(""), ["src:/workspace"], home=HOME)
    assert [str(m.source) for m in replaced.mounts] == ["/srv/demo/src"]
    with pytest.raises(ConfigError, match="a second mount at /workspace, the first is at moat"):
        with_mounts(config("mounts: [lib:/workspace]"), ["src:/workspace"], home=HOME)


def test_all_wrong_mounts_of_the_command_line_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        with_mounts(config(""), ["x", "a:/proc", "b:/b"], home=HOME)
    assert [p.where for p in caught.value.problems] == ["--mount x", "--mount a:/proc"]


def test_the_reserved_targets_cover_what_the_sandbox_itself_mounts() -> None:
    assert spec.HOME in RESERVED
    assert any(spec.GUEST_PATH.startswith(f"{tree}/") for tree in RESERVED_TREES)
