"""The behaviours of sandboxes on every engine; ``make test-engines`` runs them.

They are tests of tests/integration/ with the launchers of tests/engines/conftest.py, and some of
what only engines differ in. This file's name keeps it out of `make test`.
"""

from dataclasses import dataclass

import pytest

from moat_nb import Sandbox
from moat_nb.errors import ConfigError, NotSupportedYet, ProofError, RuntimeUnavailable
from tests.integration import test_excludes as excludes
from tests.integration import test_killed_launcher as killed
from tests.integration import test_sandbox as sandbox
from tests.integration import test_sidecars as sidecars

# Not counting the start of an engine, which may have to be made first.
pytestmark = pytest.mark.timeout(900, func_only=True)
wheel = excludes.wheel


@dataclass(frozen=True, kw_only=True)
class Cannot:
    """What an engine cannot do: a test that must fail there, in this way and in no other."""

    cell: str
    """What the table says; docs/engines.md says why."""
    raises: type[Exception]
    says: str
    """A regular expression that is found in the exception's text."""


CREATE = """
import errno, sys
try:
    for number in range(int(sys.argv[1])):
        open(f"lib/{number}", "w").close()
except OSError as error:
    sys.exit(errno.errorcode[error.errno])
"""


def test_an_exclude_is_full_at_its_number_of_files_and_not_before(launcher):
    """16 MiB give 4096 inodes, of which the exclude itself is one."""
    box = launcher.launch(launcher.project("lib", kernel={"tmpfs_size": 16}))
    box.run(["python3", "-c", CREATE, "4000"], check=True)
    assert box.run(["python3", "-c", CREATE, "5000"]).stderr == b"ENOSPC\n"


def test_a_service_is_reached_by_name_sees_no_exclude_and_ends_with_the_sandbox(launcher):
    sidecars.serve_beside(launcher)


def test_a_wish_for_podman_is_met_by_podman_and_by_nothing_else(launcher):
    project = launcher.project(kernel={"runtime": "podman"})
    if launcher.runtime == "podman":
        with Sandbox.launch(project) as box:
            assert box.run(["true"]).returncode == 0
    else:
        with pytest.raises(RuntimeUnavailable, match=r"podman: .*(it is Docker Engine|nothing)"):
            Sandbox.launch(project)
    assert launcher.left(project) == []


BEHAVIOURS = {
    "native programs installed over directories of root's, host unchanged": (
        excludes.test_native_programs_are_installed_and_run_over_directories_of_roots,
    ),
    "excludes missing and existing, below writable and read-only mounts": (
        excludes.test_an_exclude_holds_in_any_mount,
        excludes.test_a_mount_point_of_ours_that_the_host_filled_meanwhile_is_kept,
    ),
    "nested mounts": (
        excludes.test_a_mount_inside_an_exclude_shows_its_source_there,
        excludes.test_an_exclude_inside_a_mount_below_another_covers_that_mounts_directory,
    ),
    "globs": (excludes.test_globs_cover_what_they_match_and_nothing_else,),
    "excluded files": (excludes.test_an_excluded_file_is_neither_read_nor_written,),
    "tmpfs 1777, exec, nosuid, nodev": (
        excludes.test_each_exclude_is_a_tmpfs_of_its_own_with_mode_size_and_exec_as_proved,
    ),
    "size limit": (excludes.test_an_exclude_is_full_at_its_size_and_not_before,),
    "limit of inodes": (test_an_exclude_is_full_at_its_number_of_files_and_not_before,),
    "an exclude that the host undid is reported": (
        excludes.test_an_exclude_that_the_host_undid_is_reported_and_the_others_hold,
    ),
    "runs as the workspace's owner": (
        excludes.test_the_owner_of_what_the_kernel_writes_is_the_workspaces,
    ),
    "memory limit": (
        sandbox.test_a_command_out_of_memory_is_reported_as_that_and_the_sandbox_lives,
    ),
    "kernel restart keeps the excludes": (
        excludes.test_a_kernels_restart_keeps_what_was_installed,
    ),
    "reset empties them": (excludes.test_reset_empties_the_excludes_and_leaves_the_workspace,),
    "attach stream: a killed launcher leaves nothing": (
        killed.test_a_launcher_killed_with_its_reaper_leaves_what_the_next_start_sweeps,
    ),
    "services": (test_a_service_is_reached_by_name_sees_no_exclude_and_ends_with_the_sandbox,),
    "kernel.runtime: podman, or an error": (
        test_a_wish_for_podman_is_met_by_podman_and_by_nothing_else,
    ),
}
"""A row of the table each."""

NO_INODES = {
    test_an_exclude_is_full_at_its_number_of_files_and_not_before: Cannot(
        cell="no limit", raises=AssertionError, says=r"b'' == b'ENOSPC"
    )
}
REFUSED = Cannot(
    cell="refused",
    raises=ProofError,
    says=r"^/workspace/.*: the exclude does not hold: its mode is \d+, not 1777; ",
)

CANNOT = {
    "podman-bookworm": NO_INODES,
    "podman-trixie": NO_INODES,
    "podman-testing": NO_INODES,
    "bubblewrap": {
        **NO_INODES,
        test_a_service_is_reached_by_name_sees_no_exclude_and_ends_with_the_sandbox: Cannot(
            cell="refused", raises=NotSupportedYet, says="cannot run any service beside"
        ),
    },
    "podman-bookworm-runc": {
        test: REFUSED
        for tests in BEHAVIOURS.values()
        for test in tests
        if test
        not in {
            excludes.test_an_excluded_file_is_neither_read_nor_written,
            sandbox.test_a_command_out_of_memory_is_reported_as_that_and_the_sandbox_lives,
            test_a_wish_for_podman_is_met_by_podman_and_by_nothing_else,
        }
    },
    "docker-gvisor": {
        **NO_INODES,
        test_a_service_is_reached_by_name_sees_no_exclude_and_ends_with_the_sandbox: Cannot(
            cell="refused", raises=ConfigError, says="each container has its own"
        ),
        excludes.test_a_mount_inside_an_exclude_shows_its_source_there: Cannot(
            cell="a directory stays",
            raises=AssertionError,
            says=r"one more item: PosixPath\('\S+/node_modules/mine'\)",
        ),
        excludes.test_each_exclude_is_a_tmpfs_of_its_own_with_mode_size_and_exec_as_proved: Cannot(
            cell="nosuid, nodev not shown", raises=AssertionError, says=r"'nosuid'.* <= \{"
        ),
        sandbox.test_a_command_out_of_memory_is_reported_as_that_and_the_sandbox_lives: Cannot(
            cell="killed, no reason", raises=AssertionError, says=r"\(-9, False\) == \(-9, True\)"
        ),
    },
}
"""``{engine: {test: ...}}``; everything else must pass."""

# Here is where pytest looks for them.
globals().update({test.__name__: test for tests in BEHAVIOURS.values() for test in tests})


def row(test):
    """The behaviour that a test belongs to."""
    return next(title for title, tests in BEHAVIOURS.items() if test in tests)
