"""`moat-nb trace`: what a sandbox asked for, as its user reads it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from moat_nb.cli import sandboxes
from moat_nb.cli.sandboxes import requests_as_text
from moat_nb.egress.proxy.attempt import Attempt
from moat_nb.egress.records import Record, read


def record(**fields: object) -> Record:
    made = Attempt(method="GET", host="pypi.test", port=80, path="/x", rule="policy permissive")
    return replace(made.record(), **{"status": 200, "sent": 120, "received": 3 << 20, **fields})


RECORDS = [
    record(),
    record(port=8080),
    record(port=443, tls=True),
    record(port=8443, tls=True),
    record(method="CONNECT", port=443, path=None),
    record(method="CONNECT", port=80, path=None),
    record(outcome="refused", status=403, reason="is none", hint="add it", address="10.9.9.9"),
    record(outcome="failed", status=None, reason="broke"),
]


def test_each_record_is_a_line_with_the_port_where_it_is_not_the_schemes_own() -> None:
    found = requests_as_text(RECORDS).splitlines()
    hour = time.strftime("%H:", time.localtime(RECORDS[0].time))
    assert found[0].split() == ["TIME", "METHOD", "HOST", "STATUS", "SENT", "RECEIVED", "RULE"]
    assert all(line.startswith(hour) for line in found[1:])
    assert [line.split()[2] for line in found[1:]] == [
        "pypi.test/x",
        "pypi.test:8080/x",
        "pypi.test/x",
        "pypi.test:8443/x",
        "pypi.test",
        "pypi.test:80",
        "pypi.test/x",
        "pypi.test/x",
    ]
    assert found[1].endswith("policy permissive")
    assert found[7].endswith("refused: is none; add it (10.9.9.9)")
    assert found[8].endswith("failed: broke") and " - " in found[8]


def written(path: Path) -> Path:
    """The first of them in the older part, and a line that a full disk cut off."""
    lines = [one.line() for one in RECORDS]
    path.with_name(f"{path.name}.1").write_bytes(lines[0])
    path.write_bytes(b"".join(lines[1:]) + lines[0][:40])
    return path


def test_both_parts_of_the_file_are_read_and_what_is_cut_off_is_not(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == ()
    assert list(read(written(tmp_path / "requests"))) == RECORDS


def test_a_record_of_an_older_proxy_is_read(tmp_path: Path) -> None:
    given = asdict(RECORDS[0])
    del given["tls"], given["address"]
    (tmp_path / "requests").write_text(json.dumps(given))
    assert read(tmp_path / "requests") == (RECORDS[0],)


def test_the_command_prints_text_or_all_fields_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = SimpleNamespace(requests=written(tmp_path / "requests"))
    monkeypatch.setattr(sandboxes, "_chosen", lambda which, what: SimpleNamespace(run_dir=run_dir))
    assert sandboxes.trace(None, as_json=False) == 0
    assert capsys.readouterr().out == requests_as_text(RECORDS) + "\n"
    assert sandboxes.trace(None, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == [asdict(one) for one in RECORDS]
    run_dir.requests = tmp_path / "none"
    assert sandboxes.trace(None, as_json=False) == 0
    assert capsys.readouterr().out == ""
