"""``--in`` and ``--out``: a variable's value into a sandbox's kernel, or out of it.

What comes out is text that says nothing about how it is read: JSON gives plain values, Arrow
tables. Both are checked before memory is spent on them, and nothing is ever unpickled.
"""

from __future__ import annotations

import importlib.util
import keyword
from pathlib import Path
from typing import Any

from moat_nb.errors import MoatRemoteError, ValueRefused
from moat_nb.jupyter.cells import Options, run_cell
from moat_nb.jupyter.kernel_manager import Kernel
from moat_nb.notebook.values import codec
from moat_nb.notebook.values.arrow_check import check_stream
from moat_nb.notebook.values.codec import FORMS
from moat_nb.text.terminal import for_terminal

__all__ = ["FORMS", "MAX_VALUE", "bring_in", "bring_out", "evaluate"]

MAX_VALUE = 32 << 20
"""Characters of a packed value: half of the longest message, as a kernel may escape some."""

MAX_CONTAINERS = 2_000_000
"""Lists and objects of a JSON text, each of which takes up to a hundred times its characters."""

MAX_WORDS = 500
"""Of an error's text."""

SECONDS = 120.0
"""For a value of that size, on a slow machine."""


def bring_in(kernel: Kernel, name: str, value: Any, form: str | None) -> None:
    """Set ``name`` in the kernel. Raises ValueRefused when the value cannot be brought there."""
    _check_name("--in", name)
    try:
        _give(kernel, name, codec.pack(value, form, arrow=True, limit=MAX_VALUE))
    except MoatRemoteError as error:
        if form is not None or error.ename not in ("ImportError", "ModuleNotFoundError"):
            raise ValueRefused(f"--in {name}: {error} (in the sandbox)") from error
        # There is no pyarrow in the sandbox.
        _give(kernel, name, codec.pack(value, None, arrow=False, limit=MAX_VALUE))
    except (ImportError, TypeError, ValueError) as error:
        raise ValueRefused(f"--in {name}: {error}") from error


def bring_out(kernel: Kernel, name: str, form: str | None) -> Any:
    """The value of ``name`` in the kernel. Raises ValueRefused when it cannot be had."""
    _check_name("--out", name)
    arrow = importlib.util.find_spec("pyarrow") is not None
    request = {"form": form, "arrow": arrow, "limit": MAX_VALUE}
    return _out(f"--out {name}", kernel, _codec_call("send", name, request))


def evaluate(kernel: Kernel, expression: str) -> str:
    """The text that is the value of ``expression`` in the kernel; MoatError when it is none."""
    code = f"{{'form': 'text', 'kind': 'text', 'text': {expression}}}"
    shown = f"__import__('IPython.display', fromlist=['*']).publish_display_data({{MIME: {code}}})"
    return str(_out(expression, kernel, f"exec({shown!r}, {{'MIME': {codec.MIME!r}}})"))


def _out(what: str, kernel: Kernel, code: str) -> Any:
    """The value that ``code`` displays, packed."""
    packed: dict[str, Any] = {}

    def show(kind: str, content: dict[str, Any], buffers: list[Any]) -> None:
        data = content.get("data")
        if kind == "display_data" and isinstance(data, dict):
            found = data.get(codec.MIME)
            packed.update(found if isinstance(found, dict) else {})

    run_cell(kernel, code, show, Options(timeout=SECONDS, hidden=True))
    try:
        return _unpack(packed)
    # What a sandbox sends may provoke anything in the libraries that read it.
    except Exception as error:
        raise ValueRefused(f"{what}: {for_terminal(str(error))[:MAX_WORDS]}") from error


def _unpack(packed: dict[str, Any]) -> Any:
    fields = [packed.get(field) for field in ("form", "text", "kind")]
    if not all(isinstance(field, str) and len(field) <= MAX_VALUE for field in fields):
        raise ValueError("the sandbox sent nothing that is a value")
    if packed["form"] == "error":
        raise ValueError(packed["text"])
    if packed["form"] in ("json", "frame"):
        _check_json(packed["text"])
    return codec.unpack(packed, check_stream)


def _check_json(text: str) -> None:
    # Those in strings count too: to know them apart is to read it.
    if text.count("[") + text.count("{") > MAX_CONTAINERS:
        raise ValueError(
            f"it has more than {MAX_CONTAINERS} lists and objects; write it to a file instead"
        )


def _check_name(option: str, name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueRefused(f"{option} {name}: this is no variable's name")


def _give(kernel: Kernel, name: str, packed: dict[str, str]) -> None:
    code = _codec_call("receive", name, packed)
    run_cell(kernel, code, lambda *message: None, Options(timeout=SECONDS, hidden=True))


def _codec_call(function: str, name: str, argument: Any) -> str:
    """Code that runs a function of the codec in a kernel, and leaves nothing of it there."""
    source = Path(codec.__file__).read_text(encoding="utf-8")
    return f"exec({source + f'{function}(*args)'!r}, {{'args': ({name!r}, {argument!r})}})"
