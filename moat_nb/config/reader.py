"""Reads moat.yaml into a Config; the file is found and read only here.

Everything below :func:`read_config` is pure, bytes to Config; problems are collected over the
whole file and raised at once. Nothing of the environment is read: what ``env://NAME`` refers to
is looked up at launch, and ``~`` is the home directory that the caller gives.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from moat_nb.config import custom_services as parse_own_services
from moat_nb.config import kernel as parse_kernel
from moat_nb.config import mounts as parse_mounts
from moat_nb.config import network as parse_network
from moat_nb.config import services as parse_services
from moat_nb.config import values as parse_values
from moat_nb.config.cursor import Cursor, Fields
from moat_nb.config.dependencies import unknown_problems
from moat_nb.config.file import digest_of, find, label_of, read_file
from moat_nb.config.model import Config, Dependency, UnusedKey
from moat_nb.config.shapes import Block, Choice, Keys, Text, key
from moat_nb.config.yaml_nodes import Problems, compose, nearest
from moat_nb.errors import ConfigError, Problem

__all__ = ["UNUSED", "FileKeys", "load", "load_with_problems", "read_config", "slug"]


UNUSED = (
    *("agent", "agents", "version", "grants", "claude", "codex", "copilot", "gemini", "pi", "mcp"),
    *("language_servers", "snapshots", "tracing", "interactive", "clipboard", "devices"),
)
"""Moat's top-level keys that mean nothing to a kernel: accepted, and listed as not used."""

_NAME_MAX = 63
# A container's, a kernelspec's and a host's name at once; an image's too, in lower case.
_NAME = re.compile(rf"(?=.{{1,{_NAME_MAX}}}$)[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")


class _WorkspaceKeys(Keys):
    mode = key(
        Choice[Literal["bind", "volume"]](options=("bind", "volume")),
        "bind: the project itself; volume: a copy of it.",
        default="bind",
    )


class FileKeys(Keys):
    name = key(Text(), "The project's name; made from the directory's name unless given.")
    mounts = key(
        parse_mounts.MOUNTS,
        "Directories and files of this machine in the sandbox; the project is at /workspace unless"
        " one is mounted there.",
    )
    volumes = key(
        parse_mounts.VOLUMES, "What is kept from one start to the next; needs the project's name."
    )
    workspace = key(Block(_WorkspaceKeys), "How the project stands in the sandbox.")
    env = key(parse_values.ENV, "Variables of the sandbox.")
    secrets = key(
        parse_values.SECRETS,
        "Variables whose values are fetched at the start: env://NAME, op:// or ssm://.",
    )
    dependencies = key(
        parse_services.DEPENDENCIES,
        "What the image has: python@3.12, pip:numpy, npm:NAME, git,"
        " or a service such as postgres@17.",
    )
    base_image = key(parse_values.IMAGE, "The image to build on, or to use as it is.")
    services = key(parse_services.SERVICES, "More about the services among the dependencies.")
    network = key(Block(parse_network.NetworkKeys), "What the sandbox can reach.")
    hooks = key(Block(parse_values.HooksKeys), "Shell commands for the image and the sandbox.")
    container = key(Block(parse_values.ContainerKeys), "Limits of the sandbox.")
    command = key(
        parse_values.COMMAND, "What `moat-nb run` runs without a command: a program, its arguments."
    )
    ports = key(
        parse_values.PORTS,
        "Ports that servers in the sandbox listen on, by name; each has a URL on this machine.",
    )
    runtime = key(
        Choice[Literal["docker", "apple"]](options=("docker", "apple")), "Moat's choice of engine."
    )
    sandbox = key(
        Choice(options=("none",), empty=True), "Moat's own: none does without gVisor there."
    )
    kernel = key(Block(parse_kernel.KernelKeys), "moat_nb's own keys, which Moat passes over.")


def load(path: Path | str, *, home: Path | None = None) -> Config:
    """Find (see :func:`find`) and read a file; ConfigError holds all that is wrong with it.

    ``home`` is what ``~`` stands for, the launcher's own home unless given.
    """
    config, problems = load_with_problems(path, home=home)
    if problems:
        raise ConfigError(problems)
    return config


def load_with_problems(
    path: Path | str, *, home: Path | None = None
) -> tuple[Config, tuple[Problem, ...]]:
    """As :func:`load`, with what is wrong beside a Config that is without it: good for finding
    more, and for nothing else. ConfigError where nothing can be understood."""
    home = home or Path.home()
    file = find(Path(path), home)
    label = label_of(file)
    return _read(read_file(file, label), path=file, home=home, label=label)


def read_config(data: bytes, *, path: Path, home: Path, label: str | None = None) -> Config:
    """``data`` as the Config of the file ``path``, which is absolute and is not looked at.

    ``label`` is how errors name the file; its name alone when not given. Raises ConfigError.
    """
    config, problems = _read(data, path=path, home=home, label=label)
    if problems:
        raise ConfigError(problems)
    return config


def _read(
    data: bytes, *, path: Path, home: Path, label: str | None
) -> tuple[Config, tuple[Problem, ...]]:
    problems = Problems(label=label or path.name)
    root = compose(data, problems)
    cursor = Cursor(problems=problems, path="", node=root, anchor=root)
    fields = Fields(entries=cursor.entries(), owner=cursor)
    config = _config(fields, path, home, problems, digest_of(data))
    return config, problems.error().problems


def slug(text: str) -> str:
    """``text`` as a valid project name: ``My Project!`` becomes ``my-project``."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    return "-".join(words)[:_NAME_MAX].rstrip("-") or "project"


def _config(fields: Fields, path: Path, home: Path, problems: Problems, digest: str) -> Config:
    base = parse_mounts.Base(directory=path.parent, home=home)
    mounts = parse_mounts.mounts(fields.at(FileKeys.mounts), base)
    named = fields.at(FileKeys.name).given
    volumes = parse_mounts.volumes(fields.at(FileKeys.volumes), named=named)
    parse_mounts.check_targets(mounts, volumes, problems)
    parse_values.check_overlap(fields.at(FileKeys.env), fields.at(FileKeys.secrets))
    dependencies = parse_services.dependencies(fields.at(FileKeys.dependencies))
    services = parse_services.services(fields.at(FileKeys.services), dependencies)
    if own := fields.at(FileKeys.kernel).entries().get("services"):
        services = parse_own_services.services(own, services, base, named=named)
    workspace = fields.at(FileKeys.workspace).fields(_WorkspaceKeys.names())
    mode = workspace.read(_WorkspaceKeys.mode)
    problems.found += parse_mounts.git_problems(mounts, mode)
    fields.read(FileKeys.sandbox)  # for its problems: the value means nothing here
    kernel = parse_kernel.kernel(fields.at(FileKeys.kernel), dependencies)
    problems.found += unknown_problems(dependencies, kernel.skip_dependencies)
    return Config(
        path=path,
        name=_name(fields.at(FileKeys.name), path.parent),
        mounts=mounts,
        volumes=volumes,
        workspace_mode=mode,
        env=parse_values.environment(fields.at(FileKeys.env)),
        secrets=parse_values.secrets(fields.at(FileKeys.secrets)),
        dependencies=dependencies,
        base_image=fields.read(FileKeys.base_image),
        services=services,
        network=parse_network.network(fields.at(FileKeys.network)),
        hooks=parse_values.hooks(fields.at(FileKeys.hooks)),
        container=parse_values.container(fields.at(FileKeys.container)),
        command=parse_values.command(fields.at(FileKeys.command)),
        ports=parse_values.ports(fields.at(FileKeys.ports)),
        runtime=fields.read(FileKeys.runtime),
        kernel=kernel,
        unused=(*_unused(fields), *_agents(dependencies)),
        where=fields.where(),
        digest=digest,
    )


def _name(cursor: Cursor, directory: Path) -> str:
    text = cursor.text(None)
    if text is None:
        return slug(directory.name)
    if _NAME.fullmatch(text):
        return text
    # Moat takes any name. Volumes are kept by it, so two names without a letter of ours differ.
    if re.search(r"[a-z0-9]", text.lower()):
        return slug(text)
    return f"project-{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:6]}"


def _agents(dependencies: Iterable[Dependency]) -> Iterator[UnusedKey]:
    for item in dependencies:
        if item.kind == "agent":
            yield UnusedKey(name=f"dependencies: {item.name}", where=item.where)


def _unused(fields: Fields) -> tuple[UnusedKey, ...]:
    """What is not used here; a key that resembles a known one is a problem instead."""
    names = []
    for name in fields.entries.keys() - set(FileKeys.names()):
        near = None if name in UNUSED else nearest(name, (*FileKeys.names(), *UNUSED))
        if near:
            fields.unknown(name, f"did you mean {near!r}?")
        else:
            names.append(name)
    unused = {name: fields.entries[name].key_where for name in fields.entries if name in names}
    network = fields.at(FileKeys.network).entries()
    policy = network.get(parse_network.NetworkKeys.policy.name)
    inside = [network.get(parse_network.NetworkKeys.keep_policy.name)]
    if policy is None or policy.node is None or policy.node.text != "bridge":
        # The sandbox asks no name server: its proxy resolves names, as this machine does.
        container = fields.at(FileKeys.container).entries()
        inside.append(container.get(parse_values.ContainerKeys.dns.name))
    unused.update((cursor.path, cursor.key_where) for cursor in inside if cursor is not None)
    return tuple(UnusedKey(name=name, where=where) for name, where in unused.items())
