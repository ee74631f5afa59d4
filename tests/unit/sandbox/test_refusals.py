"""What a cell is told of a host that was refused."""

from __future__ import annotations

from moat_nb.sandbox.refusals import MOST, QUIET_SECONDS, RefusalNotices, refusal

REFUSED = {
    "outcome": "refused",
    "host": "a.org",
    "reason": "is not in network.rules (policy strict)",
    "hint": 'add "- a.org" to network.rules in moat.yaml',
}


def test_a_refusal_is_one_printable_line_that_says_how_to_allow_it():
    assert refusal(REFUSED) == (
        "refused: a.org is not in network.rules (policy strict); "
        'add "- a.org" to network.rules in moat.yaml, and start the sandbox anew'
    )
    words = refusal({**REFUSED, "reason": "\x1b[2J\n" + "x" * 9999, "hint": ""})
    assert words is not None
    assert words.isprintable()
    assert len(words) == 500
    assert refusal({**REFUSED, "outcome": "failed"}) is None
    assert refusal({**REFUSED, "outcome": "passed"}) is None


def test_a_text_is_news_once_until_it_was_quiet_or_another_cell_began():
    now = 0.0
    news = RefusalNotices(clock=lambda: now)
    assert news.is_new("a")
    for _ in range(5):  # a program that tries again and again
        now += QUIET_SECONDS * 0.9
        assert not news.is_new("a")
    assert news.is_new("b")
    now += QUIET_SECONDS
    assert news.is_new("a")
    news.forget()
    assert news.is_new("a")


def test_a_flood_of_different_texts_is_told_of_up_to_a_bound():
    news = RefusalNotices(clock=lambda: 0.0)
    assert sum(news.is_new(str(number)) for number in range(10 * MOST)) == MOST
