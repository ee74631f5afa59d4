"""A frame for active content: it has its own origin and no rights in the page, and no request of
its goes out.

Two frames, one in the other. The inner one holds the content; the outer one is ours, and its
policy also keeps the inner one from navigating away to a server with what it knows, which no
policy of its own could.

A frame without rights may still take the focus, and with it what is typed for a cell or a terminal,
and what is pasted. So the page gives it back, unless the pointer came to the frame since the last
key: then somebody clicked there. A frame that takes it again and again is removed.

That is not quite "no network". Chromium looks a name up and opens a connection, over which nothing
is sent, before it asks a policy whether a frame may go there, and for a `preconnect` it asks none.
WebRTC it leaves out of policies as well: it is taken away here, and a frame that the content
makes in its own has it again.
"""

from __future__ import annotations

import html
import secrets

__all__ = ["BEGIN", "iframe"]

HEIGHT = 450
"""Pixels until the content says its own: plotly's default."""
MIN_HEIGHT, MAX_HEIGHT = 24, 1200

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "style-src 'unsafe-inline' data:; img-src data: blob:; media-src data: blob:; "
    "font-src data:; worker-src data: blob:; connect-src data: blob:; frame-src 'none'; "
    "form-action 'none'; base-uri 'none'; webrtc 'block'"
)

# A policy that says `off` cannot be taken back by another behind it.
NO_LOOKUPS = '<meta http-equiv="x-dns-prefetch-control" content="off">'
NO_WEBRTC = (
    "<script>for (const name of Object.getOwnPropertyNames(self)) "
    "if (name.includes('RTC')) delete self[name]</script>"
)

# All three in one line: what is shown is kept in the notebook. The first tells how high the
# content is whenever that changes, the second passes on a number and nothing else, the third
# listens to its own frame alone.
MEASURE = (
    "<script>addEventListener('load', () => {const d = document.documentElement, tell = () => "
    "parent.postMessage(d.scrollHeight > d.clientHeight ? d.scrollHeight : "
    "Math.ceil(document.body.getBoundingClientRect().bottom) + 8, '*'); tell(); "
    "new ResizeObserver(tell).observe(document.body);})</script>"
)
STYLE = "<style>body {font: 14px system-ui, sans-serif}</style>"
RELAY = (
    "<script>addEventListener('message', event => {if (event.source === frames[0]) "
    "parent.postMessage(Number(event.data), '*');})</script>"
)
FIT = (
    "<script>(() => {{const frame = document.getElementById('{id}'); frame.onload(); "
    "addEventListener('message', event => {{if (event.source === frame.contentWindow && "
    "event.data > 0) frame.style.height = Math.min(Math.max(event.data, {low}), {high}) + 'px';"
    "}});}})()</script>"
)

# A handler of the frame's own, as a page that runs no script of an output's runs it all the same.
# While the pointer is in a frame its page hears nothing of it, so a cover says when it comes.
GUARD = """(frame => {
window.moatGuard ||= (() => {
const on = (kind, act) => window.addEventListener(kind, act, true), now = () => performance.now();
const frames = new WeakSet(), taken = new WeakMap();
let before = null, key = 0, came = 0, there = null, cover = null;
const leave = () => {if (cover) cover.style.pointerEvents = 'auto'; there = cover = null};
const look = () => {const frame = document.activeElement;
if (!frames.has(frame) || (frame === there && came > key)) return;
frame.blur(); if (before && before.isConnected) before.focus({preventScroll: true});
const times = (taken.get(frame) || []).filter(time => time > now() - 5000);
times.push(now()); taken.set(frame, times);
if (times.length > 5)
frame.parentNode.replaceChildren('moat: this output took the keyboard, and was removed')};
on('focusin', event => {if (!frames.has(event.target)) before = event.target});
on('keydown', () => {key = now()}); on('pointerover', leave); on('blur', () => setTimeout(look));
return frame => {if (frames.has(frame)) return; frames.add(frame);
const over = document.createElement('div'); over.style.cssText = 'position:absolute;inset:0';
over.onpointerover = () => {leave(); there = frame; cover = over; came = now();
over.style.pointerEvents = 'none'};
frame.parentNode.append(over); look()};
})();
window.moatGuard(frame)})(this)""".replace("\n", " ")

BEGIN = '<div style="position:relative"><iframe id="'
"""What stands around a frame holds its cover, too."""

LONGEST = 128 << 20
"""Characters of a frame. What is escaped twice grows up to tenfold."""
TOO_LONG = "moat: this output is too long to be shown"
_GROWTH = {"&": 8, "<": 7, ">": 7, '"': 9, "'": 9}


def iframe(content: str, *, height: int = HEIGHT, resizable: bool = False) -> str:
    """HTML that shows ``content`` (HTML, with scripts if it likes) in a frame of its own.

    Where the page runs no script of ours, the frame stays ``height`` pixels high, or is
    ``resizable`` by hand.
    """
    if len(content) + sum(content.count(c) * more for c, more in _GROWTH.items()) > LONGEST:
        content = TOO_LONG
    inner = html.escape(f"<!DOCTYPE html>{NO_LOOKUPS}{NO_WEBRTC}{STYLE}{MEASURE}<body>{content}")
    outer = html.escape(
        f'<!DOCTYPE html><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'{NO_LOOKUPS}<body style="margin:0"><iframe sandbox="allow-scripts" title="content" '
        f'style="border:0;display:block;width:100vw;height:100vh" srcdoc="{inner}"></iframe>{RELAY}'
    )
    id = f"moat-{secrets.token_hex(8)}"
    fit = FIT.format(id=id, low=MIN_HEIGHT, high=MAX_HEIGHT)
    by_hand = ";resize:vertical;overflow:auto" if resizable else ""
    return (
        f'{BEGIN}{id}" sandbox="allow-scripts" title="output from a sandbox" '
        f'style="border:0;width:100%;height:{height}px;background:white{by_hand}" '
        f'onload="{html.escape(GUARD)}" srcdoc="{outer}"></iframe></div>{fit}'
    )
