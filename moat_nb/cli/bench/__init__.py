"""``moat-nb bench``: how long kernels take, each as a ratio to a plain local ipykernel's.

All measures of one run are taken in turns, so that what else the machine does meets all alike;
what is compared are medians.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path

from moat_nb.cli.allow import on_terminal
from moat_nb.cli.bench.floors import floors
from moat_nb.cli.bench.kernels import plain, relayed, sandboxed, warm
from moat_nb.cli.bench.peers import Peers, ready_peers
from moat_nb.config.model import Config
from moat_nb.config.reader import load
from moat_nb.errors import MoatError, RuntimeUnavailable
from moat_nb.host.reaper import Reaper
from moat_nb.sandbox.approval import check
from moat_nb.sandbox.project import plan_project
from moat_nb.text.progress import for_user
from moat_nb.text.tables import table

__all__ = ["TARGETS", "Measure", "Report", "main", "measure"]

TARGETS = {
    "cold start": {"bubblewrap": 1.15, "docker": 1.55},
    "warm start": {"bubblewrap": 0.10, "docker": 0.10},
    "further kernel, forked": {"bubblewrap": 0.42, "docker": 0.42},
    "further kernel, spare": {"bubblewrap": 0.12, "docker": 0.12},
    "restart": {"bubblewrap": 0.40, "docker": 0.40},
    "round trip": {"bubblewrap": 0.9, "docker": 0.9},
    "10 MB of output": {"bubblewrap": 1.1, "docker": 1.1},
    "memory of a further kernel": {"bubblewrap": 0.7, "docker": 0.7},
    "cold start, relayed": {"bubblewrap": 1.18, "docker": 1.60},
    "warm start, relayed": {"bubblewrap": 0.30, "docker": 0.30},
    "round trip, relayed": {"bubblewrap": 1.10, "docker": 1.10},
    "10 MB of output, relayed": {"bubblewrap": 1.15, "docker": 1.15},
    "memory of the relay": {"bubblewrap": 0.7, "docker": 0.7},
}
"""The relayed ones are a Jupyter server's, whose kernels are behind the output relay."""

OF_PLAIN = {"memory of the relay": "memory of a further kernel"}
"""With which of a plain kernel's readings one is compared that has another name there."""


PEER_TARGETS = {"cold start": 1 / 2, "warm start": 1 / 20}
"""Twice as fast as each peer, and twenty times."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Medians, in seconds, or bytes for memory."""

    name: str
    runtime: str
    plain: float
    """What it is compared with: a plain kernel, or a peer's."""
    sandboxed: float
    target: float

    @property
    def ratio(self) -> float:
        return self.sandboxed / self.plain


@dataclass(frozen=True, kw_only=True)
class Report:
    runs: int
    measures: tuple[Measure, ...]
    floors: dict[str, float]
    """Medians, in seconds, of what no start can be faster than."""

    def as_json(self) -> str:
        measures = [{**asdict(one), "ratio": one.ratio} for one in self.measures]
        return json.dumps({**asdict(self), "measures": measures}, indent=1)

    def as_text(self) -> str:
        rows = [("MEASURE", "RUNTIME", "BESIDE", "SANDBOX", "RATIO", "TARGET", "")]
        for one in self.measures:
            unit = "MiB" if one.name.startswith("memory") else "ms"
            scale = 1 / (1 << 20) if unit == "MiB" else 1000
            rows.append(
                (
                    one.name,
                    one.runtime,
                    f"{one.plain * scale:.1f} {unit}",
                    f"{one.sandboxed * scale:.1f} {unit}",
                    f"{one.ratio:.2f}",
                    f"<= {one.target:.2f}",
                    "reached" if one.ratio <= one.target else "missed",
                )
            )
        floors = [("FLOOR", "")]
        floors += [(name, f"{seconds * 1000:.1f} ms") for name, seconds in self.floors.items()]
        return f"{table(rows)}\n\n{table(floors)}\n\nmedians of {self.runs}, taken in turns"


def main(directory: str, *, runtime: str | None, runs: int, as_json: bool, with_peers: bool) -> int:
    """Measure ``runtime``, or every one that is usable here, on the project at ``directory``."""
    config = load(directory)
    names = [name for name in ("bubblewrap", "docker") if runtime in (None, name)]
    images = {name: _image(config, name) for name in names}
    usable = {name: image for name, image in images.items() if image is not None}
    if not usable:
        raise MoatError("nothing to measure: no runtime is usable; `moat-nb doctor` says why")
    with ExitStack() as stack:
        peers = _peers(config, stack) if with_peers and "docker" in usable else None
        report = measure(config.path, usable, runs, peers)
    print(report.as_json() if as_json else report.as_text())
    return 0


def _peers(config: Config, stack: ExitStack) -> Peers | None:
    """Until ``stack`` is left; None when there can be none, and the reason is told."""
    with closing(for_user()) as progress:
        try:
            return stack.enter_context(ready_peers(config, progress))
        except MoatError as error:
            print(f"moat-nb: the peers are left out: {error}", file=sys.stderr)
            return None


def _image(config: Config, name: str) -> str | None:
    """The project's image on a runtime, empty where there are none; None when the project cannot
    be started there, and the reason is told."""
    reaper = Reaper()
    progress = for_user()
    try:
        plan = plan_project(config, name)
        check(plan, on_terminal())
        found = plan.runtime.available()
        if not found.usable:
            raise RuntimeUnavailable(found.detail)
        return plan.runtime.prepare(plan.image, progress, reaper) or ""
    except MoatError as error:
        print(f"moat-nb: {name} is left out: {error}", file=sys.stderr)
        return None
    finally:
        progress.close()
        reaper.finish()


def measure(
    project: Path, images: Mapping[str, str], runs: int, peers: Peers | None = None
) -> Report:
    """``images`` has the runtimes to measure, each with the project's image there."""
    readings: dict[tuple[str, str], list[float]] = {}
    names = peers.names if peers is not None else ()
    for _ in range(runs):
        turn = {"plain": plain(), "floor": floors(images.get("docker"))}
        for name in images:
            turn[name] = {
                **sandboxed(project, name),
                **warm(project, name),
                **relayed(project, name),
            }
        for name in names:
            assert peers is not None
            turn[name] = {"cold start": peers.start(name)}
        for who, reading in turn.items():
            for name, value in reading.items():
                readings.setdefault((who, name), []).append(value)
    medians = {key: statistics.median(values) for key, values in readings.items()}
    return Report(
        runs=runs,
        measures=(*_beside_plain(medians, images), *_beside_peers(medians, names)),
        floors={name: value for (who, name), value in medians.items() if who == "floor"},
    )


def _beside_plain(
    medians: Mapping[tuple[str, str], float], runtimes: Iterable[str]
) -> Iterator[Measure]:
    for name, targets in TARGETS.items():
        for runtime in runtimes:
            plain = OF_PLAIN.get(name, name.removesuffix(", relayed"))
            yield Measure(
                name=name,
                runtime=runtime,
                # Whatever way a kernel is started is compared with a plain one's start.
                plain=medians.get(("plain", plain), medians["plain", "cold start"]),
                sandboxed=medians[runtime, name],
                target=targets[runtime],
            )


def _beside_peers(
    medians: Mapping[tuple[str, str], float], peers: Iterable[str]
) -> Iterator[Measure]:
    for peer in peers:
        for name, target in PEER_TARGETS.items():
            yield Measure(
                name=f"{name}, beside {peer}",
                runtime="docker",
                plain=medians[peer, "cold start"],
                sandboxed=medians["docker", name],
                target=target,
            )
