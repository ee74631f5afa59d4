from __future__ import annotations

import pytest

from moat_nb.errors import EditError
from moat_nb.excludes.packages import packages, pinned, set_packages

NEW = ["numpy==2.1", "moat-five==1.0"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", 'kernel:\n  packages:\n    - "moat-five==1.0"\n    - "numpy==2.1"\n'),
        (
            "name: x  # mine\n",
            'name: x  # mine\nkernel:\n  packages:\n    - "moat-five==1.0"\n    - "numpy==2.1"\n',
        ),
        (
            "kernel:\n    spare: false  # no\n",
            "kernel:\n    spare: false  # no\n    packages:\n"
            '      - "moat-five==1.0"\n      - "numpy==2.1"\n',
        ),
        (
            "kernel:\n  packages:\n    - NumPy>=2  # old\n    - rich\nname: x\n",
            'kernel:\n  packages:\n    - "numpy==2.1"  # old\n    - rich\n'
            '    - "moat-five==1.0"\nname: x\n',
        ),
        ("kernel:\nname: x\n", 'kernel: {packages: ["moat-five==1.0", "numpy==2.1"]}\nname: x\n'),
        ("{name: x}\n", '{name: x, kernel: {packages: ["moat-five==1.0", "numpy==2.1"]}}\n'),
        (
            "kernel: {packages: [rich], pool: 1}\n",
            'kernel: {packages: [rich, "moat-five==1.0", "numpy==2.1"], pool: 1}\n',
        ),
    ],
)
def test_they_are_written_where_they_belong_and_all_else_stays(before: str, after: str) -> None:
    changed = set_packages(before, NEW)
    assert changed == after
    assert set_packages(changed, NEW) == changed


def test_a_package_that_is_there_keeps_its_extras_and_its_marker() -> None:
    now = ["Torch[cpu]>=2; python_version > '3.8'", "rich", "no requirement"]
    assert pinned(now, ["torch==2.5", "rich==13.0"]) == [
        'torch[cpu]==2.5; python_version > "3.8"',
        "rich==13.0",
        "no requirement",
    ]
    assert pinned(["rich==13.0"], ["rich==13.0"]) == ["rich==13.0"]


@pytest.mark.parametrize(
    "text",
    [
        "base: &b {pool: 1}\nkernel: *b\n",
        "base: &b {packages: [rich]}\nkernel:\n  <<: *b\n",
        "kernel: 5\n",
        "x: &p [rich]\nkernel:\n  packages: &q\n    - rich\ny: *q\n",
    ],
)
def test_a_layout_that_cannot_be_changed_says_what_to_write(text: str) -> None:
    with pytest.raises(EditError, match=r"write by hand:\nkernel:\n  packages:"):
        set_packages(text, NEW)


def test_what_the_file_has() -> None:
    assert packages("kernel: {packages: [rich, 'numpy>=2']}\n") == ("rich", "numpy>=2")
    assert packages("name: x\n") == ()
