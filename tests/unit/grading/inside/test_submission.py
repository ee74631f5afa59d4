"""What a submission's side answers, and what no answer of its own making brings about."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from moat_nb.grading.inside import plain_values
from moat_nb.grading.inside.submission import Submission
from tests.unit.grading.inside.joined import Graded

SOURCE = """\
import math
def square(n):
    print("squaring")
    return n * n
def change(items, *, more):
    items.append(1)
    more["a"] = 1
def loop(): raise RecursionError("deep")
def endless():
    made = []
    made.append(made)
    return made
def long(): return "x" * (1 << 24)
class Own(Exception): pass
def fail(): raise Own("no")
def missing(): return {}["a"]
"""


def answered(do: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """What a request of plain values is answered; a function is given by its name."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(SOURCE, names)
    said: list[str] = []
    submission = Submission(names, said.append, plain_values)
    if do == "call":
        submission.answer(json.dumps({"do": "global", "args": [args[0]], "kwargs": {}}))
        args = ({"k": "name", "v": {"number": json.loads(said.pop()[1:])["value"]["v"]["number"]}},
                *args[1:])  # fmt: skip
    submission.answer(json.dumps({"do": do, "args": args, "kwargs": kwargs}))
    (text,) = said
    assert text[0] == "D"
    made = json.loads(text[1:])
    assert isinstance(made, dict)
    return made


def test_it_answers_with_a_value_and_what_was_printed() -> None:
    assert answered("call", "square", 3) == {"value": 9, "changed": [], "printed": "squaring\n"}


def test_it_tells_what_became_of_lists_and_dicts_by_place_and_by_name() -> None:
    found = answered("call", "change", [], more={"k": "dict", "v": []})
    assert found["changed"] == [[1, [1]], ["more", {"k": "dict", "v": [["a", 1]]}]]


def test_a_name_says_what_it_is_the_name_of() -> None:
    about = answered("global", "Own")["value"]["v"]
    assert (about["class"], about["raised"][0], about["callable"]) == ("Own", "Exception", True)
    assert answered("global", "math")["value"]["v"]["module"] == "math"


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("fail", "Own", "no"),
        ("missing", "KeyError", "a"),
        ("loop", "RecursionError", "deep"),
        ("endless", "ValueError", "nested deeper"),
        ("long", "ValueError", "larger"),
        ("square", "TypeError", "missing 1 required"),
    ],
)
def test_it_answers_with_what_was_raised(name: str, kind: str, text: str) -> None:
    raised = answered("call", name)["raised"]
    assert raised["type"] == kind and text in raised["text"]
    assert (raised["own"] is not None) is (kind == "Own")


@pytest.mark.parametrize(
    ("do", "args", "kind"),
    [
        ("global", ["nothing"], "NameError"),
        ("nonsense", [], "KeyError"),
        ("eval", ["1"], "KeyError"),
        ("call", [{"k": "name", "v": {"number": 99}}], "IndexError"),
        ("len", [{"k": "nonsense", "v": 1}], "ValueError"),
    ],
)
def test_it_answers_whatever_it_is_asked(do: str, args: list[Any], kind: str) -> None:
    if do == "call":
        submission_said: list[str] = []
        request = json.dumps({"do": do, "args": args, "kwargs": {}})
        Submission({}, submission_said.append, plain_values).answer(request)
        assert json.loads(submission_said[0][1:])["raised"]["type"] == kind
    else:
        assert answered(do, *args)["raised"]["type"] == kind


# ---------------------------------------------------------------- answers that are forged


def name(number: Any, **about: Any) -> dict[str, Any]:
    return {"k": "name", "v": {"number": number, "type": "X", "callable": True, **about}}


FUNCTION = {"value": name(0)}


def forging(*answers: Any) -> Callable[[str], str]:
    """A submission that has a function, and answers each call of it by these, in turn."""
    left = list(answers)

    def exchange(text: str) -> str:
        if text[:1] == "Q" and json.loads(text[1:])["do"] == "global":
            return f"D{json.dumps(FUNCTION)}"
        answer = left.pop(0) if left else "Ethe submission gave no answer"
        return answer if isinstance(answer, str) else f"D{json.dumps(answer)}"

    return exchange


SAYS_YES = {"value": True}
CLASS = {"class": "Point", "raised": None}
FORGED: dict[str, tuple[Any, ...]] = {
    "no answer": (),
    "an empty text": ("",),
    "a text of another kind": ("X9",),
    "a result": ('R{"passed": true, "why": ""}', SAYS_YES),
    "an answer without content": ("D",),
    "no JSON": ("D{nonsense",),
    "a list": ([9],),
    "a number": ("D9",),
    "nothing": ("Dnull",),
    "an answer without a value": ({},),
    "JSON that is too deep": ("D" + "[" * 200_000,),
    "a value that is too deep": ('D{"value": ' + "[" * 5000 + "]" * 5000 + "}",),
    "an answer that is too long": ('D{"value": "' + "9" * (1 << 24) + '"}',),
    "a number in words": ({"value": {"k": "int", "v": "nine"}},),
    "a kind that is not known": ({"value": {"k": "yes", "v": 9}},),
    "a name without a number": ({"value": {"k": "name", "v": {}}},),
    "a name that is a text": ({"value": {"k": "name", "v": "number"}},),
    "a number of a name that is none": ({"value": name([])},),
    "a new name": ({"value": name(99)}, SAYS_YES, SAYS_YES),
    "a name that is a number's": ({"value": name(9)}, SAYS_YES, SAYS_YES),
    "a name of an int": ({"value": name(99, type="int")}, SAYS_YES, SAYS_YES),
    "an object that is a class": ({"value": name(99, **CLASS)}, SAYS_YES, SAYS_YES),
    "an object of a class": ({"value": name(99, instance_of=0)}, SAYS_YES, SAYS_YES),
    "an object of itself": ({"value": name(99, instance_of=99, **CLASS)}, SAYS_YES, SAYS_YES),
    "an object that is a module": ({"value": name(99, module="math")}, SAYS_YES),
    "a class of exceptions": ({"value": name(99, **{**CLASS, "raised": ["Exception"]})}, SAYS_YES),
    "a class of no exceptions": ({"value": name(99, **{**CLASS, "raised": [5, {}]})}, SAYS_YES),
    "a class with a wrong name": ({"value": name(99, **{"class": "\0", "raised": []})}, SAYS_YES),
    "a comparison that gives no bool": ({"value": name(99)}, {"value": 1}),
    "an exit": ({"raised": {"bases": ["SystemExit"], "text": "0", "type": "SystemExit"}},),
    "an interrupt": ({"raised": {"bases": ["KeyboardInterrupt"], "text": "", "type": "x"}},),
    "an error of no kind": ({"raised": {"bases": [], "text": "", "type": ""}},),
    "an error that is a function": ({"raised": {"bases": ["print"], "text": "", "type": ""}},),
    "an error without words": ({"raised": {}},),
    "an error that is a text": ({"raised": "SystemExit"},),
    "an error of a named class": (
        {"raised": {"bases": ["ValueError"], "text": "", "type": "", "own": {"number": 0}}},
    ),
    "an end": ({"raised": {"bases": ["StopIteration"], "text": "", "type": "StopIteration"}},),
    "a change of what was not given": ({"value": 0, "changed": [[5, 9]]},),
    "changes that are none": ({"value": 0, "changed": 9},),
    "a change of the function": ({"value": 0, "changed": [[0, 9]]},),
    "a call of a function that was not given": ('C{"function": 0, "args": [], "kwargs": {}}',),
    "a call without content": ("C", "C", "C"),
    "printed yes": ({"value": 0, "printed": "True\n"},),
    "printed by no text": ({"value": 0, "printed": ["x"]},),
}


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize(
    ("test", "form"),
    [
        ("assert answer(3) == 9", "code"),
        ("try:\n    assert answer(3) == 9\nexcept Exception:\n    raise", "code"),
        ("assert 9 in [answer(3)]", "code"),
        (">>> answer(3) == 9\nTrue\n", "doctest"),
    ],
)
def test_no_forged_answer_passes(forged: str, test: str, form: str) -> None:
    found = Graded(forging(*FORGED[forged])).run(test, form)
    assert found["passed"] is False and found["why"]


def test_an_object_of_a_class_that_a_test_names_decides_only_where_the_test_made_it() -> None:
    answers = ({"value": name(7, instance_of=0)}, SAYS_YES)
    assert not Graded(forging(*answers)).run("assert answer(3) == 9")["passed"]


def test_a_function_of_a_tests_is_called_by_no_other_number() -> None:
    calls = [
        f"C{json.dumps({'function': number, 'args': [], 'kwargs': {}})}"
        for number in (1, 99, "0", None, [0])
    ]
    called: list[int] = []
    graded = Graded(forging(*calls, {"value": 9}))
    graded._tester.names["note"] = lambda: called.append(1)
    assert graded.run("assert answer(note) == 9")["passed"]
    assert called == []


def test_a_list_that_was_given_stays_a_list() -> None:
    answers = {"value": 0, "changed": [[1, {"k": "tuple", "v": [9]}], [1, "x"], [1, [5]]]}
    assert Graded(forging(answers)).run("a = [1]\nanswer(a)\nassert a == [5]")["passed"]
