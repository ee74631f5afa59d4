"""The request log, read as the proxy wrote it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from moat_nb.egress.records import read
from tests.unit.egress.requests import RECORDS, written


def test_both_parts_of_the_file_are_read_and_what_is_cut_off_is_not(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == ()
    assert list(read(written(tmp_path / "requests"))) == RECORDS


def test_a_record_of_an_older_proxy_is_read(tmp_path: Path) -> None:
    given = asdict(RECORDS[0])
    del given["tls"], given["address"]
    (tmp_path / "requests").write_text(json.dumps(given))
    assert read(tmp_path / "requests") == (RECORDS[0],)
