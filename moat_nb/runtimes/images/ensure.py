"""Makes the image of a plan be there: found, pulled or built."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from moat_nb.errors import ImageError
from moat_nb.planning.image import ImagePlan
from moat_nb.runtimes.images.earlier import (
    Earlier,
    earlier_images,
    labels_of,
    remove_old,
    to_grow_from,
)
from moat_nb.text.terminal import one_line

if TYPE_CHECKING:
    from docker import DockerClient

    from moat_nb.host.reaper import Reaper
    from moat_nb.runtimes.images.wheels import Target
    from moat_nb.text.progress import Progress

__all__ = ["ensure_image", "existing_image"]


def existing_image(plan: ImagePlan, look_up: Callable[[str], str | None]) -> str | None:
    """The name of ``plan``'s image, if it is there: two looks at the engine.

    ``look_up`` gives an image's id by its name, None where there is none.
    """
    base_id = look_up(plan.base)
    if base_id is None or not plan.dockerfile:
        return plan.base if base_id is not None else None
    tag = plan.tag(base_id)
    return tag if look_up(tag) is not None else None


def ensure_image(
    plan: ImagePlan,
    client: DockerClient,
    progress: Progress,
    reaper: Reaper | None = None,
    *,
    socket: str = "",
    unlimited: Collection[str] = (),
) -> str:
    """The name of ``plan``'s image, which is on the engine when this returns.

    The base image is pulled if it is missing, and ours is built. Raises ImageError with the
    failing step's own words; no container, layer or directory stays behind. ``reaper`` sees to
    the directory, and to containers of the engine at ``socket``, if the launcher is killed.
    ``unlimited``: what the engine cannot limit.
    """
    # Not at the top: plans are made without them, and they take half of a plan's time to import.
    from moat_nb.runtimes.images import build
    from moat_nb.runtimes.images.probe import probe

    def announce(name: str) -> None:
        if reaper is not None and socket:
            reaper.container(socket, name)

    base_id = _image_id(client, plan.base) or _pull(plan, client, progress)
    if (found := existing_image(plan, partial(_image_id, client))) is not None:
        return found
    if "memory" in unlimited:
        plan = replace(plan, limits=None)
    tag = plan.tag(base_id)
    asked = plan.requirements or plan.python
    target = probe(client, plan.base, announce, unlimited) if asked else None
    _check_python(plan, target)
    if target is not None and target.ipykernel and plan.only_ipykernel:
        repository, _, version = tag.rpartition(":")
        client.api.tag(base_id, repository, version)
        return tag
    _check_triggers(plan, client)
    before = to_grow_from(plan, base_id, earlier_images(plan, client.api.images()))
    if before is None or not _grow(plan, base_id, before, target, client, progress, reaper):
        request = build.BuildRequest(
            tag=tag,
            dockerfile=plan.dockerfile,
            requirements=plan.requirements,
            optional=plan.optional,
            labels=partial(labels_of, plan, base_id, None),
            network_steps=plan.network_steps,
            limits=plan.limits,
        )
        try:
            build.build(request, target, client, progress, reaper)
        except ImageError as error:
            raise ImageError(f"{error}\nThe image is what {plan.config} asks for") from error
    remove_old(plan, client, keep=tag)
    return tag


def _grow(
    plan: ImagePlan,
    base_id: str,
    before: Earlier,
    target: Target | None,
    client: DockerClient,
    progress: Progress,
    reaper: Reaper | None,
) -> bool:
    """Whether the image could be made of the one ``before``: its packages may be in the way of
    those that are new, which a build from nothing finds together."""
    from moat_nb.runtimes.images import build

    request = build.BuildRequest(
        tag=plan.tag(base_id),
        dockerfile=plan.grown_dockerfile(before.name),
        requirements=plan.requirements,
        optional=plan.optional,
        there=before.wheels,
        labels=partial(labels_of, plan, base_id, before),
        limits=plan.limits,
    )
    try:
        build.build(request, target, client, progress, reaper)
    except ImageError as error:
        progress.log(f"{before.name} cannot be the start of it, so it is made anew: {error}")
        return False
    return True


def _check_triggers(plan: ImagePlan, client: DockerClient) -> None:
    """Its maker's commands, which an engine runs in every build from it."""
    steps = client.api.inspect_image(plan.base)["Config"].get("OnBuild") or []
    if steps:
        raise ImageError(
            f"{plan.base_place}: {plan.base} has commands of its maker that would run in our build "
            f"(ONBUILD {one_line(str(steps[0]))[:200]}); build an image from it yourself "
            f"(`FROM {plan.base}`), and name that as base_image"
        )


def _check_python(plan: ImagePlan, target: Target | None) -> None:
    if plan.python is None or target is None:
        return
    version = plan.python.version
    if not f"{target.release}.".startswith(f"{version}."):
        raise ImageError(
            f"{plan.python.where}: python@{version}, and {plan.base} has Python {target.release}; "
            f"write python@{target.python}, or name another base_image"
        )


def _image_id(client: DockerClient, name: str) -> str | None:
    from docker.errors import APIError, ImageNotFound

    try:
        return str(client.api.inspect_image(name)["Id"])
    except ImageNotFound:
        return None
    except APIError as error:
        raise ImageError(f"{name}: the engine cannot look it up: {error.explanation}") from error


def _pull(plan: ImagePlan, client: DockerClient, progress: Progress) -> str:
    from moat_nb.runtimes.images import build

    failure = build.pull(plan.base, client, progress)
    found = None if failure else _image_id(client, plan.base)
    if found is None:
        raise ImageError(
            f"{plan.base} is not on this machine, and pulling it failed: "
            f"{failure or 'the engine does not have it afterwards'}; pull, build or import it by "
            f"hand, or name one that is here as base_image in {plan.config}"
        )
    return found
