"""What an attribute of a widget's model may hold, by its form.

The front end checks none of them. It puts some into the page as HTML, as TeX, as style or as an
address, and the words of the errors that others make into the page as HTML too.
"""

from __future__ import annotations

import html
import math
import re
import string
from collections.abc import Callable
from typing import Any

from moat_nb.jupyter.output.iframe import iframe
from moat_nb.jupyter.output.sanitise import MATH, is_plain_latex, plain_html

__all__ = ["DROP", "MODEL", "as_attribute", "as_description", "is_number", "matching", "plain_tex"]

DROP = object()
"""What stands for a value that does not pass."""

LONGEST_TEXT = 1 << 24
LONGEST_CSS = 1000
MAX_ITEMS = 100_000
HTML_HEIGHT = 150
"""Pixels of a frame that stands for an HTML widget: no script of ours runs there to fit it."""

MODEL = re.compile(r"IPY_MODEL_([A-Za-z0-9][A-Za-z0-9_-]{0,99})")
ICON = re.compile(r"[\w -]{0,100}", re.ASCII)
WORD = re.compile(r"[a-z-]{0,20}")
# Front ends' own style covers the page with some of their classes; these stay in their place.
CLASS = re.compile(r"(?:jupyter-(?:widget|button)|widget|mod|alert)s?(?:-[\w-]{1,50})?", re.ASCII)
# As d3-format reads it; of what it cannot read it makes an error with the text in it.
DIGITS = re.compile(r"(?:.?[<>=^])?[+\-( ]?[$#]?0?\d{0,3},?(?:\.\d{1,3})?~?[a-z%]?", re.IGNORECASE)
MEDIA = re.compile(r"[a-z0-9][a-z0-9.-]{0,30}", re.IGNORECASE)
SIZE = re.compile(r"\d{0,6}(?:\.\d{1,6})?(?:px|%|em|rem|vw|vh)?")
CSS = re.compile(r"[-\w\s#%.,()'\"/+*]*", re.ASCII)
NAME_LETTERS = string.ascii_letters + string.digits + "_-"
FUNCTIONS = frozenset(
    {"", "rgb", "rgba", "hsl", "hsla", "calc", "min", "max", "minmax", "clamp", "repeat"}
    | {"fit-content", "var", "linear-gradient", "radial-gradient", "span"}
)
TAKES_OUT_OF_PLACE = re.compile(r"-\s*[\d.]|[a-z]\(|--", re.IGNORECASE)
DATE = frozenset({"year", "month", "date", "hours", "minutes", "seconds", "milliseconds"})
FILE = frozenset({"name", "type", "size", "last_modified", "lastModified"})


def as_attribute(form: str, value: Any) -> Any:
    """``value`` as it may stand in an attribute of ``form``; ``DROP`` when it may not.

    Forms that need more than the value (``outputs``, ``end``, ``description``, ``flag``) are not
    for this function, and are dropped.
    """
    if value is None:
        return None
    check = _CHECKS.get(form)
    return DROP if check is None else check(value)


def is_number(value: Any) -> bool:
    """Whether it is one that JSON can say, and not one so long that Python refuses to."""
    return type(value) in (int, float) and -1e300 < value < 1e300 and math.isfinite(value)


def plain_tex(text: str) -> str:
    """A text that the front end looks for formulas in; what acts in one is made words."""
    if MATH.search(text) is None or is_plain_latex(text):
        return text
    return text.replace("\\", "\N{FULLWIDTH REVERSE SOLIDUS}")


def as_description(text: Any, is_html: bool) -> Any:
    if not _is_text(text):
        return DROP
    if not is_html:
        return plain_tex(text)
    plain = plain_html(text)
    return plain_tex(html.escape(text)) if plain is None else plain


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


def matching(pattern: re.Pattern[str]) -> Callable[[Any], Any]:
    """A check that passes texts of a form and drops all else."""
    return lambda value: value if isinstance(value, str) and pattern.fullmatch(value) else DROP


def _when(fits: Callable[[Any], bool]) -> Callable[[Any], Any]:
    return lambda value: value if fits(value) else DROP


def _each(item: Callable[[Any], Any], *, keep_places: bool = True) -> Callable[[Any], Any]:
    """A list; one item that does not pass drops it, or only itself."""

    def check(value: Any) -> Any:
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            return DROP
        items = [item(one) for one in value]
        if keep_places and DROP in items:
            return DROP
        return [one for one in items if one is not DROP]

    return check


def _record(names: frozenset[str], value: Any) -> Any:
    if not isinstance(value, dict):
        return DROP
    return {k: v for k, v in value.items() if k in names and (_is_text(v) or is_number(v))}


def _css(value: Any) -> Any:
    if is_number(value):
        return value
    if not isinstance(value, str) or len(value) > LONGEST_CSS or not CSS.fullmatch(value):
        return DROP
    before = [text.rstrip() for text in value.split("(")[:-1]]
    called = {text[len(text.rstrip(NAME_LETTERS)) :].lower() for text in before}
    return value if called <= FUNCTIONS else DROP


def _place(value: Any) -> Any:
    """Where an element stands: not over others that are not its own."""
    if isinstance(value, str) and TAKES_OUT_OF_PLACE.search(value):
        return DROP
    return DROP if is_number(value) and value < 0 else _css(value)


def _html(value: Any) -> Any:
    if not _is_text(value):
        return DROP
    plain = plain_html(value)
    return iframe(value, height=HTML_HEIGHT, resizable=True) if plain is None else plain


def _media(value: Any) -> Any:
    """A format; a ``url`` would be loaded, and an image as SVG runs when it is opened alone."""
    named = matching(MEDIA)(value)
    is_refused = named is not DROP and (named.lower() == "url" or named.lower().startswith("svg"))
    return DROP if is_refused else named


def _numbered(value: Any) -> Any:
    if not isinstance(value, dict) or len(value) > MAX_ITEMS:
        return DROP
    return {k: v for k, v in value.items() if k.isdecimal() and _is_text(v)}


_TEXT = _when(_is_text)
_NUMBER = _when(is_number)
_MODEL = matching(MODEL)
_ICON = matching(ICON)

_CHECKS: dict[str, Callable[[Any], Any]] = {
    "bool": _when(lambda value: isinstance(value, bool)),
    "number": _NUMBER,
    "numbers": _each(_NUMBER),
    "step": _when(lambda value: is_number(value) or value == "any"),
    "text": _TEXT,
    "texts": _each(_TEXT),
    "tags": _each(_when(lambda value: _is_text(value) or is_number(value))),
    "numbered": _numbered,
    "word": matching(WORD),
    "icon": _ICON,
    "icons": _each(_ICON),
    "classes": _each(matching(CLASS), keep_places=False),
    "css": _css,
    "colors": _each(_css),
    "place": _place,
    "size": lambda value: value if is_number(value) else matching(SIZE)(value),
    "model": _MODEL,
    "models": _each(_MODEL),
    "digits": matching(DIGITS),
    "media": _media,
    "date": lambda value: _record(DATE, value),
    "files": _each(lambda value: _record(FILE, value)),
    "buffers": _each(_when(lambda value: value is None)),
    "tex": lambda value: plain_tex(value) if _is_text(value) else DROP,
    "html": _html,
}
