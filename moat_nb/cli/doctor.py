"""`moat-nb doctor`: what can be used on this machine, and what to do about what cannot."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from moat_nb.cli.advisories import affecting, version_of
from moat_nb.cli.doctor_network import examine as network
from moat_nb.config.model import ClusterOptions
from moat_nb.errors import MoatError, RuntimeUnavailable
from moat_nb.host.machine import Host
from moat_nb.host.run_directory import LONGEST_SOCKET, SOCKET_PATH_LIMIT, base_directory
from moat_nb.runtimes.base import UNLIMITED_FILES
from moat_nb.runtimes.bubblewrap import etc
from moat_nb.runtimes.bubblewrap.runtime import UNLIMITED, Bubblewrap
from moat_nb.runtimes.docker.engine import connect, engine_errors, unlimited
from moat_nb.runtimes.kubernetes.cluster import Cluster
from moat_nb.runtimes.registry import RUNTIMES
from moat_nb.text.summary import Badge, Cell, Level, Summary, Table, as_html
from moat_nb.text.tables import wrap

__all__ = [
    "Finding",
    "Report",
    "describe_engine",
    "examine",
    "exit_code",
    "findings_as_text",
    "main",
    "of_findings",
    "report",
]


@dataclass(frozen=True, kw_only=True)
class Finding:
    group: str
    subject: str
    verdict: Literal["ok", "warn", "no"]
    """``no``: it cannot be used; ``warn``: it can, and something should be done."""
    detail: str
    hint: str = ""

    @property
    def makes_usable(self) -> bool:
        """Whether it says of a runtime that sandboxes can be started on it."""
        return self.group == "runtimes" and self.verdict == "ok"


class Report(tuple[Finding, ...]):
    """All findings, as a notebook shows them."""

    def _repr_mimebundle_(self, **options: object) -> dict[str, str]:
        html = as_html(of_findings(self))
        return {"text/plain": findings_as_text(self), "text/html": html}


def report() -> Report:
    """Everything that a start depends on here and now; nothing is changed."""
    return Report(examine(Host.current(), os.environ))


def main(*, as_json: bool = False) -> int:
    """Print every finding; 0 if any runtime is usable, else 1."""
    findings = report()
    print(
        json.dumps([asdict(f) for f in findings], indent=2)
        if as_json
        else findings_as_text(findings)
    )
    return exit_code(findings)


def exit_code(findings: Iterable[Finding]) -> int:
    return 0 if any(finding.makes_usable for finding in findings) else 1


def examine(host: Host, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at everything that a start depends on; nothing is changed."""
    engines: dict[str, str] = {}
    usable = set()
    for name, make in RUNTIMES.items():
        runtime = make(host, environ)
        found = runtime.available()
        verdict: Literal["ok", "no"] = "ok" if found.usable else "no"
        yield Finding(
            group="runtimes", subject=name, verdict=verdict, detail=found.detail, hint=found.hint
        )
        if found.usable:
            usable.add(name)
        if found.usable and found.socket:
            engines.setdefault(found.socket, name)
    yield from _cluster(environ)
    for socket, name in engines.items():
        yield from _ask_engine(name, socket)
    if "bubblewrap" in usable:
        yield _bubblewraps_limits(Bubblewrap(host))
        yield Finding(group="bubblewrap", subject="files", verdict="ok", detail=UNLIMITED_FILES)
        for words in etc.remarks(tuple(etc.shown())):
            yield Finding(group="bubblewrap", subject="/etc", verdict="ok", detail=words)
    yield from _machine()
    yield _socket_directory(environ, host)
    for subject, detail, hint in network(host, environ):
        state: Literal["ok", "warn"] = "warn" if hint else "ok"
        yield Finding(group="network", subject=subject, verdict=state, detail=detail, hint=hint)
    yield from _jupyter()


def findings_as_text(findings: Iterable[Finding]) -> str:
    lines: list[str] = []
    group = ""
    for finding in findings:
        if finding.group != group:
            group = finding.group
            lines += ["", group] if lines else [group]
        first = f"  {finding.subject:16} {finding.verdict:5} "
        lines.append(wrap(finding.detail, first, " " * len(first)))
        if finding.hint:
            lines.append(wrap(finding.hint, " " * len(first) + "> ", " " * len(first) + "  "))
    return "\n".join(lines)


def _cluster(environ: Mapping[str, str]) -> Iterator[Finding]:
    """The one that a kubeconfig names, which is not asked: that may run programs, and take long."""
    cluster = Cluster(ClusterOptions(), environ)
    if not cluster.is_named:
        return
    try:
        detail, hint = f"{cluster.where}; not asked", "`moat-nb plan --runtime kubernetes` asks it"
    except RuntimeUnavailable as error:
        detail, hint = str(error), ""
    verdict: Literal["ok", "no"] = "ok" if hint else "no"
    yield Finding(group="kubernetes", subject="context", verdict=verdict, detail=detail, hint=hint)


# ---------------------------------------------------------------- engines


def _ask_engine(name: str, socket: str) -> Iterator[Finding]:
    try:
        client = connect(socket)
        try:
            version, info = client.version(), client.info()
        finally:
            client.close()
    except engine_errors() as error:
        hint = "look into the engine's own log"
        yield Finding(group=name, subject="engine", verdict="no", detail=str(error), hint=hint)
    else:
        yield from describe_engine(name, dict(version), dict(info))


def describe_engine(
    name: str, version: Mapping[str, Any], info: Mapping[str, Any]
) -> Iterator[Finding]:
    """Findings from the engine's answers to ``/version`` and ``/info``."""
    components = {str(c["Name"]): str(c["Version"]) for c in version.get("Components") or ()}
    podman = any("podman" in component.lower() for component in components)
    text = f"{version.get('Version')}, API {version.get('ApiVersion')}"
    number = str(version.get("Version"))
    yield _versioned(name, "engine", "podman" if podman else "docker", number, text)
    for component, found in components.items():
        for kind in ("runc", "crun"):
            if kind in component.lower():
                number = ".".join(map(str, version_of(found))) or found
                yield _versioned(name, kind, kind, number, number)
    options = [str(option) for option in info.get("SecurityOptions") or ()]
    rootless = any("rootless" in option for option in options)
    words = "rootless: its root is you" if rootless else "no: who may use it is as good as root"
    yield Finding(group=name, subject="rootless", verdict="ok", detail=words)
    yield _seccomp(name, options)
    apparmor = any("apparmor" in option for option in options)
    yield Finding(
        group=name, subject="AppArmor", verdict="ok", detail="yes" if apparmor else "not in use"
    )
    yield _limits(name, info, podman=podman)
    words = "not installed (optional)"
    if "runsc" in (info.get("Runtimes") or {}):
        words = f"kernel.isolation: gvisor can be used; with it {UNLIMITED_FILES}"
    yield Finding(group=name, subject="gVisor", verdict="ok", detail=words)


def _bubblewraps_limits(runtime: Bubblewrap) -> Finding:
    group, subject, facts = "bubblewrap", "limits", runtime.facts
    if facts.limiter == "none":
        return Finding(
            group=group,
            subject=subject,
            verdict="warn",
            detail=f"memory is not limited: {UNLIMITED}; container.cpus is refused",
            hint="log in with a systemd session, or launch as root; kernel.require_limits refuses "
            "a start without a limit",
        )
    how = "systemd scopes" if facts.place is None else f"cgroups (v{facts.place.version}) of ours"
    cpu = "memory, processes and CPU" if facts.limits_cpu else "memory and processes"
    return Finding(group=group, subject=subject, verdict="ok", detail=f"{cpu}, by {how}")


def _versioned(group: str, subject: str, component: str, number: str, text: str) -> Finding:
    advisories = list(affecting(component, number))
    if not advisories:
        return Finding(group=group, subject=subject, verdict="ok", detail=text)
    cves = ", ".join(cve for advisory in advisories for cve in advisory.cves)
    floors = " / ".join(".".join(map(str, floor)) for floor in advisories[0].fixed)
    return Finding(
        group=group,
        subject=subject,
        verdict="warn",
        detail=f"{text}: open to {cves} by its number",
        hint=f"update to {floors} or newer, unless your distribution has mended its own",
    )


def _seccomp(group: str, options: list[str]) -> Finding:
    found = [option for option in options if "seccomp" in option]
    if found and "unconfined" not in found[0]:
        detail = found[0].removeprefix("name=").replace(",", ", ")
        return Finding(group=group, subject="seccomp", verdict="ok", detail=detail)
    return Finding(
        group=group,
        subject="seccomp",
        verdict="warn",
        detail="the engine has no seccomp filter, so every system call is open to kernels",
        hint="start it with its default seccomp profile",
    )


def _limits(group: str, info: Mapping[str, Any], *, podman: bool) -> Finding:
    detail = f"cgroup v{info.get('CgroupVersion', '?')}, {info.get('CgroupDriver', '?')}"
    detail += f"; {UNLIMITED_FILES}" if podman else ""
    missing = unlimited(info)
    if not missing:
        return Finding(group=group, subject="limits", verdict="ok", detail=detail)
    return Finding(
        group=group,
        subject="limits",
        verdict="warn",
        detail=f"{detail}: it cannot limit {', '.join(missing)}",
        hint="give it these controllers: rootless needs cgroup v2 and systemd's delegation; "
        "swap on cgroup v1 needs swapaccount=1 on the kernel's command line",
    )


# ---------------------------------------------------------------- the machine

_USER_NAMESPACES = {
    "user/max_user_namespaces": "0",
    "kernel/unprivileged_userns_clone": "0",
    "kernel/apparmor_restrict_unprivileged_userns": "1",
}
"""The values with which they are closed to ordinary users."""


def _machine() -> Iterator[Finding]:
    group = "machine"
    closed = [name for name, value in _USER_NAMESPACES.items() if _sysctl(name) == value]
    if closed:
        detail = f"closed to ordinary users by {', '.join(closed)}"
        hint = "only bubblewrap and rootless engines need them; see bubblewrap above"
        yield Finding(
            group=group, subject="user namespaces", verdict="warn", detail=detail, hint=hint
        )
    else:
        yield Finding(group=group, subject="user namespaces", verdict="ok", detail="open")
    yield Finding(group=group, subject="cgroups", verdict="ok", detail=_cgroups())


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return None


def _cgroups(root: Path = Path("/sys/fs/cgroup")) -> str:
    if (root / "cgroup.controllers").exists():
        return "v2"
    if (root / "unified").exists():
        return "v1 and v2 mixed: crun refuses it, so Podman needs --runtime runc"
    return "v1" if root.exists() else "none"


def _socket_directory(environ: Mapping[str, str], host: Host) -> Finding:
    group, subject = "machine", "sockets"
    try:
        base = base_directory(environ, host.user.uid)
    except MoatError as error:
        hint = "set XDG_RUNTIME_DIR to a short path that you can write to"
        return Finding(group=group, subject=subject, verdict="no", detail=str(error), hint=hint)
    left = SOCKET_PATH_LIMIT - len(os.fsencode(base)) - LONGEST_SOCKET
    detail = f"{base}: {left} of the {SOCKET_PATH_LIMIT} bytes of a path are left"
    return Finding(group=group, subject=subject, verdict="ok", detail=detail)


# ---------------------------------------------------------------- Jupyter


def _jupyter() -> Iterator[Finding]:
    from importlib.metadata import entry_points, version

    group = "jupyter"
    detail = version("jupyter_client")
    yield Finding(group=group, subject="jupyter_client", verdict="ok", detail=detail)
    names = [point.name for point in entry_points(group="jupyter_client.kernel_provisioners")]
    if "moat" in names:
        yield Finding(group=group, subject="provisioner", verdict="ok", detail="registered")
    else:
        hint = "install moat-nb into the environment of your Jupyter server"
        detail = "jupyter_client does not see moat's"
        yield Finding(group=group, subject="provisioner", verdict="no", detail=detail, hint=hint)
    yield from _kernelspecs()


def _kernelspecs() -> Iterator[Finding]:
    from moat_nb.jupyter.kernelspec import installed

    for spec in installed():
        problem = spec.problem
        yield Finding(
            group="jupyter",
            subject=spec.name,
            verdict="warn" if problem else "ok",
            detail=problem or f"{spec.display_name}, for {spec.project}",
            hint=f"moat-nb uninstall {spec.name}, or install it again" if problem else "",
        )


_MARKS: dict[str, Level] = {"ok": "good", "warn": "warn", "no": "bad"}


def of_findings(findings: Iterable[Finding]) -> Summary:
    groups = [(group, tuple(found)) for group, found in groupby(findings, lambda one: one.group)]
    usable = [one.subject for _, found in groups for one in found if one.makes_usable]
    words = f"runs sandboxes on {', '.join(usable)}" if usable else "no runtime can be used"
    return Summary(
        title="This machine",
        mark=Badge(level="good" if usable else "bad", text=words),
        tables=tuple(
            Table(
                title=group,
                columns=("subject", "verdict", "what was found", "what to do"),
                rows=tuple(map(_finding, found)),
            )
            for group, found in groups
        ),
    )


def _finding(finding: Finding) -> tuple[Cell, ...]:
    verdict = Badge(level=_MARKS[finding.verdict], text=finding.verdict)
    return finding.subject, verdict, finding.detail, finding.hint
