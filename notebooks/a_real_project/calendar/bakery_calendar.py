"""The days on which the bakery sells another amount of bread."""

import datetime

FEASTS = {(1, 1), (5, 1), (10, 3), (12, 25), (12, 26)}
"""Month and day."""


def is_eve(day: datetime.date) -> bool:
    """Whether the shops are closed on the next day, so that people buy for two."""
    after = day + datetime.timedelta(days=1)
    return (after.month, after.day) in FEASTS
