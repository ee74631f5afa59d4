"""What is shown of the launcher's Python, on the layouts that exist: and nothing beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from moat_nb.errors import ConfigError
from moat_nb.host.machine import Host
from moat_nb.planning.interpreter import PARTS, with_interpreter
from moat_nb.planning.limits import MIB
from moat_nb.planning.mounts import Bind, EmptyFile, Mount, MountPlan, Tmpfs, build

SECRETS = ("pip.conf", ".condarc", ".netrc", ".env", ".ssh/id_rsa", "conda-meta/history")

WHERE = "moat.yaml:1:1"


def installed(prefix: Path, *, venv: str | None = None, more: Iterable[str] = ()) -> Path:
    """A prefix with each part, secrets beside them, and its program, a link in a venv."""
    for name in ("bin/x", "include/x", "lib/python3/x", "share/x", *SECRETS, *more):
        path = prefix / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (prefix / "lib64").symlink_to("lib")
    program = prefix / "bin" / "python"
    if venv is None:
        program.write_text("x")
    else:
        program.symlink_to(venv)
        (prefix / "pyvenv.cfg").write_text("x")
    return program


def on(host: Host, program: Path, *prefixes: Path) -> Host:
    return replace(host, executable=str(program), prefixes=tuple(map(str, prefixes)))


def plan_of(*mounts: Mount) -> MountPlan:
    return MountPlan(mounts=build(mounts))


def shown(plan: MountPlan) -> dict[str, str]:
    """Of the interpreter: the host's path by the place inside. Each must be read-only."""
    binds = [m for m in plan if isinstance(m, Bind) and m.role == "interpreter"]
    assert all(bind.read_only for bind in binds)
    return {bind.target: bind.source for bind in binds}


def parts(prefix: Path, names: Iterable[str] = PARTS, real: Path | None = None) -> dict[str, str]:
    found = {f"{prefix}/{name}": f"{real or prefix}/{name}" for name in names}
    return {target: source.replace("/lib64", "/lib") for target, source in found.items()}


UNMANAGED = [name for name in PARTS if name != "pyvenv.cfg"]


def test_of_a_venv_and_its_installation_only_the_parts_are_seen(host, tmp_path):
    base, venv = tmp_path / "opt/python", tmp_path / "venv"
    installed(base)
    program = installed(venv, venv=str(base / "bin/python"))
    plan = with_interpreter(plan_of(), WHERE, on(host, program, venv, base))
    assert shown(plan) == {**parts(venv), **parts(base, UNMANAGED)}


def test_an_installation_is_found_by_each_name_on_the_way_to_it(host, tmp_path):
    """As uv and Homebrew have it: the venv's link leads by a name that no prefix is."""
    real, name, venv = tmp_path / "cpython-3.12.3", tmp_path / "cpython-3.12", tmp_path / "venv"
    installed(real)
    name.symlink_to(real)
    program = installed(venv, venv=str(name / "bin/python"))
    plan = with_interpreter(plan_of(), WHERE, on(host, program, venv, real))
    expected = {**parts(venv), **parts(real, UNMANAGED), **parts(name, UNMANAGED, real)}
    assert shown(plan) == expected


def test_condas_prefix_has_more_parts_and_its_tokens_are_not_among_them(host, tmp_path):
    prefix = tmp_path / "conda"
    more = ("etc/fonts/fonts.conf", "etc/secret", "ssl/cacert.pem", "ssl/private/key", "libexec/x")
    program = installed(prefix, more=more)
    plan = with_interpreter(plan_of(), WHERE, on(host, program, prefix))
    conda = ("etc/fonts", "ssl/cacert.pem", "libexec")
    assert shown(plan) == parts(prefix, [*UNMANAGED, *conda])


def test_a_home_directory_that_is_a_prefix_shows_its_parts_alone(host, home):
    program = installed(home)
    plan = with_interpreter(plan_of(), WHERE, on(host, program, home))
    assert shown(plan) == parts(home, UNMANAGED)


def test_a_users_data_are_no_part(host, home):
    prefix = home / ".local"
    program = installed(prefix)
    plan = with_interpreter(plan_of(), WHERE, on(host, program, prefix))
    assert shown(plan) == parts(prefix, [name for name in UNMANAGED if name != "share"])


def test_debians_python_lies_among_the_hosts_programs(host):
    at = replace(host, executable="/usr/bin/python3", prefixes=("/usr", "/usr/local"))
    plan = plan_of(Tmpfs(target="/tmp", size=MIB, role="tmp"))
    assert with_interpreter(plan, WHERE, at) == plan


def test_what_is_excluded_is_covered_in_every_part_that_holds_it(host, home):
    project = home / "p"
    program = installed(project / ".venv")
    plan = plan_of(
        Bind(source=str(project), target="/workspace"),
        Tmpfs(target="/workspace/.venv/lib/python3", size=MIB),
        EmptyFile(target="/workspace/.venv/share/x"),
        EmptyFile(target="/workspace/.env"),
    )
    at = on(host, program, project / ".venv")
    more = set(with_interpreter(plan, WHERE, at)) - set(plan)
    venv = project / ".venv"
    assert {mount for mount in more if not isinstance(mount, Bind)} == {
        Tmpfs(target=f"{venv}/lib/python3", size=MIB),
        Tmpfs(target=f"{venv}/lib64/python3", size=MIB),
        EmptyFile(target=f"{venv}/share/x"),
    }


def test_an_exclude_of_the_whole_prefix_leaves_the_parts_that_kernels_run_on(host, home):
    program = installed(home / "p/.venv")
    plan = plan_of(
        Bind(source=str(home / "p"), target="/workspace"), Tmpfs(target="/workspace/.venv", size=1)
    )
    at = on(host, program, home / "p/.venv")
    assert shown(with_interpreter(plan, WHERE, at)) == parts(home / "p/.venv", UNMANAGED)


def test_an_excluded_part_is_left_out_and_one_that_is_needed_is_refused(host, home):
    program = installed(home / "p/.venv")
    at = on(host, program, home / "p/.venv")
    workspace = Bind(source=str(home / "p"), target="/workspace")
    share = plan_of(workspace, Tmpfs(target="/workspace/.venv/share", size=1))
    assert f"{home}/p/.venv/share" not in shown(with_interpreter(share, WHERE, at))
    lib = plan_of(workspace, Tmpfs(target="/workspace/.venv/lib", size=1))
    with pytest.raises(ConfigError, match=r"\.venv/lib, .* is refused: moat.yaml excludes it"):
        with_interpreter(lib, WHERE, at)


@pytest.mark.parametrize("name", ["lib", "bin"])
def test_a_part_that_is_a_link_out_of_the_prefix_is_refused(host, tmp_path, name):
    """A sandbox that can write to the prefix could make it one."""
    prefix, keys = tmp_path / "venv", tmp_path / "keys"
    program = installed(prefix)
    keys.mkdir()
    (prefix / name).rename(prefix / "moved")
    (prefix / name).symlink_to(keys)
    with pytest.raises(ConfigError, match=rf"{name}, .*: it is a link out of the prefix"):
        with_interpreter(plan_of(), WHERE, on(host, program, prefix))


def test_a_part_that_nothing_needs_is_left_out_where_it_is_a_link(host, tmp_path):
    prefix = tmp_path / "venv"
    program = installed(prefix)
    (prefix / "share/x").unlink()
    (prefix / "share").rmdir()
    (prefix / "share").symlink_to("/etc")
    plan = with_interpreter(plan_of(), WHERE, on(host, program, prefix))
    assert shown(plan) == parts(prefix, [name for name in UNMANAGED if name != "share"])


def test_a_part_that_holds_the_home_directory_is_refused(host, tmp_path):
    program = installed(tmp_path / "root")
    home = tmp_path / "root/lib/home"
    home.mkdir()
    at = replace(on(host, program, tmp_path / "root"), home=home)
    with pytest.raises(ConfigError, match="it holds the home directory"):
        with_interpreter(plan_of(), WHERE, at)


def test_a_mount_of_the_users_at_the_interpreters_place_wins(host, tmp_path):
    prefix = tmp_path / "python"
    program = installed(prefix)
    plan = plan_of(Bind(source="/mine", target=str(prefix)))
    assert with_interpreter(plan, WHERE, on(host, program, prefix)) == plan


def test_a_mount_above_the_interpreter_that_hides_it_is_refused(host, tmp_path):
    program = installed(tmp_path / "opt/python")
    plan = plan_of(Bind(source="/mine", target=str(tmp_path / "opt")))
    with pytest.raises(ConfigError, match=r"opt of moat.yaml hides it"):
        with_interpreter(plan, WHERE, on(host, program, tmp_path / "opt/python"))


def test_a_project_that_is_mounted_at_its_own_path_shows_its_venv_read_only(host, home):
    program = installed(home / "p/.venv")
    plan = plan_of(Bind(source=str(home / "p"), target=str(home / "p")))
    at = on(host, program, home / "p/.venv")
    # lib64 is the project's own link there, on which nothing can be mounted.
    expected = parts(home / "p/.venv", [name for name in UNMANAGED if name != "lib64"])
    assert shown(with_interpreter(plan, WHERE, at)) == expected


def test_an_interpreter_below_the_sandboxs_own_tmpfs_stands_in_it(host, tmp_path):
    program = installed(tmp_path / "venv")
    plan = plan_of(Tmpfs(target=str(tmp_path), size=MIB, role="tmp"))
    at = on(host, program, tmp_path / "venv")
    assert shown(with_interpreter(plan, WHERE, at)) == parts(tmp_path / "venv", UNMANAGED)


def test_an_exclude_of_a_project_below_usr_is_covered_there_too(host):
    at = replace(host, executable="/usr/bin/python3", prefixes=("/usr",))
    plan = plan_of(
        Bind(source="/usr/local/src/p", target="/workspace"), EmptyFile(target="/workspace/.env")
    )
    more = set(with_interpreter(plan, WHERE, at)) - set(plan)
    assert more == {EmptyFile(target="/usr/local/src/p/.env")}
