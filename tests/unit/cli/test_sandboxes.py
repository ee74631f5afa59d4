"""The commands about sandboxes that run."""

from __future__ import annotations

import io
import json
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from moat_nb.cli import chosen as cli_chosen
from moat_nb.cli import sandboxes as cli_sandboxes
from moat_nb.cli.sandboxes import requests_as_text
from moat_nb.errors import MoatError
from moat_nb.host.run_directory import RunDir
from tests.unit.egress.requests import RECORDS, written
from tests.unit.sandboxes import DEAD, sandbox_state


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_is_printed_to_a_terminal_without_what_would_steer_it_and_elsewhere_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    written = b"\x1b]52;c;cm0=\x07\x1b[31mred\xff\n"
    cli_sandboxes._print(written)
    assert capfdbinary.readouterr().out == written
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    cli_sandboxes._print(written)
    assert terminal.getvalue() == "\x1b[31mred\ufffd\n"


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


def test_the_command_prints_text_or_all_fields_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli_chosen, "base_directory", lambda environ, uid: tmp_path)
    monkeypatch.chdir(tmp_path)
    run_dir = RunDir(tmp_path / "aaaaaaaa")
    run_dir.path.mkdir()
    run_dir.write_state(sandbox_state("aaaaaaaa", "box", DEAD))
    assert cli_sandboxes.trace(None, as_json=False) == 0
    said = capsys.readouterr()
    assert said.out == ""
    which, asked = said.err.splitlines()
    assert which.startswith("moat-nb: aaaaaaaa (box), started ")
    assert asked.startswith("moat-nb: aaaaaaaa (box): it has asked for no host so far")
    written(run_dir.requests)
    assert cli_sandboxes.trace("box", as_json=False) == 0
    assert capsys.readouterr().out == requests_as_text(RECORDS) + "\n"
    assert cli_sandboxes.trace(None, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == [asdict(one) for one in RECORDS]
    with pytest.raises(MoatError, match="bbbbbbbb"):
        cli_sandboxes.trace("bbbbbbbb", as_json=False)
