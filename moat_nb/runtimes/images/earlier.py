"""A project's earlier images: one that a new one can be made from, and those that may go.

A package more is installed on top of the image before it, which has all else already. What that
image has stays as it is there; a build from nothing takes the newest of everything.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moat_nb.planning.image import PROJECT_LABEL, ImagePlan
from moat_nb.planning.spec import LABEL

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["KEPT", "Earlier", "earlier_images", "labels_of", "remove_old", "to_grow_from"]

REST_LABEL = f"{LABEL}.rest"
"""A hash of the base image's id and of all that the plan asks for beside pip's packages."""
REQUIREMENTS_LABEL = f"{LABEL}.requirements"
WHEELS_LABEL = f"{LABEL}.wheels"
GROWN_LABEL = f"{LABEL}.grown"
"""How many images it was made on top of; an engine has a limit of layers."""

MOST_GROWN = 16
KEPT = 2
"""Images of one project that stay: the newest, and one for who goes back a step."""


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """An image that was built for the same project."""

    name: str
    created: int
    rest: str = ""
    requirements: frozenset[str] = frozenset()
    wheels: frozenset[str] = frozenset()
    """The names of the files that are in it."""
    grown: int = 0


def earlier_images(plan: ImagePlan, images: Iterable[Mapping[str, Any]]) -> Iterator[Earlier]:
    """Of an engine's list of images those that were built for the plan's project."""
    for image in images:
        labels = image.get("Labels") or {}
        if labels.get(PROJECT_LABEL) != str(Path(plan.config).parent):
            continue
        for name in image.get("RepoTags") or ():
            if name.removeprefix("localhost/").startswith(f"{plan.repository}:"):
                with contextlib.suppress(ValueError, TypeError):
                    yield Earlier(
                        name=name,
                        created=int(image.get("Created") or 0),
                        rest=labels.get(REST_LABEL, ""),
                        requirements=frozenset(json.loads(labels.get(REQUIREMENTS_LABEL, "[]"))),
                        wheels=frozenset(json.loads(labels.get(WHEELS_LABEL, "[]"))),
                        grown=int(labels.get(GROWN_LABEL, 0)),
                    )


def to_grow_from(plan: ImagePlan, base_id: str, there: Iterable[Earlier]) -> Earlier | None:
    """The one that lacks the least, and has nothing that the plan does not ask for."""
    if plan.has_hooks or plan.npm:
        return None  # they run once, after the packages
    wanted, rest = frozenset(plan.requirements), _rest(plan, base_id)
    fit = [
        each
        for each in there
        if each.rest == rest
        and each.requirements
        and each.requirements < wanted
        and each.grown < MOST_GROWN
    ]
    return max(fit, key=lambda each: (len(each.requirements), each.created), default=None)


def labels_of(
    plan: ImagePlan, base_id: str, before: Earlier | None, wheels: Iterable[str]
) -> dict[str, str]:
    """By which the next image finds this one."""
    there = before.wheels if before is not None else frozenset()
    return {
        PROJECT_LABEL: str(Path(plan.config).parent),
        REST_LABEL: _rest(plan, base_id),
        REQUIREMENTS_LABEL: json.dumps(sorted(plan.requirements)),
        WHEELS_LABEL: json.dumps(sorted({*there, *wheels})),
        GROWN_LABEL: str(before.grown + 1 if before is not None else 0),
    }


def _rest(plan: ImagePlan, base_id: str) -> str:
    others = replace(plan, requirements=()).dockerfile
    return hashlib.sha256(f"{base_id}\n{others}".encode()).hexdigest()[:32]


def remove_old(plan: ImagePlan, client: DockerClient, keep: str) -> None:
    """Remove all but the newest :data:`KEPT`, ``keep`` among them. One that a container has, or
    that the engine will not part with, stays."""
    from docker.errors import APIError

    with contextlib.suppress(APIError):
        there = sorted(
            earlier_images(plan, client.api.images()), key=lambda one: one.created, reverse=True
        )
        others = [one for one in there if one.name.removeprefix("localhost/") != keep]
        for old in others[KEPT - 1 :]:
            with contextlib.suppress(APIError):
                client.api.remove_image(old.name)
