"""Which HTML and LaTeX is plain: nothing in it acts, loads from elsewhere or covers the page.

Plain HTML is shown in the sanitiser's own words, never in the sandbox's: how it was read here only
decides whether it would lose something.
"""

from __future__ import annotations

import html
import re

import nh3

from moat_nb.jupyter.output.effort import spend
from moat_nb.jupyter.output.nesting import is_nested_well
from moat_nb.jupyter.output.tex import is_plain_tex
from moat_nb.text.terminal import without_halves

__all__ = ["MATH", "is_plain_latex", "plain_html"]

TAGS = nh3.ALLOWED_TAGS - {"area", "map"} | {"tfoot", "font"}

_SIZES = {"width", "height", "align", "valign", "bgcolor", "title", "lang", "dir", "style", "class"}
ATTRIBUTES = {
    "*": _SIZES,
    "a": {"href", "name", "target"},
    "img": {"src", "alt"},
    "table": {"border", "cellpadding", "cellspacing", "summary"},
    "td": {"colspan", "rowspan", "headers", "scope", "nowrap"},
    "th": {"colspan", "rowspan", "headers", "scope", "nowrap"},
    "col": {"span"},
    "colgroup": {"span"},
    "ol": {"start", "type", "reversed"},
    "li": {"value"},
    "font": {"color", "face", "size"},
    "details": {"open"},
    "time": {"datetime"},
    "data": {"value"},
}

STYLES = frozenset(
    {"color", "background-color", "text-align", "line-height", "overflow-x"}
    | {"text-decoration", "text-decoration-color"}
    | {"font", "font-family", "font-size", "font-style", "font-variant", "font-weight"}
    | {"vertical-align", "white-space", "word-break", "word-wrap", "overflow-wrap"}
    | {"width", "min-width", "max-width", "height", "max-height"}
    | {"caption-side", "border-collapse", "border-spacing", "border-radius"}
    | {f"padding{side}" for side in ("", "-top", "-right", "-bottom", "-left")}
    | {
        f"border{side}{what}"
        for side in ("", "-top", "-right", "-bottom", "-left")
        for what in ("", "-color", "-style", "-width")
    }
)
"""None of these takes an element out of its place, over others' or out of sight."""

CLASSES = frozenset({"dataframe", "mathjax_ignore", "tex2jax_ignore"})
"""Those that front ends know for tables and text; the page's own classes are not for its output."""

LONGEST = 1 << 19
"""Characters; a table as pandas shortens it has a fifth. What is longer is not looked into."""

SHORT = 1 << 12
"""Characters of what may be nested badly: a parser needs little time for so few."""

MAX_ATTRIBUTES = 50
"""Of one tag; a parser compares each with all others."""

MAX_MARKS = 100_000
"""Characters that mean something to a parser; each takes it a time."""

SILENT = frozenset({"class", "id", "role", "scoped", "data", "aria", "rel"})
"""Attributes (or what stands before their first hyphen) whose loss nobody sees. A link's ``rel``
is one of them, for the sanitiser puts its own in the place."""

IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp|bmp|svg\+xml)[;,]", re.IGNORECASE)
LINK = re.compile(r"https?:|mailto:|[^:/?#]*(?:[/?#]|$)", re.IGNORECASE)
IGNORED_IN_LINKS = re.compile(r"[\x00-\x20\x7f-\xa0\\\u200b-\u200f\u2028-\u202f\ufeff]")

# What MathJax, which front ends run over text, takes for the beginning of a formula.
MATH = re.compile(r"\$|\\[(\[]|\\begin|\\(?:eq)?ref")
NO_MATH = '<div class="mathjax_ignore tex2jax_ignore">{}</div>'
"""MathJax looks at nothing in it; 3 and 4 heed the one class, 2 the other."""
# As the sanitiser writes one; a `>` may stand in a value, and MathJax joins the text around some.
CLEAN_TAG = re.compile(r"<[^\">]*(?:\"[^\"]*\"[^\">]*)*>")

# What pandas puts in front of a table, for front ends that have no style for one.
# As polars does, with `>` and `,`.
_SELECTOR = r"\.dataframe(?: (?:> )?[a-z:-]+)+"
TABLE_STYLE = re.compile(
    rf"(?:\s*{_SELECTOR}(?:,\s*{_SELECTOR})* \{{(?:\s*[a-z-]+: [a-z-]+;)*\s*\}})*\s*"
)

BEGINS_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_VALUE = r"\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s\"'=<>`]+)"
_ATTRIBUTE = re.compile(rf"\s+([^\s\"'<>/=]+)(?:{_VALUE})?")
_TAG = re.compile(rf"<(/?)([A-Za-z][A-Za-z0-9]*)((?:\s+[^\s\"'<>/=]+(?:{_VALUE})?)*)\s*/?>")


def plain_html(text: str) -> str | None:
    """``text`` as HTML that does nothing but show; None when it would show less then.

    Formulas of which front ends might make more than that are shown as their text. None, too, for
    what would take a parser long.
    """
    text = without_halves(text)  # which no encoder takes
    if len(text) > LONGEST or sum(map(text.count, '<>&"\0')) > MAX_MARKS:
        return None
    tags = _tags(text) if spend(len(text)) else None
    if tags is None or (len(text) > SHORT and not is_nested_well(tags)):
        return None
    cleaned = nh3.clean(
        text,
        tags=TAGS,
        attributes=ATTRIBUTES,
        attribute_filter=_attribute,
        url_schemes={"http", "https", "mailto", "data"},
        filter_style_properties=STYLES,
    )
    return cleaned if _has_plain_tex(cleaned) else NO_MATH.format(cleaned)


def _has_plain_tex(cleaned: str) -> bool:
    """MathJax joins the text around some tags, and ends it at others."""
    joined, parted = (html.unescape(CLEAN_TAG.sub(between, cleaned)) for between in ("", "\n"))
    has_math = MATH.search(joined) or MATH.search(parted)
    return not has_math or (is_plain_tex(joined) and is_plain_tex(parted))


def _attribute(tag: str, name: str, value: str) -> str | None:
    if name == "class":
        return " ".join(word for word in value.split() if word in CLASSES) or None
    if name == "src":
        return value if IMAGE.match(value) else None
    if name == "href":
        return value if _is_link(value) else None
    return "_blank" if name == "target" else value


def _is_link(value: str) -> bool:
    return LINK.match(IGNORED_IN_LINKS.sub("", value)) is not None


def _tags(text: str) -> list[tuple[bool, str]] | None:
    """The tags of ``text``, and which are closing; None when one of them, or of their attributes,
    is none that the sanitiser keeps. Takes a time in proportion to the length, whatever it is."""
    at = 0
    tags: list[tuple[bool, str]] = []
    while found := BEGINS_TAG.search(text, at):
        at = found.start()
        if text.startswith("<!--", at):
            begin, at = at + 4, text.find("-->", at + 4) + 3
            if text.startswith((">", "->"), begin) or text.find("--!>", begin, at) >= 0:
                return None  # a browser sees it end before
        elif tag := _TAG.match(text, at):
            at = tag.end()
            name = tag[2].lower()
            if name == "style" and not tag[1]:
                at = _end_of_table_style(text, at)
            elif not _is_kept(tag[1], name, tag[3]):
                return None
            else:
                tags.append((bool(tag[1]), name))
        else:
            return None
        if at < found.end():
            return None
    return tags


def _end_of_table_style(text: str, at: int) -> int:
    """Behind the closing tag; 0 when it is another style."""
    end = text.find("</style>", at)
    plain = end >= 0 and TABLE_STYLE.fullmatch(text, at, end)
    return end + len("</style>") if plain else 0


def _is_kept(closing: str, tag: str, attributes: str) -> bool:
    if closing:
        return tag in TAGS
    allowed = ATTRIBUTES["*"] | ATTRIBUTES.get(tag, set())
    found = _ATTRIBUTE.findall(attributes)
    if len(found) > MAX_ATTRIBUTES:
        return False
    for written, quoted in found:
        name = written.lower()
        value = html.unescape(quoted.strip("\"'"))
        if name.split("-")[0] in SILENT:
            continue
        if name not in allowed or _attribute(tag, name, value) is None:
            return False
        if name == "style" and not _properties(value) <= STYLES:
            return False
    return tag in TAGS


def _properties(style: str) -> set[str]:
    declarations = (part.partition(":")[0].strip().lower() for part in style.split(";"))
    return {name for name in declarations if name}


def is_plain_latex(text: str) -> bool:
    """Whether LaTeX may be shown in the user's page as it stands."""
    return len(text) <= LONGEST and is_plain_tex(text)
