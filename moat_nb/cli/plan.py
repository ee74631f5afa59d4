"""`moat-nb plan`: what would run, for people and for programs. Nothing is started."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from moat_nb.cli.visible_secrets import tell
from moat_nb.config.model import Config
from moat_nb.host.run_directory import RunDir, base_directory
from moat_nb.planning.builtin_services import MODELS
from moat_nb.planning.image import ImagePlan
from moat_nb.planning.limits import limits_in_words
from moat_nb.planning.mounts import MOUNT_COLUMNS, kind, mount_points, mount_rows
from moat_nb.planning.ports import port_host
from moat_nb.planning.services import SidecarPlan
from moat_nb.planning.spec import ContainerSpec, Instance, SandboxSpec
from moat_nb.runtimes.base import Runtime
from moat_nb.sandbox.approval import demands
from moat_nb.sandbox.project import LaunchPlan, plan_project
from moat_nb.text.tables import fields, table, wrap
from moat_nb.text.terminal import one_line

__all__ = ["Rendered", "make", "plan", "plan_as_json", "plan_as_text", "render"]

PLACEHOLDER = "00000000"


@dataclass(frozen=True, kw_only=True)
class PlannedSidecar:
    plan: SidecarPlan
    spec: ContainerSpec
    """As it would be started, but for the id, and for what only its image says."""
    rendered: Any


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A plan in the runtime's own words too."""

    launch: LaunchPlan
    spec: ContainerSpec
    """As it would be started, but for the id, which is :data:`PLACEHOLDER`."""
    rendered: Any
    """``spec`` in the runtime's own words."""
    remarks: tuple[str, ...] = ()
    """The runtime's, of what is as it is at every start."""
    sidecars: tuple[PlannedSidecar, ...] = ()

    @property
    def config(self) -> Config:
        return self.launch.config

    @property
    def image(self) -> ImagePlan | None:
        return self.launch.image


def plan(directory: str, runtime: str | None, *, form: str) -> int:
    """``form``: text, json, dockerfile or manifest."""
    found = make(directory, runtime)
    tell(found.launch)
    if form == "json":
        print(json.dumps(plan_as_json(found), indent=2))
    elif form == "manifest":
        print(yaml.safe_dump(found.rendered, sort_keys=False, allow_unicode=True), end="")
    elif form == "text":
        print(plan_as_text(found))
        _tell_if_it_cannot_start(found.launch.runtime)
    elif found.image is not None and found.image.dockerfile:
        print(found.image.dockerfile, end="")
    else:
        print(f"moat-nb: nothing is built: {_image(found)}", file=sys.stderr)
    return 0


def _tell_if_it_cannot_start(runtime: Runtime) -> None:
    found = runtime.available()
    if not found.usable:
        why = "; ".join(filter(None, (found.detail, found.hint)))
        words = one_line(f"it would not start now: {runtime.capabilities.name}: {why}")
        print(f"moat-nb: {words}", file=sys.stderr)


def make(directory: str, runtime: str | None) -> Rendered:
    """Plan and render the project at ``directory``; raises what a start would refuse."""
    return render(plan_project(directory, runtime))


def render(launch: LaunchPlan) -> Rendered:
    run_dir = RunDir(base_directory(launch.environ, os.getuid()) / PLACEHOLDER)
    instance = Instance.of(run_dir, "0:0:0")
    sandbox = SandboxSpec(kernel=launch.spec, sidecars=launch.sidecar_specs).instantiate(instance)
    rendered, *beside = launch.runtime.render(sandbox)
    sidecars = (
        PlannedSidecar(plan=plan, spec=spec, rendered=words)
        for plan, spec, words in zip(launch.sidecars, sandbox.sidecars, beside, strict=True)
    )
    return Rendered(
        launch=launch,
        spec=sandbox.kernel,
        rendered=rendered,
        remarks=launch.runtime.remarks(sandbox.kernel),
        sidecars=tuple(sidecars),
    )


# ---------------------------------------------------------------- for programs


def plan_as_json(plan: Rendered) -> dict[str, Any]:
    """``spec`` with each mount's type, and ``rendered`` in the runtime's words."""
    image = None
    if plan.image is not None:
        image = {**asdict(plan.image), "dockerfile": plan.image.dockerfile}
    return {
        "file": str(plan.config.path),
        "spec": _spec(plan.spec),
        "image": image,
        "loosened": plan.spec.loosened(),
        "needs_approval": [str(demand) for demand in demands(plan.launch)],
        "unused": [asdict(key) for key in plan.config.unused],
        "remarks": plan.remarks,
        "rendered": plan.rendered,
        "sidecars": [
            {
                "name": one.plan.name,
                "spec": _spec(one.spec),
                "ready": None if one.plan.ready is None else str(one.plan.ready),
                "wait": one.plan.wait,
                "models": one.plan.models,
                "rendered": one.rendered,
            }
            for one in plan.sidecars
        ],
    }


def _spec(spec: ContainerSpec) -> dict[str, Any]:
    words = asdict(spec)
    words["mounts"]["mounts"] = [{"type": kind(mount), **asdict(mount)} for mount in spec.mounts]
    return words


# ---------------------------------------------------------------- for people


def plan_as_text(plan: Rendered) -> str:
    config, spec = plan.config, plan.spec
    head = tuple(column.upper() for column in MOUNT_COLUMNS)
    parts = [
        fields((name, value) for name, value in _facts(plan) if value),
        "mounts, in order\n" + table([head, *mount_rows(spec.mounts)], indent=2),
    ]
    parts += [_sidecar(one) for one in plan.sidecars]
    specs = (spec, *(one.spec for one in plan.sidecars))
    if points := list(dict.fromkeys(point for one in specs for point in mount_points(one.mounts))):
        parts.append("made on the host at the start, where missing\n" + table(points, indent=2))
    if notices := [n for n in (*spec.notices, *plan.remarks) if n != plan.launch.why]:
        parts.append("notices\n" + "\n".join(wrap(n, "  - ", "    ") for n in notices))
    if new := demands(plan.launch):
        lines = "\n".join(wrap(one_line(str(demand)), "  - ", "    ") for demand in new)
        parts.append(f"needs approval, by `moat-nb allow`\n{lines}")
    if config.unused:
        keys = [(key.where, key.name) for key in config.unused]
        parts.append("keys not used: they mean nothing to a kernel\n" + table(keys, indent=2))
    return "\n\n".join(parts)


def _sidecar(one: PlannedSidecar) -> str:
    plan, spec = one.plan, one.spec
    ready = "once it is started" if plan.ready is None else f"when {plan.ready}"
    rows = [
        ("image", str(spec.image)),
        ("user", str(spec.user)),
        ("limits", limits_in_words(spec.limits)),
        ("hardening", _hardening(spec)),
        ("loosened", "; ".join(spec.hardening.loosened()) or "nothing"),
        ("ports", ", ".join(map(str, plan.ports))),
        ("ready", ready if plan.wait else "not waited for"),
        ("models", ", ".join(plan.models)),
        ("pulls", _pulls(one)),
        ("env", ", ".join(plan.service.env)),
    ]
    facts = fields((name, value) for name, value in rows if value)
    words = "\n".join(f"  {line}" for line in facts.splitlines())
    return f"sidecar {plan.name}\n{words}\n{table([*mount_rows(spec.mounts)], indent=2)}"


def _pulls(one: PlannedSidecar) -> str:
    """How models come there."""
    if not one.plan.models:
        return ""
    way = "the engine's network" if one.spec.egress is None else "the sandbox's proxy, by its rules"
    return f"those that are not in {MODELS} yet, before kernels start, through {way}"


def _facts(plan: Rendered) -> Iterator[tuple[str, str]]:
    config, spec = plan.config, plan.spec
    yield "project", str(config.path)
    yield "name", config.name
    yield "runtime", plan.launch.why.removeprefix("runtime: ")
    yield "image", _image(plan)
    yield "user", str(spec.user)
    yield "limits", limits_in_words(spec.limits)
    yield "hardening", _hardening(spec)
    yield "loosened", "; ".join(spec.loosened()) or "nothing"
    yield "env", ", ".join(name for name, _ in spec.env)
    yield "ports", _ports(config)
    yield "secrets", ", ".join(f"{secret.name} ({secret.scheme})" for secret in config.secrets)
    yield "command", " ".join(config.command)


def _ports(config: Config) -> str:
    """Where each will be found; every start has an id and a port of its own."""
    shown = (
        f"{name}: http://{port_host(name, config.name, 'ID')}:PORT -> {port} inside"
        for name, port in config.ports
    )
    return ", ".join(shown)


def _image(plan: Rendered) -> str:
    image = plan.image
    if image is None:
        return "none: the host's own programs and this Python, read-only"
    if not image.dockerfile:
        return f"{image.base}, as it is"
    added = [
        f"{tool}: {', '.join(names)}"
        for tool, names in (("pip", image.requirements), ("apt", image.apt), ("npm", image.npm))
        if names
    ]
    hooks = asdict(image.hooks)
    added += [f"hooks.{name}" for name in hooks if hooks[name] is not None]
    return f"{image.base}, with {'; '.join(added)}"


def _hardening(spec: ContainerSpec) -> str:
    hardening = spec.hardening
    words = []
    if hardening.cap_drop:
        words.append(f"capabilities dropped: {', '.join(hardening.cap_drop)}")
    if hardening.no_new_privileges:
        words.append("no new privileges")
    if hardening.read_only_root:
        words.append("read-only root filesystem")
    if hardening.isolation is not None:
        words.append(f"isolation {hardening.isolation}")
    return ", ".join((*words, f"network {_network(spec)}"))


def _network(spec: ContainerSpec) -> str:
    if spec.network == "sandbox":
        return "the kernels'"
    if spec.egress is not None:
        return f"none but the proxy, policy {spec.egress.policy}"
    return spec.network
