"""Which image of a plan is there already."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moat_nb.planning.image import ImagePlan
from moat_nb.runtimes.images.ensure import existing_image

AS_IT_IS = ImagePlan(name="p", base="python:3.12-slim", config="/p/moat.yaml")
BUILT = replace(AS_IT_IS, requirements=("ipykernel>=6",))
BASE_ID = "sha256:b"


@pytest.mark.parametrize(
    ("plan", "images", "found"),
    [
        (AS_IT_IS, {}, None),
        (AS_IT_IS, {AS_IT_IS.base: BASE_ID}, AS_IT_IS.base),
        (BUILT, {}, None),
        (BUILT, {BUILT.base: BASE_ID}, None),
        (BUILT, {BUILT.base: BASE_ID, BUILT.tag(BASE_ID): "sha256:c"}, BUILT.tag(BASE_ID)),
        # Built on another base image of that name, and built of another plan.
        (BUILT, {BUILT.base: BASE_ID, BUILT.tag("sha256:older"): "sha256:c"}, None),
        (replace(BUILT, apt=("git",)), {BUILT.base: BASE_ID, BUILT.tag(BASE_ID): "c"}, None),
        # Its base is gone, so that nobody knows whether it is what a build would make.
        (BUILT, {BUILT.tag(BASE_ID): "sha256:c"}, None),
    ],
)
def test_an_image_is_found_that_is_the_plans_on_the_base_of_today(
    plan: ImagePlan, images: dict[str, str], found: str | None
) -> None:
    assert existing_image(plan, images.get) == found
