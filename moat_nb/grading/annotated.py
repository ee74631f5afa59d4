"""A notebook with what its run showed, as nbgrader scores and shows it; pure.

nbgrader gives a test's points by the outputs of its cell, and shows notebooks in pages that have a
teacher's rights: what a submission has in one is escaped, or is not there.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from typing import Any

from moat_nb.grading.outputs import IMAGES, Outputs, still
from moat_nb.grading.shown_text import BASE64, as_html, without_links
from moat_nb.grading.verdict import CellRun, Run, TestRun, Verdict
from moat_nb.jupyter.output import messages
from moat_nb.jupyter.output.effort import bounded
from moat_nb.text.terminal import printable
from moat_nb.text.untrusted import as_dict

__all__ = ["annotate", "comment_of", "make_harmless", "make_outputs_harmless"]

NOT_IN_COMMENTS = re.compile(r"[^\w .,:;/()\[\]'=+-]")
LONGEST_COMMENT = 500
KEPT_METADATA = frozenset({"kernelspec", "language_info"})
"""Of a notebook: pages are made by its language, and by no title, author or widget of its own."""

Content = dict[str, Any]


def annotate(content: Content, run: Run, outputs: Outputs) -> None:
    """Give each code cell of ``content`` the outputs that it has come to."""
    cells = {cell.number: cell for cell in run.cells}
    tests = {test.name: test for test in run.tests}
    for number, cell in enumerate(content["cells"], 1):
        if cell["cell_type"] != "code":
            continue
        cell["execution_count"] = None
        if number in cells:
            cell["outputs"] = [*outputs.of(number), *_why(cells[number], run)]
        else:
            name = as_dict(cell["metadata"].get("nbgrader")).get("grade_id")
            cell["outputs"] = list(_of_test(tests.get(str(name))))


def _why(cell: CellRun, run: Run) -> Iterator[Content]:
    """What a kernel has not said itself."""
    if cell.outcome in ("ran", "raised"):
        return
    ended = "" if run.ended is None else run.ended.words
    words = {
        "timed out": run.too_long,
        "ended": ended,
        "stopped": "it printed more than is kept",
        "not run": "the run had ended before this cell",
    }
    yield _error(cell.outcome, words[cell.outcome])


def _of_test(test: TestRun | None) -> Iterator[Content]:
    """Nothing at all gives a test's full points, in nbgrader/utils.py: determine_grade."""
    if test is None:
        yield _error("not run", "the run had ended before this test")
    elif test.points and test.points < test.of:
        # nbgrader takes a result that is a number for the points.
        yield {
            **{"output_type": "execute_result", "execution_count": None, "metadata": {}},
            "data": {"text/plain": repr(test.points)},
        }
    elif not test.passed:
        yield _error("failed", test.why)


def _error(name: str, words: str) -> Content:
    words = printable(words)
    lines = words.splitlines() or [name]
    return {"output_type": "error", "ename": name, "evalue": lines[0], "traceback": [words]}


def make_harmless(content: Content, own: Container[str] = ()) -> None:
    """Leave in a notebook no more than pages may show that have a teacher's rights.

    ``own`` are the texts that the teacher has written: they stand.
    """
    make_outputs_harmless(content)
    content["metadata"] = {k: v for k, v in content["metadata"].items() if k in KEPT_METADATA}
    for cell in content["cells"]:
        cell["metadata"] = {k: v for k, v in cell["metadata"].items() if k == "nbgrader"}
        if cell["cell_type"] == "code":
            continue
        attached = as_dict(cell.pop("attachments", None))
        if cell["source"] not in own:
            cell["source"] = as_html(cell["source"], attached)
        elif attached:
            cell["attachments"] = {name: _images(as_dict(one)) for name, one in attached.items()}


def make_outputs_harmless(content: Content) -> None:
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [kept for one in cell["outputs"] for kept in _harmless(one)]


def _images(attachment: Content) -> Content:
    """Of a text of the teacher's, which names them."""
    return {
        kind: data
        for kind, data in attachment.items()
        if kind in IMAGES and isinstance(data, str) and BASE64.fullmatch(data)
    }


def _harmless(output: Content) -> Iterator[Content]:
    kind = output["output_type"]
    if kind not in messages.OUTPUTS:
        return
    with bounded():
        shown, _ = messages.sanitise(kind, {k: v for k, v in output.items() if k != "output_type"})
    if shown is None:
        return
    if kind in messages.DISPLAYS:
        data = still(shown["data"])
        data = {k: v for k, v in data.items() if k not in IMAGES or BASE64.fullmatch(v)}
        if "text/html" in data:
            data["text/html"] = without_links(data["text/html"])
        shown = {**shown, "data": data, "metadata": {}}
        del shown["transient"]
    yield {"output_type": kind, **shown}


def comment_of(verdict: Verdict) -> str:
    """The verdict in words that a page may take for Markdown and HTML; "" where there is nothing
    to say."""
    if verdict.kind == "passed":
        return ""
    detail = " ".join(verdict.detail.split())
    words = NOT_IN_COMMENTS.sub("?", f"{verdict.kind}: {detail}" if detail else verdict.kind)
    words = words.replace("](", "] (").replace("][", "] [").replace("]:", "] :")  # no link
    return words if len(words) <= LONGEST_COMMENT else f"{words[:LONGEST_COMMENT]}..."
