"""resolve_mounts.py: the one look at the filesystem. All directories are real."""

from __future__ import annotations

import codecs
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from moat_nb.config.model import Config
from moat_nb.config.reader import load, read_config
from moat_nb.errors import ConfigError
from moat_nb.host.machine import User
from moat_nb.planning.mounts import Bind, EmptyFile, MountPoint, Tmpfs
from moat_nb.planning.resolve_mounts import Resolved, missing_points, resolve_mounts

SIZE = 1 << 20


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project, its directory below the home directory as usual."""
    directory = tmp_path / "home" / "project"
    directory.mkdir(parents=True)
    return directory


def look(project: Path, text: str) -> Resolved:
    (project / "moat.yaml").write_text(text)
    home = project.parent
    return resolve(load(project, home=home), home=home)


def resolve(config: Config, *, home: Path, runs: Sequence[Path] = (), **options: Any) -> Resolved:
    return resolve_mounts(
        config.mounts,
        config.volumes,
        project=config.directory,
        home=home,
        exclude_size=SIZE,
        run_directories=runs,
        max_excludes=config.kernel.max_excludes,
        **options,
    )


def binds_of(found: Resolved) -> list[Bind]:
    return [mount for mount in found.mounts if isinstance(mount, Bind)]


def excluded(found: Resolved) -> tuple[Tmpfs | EmptyFile, ...]:
    return tuple(mount for mount in found.mounts if not isinstance(mount, Bind))


def workspace(*excludes: str) -> str:
    listed = ", ".join(f"'{exclude}'" for exclude in excludes)
    return f"mounts:\n- source: .\n  target: /workspace\n  exclude: [{listed}]\n"


def covers(project: Path, *excludes: str) -> list[str]:
    found = excluded(look(project, workspace(*excludes)))
    return [c.target.removeprefix("/workspace/") + "/" * isinstance(c, Tmpfs) for c in found]


def refused(project: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        look(project, text)
    return str(caught.value).replace(str(project), "PROJECT")


def make(project: Path, *paths: str) -> None:
    """Directories where a path ends in a slash, else files."""
    for path in paths:
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            (project / path).mkdir(exist_ok=True)
        else:
            (project / path).touch()


def test_an_empty_file_binds_the_project_and_covers_nothing(project: Path) -> None:
    assert look(project, "") == Resolved(
        mounts=(Bind(source=str(project), target="/workspace"),), missing=()
    )


def test_directories_and_files_are_covered_by_their_own_kind(project: Path) -> None:
    make(project, "node_modules/", ".env")
    assert excluded(look(project, workspace("node_modules", ".env"))) == (
        EmptyFile(target="/workspace/.env"),
        Tmpfs(target="/workspace/node_modules", size=SIZE),
    )


def test_a_missing_exclude_is_a_directory_to_be_made_with_its_parents(project: Path) -> None:
    make(project, "a/")
    found = look(project, workspace(".venv", "a/b/c", "x/y"))
    assert [type(cover) for cover in excluded(found)] == [Tmpfs] * 3
    assert found.missing == (
        MountPoint(root=str(project), relative=".venv"),
        MountPoint(root=str(project), relative="x/y"),
        MountPoint(root=str(project), relative="a/b/c"),
    )
    assert sorted(path.name for path in project.iterdir()) == ["a", "moat.yaml"]


def test_a_missing_exclude_whose_name_is_a_files_is_a_file(project: Path) -> None:
    make(project, ".gitignore")
    (project / ".gitignore").write_text("# .told/\n.ours/\nlines.of\n")
    names = [".env", "conf/keys.json", ".ours", ".git", "lines.of", "a.b"]
    found = look(project, workspace(*names, ".plain/"))
    kinds = {point.relative: point.kind for point in found.missing}
    assert kinds == {
        ".env": "file",
        "conf/keys.json": "file",
        "lines.of": "file",
        "a.b": "file",
        ".ours": "directory",
        ".plain": "directory",
        ".git": "directory",
    }
    assert EmptyFile(target="/workspace/conf/keys.json") in found.mounts


def test_where_no_file_can_be_mounted_what_is_missing_is_a_directory(project: Path) -> None:
    (project / "moat.yaml").write_text(workspace(".env"))
    config = load(project, home=project.parent)
    found = resolve(config, home=project.parent, files=False)
    assert [point.kind for point in found.missing] == ["directory"]


def test_a_read_only_directory_is_looked_at_like_any_other(project: Path) -> None:
    make(project, "data/x/")
    (project / "data").chmod(0o555)
    text = "mounts:\n- {source: data, target: /data, mode: ro, exclude: [x, y]}\n"
    found = look(project, text)
    assert binds_of(found)[1] == Bind(source=f"{project}/data", target="/data", read_only=True)
    assert [cover.target for cover in excluded(found)] == ["/data/x", "/data/y"]
    assert found.missing == (MountPoint(root=f"{project}/data", relative="y"),)


def test_a_file_can_be_mounted_but_has_no_excludes(project: Path) -> None:
    make(project, "settings.ini")
    found = look(project, "mounts: ['settings.ini:/workspace/etc/settings.ini:ro']")
    assert found.missing == (
        MountPoint(root=str(project), relative="etc/settings.ini", kind="file"),
    )
    assert "settings.ini is a file, and only a directory can have excludes; remove" in refused(
        project, "mounts: [{source: settings.ini, target: /s, exclude: [x]}]"
    )


def test_nested_mounts_need_mount_points_in_their_nearest_bind(project: Path) -> None:
    make(project, "data/", "inner/")
    found = look(
        project,
        "name: x\nmounts:\n- ./data:/workspace/d/data\n- ./inner:/workspace/d/data/inner\n"
        "volumes:\n- {name: v, target: /workspace/cache}\n- {name: w, target: /w}\n"
        "- {name: n, target: /w/nested}\n",
    )
    assert found.missing == (
        MountPoint(root=str(project), relative="cache"),
        MountPoint(root=f"{project}/data", relative="inner"),
        MountPoint(root=str(project), relative="d/data"),
    )


def test_an_exclude_below_a_nested_mount_is_looked_up_in_that_mounts_source(
    project: Path,
) -> None:
    make(project, "other/secret", "data/secret/")
    found = look(project, workspace("data/secret") + "- ./other:/workspace/data\n")
    assert excluded(found) == (EmptyFile(target="/workspace/data/secret"),)
    assert found.missing == ()


def test_a_mount_inside_an_exclude_needs_nothing_on_the_host(project: Path) -> None:
    make(project, "cache/")
    found = look(project, workspace(".venv") + "- ./cache:/workspace/.venv/cache\n")
    assert found.missing == (MountPoint(root=str(project), relative=".venv"),)


def test_missing_points_take_the_nearest_mount_of_whatever_type(project: Path) -> None:
    make(project, "here/")
    bind = Bind(source=str(project), target="/w")
    assert missing_points(
        [bind], {"/w": "directory", "/w/here": "directory", "/w/t": "directory", "/w/t/f": "file"}
    ) == (MountPoint(root=str(project), relative="t"),)
    assert missing_points([bind], {"/w/f": "file", "/elsewhere": "directory"}) == (
        MountPoint(root=str(project), relative="f", kind="file"),
    )


@pytest.mark.parametrize(
    ("globs", "expected"),
    [
        (["**/__pycache__"], ["__pycache__/", "a/__pycache__/", "a/b/__pycache__/"]),
        (["*/__pycache__"], ["a/__pycache__/"]),
        (["**/*.env", "a"], [".env", "a/"]),
        (["**/.env"], [".env", "a/.env"]),
        (["*.env"], [".env"]),
        (["a/*"], ["a/.env", "a/__pycache__/", "a/b/"]),
        (["a/**"], ["a/.env", "a/__pycache__/", "a/b/"]),
        (["**/b", "**/b*/__pycache__"], ["a/b/"]),
        (["**/nothing", "no*/x"], []),
        (["a/b/__pycache__/*"], ["a/b/__pycache__/x.pyc"]),
    ],
)
def test_globs_give_their_outermost_matches(
    project: Path, globs: list[str], expected: list[str]
) -> None:
    make(project, "__pycache__/", "a/__pycache__/__pycache__/", "a/b/__pycache__/x.pyc")
    make(project, ".env", "a/.env")
    assert covers(project, *globs) == expected


def test_a_glob_is_expanded_in_other_mounts_below_too(project: Path, tmp_path: Path) -> None:
    make(tmp_path, "shared/.env", "shared/deep/.env")
    make(project, "data/hidden/.env", ".env")
    text = workspace("**/.env") + f"- {tmp_path}/shared:/workspace/data\n"
    assert [cover.target for cover in excluded(look(project, text))] == [
        "/workspace/.env",
        "/workspace/data/.env",
        "/workspace/data/deep/.env",
    ]


def test_a_mount_inside_an_excluded_directory_is_searched_and_the_rest_is_not(
    project: Path,
) -> None:
    make(project, "lib/.env", "other/.env")
    text = workspace("lib", "**/.env", "other") + "- ./other:/workspace/lib/deep/other\n"
    assert [cover.target for cover in excluded(look(project, text))] == [
        "/workspace/lib",
        "/workspace/lib/deep/other/.env",
        "/workspace/other",
    ]


def test_a_volume_is_not_searched(project: Path) -> None:
    make(project, "v/.env")
    text = "name: x\n" + workspace("**/.env") + "volumes: [{name: v, target: /workspace/v}]\n"
    assert excluded(look(project, text)) == ()


def test_links_are_not_followed_by_globs_so_a_loop_ends(project: Path) -> None:
    make(project, "a/x")
    (project / "a" / "loop").symlink_to("..")
    (project / "outside").symlink_to("/")
    assert covers(project, "**/x") == ["a/x"]


@pytest.mark.parametrize("pattern", ["link", "link/x", "a/link", "loop"])
def test_an_exclude_through_a_link_is_refused_by_name(project: Path, pattern: str) -> None:
    make(project, "a/", "real/x/")
    (project / "link").symlink_to("/etc")
    (project / "a" / "link").symlink_to("../real")
    (project / "loop").symlink_to("loop")
    text = refused(project, workspace(pattern))
    name = {"a/link": "a/link -> ../real", "loop": "loop -> loop"}.get(pattern, "link -> /etc")
    mend = "a link that leads out of the mounts shows nothing inside: take"
    if name != "link -> /etc":
        mend = "an engine would follow it; name the real path"
    assert f"passes through a symbolic link: PROJECT/{name}; {mend}" in text
    assert text.startswith("moat.yaml:4:13: ") or "/moat.yaml:4:13: " in text


def test_what_a_glob_matches_and_is_a_link_is_covered_where_it_leads(project: Path) -> None:
    make(project, "store/a/x", "store/file", "b/", "c/", "d/", "node_modules/tool/", "e/f/")
    (project / "b" / "node_modules").symlink_to("../store/a")
    (project / "c" / "node_modules").symlink_to("/workspace/c/../store/file")
    (project / "d" / "node_modules").symlink_to("../node_modules/tool")  # covered anyway
    (project / "e" / "node_modules").symlink_to("/etc")  # shows nothing of the mounts
    (project / "e" / "f" / "node_modules").symlink_to("../../b/node_modules")
    (project / "store" / "node_modules").symlink_to("nowhere")
    assert covers(project, "**/node_modules") == ["node_modules/", "store/a/", "store/file"]


def test_a_link_to_where_it_stands_covers_nothing_and_is_told(project: Path) -> None:
    make(project, "a/b/", "other/.env")
    for name, link in {"a/b/lib": "../..", "a/lib": ".", "lib": "lib"}.items():
        (project / name).symlink_to(link)
    found = look(project, workspace("**/lib"))
    assert excluded(found) == ()
    assert sorted(found.notices) == [
        "excludes: /workspace/a/b/lib is a link to /workspace, which shows what it holds",
        "excludes: /workspace/a/lib is a link to /workspace/a, which shows what it holds",
    ]


def test_a_link_into_another_mount_is_covered_there_and_one_above_others_in_their_place(
    project: Path, tmp_path: Path
) -> None:
    make(tmp_path, "shared/lib/x")
    make(project, "real/secret/", "real/.env")
    (project / "lib").symlink_to("/data/lib")
    (project / "l").symlink_to("real")
    text = workspace("**/lib", "**/secret", "**/.env", "l*") + f"- {tmp_path}/shared:/data\n"
    targets = [cover.target for cover in excluded(look(project, text))]
    assert targets == ["/data/lib", "/workspace/real"]


def test_a_nested_mount_through_a_link_is_refused(project: Path) -> None:
    make(project, "data/")
    (project / "link").symlink_to("/etc")
    assert "/workspace/link/data passes through a symbolic link: PROJECT/link -> /etc" in refused(
        project, "mounts: ['./data:/workspace/link/data']"
    )
    assert "/workspace/link passes through" in refused(
        project, "name: x\nvolumes: [{name: v, target: /workspace/link}]"
    )


def test_an_exclude_or_mount_below_a_file_is_refused(project: Path) -> None:
    make(project, "file", "data/")
    expected = "cannot stand below PROJECT/file, which is a file"
    assert f"/workspace/file/x {expected}" in refused(project, workspace("file/x"))
    assert f"/workspace/file/y {expected}" in refused(project, "mounts: ['data:/workspace/file/y']")


def test_a_mount_must_meet_its_own_kind_on_the_host(project: Path) -> None:
    make(project, "file", "data/")
    assert "/workspace/file is a file on the host, and a directory is mounted there" in refused(
        project, "mounts: ['data:/workspace/file']"
    )
    assert "/workspace/data is a directory on the host, and a file is mounted there" in refused(
        project, "mounts: ['file:/workspace/data']"
    )
    assert look(project, "mounts: ['file:/workspace/file', 'data:/workspace/data']").missing == ()


def test_a_pipe_and_a_socket_are_covered_as_exclude_and_refused_as_source(project: Path) -> None:
    os.mkfifo(project / "pipe")
    assert covers(project, "p*") == ["pipe"]
    assert "source PROJECT/pipe is a named pipe" in refused(project, "mounts: ['pipe:/x']")
    with socket.socket(socket.AF_UNIX) as listener, _inside(project):
        listener.bind("s.sock")
        assert covers(project, "s.sock") == ["s.sock"]
        assert "source PROJECT/s.sock is a socket" in refused(project, "mounts: ['s.sock:/x']")


def test_a_directory_with_an_engines_socket_is_refused_as_source(project: Path) -> None:
    make(project, "run/", "plain/docker.sock")
    with socket.socket(socket.AF_UNIX) as listener, _inside(project / "run"):
        listener.bind("docker.sock")
        assert "source PROJECT/run holds docker.sock, which rules the host's containers" in refused(
            project, "mounts: ['run:/x']"
        )
    assert binds_of(look(project, "mounts: ['plain:/x']"))[1].target == "/x"


class _inside:
    """The current directory, for socket paths are limited to 107 bytes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __enter__(self) -> None:
        self.before = Path.cwd()
        os.chdir(self.directory)

    def __exit__(self, *_: object) -> None:
        os.chdir(self.before)


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("/", "it is the whole host"),
        ("/proc", "it belongs to the host's kernel"),
        ("/proc/self/root", "symbolic link"),
        ("/sys/kernel", "it belongs to the host's kernel"),
        ("/dev/shm", "it belongs to the host's kernel"),
        ("/run", "engines keep their sockets there"),
        ("/run/docker.sock", "engines keep their sockets there"),
        ("/var/run/docker.sock", "engines keep their sockets there"),
        ("~", "it is the home directory itself, with all its keys"),
        ("..", "it is the home directory itself"),
        ("../..", "it holds the home directory"),
    ],
)
def test_a_source_that_would_give_away_the_host_is_refused(
    project: Path, source: str, rule: str
) -> None:
    text = refused(project, f"mounts: [{{source: '{source}', target: /x}}]")
    assert rule in text
    assert "/moat.yaml:1:10: the source " in text


def test_var_is_refused_when_the_home_directory_is_elsewhere(project: Path) -> None:
    """As the tests' own directory, and the project's home with it, may lie in /var/tmp."""
    (project / "moat.yaml").write_text("mounts: [{source: /var, target: /x}]")
    home = Path("/home/moatuser")
    with pytest.raises(ConfigError, match=r"/moat.yaml:1:10: the source /var .*holds /var/run"):
        resolve(load(project, home=home), home=home)


@pytest.mark.parametrize("source", ["{run}", "{run}/0123abcd/s", "{above}", "{link}"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_source_in_which_sandboxes_have_their_sockets_is_refused(
    project: Path, tmp_path: Path, source: str, which: int
) -> None:
    """Whichever of the two places it is that they are in now."""
    runs = [tmp_path / name / "moat-nb" for name in ("one", "other")]
    run = runs[which]
    (run / "0123abcd" / "s").mkdir(parents=True)
    (tmp_path / "link").symlink_to(run.parent)
    named = source.format(run=run, above=run.parent, link=tmp_path / "link" / "moat-nb")
    (project / "moat.yaml").write_text(f"mounts: [{{source: '{named}', target: /x}}]")
    config = load(project, home=project.parent)
    with pytest.raises(ConfigError) as raised:
        resolve(config, home=project.parent, runs=runs)
    text = str(raised.value)
    assert f"is refused: sandboxes have their sockets in {run}; mount a directory of your" in text
    assert "moat.yaml:1:10: the source " in text
    sources = {bind.target: bind.source for bind in binds_of(resolve(config, home=project.parent))}
    assert sources["/x"] == os.path.realpath(named)


def test_a_project_that_is_the_home_directory_is_refused(project: Path) -> None:
    home = project.parent
    (home / "moat.yaml").touch()
    with pytest.raises(ConfigError, match="it is the home directory itself"):
        resolve(load(home, home=home), home=home)


def test_a_directory_of_the_home_directory_is_accepted(project: Path) -> None:
    make(project.parent, "data/")
    assert binds_of(look(project, "mounts: ['~/data:/data']"))[1].source == f"{project.parent}/data"


def test_a_missing_source_is_refused_with_its_resolved_path(project: Path) -> None:
    assert "the source PROJECT/nowhere does not exist; create it, or correct" in refused(
        project, "mounts: ['./x/../nowhere:/x']"
    )


def test_a_linked_source_is_refused_and_a_link_above_the_project_is_not(
    project: Path, tmp_path: Path
) -> None:
    make(project, "real/sub/")
    (project / "link").symlink_to("real")
    for source in ("link", "link/sub", f"{project}/link"):
        assert "the source has a symbolic link in it: PROJECT/link -> real; name what" in refused(
            project, f"mounts: ['{source}:/x']"
        )
    make(tmp_path, "disk/data/")
    (tmp_path / "mnt").symlink_to("disk")
    found = look(project, f"mounts: ['{tmp_path}/mnt/data:/x']")
    assert binds_of(found)[1].source == f"{tmp_path}/disk/data"
    assert "symbolic link in it" in refused(project, f"mounts: ['{tmp_path}/mnt:/x']")


def test_an_exclude_where_a_mount_stands_is_refused_and_a_glob_passes_it_by(
    project: Path,
) -> None:
    make(project, "data/", "other/")
    mount = "- ./other:/workspace/data\n"
    assert "'data' excludes /workspace/data, where another mount stands; remove one" in refused(
        project, workspace("data") + mount
    )
    found = look(project, workspace("da*") + mount)
    assert excluded(found) == ()


def test_all_problems_are_reported_at_once(project: Path) -> None:
    make(project, "file")
    (project / "link").symlink_to("/etc")
    text = workspace("link", "file/x") + "- ./nowhere:/a\n- /:/b\n- {source: link, target: /c}\n"
    problems = refused(project, text).splitlines()
    assert [problem.split(": ")[0].split("moat.yaml:")[1] for problem in problems] == [
        "5:3",
        "6:3",
        "7:3",
        "4:13",
        "4:21",
    ]


def test_too_many_matches_are_refused(project: Path) -> None:
    limit = "kernel: {max_excludes: 300}\n"
    make(project, *(f"f{i}" for i in range(300)))
    assert len(excluded(look(project, workspace("f*") + limit))) == 300
    make(project, "g")
    words = "moat.yaml:4:13: the excludes match more than 300 paths"
    mend = "exclude a directory above them, or raise kernel.max_excludes"
    for names in (["*f*", "g*"], ["**"], [f"x{i}" for i in range(301)]):
        assert f"{words}; {mend}" in refused(project, workspace(*names) + limit)
    assert covers(project, "g") == ["g"]


def test_what_the_kernels_user_cannot_look_into_is_covered_whole(project: Path) -> None:
    """Also where the launcher, which is root, can: no guest could prove what is below."""
    make(project, "closed/.env", "listed/.env", "open/.env", "empty/")
    for name, mode in {"closed": 0o700, "listed": 0o744, "open": 0o755, "empty": 0o700}.items():
        (project / name).chmod(mode)
    (project / "moat.yaml").write_text(workspace("**/.env"))
    config = load(project, home=project.parent)
    found = resolve(config, home=project.parent, user=User(54321, 54321))
    assert [cover.target for cover in excluded(found)] == [
        *("/workspace/closed", "/workspace/listed", "/workspace/open/.env")
    ]
    assert found.notices[0] == (
        "excludes: /workspace/listed cannot be looked into, so **/.env covers all of it; exclude "
        "it by name, or make it readable"
    )


def test_paths_that_are_too_long_in_all_are_refused(project: Path) -> None:
    deep = "/".join(["d" * 200] * 4)
    make(project, *(f"{deep}/{i}.key" for i in range(1400)))
    assert (
        "globs match paths with more than 1 MiB in all; exclude a directory above them"
        in refused(project, workspace("**/*.key"))
    )


def test_the_walk_of_a_glob_is_bounded(project: Path) -> None:
    # One directory of a thousand files is seen a hundred times, through as many mounts of it.
    make(project, *(f"d/{i}" for i in range(1000)))
    many = "".join(f"- ./d:/workspace/m{i}\n" for i in range(99))
    message = "more than 100000 files to look at for this mount's globs; exclude large"
    assert message in refused(project, workspace("**/x") + many)
    assert excluded(look(project, workspace("**/x", "d") + many)) == (
        Tmpfs(target="/workspace/d", size=SIZE),
    )


@pytest.fixture
def unreadable() -> Iterator[Path]:
    """A project with a directory that this process cannot read, also when it is root."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        directory = Path(name) / "project"
        (directory / "closed" / "x").mkdir(parents=True)
        (directory / "moat.yaml").touch()
        Path(name).chmod(0o755)
        (directory / "closed").chmod(0)
        root = os.geteuid() == 0
        if root:
            codecs.lookup("utf-8-sig")  # others may be unable to read this Python's own files
            os.seteuid(65534)
        try:
            yield directory
        finally:
            if root:
                os.seteuid(0)
            (directory / "closed").chmod(0o700)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("closed/x", "cannot look at PROJECT/closed/x: Permission denied"),
        ("**/x", None),
        ("closed", None),
    ],
)
def test_what_cannot_be_looked_at_is_covered_by_a_glob_and_refused_below(
    unreadable: Path, pattern: str, message: str | None
) -> None:
    config = read_config(
        workspace(pattern).encode(), path=unreadable / "moat.yaml", home=Path("/home/ada")
    )
    if message is None:
        assert excluded(resolve(config, home=Path("/home/ada")))[0].target == "/workspace/closed"
    else:
        with pytest.raises(ConfigError) as caught:
            resolve(config, home=Path("/home/ada"))
        assert message in str(caught.value).replace(str(unreadable), "PROJECT")
