"""`moat-nb ps`, `logs`, `trace` and `stop`: the sandboxes of this user's processes."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from moat_nb.cli.chosen import all_of, at, chosen, mine
from moat_nb.cli.user_terminal import asked, is_there
from moat_nb.egress.records import Record, read
from moat_nb.errors import MoatError
from moat_nb.runtimes.stop import end
from moat_nb.sandbox.listing import Listed
from moat_nb.text.tables import amount, duration, table
from moat_nb.text.terminal import for_terminal, one_line

__all__ = ["logs", "ps", "requests_as_text", "stop", "trace"]

FOLLOW_SECONDS = 0.2
"""Between two looks at a log that is followed."""


def ps(*, as_json: bool) -> int:
    found = mine()
    if as_json:
        print(json.dumps([_record(one) for one in found], indent=2))
    elif found:
        print(table([_COLUMNS, *map(_row, found)]))
    else:
        print("moat-nb: there is no sandbox of yours", file=sys.stderr)
    return 0


def logs(which: str | None, *, follow: bool, service: str | None = None) -> int:
    """Raises MoatError when there is no such sandbox, or no such service of it."""
    one = chosen(which, "a log")
    log = one.run_dir.log if service is None else _log_of(service, one)
    older = log.with_name(f"{log.name}.1")
    if older.exists():
        _print(older.read_bytes())
    if follow:
        _follow(log)
    elif log.exists():
        _print(log.read_bytes())
    return 0


def _log_of(service: str, one: Listed) -> Path:
    services = one.sandbox_state.services if one.sandbox_state else ()
    if service not in services:
        there = ", ".join(services) or "none"
        raise MoatError(f"{one.title}: it has no service {service}; there are: {there}")
    return one.run_dir.service_log(service)


def trace(which: str | None, *, as_json: bool) -> int:
    """Raises MoatError when there is no such sandbox."""
    one = chosen(which, "what it asked for")
    records = read(one.run_dir.requests)
    if as_json:
        print(json.dumps([asdict(record) for record in records], indent=2))
    elif records:
        print(requests_as_text(records))
    else:
        words = "it has asked for no host so far; the requests of a sandbox go with it"
        print(f"moat-nb: {one.title}: {words}", file=sys.stderr)
    return 0


def stop(which: str | None, *, yes: bool = False) -> int:
    """End one sandbox, or those of a directory's project, or all with None.

    All are those of other projects too: whoever sits at the terminal is asked then, unless ``yes``.
    Raises MoatError, once every one was tried.
    """
    found = mine() if which is None else all_of(which)
    if not found:
        print("moat-nb: there are no sandboxes of yours", file=sys.stderr)
    others = [one for one in found if one not in at(os.curdir, found)]
    if which is None and others and not yes and not _agreed(others):
        raise MoatError("nothing was stopped; `moat-nb stop .` ends those of the project here")
    failures = []
    for one in found:
        try:
            print(f"{one.title}: {_stop(one)}")
        except MoatError as error:
            failures.append(str(error))
    if failures:
        raise MoatError("\n".join(failures))
    return 0


def _agreed(others: Iterable[Listed]) -> bool:
    print("moat-nb: --all ends sandboxes of other projects, too:", file=sys.stderr)
    for one in others:
        project = _short(one.sandbox_state.project) if one.sandbox_state else "it is starting"
        print(f"  {one_line(f'{one.title}  {project}')}", file=sys.stderr)
    if not is_there():
        print("moat-nb: say --yes to end them without a question", file=sys.stderr)
        return False
    return asked("end them?")


def _stop(one: Listed) -> str:
    if one.sandbox_state is None:
        raise MoatError(f"{one.title}: it is starting, and so far its launcher alone can stop it")
    if not end(one.sandbox_state, one.run_dir.sockets, os.environ):
        return "had ended already"
    return "stopped"


# ---------------------------------------------------------------- ps

_COLUMNS = (
    "ID",
    "NAME",
    "STATE",
    "AGE",
    "RUNTIME",
    "OWNER",
    "PROJECT",
    "IMAGE",
    "SERVICES",
    "PORTS",
)


def _row(one: Listed) -> tuple[str, ...]:
    sandbox_state = one.sandbox_state
    if sandbox_state is None:
        return (one.run_dir.id, "-", one.state, *["-"] * (len(_COLUMNS) - 3))
    age = duration(time.time() - sandbox_state.started)
    project = _short(sandbox_state.project)
    owner, image = str(sandbox_state.owner.pid), sandbox_state.image or "-"
    services = ", ".join(sandbox_state.services) or "-"
    ports = ", ".join(f"{name}: {url}" for name, url in sandbox_state.ports) or "-"
    return (
        sandbox_state.id,
        sandbox_state.name,
        f"{one.state}, outdated" if one.outdated else one.state,
        age,
        sandbox_state.runtime,
        owner,
        project,
        image,
        services,
        ports,
    )


def _short(path: str) -> str:
    home = Path.home()
    return f"~/{Path(path).relative_to(home)}" if Path(path).is_relative_to(home) else path


def _record(one: Listed) -> dict[str, Any]:
    """The note with ``state``, ``outdated``, ``age`` in seconds and ``log``; of a start only these
    and ``id``."""
    known = asdict(one.sandbox_state) if one.sandbox_state else {"id": one.run_dir.id}
    age = round(time.time() - one.sandbox_state.started, 3) if one.sandbox_state else None
    log = str(one.run_dir.log)
    return {**known, "state": one.state, "outdated": one.outdated, "age": age, "log": log}


# ---------------------------------------------------------------- logs


def _print(data: bytes) -> None:
    text = data.decode(errors="replace")
    if sys.stdout.isatty():
        sys.stdout.write(for_terminal(text))
    elif hasattr(sys.stdout, "buffer"):
        sys.stdout.buffer.write(data)
    else:  # a notebook's, which takes nothing but text
        sys.stdout.write(text)
    sys.stdout.flush()


def _follow(path: Path) -> None:
    """Print the log as it grows, over rotations, until its directory is gone."""
    log = path.open("rb")
    try:
        while True:
            there = path.parent.exists()
            if data := log.read():
                _print(data)
            elif not there:
                return
            elif _rotated(path, log.fileno()):
                log.close()
                log = path.open("rb")
            else:
                time.sleep(FOLLOW_SECONDS)
    finally:
        log.close()


def _rotated(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino != os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False  # for this moment there is none


_REQUEST_COLUMNS = ("TIME", "METHOD", "HOST", "STATUS", "SENT", "RECEIVED", "RULE")


def requests_as_text(records: Iterable[Record]) -> str:
    return table([_REQUEST_COLUMNS, *map(_request_row, records)])


def _request_row(record: Record) -> tuple[str, ...]:
    default = 443 if record.tls or record.method == "CONNECT" else 80
    host = record.host if record.port == default else f"{record.host}:{record.port}"
    status = str(record.status or "-")
    rule = record.rule
    if record.outcome != "passed":
        words = "; ".join(filter(None, (record.reason, record.hint)))
        rule = f"{record.outcome}: {words}{f' ({record.address})' if record.address else ''}"
    return (
        time.strftime("%H:%M:%S", time.localtime(record.time)),
        record.method,
        host + (record.path or ""),
        status,
        amount(record.sent),
        amount(record.received),
        rule,
    )
