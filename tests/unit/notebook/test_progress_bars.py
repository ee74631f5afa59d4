"""progress_bars.py: bars of widgets as text. What messages hold is a sandbox's word."""

from __future__ import annotations

from typing import Any

import pytest

from moat_nb.notebook import progress_bars
from moat_nb.notebook.progress_bars import ProgressBars


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> ProgressBars:
    monkeypatch.setattr(progress_bars, "SECONDS", 0)
    return ProgressBars()


def state(id: Any, **state: Any) -> dict[str, Any]:
    return {"comm_id": id, "data": {"method": "update", "state": state}}


def tqdm(bars: ProgressBars) -> None:
    assert bars.open(state("layout", _model_name="LayoutModel"))
    assert bars.open(state("left", _model_name="HTMLModel", value="  0%"))
    assert bars.open(state("bar", _model_name="FloatProgressModel", value=0, min=0, max=4))
    assert bars.open(state("right", _model_name="HTMLModel", value=" 0/4 [00:00&lt;?, <b>?it/s]"))
    children = [f"IPY_MODEL_{id}" for id in ("left", "bar", "right")]
    assert bars.open(state("box", _model_name="HBoxModel", children=children))


def test_a_bar_is_text_that_moves(bars: ProgressBars) -> None:
    tqdm(bars)
    assert bars.view("box") == "0% |          | 0/4 [00:00<?, ?it/s]"
    assert [*bars.update(state("bar", value=2))] == [
        ("box", "0% |█████     | 0/4 [00:00<?, ?it/s]")
    ]
    assert [*bars.update(state("layout", width="1px"))] == []
    assert [*bars.update(state("left", value=" 50%"))] == [
        ("box", "50% |█████     | 0/4 [00:00<?, ?it/s]")
    ]


def test_between_two_texts_is_a_moment_and_the_last_one_is_told_at_the_end() -> None:
    bars = ProgressBars()
    tqdm(bars)
    bars.view("box")
    for value in (1, 2, 3, 4):
        assert [*bars.update(state("bar", value=value))] == []
    assert [*bars.rest()] == [("box", "0% |██████████| 0/4 [00:00<?, ?it/s]")]
    assert [*bars.rest()] == []


def test_what_is_no_bar_is_no_text_of_ours(bars: ProgressBars) -> None:
    assert not bars.open(state("slider", _model_name="IntSliderModel", value=1))
    assert bars.open(state("words", _model_name="HTMLModel", value="x"))
    assert bars.open(state("box", _model_name="HBoxModel", children=["IPY_MODEL_words"]))
    assert [bars.view(model) for model in ("slider", "words", "box", "unknown", None, 1)] == (
        [None] * 6
    )


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"comm_id": 1, "data": None},
        {"comm_id": "bar", "data": {"state": {"value": "x" * 10**6, "max": [[]] * 10**5}}},
        {"comm_id": "bar", "data": {"state": {"value": float("nan"), "max": 10**400}}},
        {"comm_id": "box", "data": {"state": {"children": ["IPY_MODEL_box"] * 50}}},
        {"comm_id": "box", "data": {"state": {"children": {"a": 1}, "_model_name": []}}},
        {"comm_id": "left", "data": {"state": {"value": "<" * 10**6}}},
    ],
)
def test_nothing_that_a_sandbox_says_does_harm(bars: ProgressBars, content: dict[str, Any]) -> None:
    tqdm(bars)
    bars.view("box")
    for _, text in [*bars.update(content), *bars.rest()]:
        assert len(text) < 3000
    bars.open(content)


def test_models_are_bounded(bars: ProgressBars) -> None:
    for number in range(progress_bars.MAX_MODELS + 5):
        bars.open(state(str(number), _model_name="FloatProgressModel", value=1, max=1))
    assert bars.view("0") is None
    assert bars.view(str(number)) == "|██████████|"
