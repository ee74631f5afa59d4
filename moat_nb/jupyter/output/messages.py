"""Messages of a sandbox's kernel to its client, made harmless: of each kind the keys that are
known, each of its type.

What a front end does with a message, it does with the user's rights. What is not known does not
pass; what a message must have and has not drops it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from moat_nb.jupyter.output.attributes import DROP, is_number, matching
from moat_nb.jupyter.output.drawings import Drawings
from moat_nb.jupyter.output.safe import VIEW, sanitise_mimebundle
from moat_nb.text.terminal import for_terminal
from moat_nb.text.untrusted import as_dict

__all__ = ["DISPLAYS", "HOW", "OUTPUTS", "Views", "sanitise", "sent_as"]

DISPLAYS = frozenset({"display_data", "execute_result", "update_display_data"})
OUTPUTS = frozenset({"display_data", "execute_result", "stream", "error"})
"""The kinds that notebooks keep."""

HOW = "`moat-nb lab` shows it, as `moat-nb install --trust-output` does"

LONGEST = 1 << 27
"""Characters of a text."""
LONGEST_NAME = 200
MAX_ITEMS, MAX_LINES, MAX_DEPTH = 100_000, 10_000, 100

NAME = re.compile(r"[\w .+#-]{0,100}", re.ASCII)
PLAIN_NAME = re.compile(r"\w[\w+-]{0,39}", re.ASCII)
TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}", re.ASCII)
EXTENSION = re.compile(r"\.[\w.-]{1,20}", re.ASCII)
MODE = re.compile(r"[\w/.+ -]{0,60}", re.ASCII)
WORD = re.compile(r"[a-z_]{0,30}")
VERSION = re.compile(r"[\w.+-]{0,40}", re.ASCII)
BLANK = re.compile(r"[ \t]{0,200}")
LINK = re.compile(r"https?://[^\s\"'<>\\]{1,1000}", re.IGNORECASE)
NOT_OF_ITS_OWN = frozenset({"__proto__", "constructor", "prototype"})


class Views(Protocol):
    """Who knows the kernel's widgets."""

    def view(self, data: dict[str, Any]) -> dict[str, Any]:
        """What is shown for a display with a widget's view."""


Check = Callable[[Any], Any]


def sanitise(
    kind: str, content: Any, views: Views | None = None, drawings: Drawings | None = None
) -> tuple[dict[str, Any] | None, list[str]]:
    """The content of a message as it may pass, None for none of it, and hints for the user.

    Those of comms are for :class:`~moat_nb.jupyter.output.widgets.Widgets`. For any JSON value
    this returns; encode the result with ``ensure_ascii``, as halves of characters pass.
    """
    if not isinstance(content, dict):
        return None, []
    if kind in DISPLAYS:
        drawn = None if drawings is None or not _flat(content) else drawings.shown(content)
        if drawn is not None:
            return drawn, []
        return _display(kind, content, views)
    hints: list[str] = []
    if kind in ("inspect_reply", "execute_reply", "debug_reply", "debug_event"):
        content = _with_bundles(content, hints)
    keys = KEYS_OF.get(kind)
    if keys is None:
        return None, hints
    if kind != "error" and content.get("status") in ("error", "abort", "aborted"):
        keys = {name: keys[name] for name in ("payload",) if name in keys} | FAILED
    return _read(keys, content), hints


def sent_as(kind: str, passed: dict[str, Any]) -> str:
    """The kind that what :func:`sanitise` gave is sent as.

    A figure that waits is no result: JupyterLab updates none of those, but displays.
    """
    is_waiting = kind == "execute_result" and "execution_count" not in passed
    return "display_data" if is_waiting else kind


def _read(keys: dict[str, tuple[Check, Any]], content: dict[str, Any]) -> dict[str, Any] | None:
    passed = {}
    for name, (check, default) in keys.items():
        value = check(content[name]) if name in content else DROP
        value = default if value is DROP else value
        if value is REQUIRED:
            return None
        if value is not DROP:
            passed[name] = value
    return passed


def _display(
    kind: str, content: dict[str, Any], views: Views | None
) -> tuple[dict[str, Any] | None, list[str]]:
    data, metadata, hints = _bundle(content, views)
    identity = as_dict(content.get("transient")).get("display_id")
    has_identity = isinstance(identity, str) and len(identity) <= LONGEST_NAME
    shown: dict[str, Any] = {"data": data, "metadata": metadata}
    shown["transient"] = {"display_id": identity} if has_identity else {}
    if kind == "execute_result":
        count = _count(content.get("execution_count"))
        shown["execution_count"] = None if count is DROP else count
    return shown, hints


def _bundle(
    content: dict[str, Any], views: Views | None = None
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """What a message has at ``data`` and ``metadata``, as it may be shown."""
    data = {k: v for k, v in as_dict(content.get("data")).items() if len(k) <= LONGEST_NAME}
    has_view = VIEW in data
    plain = {k: v for k, v in data.items() if k != VIEW and (k != "application/json" or _flat(v))}
    shown, options, hints = sanitise_mimebundle(plain, as_dict(content.get("metadata")), how=HOW)
    if isinstance(shown.get("text/plain"), str):
        shown["text/plain"] = for_terminal(shown["text/plain"])
    if has_view and views is not None:
        shown.update(views.view(data))
    if data and not shown:
        shown["text/plain"] = hints[0] if hints else f"not shown: what a sandbox displays; {HOW}"
    return shown, options, hints


def _with_bundles(content: dict[str, Any], hints: list[str]) -> dict[str, Any]:
    """The same with what a front end would show of it, wherever it stands, made harmless."""

    def shown(value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("data"), dict):
            return value
        data, metadata, found = _bundle(value)
        hints.extend(found)
        return {**value, "data": data, "metadata": metadata}

    passed = dict(shown(content))
    passed["body"] = shown(content.get("body"))
    if isinstance(content.get("payload"), list):
        passed["payload"] = [shown(one) for one in content["payload"][:MAX_ITEMS]]
    expressions = as_dict(content.get("user_expressions"))
    passed["user_expressions"] = {name: shown(one) for name, one in expressions.items()}
    return {name: value for name, value in passed.items() if name in content}


def _flat(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Whether JSON is nested no deeper than those who read it can bear."""
    if isinstance(value, dict):
        return depth > 0 and all(_flat(one, depth - 1) for one in value.values())
    return not isinstance(value, list) or (
        depth > 0 and all(_flat(one, depth - 1) for one in value)
    )


def _json(value: Any) -> Any:
    return _plain(value) if _flat(value) else DROP


def _plain(value: Any) -> Any:
    """JSON without the names that are not of an object's own in JavaScript."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if k not in NOT_OF_ITS_OWN}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _text(value: Any) -> Any:
    return for_terminal(value) if isinstance(value, str) and len(value) <= LONGEST else DROP


def _raw(value: Any) -> Any:
    return value if isinstance(value, str) and len(value) <= LONGEST else DROP


def _bool(value: Any) -> Any:
    return value if isinstance(value, bool) else DROP


def _count(value: Any) -> Any:
    return value if type(value) is int and 0 <= value < 1 << 53 else DROP


def _number(value: Any) -> Any:
    return value if is_number(value) else DROP


def _one_of(*words: str) -> Check:
    return lambda value: value if isinstance(value, str) and value in words else DROP


def _each(item: Check, most: int = MAX_ITEMS) -> Check:
    """A list of those that pass."""

    def check(value: Any) -> Any:
        if not isinstance(value, list):
            return DROP
        return [one for one in map(item, value[:most]) if one is not DROP]

    return check


def _keys(**keys: tuple[Check, Any]) -> Check:
    """An object of known keys."""
    return lambda value: DROP if (found := _read(keys, as_dict(value))) is None else found


def _by_name(item: Check) -> Check:
    def check(value: Any) -> Any:
        passed = {k: item(v) for k, v in as_dict(value).items() if len(k) <= LONGEST_NAME}
        return {k: v for k, v in passed.items() if v is not DROP and k not in NOT_OF_ITS_OWN}

    return check


def _payload(value: Any) -> Any:
    """What a front end does after a cell: show a page, fill the next cell, end a console. Not
    among them is opening an editor on a file."""
    source = as_dict(value).get("source")
    check = PAYLOADS.get(source) if isinstance(source, str) else None
    return DROP if check is None else check(value)


def _history(value: Any) -> Any:
    if not isinstance(value, list) or len(value) != 3:
        return DROP
    session, line, said = value
    texts = said if isinstance(said, list) else [said]
    fits = type(session) is int and type(line) is int and len(texts) <= 2
    if not fits or not all(text is None or isinstance(text, str) for text in texts):
        return DROP
    return [session, line, said]


def _mode(value: Any) -> Any:
    """The name of a mode for editors, or an object with it."""
    if isinstance(value, dict):
        return _keys(name=(matching(MODE), REQUIRED), version=(_number, DROP))(value)
    return matching(MODE)(value)


REQUIRED = object()

_STATUS = (_one_of("ok", "error", "abort", "aborted"), "ok")
_LINES = _each(_text, MAX_LINES)
_SHOWN: tuple[Check, Any] = (_json, {})

ERROR: dict[str, tuple[Check, Any]] = {
    "ename": (_text, ""),
    "evalue": (_text, ""),
    "traceback": (_LINES, []),
}
FAILED: dict[str, tuple[Check, Any]] = {
    "status": _STATUS,
    "execution_count": (_count, DROP),
    **ERROR,
}

PAYLOADS: dict[str, Check] = {
    "page": _keys(source=(_raw, REQUIRED), data=(_json, REQUIRED), start=(_count, 0)),
    "set_next_input": _keys(source=(_raw, REQUIRED), text=(_raw, REQUIRED), replace=(_bool, False)),
    "ask_exit": _keys(source=(_raw, REQUIRED), keepkernel=(_bool, False)),
}

_COMPLETION = _keys(
    start=(_count, REQUIRED),
    end=(_count, REQUIRED),
    text=(_raw, REQUIRED),
    type=(matching(NAME), DROP),
    signature=(_text, DROP),
)
_LANGUAGE = _keys(
    name=(matching(NAME), "text"),
    version=(matching(VERSION), ""),
    mimetype=(matching(TYPE), "text/plain"),
    file_extension=(matching(EXTENSION), ".txt"),
    pygments_lexer=(matching(PLAIN_NAME), DROP),
    codemirror_mode=(_mode, DROP),
    # nbconvert imports the exporter of this name, which may be a module's.
    nbconvert_exporter=(matching(PLAIN_NAME), DROP),
)
_HELP = _keys(text=(_text, REQUIRED), url=(matching(LINK), REQUIRED))
_DEBUG = {
    "type": (matching(WORD), REQUIRED),
    "event": (_raw, DROP),
    "command": (_raw, DROP),
    "seq": (_number, 0),
    "request_seq": (_number, DROP),
    "success": (_bool, DROP),
    "message": (_raw, DROP),
    "body": (_json, DROP),
}

KEYS_OF: dict[str, dict[str, tuple[Check, Any]]] = {
    "stream": {"name": (_one_of("stdout", "stderr"), "stdout"), "text": (_text, REQUIRED)},
    "error": ERROR,
    "clear_output": {"wait": (_bool, False)},
    "execute_input": {"code": (_raw, REQUIRED), "execution_count": (_count, 0)},
    "status": {"execution_state": (_one_of("busy", "idle", "starting"), REQUIRED)},
    "debug_event": _DEBUG,
    "debug_reply": _DEBUG,
    "inspect_reply": {
        "status": _STATUS,
        "found": (_bool, False),
        "data": _SHOWN,
        "metadata": _SHOWN,
    },
    "execute_reply": {
        "status": _STATUS,
        "execution_count": (_count, None),
        "payload": (_each(_payload), []),
        "user_expressions": (_by_name(_json), {}),
    },
    "complete_reply": {
        "status": _STATUS,
        "matches": (_each(_raw), []),
        "cursor_start": (_count, 0),
        "cursor_end": (_count, 0),
        "metadata": (_keys(_jupyter_types_experimental=(_each(_COMPLETION), DROP)), {}),
    },
    "history_reply": {"status": _STATUS, "history": (_each(_history), [])},
    "is_complete_reply": {
        "status": (_one_of("complete", "incomplete", "invalid", "unknown"), "unknown"),
        "indent": (matching(BLANK), ""),
    },
    "kernel_info_reply": {
        "status": _STATUS,
        "protocol_version": (matching(VERSION), "5.3"),
        "implementation": (matching(NAME), ""),
        "implementation_version": (matching(VERSION), ""),
        "language_info": (_LANGUAGE, {"name": "text", "version": ""}),
        "banner": (_text, ""),
        "debugger": (_bool, False),
        "supported_features": (_each(matching(NAME), 100), []),
        "help_links": (_each(_HELP, 100), []),
    },
    "input_request": {"prompt": (_text, ""), "password": (_bool, False)},
    "shutdown_reply": {"status": _STATUS, "restart": (_bool, False)},
    "interrupt_reply": {"status": _STATUS},
    "create_subshell_reply": {"status": _STATUS, "subshell_id": (matching(NAME), DROP)},
    "delete_subshell_reply": {"status": _STATUS},
    "list_subshell_reply": {"status": _STATUS, "subshell_id": (_each(matching(NAME)), [])},
    "usage_reply": {
        "hostname": (_text, DROP),
        "pid": (_count, DROP),
        "kernel_cpu": (_number, DROP),
        "kernel_memory": (_number, DROP),
        "cpu_count": (_count, DROP),
        "host_cpu_percent": (_number, DROP),
        "host_virtual_memory": (_by_name(_number), DROP),
    },
}
