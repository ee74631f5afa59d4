"""Which HTML takes a parser little time: such as is nested well, and not deeply.

A parser of HTML looks at each tag through all elements that are open, and opens again, in each
block, the letters' styles that were not closed in the one before: half a mebibyte takes minutes so,
or becomes gibibytes. What is looked at here is less than any parser accepts, and more than programs
write.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["is_nested_well"]

MAX_DEPTH = 100
MAX_TAGS = 40_000
"""A table of 10,000 cells has half as many."""

VOID = frozenset({"br", "col", "hr", "img", "wbr"})

STYLED = frozenset(
    {"a", "b", "code", "em", "font", "i", "s", "small", "strike", "strong", "tt", "u"}
)
"""Elements that a parser opens again where they were not closed."""

INLINE = STYLED | frozenset(
    {"abbr", "acronym", "bdi", "bdo", "br", "cite", "data", "del", "dfn", "img", "ins", "kbd"}
    | {"mark", "q", "rp", "rt", "rtc", "ruby", "samp", "span", "sub", "sup", "time", "var", "wbr"}
)

ROWS = frozenset({"table", "thead", "tbody", "tfoot", "tr"})
IN_ROWS = ROWS - {"table"} | {"caption", "col", "colgroup", "td", "th"}
"""What stands in these: a parser moves all else before the table."""

_CELLS = frozenset({"td", "th"})
_IN_CELLS = frozenset({"p", "li", "dd", "dt"})
_HEAD = frozenset({"colgroup", "caption"})
_GROUPS = frozenset({"thead", "tbody", "tfoot"})
_PARTS = _CELLS | _HEAD | _GROUPS | {"tr"}
ENDED_BY = {
    "li": frozenset({"li", "p"}),
    **{tag: frozenset({"dt", "dd", "p"}) for tag in ("dt", "dd")},
    **dict.fromkeys(_CELLS, _CELLS | _IN_CELLS | _HEAD),
    "tr": _CELLS | _IN_CELLS | _HEAD | {"tr"},
    **dict.fromkeys(_GROUPS, _PARTS | _IN_CELLS),
    **{tag: frozenset({"rt", "rp"}) for tag in ("rt", "rp")},
}
"""The elements that a tag ends by its beginning; a block, beside, ends a ``p``."""
ENDS_P, NOTHING = frozenset({"p"}), frozenset[str]()

MAY_STAY_OPEN = _IN_CELLS | _PARTS | {"rt", "rp"}
"""Which the end of what they stand in ends."""


def is_nested_well(tags: Iterable[tuple[bool, str]]) -> bool:
    """Whether each of these tags, which are closing or not, ends the element that it stands in. An
    end that HTML lets go without saying may be missing; the ends of all may at the end."""
    open_: list[str] = []
    styled = 0
    for count, (is_closing, tag) in enumerate(tags):
        if count >= MAX_TAGS:
            return False
        if is_closing:
            while open_ and open_[-1] != tag and open_[-1] in MAY_STAY_OPEN:
                open_.pop()
            if not open_ or open_.pop() != tag:
                return False
            styled -= tag in STYLED
            continue
        is_inline = tag in INLINE
        if not is_inline and styled:
            return False
        ended = ENDED_BY.get(tag, NOTHING if is_inline else ENDS_P)
        while open_ and open_[-1] in ended:
            open_.pop()
        if open_ and open_[-1] in ROWS and tag not in IN_ROWS:
            return False
        if tag == "a" and "a" in open_:
            return False
        if tag not in VOID:
            open_.append(tag)
            styled += tag in STYLED
            if len(open_) > MAX_DEPTH:
                return False
    return True
