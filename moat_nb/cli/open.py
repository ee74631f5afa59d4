"""`moat-nb open`: a server in a sandbox, in the browser."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from moat_nb.cli.chosen import chosen
from moat_nb.errors import MoatError
from moat_nb.sandbox.listing import Listed

__all__ = ["open_port"]


def open_port(words: Sequence[str], *, only_print: bool) -> int:
    """``words``: a port's name, a sandbox, or both in this order: sandbox, port. MoatError when
    there is no such thing, or more than one."""
    if len(words) > 2:
        raise MoatError("give a sandbox and one of its ports, and no more")
    url = _url(words)
    print(url, flush=True)
    if not only_print:
        import webbrowser

        if not webbrowser.open(url):
            print("moat-nb: no browser was found here", file=sys.stderr)
    return 0


def _url(words: Sequence[str]) -> str:
    if len(words) == 2:
        return _of(_sandbox(words[0]), words[1])
    if not words:
        return _of(_sandbox(os.curdir), None)
    try:
        return _of(_sandbox(os.curdir), words[0])
    except MoatError as none_here:
        try:
            one = _sandbox(words[0])
        except MoatError:
            raise none_here from None
    return _of(one, None)


def _sandbox(which: str) -> Listed:
    return chosen(which, "what its ports lead to")


def _of(one: Listed, name: str | None) -> str:
    urls = dict(one.sandbox_state.ports) if one.sandbox_state is not None else {}
    if not urls:
        raise MoatError(f"{one.title}: it has no ports; name them in its moat.yaml's `ports`")
    if name is None and len(urls) == 1:
        (name,) = urls
    if name not in urls:
        what = "it has several ports" if name is None else f"it has no port {name}"
        raise MoatError(f"{one.title}: {what}; there are: {', '.join(urls)}")
    return urls[name]
