from __future__ import annotations

from moat_nb.jupyter.told import note_of

WORDS = "was made since the start"


def test_what_came_undone_comes_first_and_then_what_is_nearest_to_the_top() -> None:
    events = [
        ("protected_made", f"/p/a/b/.git/hooks/x {WORDS}"),
        ("protected_made", f"/p/.git/hooks/x {WORDS}"),
        ("protected_changed", "/p/.git/config changed"),
        ("mount_lost", "/workspace/.env"),
    ]
    notes = [note for event in events if (note := note_of(*event)) is not None]
    weights = [weight for _, weight in notes]
    assert weights == sorted(weights, reverse=True) and len(set(weights)) == len(events)
    assert notes[-1][0].startswith("/workspace/.env: ")


def test_other_events_are_no_notes() -> None:
    assert note_of("gone", "x") is None
    assert note_of("changes", "x") is None
