"""A submission's texts as a page may show them that has its reader's rights: HTML in which nothing
acts, and nothing leads anywhere, as a link into the page's own server acts too."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from typing import Any

from moat_nb.grading.outputs import IMAGES, still
from moat_nb.jupyter.output import messages
from moat_nb.jupyter.output.effort import bounded

__all__ = ["BASE64", "as_html", "without_links"]

ATTACHED = re.compile(r"\(attachment:([^)\s]*)")
BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*", re.ASCII)
LINK = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)
VOID = frozenset({"img", "br", "hr", "col", "wbr"})
MARKS = re.compile(r"[^A-Za-z0-9 ]")


def as_html(source: str, attached: dict[str, Any]) -> str:
    """Of a text cell. It is one line without a mark that Markdown knows: whoever shows the cell
    reads it as Markdown once more."""

    def image(match: re.Match[str]) -> str:
        kinds = attached.get(match[1])
        for kind, data in kinds.items() if isinstance(kinds, dict) else ():
            if kind in IMAGES and isinstance(data, str) and BASE64.fullmatch(data):
                return f"(data:{kind};base64,{''.join(data.split())}"
        return "("

    content = {"data": {"text/markdown": ATTACHED.sub(image, source)}, "metadata": {}}
    with bounded():
        shown, _ = messages.sanitise("display_data", content)
    page = still({} if shown is None else shown["data"]).get("text/html")
    if page is None:
        return f"<pre>{_entities(source)}</pre>"
    return f"<div>{_rewritten(page, _entities)}</div>"


def without_links(page: str) -> str:
    """HTML that the sanitiser wrote, with what its links lead to in words."""
    return _rewritten(page, html.escape)


def _entities(text: str) -> str:
    return MARKS.sub(lambda mark: f"&#{ord(mark[0])};", text)


def _rewritten(page: str, written: Any) -> str:
    rewriter = _Rewriter(written)
    rewriter.feed(page)
    rewriter.close()
    return "".join(rewriter.parts)


class _Rewriter(HTMLParser):
    def __init__(self, written: Any) -> None:
        super().__init__(convert_charrefs=True)
        self._written = written
        self._links: list[str] = []
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a":
            self._links.append(given.pop("href", ""))
            given.pop("target", None)
        written = "".join(f' {name}="{html.escape(value)}"' for name, value in given.items())
        self.parts.append(f"<{tag}{written}>")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._links:
            link = self._links.pop()
            if LINK.match(link):
                self.parts.append(self._written(f" ({link})"))
        if tag not in VOID:
            self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.parts.append(self._written(data))
