"""Three students at a hub: each has the course's kernel, and nothing else."""

from __future__ import annotations

from tests.hub.hub import Student


def test_each_has_a_kernel(students: dict[str, Student]) -> None:
    for student in students.values():
        kernel = student.kernel()
        assert student.run(kernel, "import os; print(os.getcwd(), 6 * 7)") == "/workspace 42\n"
