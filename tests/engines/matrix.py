"""The behaviours of sandboxes on every engine; ``make test-engines`` runs them.

They are tests of tests/integration/ with the launchers of tests/engines/conftest.py, and some of
what only engines differ in. This file's name keeps it out of `make test`.
"""

from tests.integration import test_excludes as excludes
from tests.integration import test_killed_launcher as killed
from tests.integration import test_sandbox as sandbox

wheel = excludes.wheel

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
    "globs and files": (
        excludes.test_globs_cover_what_they_match_and_nothing_else,
        excludes.test_an_excluded_file_is_neither_read_nor_written,
    ),
    "tmpfs 1777, exec, nosuid, nodev": (
        excludes.test_each_exclude_is_a_tmpfs_of_its_own_with_mode_size_and_exec_as_proved,
    ),
    "size limit": (excludes.test_an_exclude_is_full_at_its_size_and_not_before,),
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
    "leash: a killed launcher leaves nothing": (
        killed.test_a_launcher_killed_with_its_janitor_leaves_what_the_next_start_sweeps,
    ),
}
"""A row of the table each."""

globals().update({test.__name__: test for tests in BEHAVIOURS.values() for test in tests})


def row(test):
    """The behaviour that a test belongs to."""
    return next(title for title, tests in BEHAVIOURS.items() if test in tests)
