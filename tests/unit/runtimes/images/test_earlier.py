from __future__ import annotations

from dataclasses import replace
from typing import Any

from moat_nb.config.model import Hooks
from moat_nb.planning.image import PROJECT_LABEL, ImagePlan
from moat_nb.runtimes.images.earlier import (
    MOST_GROWN,
    Earlier,
    earlier_images,
    labels_of,
    to_grow_from,
)

PLAN = ImagePlan(
    name="p", base="python:3.12-slim", config="/p/moat.yaml", requirements=("a", "b", "c")
)
BASE_ID = "sha256:b"


def built(
    *requirements: str, name: str = "moat-nb/p:1", created: int = 1, **plan: Any
) -> dict[str, Any]:
    """As an engine lists it."""
    asked = replace(PLAN, requirements=requirements, **plan)
    labels = labels_of(asked, BASE_ID, None, [f"{each}.whl" for each in requirements])
    return {"RepoTags": [name], "Labels": labels, "Created": created}


def grown_from(*images: dict[str, Any], plan: ImagePlan = PLAN, base: str = BASE_ID) -> str | None:
    found = to_grow_from(plan, base, earlier_images(plan, images))
    return None if found is None else found.name


def test_the_one_that_lacks_the_least_is_taken() -> None:
    less, more = built("a"), built("a", "b", name="localhost/moat-nb/p:2")
    assert grown_from(less, more) == "localhost/moat-nb/p:2"
    assert grown_from(less, built("a", "b", "c"), built("a", "d")) == "moat-nb/p:1"
    assert grown_from() is None


def test_one_of_something_else_is_not_taken() -> None:
    assert grown_from(built("a", apt=("git",))) is None
    assert grown_from(built("a"), base="sha256:newer") is None
    assert grown_from(built("a"), plan=replace(PLAN, config="/other/moat.yaml")) is None
    assert grown_from(built("a"), plan=replace(PLAN, name="q")) is None
    hooks = Hooks(post_build="true")
    assert grown_from(built("a", hooks=hooks), plan=replace(PLAN, hooks=hooks)) is None
    assert grown_from(built("a", npm=("x",)), plan=replace(PLAN, npm=("x",))) is None


def test_the_next_knows_all_wheels_and_how_often_it_was_grown() -> None:
    before = Earlier(name="x", created=1, wheels=frozenset({"a.whl"}), grown=MOST_GROWN - 1)
    labels = labels_of(PLAN, BASE_ID, before, ["b.whl"])
    image = {"RepoTags": ["moat-nb/p:1"], "Labels": labels, "Created": 5}
    wanted = replace(PLAN, requirements=("a", "b", "c", "d"))
    (found,) = earlier_images(wanted, [image])
    assert found.wheels == {"a.whl", "b.whl"}
    assert found.grown == MOST_GROWN
    assert grown_from(image, plan=wanted) is None


def test_labels_of_somebody_elses_are_no_image_of_ours() -> None:
    labels = {PROJECT_LABEL: "/p", "moat.nb.requirements": "{", "moat.nb.grown": "x"}
    image = {"RepoTags": ["moat-nb/p:1", "mine:1"], "Labels": labels, "Created": 1}
    assert list(earlier_images(PLAN, [image, {"RepoTags": None, "Labels": None}])) == []
