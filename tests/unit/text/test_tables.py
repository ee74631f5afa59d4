"""Amounts, durations and tables, as text."""

import pytest

from moat_nb.text.tables import amount, duration, table


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (59.9, "59 s"), (60, "1 min"), (3600, "1 h"), (86400 * 2.5, "2 d")],
)
def test_durations_are_in_their_largest_whole_unit(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (20480, "20 KiB"),
        (64 << 20, "64 MiB"),
        (3 << 29, "1.5 GiB"),
        (12052 << 20, "11.8 GiB"),
    ],
)
def test_amounts_are_in_binary_units(count, words):
    assert amount(count) == words


def test_a_table_without_rows_is_empty_and_its_lines_have_no_trailing_space():
    assert table([]) == ""
    assert table([("a", "b"), ("long", "")], indent=1) == " a     b\n long"
