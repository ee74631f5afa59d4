"""What the host's pip is asked for."""

from __future__ import annotations

import pytest

from moat_nb.config.requirement import requirement


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("numpy", "numpy"),
        ("scipy[test] >= 1, < 2", "scipy[test]<2,>=1"),
        ("tomli; python_version < '3.11'", 'tomli; python_version < "3.11"'),
        ("zope.interface", "zope.interface"),
        ("backports.zip2", "backports.zip2"),
    ],
)
def test_a_package_has_a_name(text: str, found: str) -> None:
    assert str(requirement(text)) == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x @ file:///tmp/evil", "it has an address"),
        ("x@https://example.org/x.whl", "it has an address"),
        ("evil.zip", "pip would take it for a file"),
        ("evil.tar.gz", "pip would take it for a file"),
        ("evil.WHL[extra]", "pip would take it for a file"),
        ("x===evil.zip", "pip would take it for a file"),
        ("evil.tgz; python_version > '3'", "pip would take it for a file"),
        ("./evil", "Expected package name"),
        ("-r x", "Expected package name"),
    ],
)
def test_what_pip_would_build_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        requirement(text)


def test_every_name_that_pip_takes_for_an_archive_is_refused() -> None:
    from pip._internal.utils.filetypes import ARCHIVE_EXTENSIONS

    for extension in ARCHIVE_EXTENSIONS:
        with pytest.raises(ValueError, match="pip would take it for a file"):
            requirement(f"evil{extension}")
