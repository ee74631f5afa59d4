"""Widgets of a sandbox's, made harmless for the user's page.

A widget is a model in the page that the kernel opens and updates. Models that the front end's own
code draws pass, each attribute checked by its form. Of a model that brings code, the page gets a
line of text under the same id instead, so that what it stands in is still drawn.

An id means one kind of model for good. A page may still hold a model that the kernel has closed
since, and would take for HTML what was checked as a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from moat_nb.jupyter.output import messages
from moat_nb.jupyter.output.attributes import DROP, MODEL, as_attribute, as_description
from moat_nb.jupyter.output.messages import HOW
from moat_nb.jupyter.output.models import BASE, CONTROLS, MODULES, form_of, view_of
from moat_nb.jupyter.output.safe import VIEW
from moat_nb.text.terminal import one_line
from moat_nb.text.untrusted import as_dict

__all__ = ["COMMS", "Widgets"]

COMMS = frozenset({"comm_open", "comm_msg", "comm_close"})

TARGET = "jupyter.widget"

MAX_MODELS = 100_000
"""How many ids one kernel may name; a bar of tqdm has eleven models."""
MAX_PATHS, MAX_OUTPUTS = 10_000, 10_000
LONGEST_NAME = 60

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
VERSION = re.compile(r"([12])\.\d{1,4}\.\d{1,4}")
RANGE = re.compile(r"[~^]?\d{1,4}(?:\.\d{1,4}){0,2}")

# Where a buffer goes that must not go where it wants to: no model has such an attribute.
NOWHERE: list[Any] = ["moat_dropped"]

LINKED = frozenset({"bool", "number", "numbers", "text", "texts", "css", "date"})
"""Forms that the page may copy from one model into another of the same form."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What an id means. ``why`` says why it is shown as a line of text, or is empty."""

    module: str
    name: str
    version: str
    view_version: str = ""
    has_html: bool = False
    why: str = ""


class Widgets:
    """Those that were opened while it lives, over restarts of the kernel. A page may have others,
    of a kernel or a relay before; what is said of those does not pass."""

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {}
        self._new: list[str] = []  # ids to which the last message gave a meaning
        self._hints: list[str] = []
        self._version = "2.0.0"

    def sanitise(self, kind: str, content: Any) -> tuple[dict[str, Any] | None, list[str]]:
        """The content to pass on, None for none, and hints for the user.

        Buffers pass as they are, all of them: ``buffer_paths`` leads each to where it may go. Of
        a message's metadata only ``version`` is for the page.
        """
        self._hints, self._new = [], []
        if not isinstance(content, dict):
            return None, []
        if kind == "comm_info_reply":
            return _targets(content), []
        comm = content.get("comm_id")
        if not isinstance(comm, str) or not ID.fullmatch(comm):
            return None, []
        data = as_dict(content.get("data"))
        passed: dict[str, Any] | None = None
        if kind == "comm_open":
            passed = self._opened(comm, content.get("target_name"), data)
        elif kind == "comm_msg" and (answer := self._told(comm, data)) is not None:
            passed = {"comm_id": comm, "data": answer}
        elif kind == "comm_close":
            passed = {"comm_id": comm, "data": {}}
        return passed, self._hints

    def settle(self) -> None:
        """The last message was sent."""
        self._new.clear()

    def take_back(self) -> None:
        """It is not: what it opens means something in no page."""
        while self._new:
            del self._kinds[self._new.pop()]

    def view(self, data: dict[str, Any]) -> dict[str, Any]:
        """The part of a display that shows a widget: the view, or a line that says why not."""
        view = as_dict(data.get(VIEW))
        comm = view.get("model_id")
        if comm == "":
            return {VIEW: {"model_id": "", "version_major": 2, "version_minor": 0}}
        if not isinstance(comm, str) or comm not in self._kinds:
            return {"text/plain": f"not shown: a widget that the page was not given; {HOW}"}
        numbers = {name: view.get(name) for name in ("version_major", "version_minor")}
        if not all(type(n) is int and 0 <= n < 100 for n in numbers.values()):
            numbers = {"version_major": 2, "version_minor": 0}
        return {VIEW: {"model_id": comm, **numbers}}

    def _opened(self, comm: str, target: Any, data: dict[str, Any]) -> dict[str, Any] | None:
        if target != TARGET:
            self._hint(f"not passed on: a message to {_named(target)} in your page; {HOW}")
            return None
        opened = self._full(comm, as_dict(data.get("state")), data.get("buffer_paths"))
        return opened and {"comm_id": comm, "target_name": TARGET, "data": opened}

    def _told(self, comm: str, data: dict[str, Any]) -> dict[str, Any] | None:
        method, state = data.get("method"), as_dict(data.get("state"))
        kind = self._kinds.get(comm)
        if method == "update_states":
            return self._states(data)
        if method in ("update", "echo_update"):
            if kind is None or kind.why:
                return None
            if "_model_name" in state:
                full = self._full(comm, state, data.get("buffer_paths"))
                return full and {"method": method, **full}
            passed = self._state(kind, state)
            paths = _paths(kind, passed, data.get("buffer_paths"))
            return {"method": method, "state": passed, "buffer_paths": paths}
        if method == "custom":
            do = as_dict(data.get("content")).get("do")
            is_shown = kind is not None and do in ("focus", "blur")
            return {"method": method, "content": {"do": do}} if is_shown else None
        version = data.get("version")  # as ipywidgets 7 answers a page that asks for it
        if kind is None and isinstance(version, str) and RANGE.fullmatch(version):
            return {"version": version}
        return None

    def _states(self, data: dict[str, Any]) -> dict[str, Any]:
        """All models at once, for a page that was loaded again."""
        given = as_dict(data.get("states"))
        whole = {comm: _whole(one) for comm, one in given.items() if ID.fullmatch(comm)}
        # A model that was not opened here is the page's own of another time, whose kind is unknown.
        bound = {c: self._bound(c, state) for c, state in whole.items() if c in self._kinds}
        passed: dict[str, Any] = {}
        for comm, kind in bound.items():
            state = None if kind is None else self._shown(kind, whole[comm])
            if kind is not None and state is not None:
                passed[comm] = {
                    "model_name": state["_model_name"],
                    "model_module": state["_model_module"],
                    "model_module_version": state["_model_module_version"],
                    "state": state,
                }
        paths = []
        for path in _list(data.get("buffer_paths"))[:MAX_PATHS]:
            comm, beside, *rest = [*_list(path), None, None][: max(2, len(_list(path)))]
            kind = bound.get(comm) if isinstance(comm, str) and comm in passed else None
            if kind is not None and beside == "state":
                paths.append([comm, "state", *_path(kind, passed[comm]["state"], rest)])
            else:
                # The page has a path for each buffer, and looks for a model at each.
                paths.append([next(iter(passed), ""), *NOWHERE])
        return {"method": "update_states", "states": passed, "buffer_paths": paths}

    def _full(self, comm: str, state: dict[str, Any], paths: Any) -> dict[str, Any] | None:
        """What a message with a whole state has for the page."""
        kind = self._bound(comm, state)
        shown = None if kind is None else self._shown(kind, state)
        if kind is None or shown is None:
            return None
        return {"state": shown, "buffer_paths": _paths(kind, shown, paths)}

    def _bound(self, comm: str, state: dict[str, Any]) -> Kind | None:
        """What an id means from now on; None when it meant something else."""
        kind = _kind(state)
        known = self._kinds.get(comm)
        if known is None:
            if len(self._kinds) >= MAX_MODELS:
                self._hint(f"a kernel's widgets beyond the first {MAX_MODELS} are not shown")
                return None
            self._kinds[comm] = kind
            self._new.append(comm)
            if not kind.why and kind.module != BASE:
                self._version = kind.version if kind.module == CONTROLS else self._version
            return kind
        if (known.module, known.name, known.version) != (kind.module, kind.name, kind.version) or (
            kind.why and not known.why
        ):
            self._hint("a widget that came as another kind than before is not shown")
            return None
        return known

    def _shown(self, kind: Kind, state: dict[str, Any]) -> dict[str, Any] | None:
        """A whole state for the page; None for a link that the page must not have."""
        if kind.why:
            return _line(kind.why, self._version)
        shown = self._state(kind, state)
        if kind.name in ("Link", "DirectionalLink"):
            ends = self._ends(state)
            if ends is None:
                self._hint(
                    "a link between two widgets was left out, as what it copies in your page is "
                    "not looked at; `link` and `observe` in Python do the same"
                )
                return None
            shown.update(ends)
        view = view_of(kind.name)
        wanted = state.get("_view_name")
        return {
            **shown,
            "_model_module": kind.module,
            "_model_module_version": kind.version,
            "_model_name": f"{kind.name}Model",
            "_view_module": _home(kind),
            "_view_module_version": kind.view_version,
            "_view_name": view if wanted == view else None,
        }

    def _state(self, kind: Kind, state: dict[str, Any]) -> dict[str, Any]:
        passed = {}
        for name, value in state.items():
            form = form_of(kind.name, name)
            if form is None or form in ("end", "bytes"):
                continue
            if form == "flag":
                found: Any = DROP if value is True and not kind.has_html else kind.has_html
            elif form == "description" and value is not None:
                found = as_description(value, kind.has_html)
            elif form == "outputs":
                found = self._outputs(value)
            elif name == "options" and kind.version.startswith("1"):
                found = _options(value)
            else:
                found = self._there(form, as_attribute(form, value))
            if found is DROP:
                self._hint(f"left out: {name} of a widget ({kind.name}), whose value is not plain")
            else:
                passed[name] = found
        return passed

    def _there(self, form: str, value: Any) -> Any:
        """Models that the page has: it draws nothing of a widget whose parts it cannot find."""
        if form == "models" and isinstance(value, list):
            return [one for one in value if self._named_kind(one) is not None]
        if form == "model" and isinstance(value, str):
            kind = self._named_kind(value)
            is_style = kind is not None and not kind.why and kind.name.endswith(("Style", "Layout"))
            return value if is_style else DROP
        return value

    def _named_kind(self, reference: str) -> Kind | None:
        model = MODEL.fullmatch(reference)
        return self._kinds.get(model[1]) if model else None

    def _outputs(self, value: Any) -> Any:
        """The cells' outputs that an Output widget shows; the front end trusts them."""
        passed = []
        for output in _list(value)[:MAX_OUTPUTS]:
            kind = as_dict(output).get("output_type")
            if not isinstance(kind, str) or kind not in messages.OUTPUTS:
                continue
            content, hints = messages.sanitise(kind, output, self)
            self._hints = [*self._hints, *hints]
            if content is not None:
                content.pop("transient", None)
                passed.append({"output_type": kind, **content})
        return passed

    def _ends(self, state: dict[str, Any]) -> dict[str, Any] | None:
        """Both ends of a link; the page copies either into the other, and checks nothing."""
        forms = [self._end(state.get(name)) for name in ("source", "target")]
        if forms[0] is None or forms[0] not in LINKED or forms[0] != forms[1]:
            return None
        return {name: list(state[name]) for name in ("source", "target")}

    def _end(self, end: Any) -> str | None:
        if not isinstance(end, list) or len(end) != 2 or not all(isinstance(x, str) for x in end):
            return None
        kind = self._named_kind(end[0])
        # ipywidgets 7 puts the options of a Combobox into HTML.
        if kind is None or kind.why or end[1] == "options":
            return None
        return form_of(kind.name, end[1])

    def _hint(self, text: str) -> None:
        if text not in self._hints:
            self._hints.append(text)


def _kind(state: dict[str, Any]) -> Kind:
    """What a state says that it is, and whether the front end's own code draws it."""
    named = [state.get(f"_{part}_{what}") for part in ("model", "view") for what in PARTS]
    module, name, version, view_module, view, view_version = (
        value if isinstance(value, str) else "" for value in named
    )
    name = name.removesuffix("Model")
    has_html = state.get("description_allow_html") is True or version.startswith("1")
    own = Kind(
        module=module, name=name, version=version, view_version=view_version, has_html=has_html
    )
    if name not in MODULES.get(module, ()):
        return _refused(own, f"a widget of {_named(module)} brings code of its own")
    found, view_found = VERSION.fullmatch(version), VERSION.fullmatch(view_version)
    if not found or not view_found or found[1] != view_found[1]:
        return _refused(own, f"a widget of version {_named(version)} is not known")
    if view_module != _home(own) or view not in ("", view_of(name)):
        drawn = f"{_named(view)} of {_named(view_module)}"
        return _refused(own, f"a widget drawn by {drawn} brings code of its own")
    return own


def _home(kind: Kind) -> str:
    """The module of its view."""
    return BASE if kind.name.endswith("Style") else kind.module


PARTS = ("module", "name", "module_version")


def _refused(kind: Kind, why: str) -> Kind:
    return Kind(
        module=kind.module[:LONGEST_NAME],
        name=kind.name[:LONGEST_NAME],
        version=kind.version[:LONGEST_NAME],
        why=f"not shown: {why}; {HOW}",
    )


def _line(words: str, version: str) -> dict[str, Any]:
    """The state of a model of the front end's own that shows ``words``."""
    return {
        "_model_module": CONTROLS,
        "_model_module_version": version,
        "_model_name": "LabelModel",
        "_view_module": CONTROLS,
        "_view_module_version": version,
        "_view_name": "LabelView",
        "value": words,
    }


def _whole(one: Any) -> dict[str, Any]:
    """A state of ``update_states``, with the names that stand beside it in it."""
    names = {f"_{name}": value for name, value in as_dict(one).items() if name in NAMES}
    return {**as_dict(as_dict(one).get("state")), **names}


NAMES = frozenset({"model_name", "model_module", "model_module_version"})


def _paths(kind: Kind, state: dict[str, Any], paths: Any) -> list[list[Any]]:
    return [_path(kind, state, path) for path in _list(paths)[:MAX_PATHS]]


def _path(kind: Kind, state: dict[str, Any], path: Any) -> list[Any]:
    """Where a buffer may go: the bytes of a medium, or of a file."""
    if not isinstance(path, list) or not path or not isinstance(path[0], str) or kind.why:
        return NOWHERE
    form, rest = form_of(kind.name, path[0]), path[1:]
    if form == "bytes":
        return NOWHERE if rest else [path[0]]
    items = state.get(path[0])
    at = rest[0] if rest else None
    if not isinstance(items, list) or type(at) is not int or not 0 <= at < len(items):
        return NOWHERE
    is_file = form == "files" and rest[1:] == ["content"]
    is_bytes = form == "buffers" and len(rest) == 1
    return [path[0], *rest] if is_file or is_bytes else NOWHERE


def _options(value: Any) -> Any:
    """Those of a Combobox, which ipywidgets 7 puts into HTML as they are."""
    if isinstance(value, list) and any(c in str(text) for text in value for c in "<>\"'&"):
        return DROP
    return as_attribute("texts", value)


def _targets(content: dict[str, Any]) -> dict[str, Any]:
    comms: Iterable[tuple[str, Any]] = as_dict(content.get("comms")).items()
    widgets = [comm for comm, info in comms if as_dict(info).get("target_name") == TARGET]
    passed = {comm: {"target_name": TARGET} for comm in widgets if ID.fullmatch(comm)}
    return {"status": "ok", "comms": passed}


def _named(value: Any) -> str:
    words = one_line(value[:LONGEST_NAME]) if isinstance(value, str) else ""
    return "".join(c for c in words if c not in "$\\<>") or "an unknown place"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
