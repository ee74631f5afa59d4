"""Which versions are open to which advisory."""

import pytest

from moat_nb.cli.advisories import affecting, version_of


@pytest.mark.parametrize(
    ("component", "version", "affected"),
    [
        ("runc", "1.1.15", True),
        ("runc", "1.2.7", True),
        ("runc", "1.2.8", False),
        ("runc", "1.3.2", True),
        ("runc", "1.3.3", False),
        ("runc", "1.4.0", False),
        ("runc", "2.0", False),
        ("docker", "20.10.24+dfsg1", True),
        ("docker", "23.0.10", True),
        ("docker", "23.0.11", False),
        ("docker", "24.0.9", True),
        ("docker", "25.0.4", True),
        ("docker", "25.0.5", False),
        ("docker", "26.1.5+dfsg1", False),
        ("docker", "dev", False),
        ("crun", "1.1.5", False),
    ],
)
def test_a_version_is_open_to_what_its_own_release_branch_never_got_the_mend_of(
    component, version, affected
):
    assert bool(list(affecting(component, version))) is affected


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.1.5+ds1", (1, 1, 5)),
        ("crun version 1.21\ncommit: 1.2", (1, 21, 0)),
        ("runc version 1.4.0-rc.2", (1, 4, 0)),
        ("unknown", ()),
    ],
)
def test_a_version_is_read_out_of_what_engines_write_around_it(text, version):
    assert version_of(text) == version
