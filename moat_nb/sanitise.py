"""Which HTML and Markdown is plain: nothing in it acts, loads from elsewhere or covers the page.

Plain HTML is shown in the sanitiser's own words, never in the sandbox's, so two programs that
read the same text differently cannot make a difference here. Markdown is read by the front end
itself, so whatever could begin a tag in it, in whichever context, must be a harmless one.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from html.parser import HTMLParser

import nh3

__all__ = ["is_plain", "sanitised"]

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
    {"color", "background-color", "text-align", "text-decoration", "line-height"}
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

CLASSES = frozenset({"dataframe", "tex2jax_ignore"})
"""Those that front ends know for tables and text; the page's own classes are not for its output."""

LONGEST = 1 << 19
"""Characters; a table as pandas shortens it has a fifth. What is longer is not looked into."""

SILENT = frozenset({"class", "id", "role", "scoped", "data", "aria"})
"""Attributes (or what stands before their first hyphen) whose loss nobody sees."""

IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp|bmp|svg\+xml)[;,]", re.IGNORECASE)
# What MathJax, which front ends run over text, makes links, attributes and styles of, wherever
# the name stands (a macro's definition has it too), and what puts such a name together.
TEX = re.compile(r"\\(?:href|style|class|cssId|data|bbox|mmlToken|require|csname)(?![A-Za-z])")
MATH = re.compile(r"\$|\\[(\[]|\\begin")
# What pandas puts in front of a table, for front ends that have no style for one.
TABLE_STYLE = re.compile(r"(?:\s*\.dataframe(?: [a-z:-]+)+ \{(?:\s*[a-z-]+: [a-z]+;)*\s*\})*\s*")


def sanitised(text: str) -> str | None:
    """``text`` as HTML that does nothing but show; None when it would show less then."""
    if len(text) > LONGEST:
        return None
    cleaned = nh3.clean(
        text,
        tags=TAGS,
        attributes=ATTRIBUTES,
        attribute_filter=_attribute,
        url_schemes={"http", "https", "mailto", "data"},
        filter_style_properties=STYLES,
    )
    before, after = _Contents(text), _Contents(cleaned)
    words = "".join(after.text)
    acts = MATH.search(words) and TEX.search(words)
    return None if before.found - after.found or acts else cleaned


def _attribute(tag: str, name: str, value: str) -> str | None:
    if name == "class":
        return " ".join(word for word in value.split() if word in CLASSES) or None
    if name == "src":
        return value if IMAGE.match(value) else None
    if name == "href":
        return None if value.strip().lower().startswith("data:") else value
    if name == "target":
        return "_blank"
    return value


class _Contents(HTMLParser):
    """What an HTML text has that shows: tags, attributes and styles, counted; and its text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: Counter[tuple[str, ...]] = Counter()
        self.text: list[str] = []
        self._style: list[str] | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "style":
            self._style = []
            return
        self.found[(tag,)] += 1
        for name, value in attributes:
            if name == "style":
                for declaration in (value or "").split(";"):
                    if declaration.strip():
                        self.found[(tag, name, declaration.split(":")[0].strip().lower())] += 1
            elif name.split("-")[0] not in SILENT:
                self.found[(tag, name)] += 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "style" and self._style is not None:
            if not TABLE_STYLE.fullmatch("".join(self._style)):
                self.found[("style",)] += 1
            self._style = None

    def handle_data(self, data: str) -> None:
        if self._style is None:
            self.text.append(data)
        else:
            self._style.append(data)

    def close(self) -> None:
        super().close()
        if self._style is not None:
            self.found[("style",)] += 1


# ---------------------------------------------------------------- Markdown and LaTeX

_HARMLESS_TAG = re.compile(
    r"</?(?:b|i|u|s|em|strong|code|kbd|sub|sup|small|br|hr|p|span|div|center|table|thead|tbody"
    r"|tr|td|th|ul|ol|li|details|summary|mark|del|ins|pre|blockquote|h[1-6])"
    r"(?: (?:align|width|height|colspan|rowspan|border)=(?:\"[a-z0-9%]*\"|[a-z0-9%]+))* ?/?>"
    r"|<https?://[^\s<>\"'`]*>",
    re.IGNORECASE,
)
_BEGINS_TAG = re.compile(r"<(?=[A-Za-z/!?])")
# `![` and what it points to, in brackets or defined elsewhere.
_IMAGE_LINK = re.compile(r"!\[")
_INLINE_IMAGE = re.compile(r"!\[[^\[\]]*\]\(data:image/(?:png|jpeg|gif|webp|bmp);base64,[\w+/=]*\)")
_RUNS = re.compile(r"javascript:|vbscript:|data:(?!image/(?:png|jpeg|gif|webp|bmp);)")
_IGNORED_IN_LINKS = re.compile(r"[\x00-\x20\x7f-\xa0\\\u200b-\u200f\u2028-\u202f\ufeff]")


def is_plain(text: str, *, markdown: bool) -> bool:
    """Whether Markdown (else: LaTeX) may be shown in the user's page as it stands."""
    if len(text) > LONGEST or TEX.search(text):
        return False
    if not markdown:
        return True
    if any(not _HARMLESS_TAG.match(text, tag.start()) for tag in _BEGINS_TAG.finditer(text)):
        return False
    images = len(_IMAGE_LINK.findall(text))
    if images != len(_INLINE_IMAGE.findall(text)):
        return False
    return not _RUNS.search(_IGNORED_IN_LINKS.sub("", html.unescape(html.unescape(text))).lower())
