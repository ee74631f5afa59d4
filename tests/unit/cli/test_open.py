"""`moat-nb open`: which sandbox's which port is meant."""

from __future__ import annotations

import webbrowser
from dataclasses import replace
from pathlib import Path

import pytest

from moat_nb.cli import chosen
from moat_nb.cli.main import main
from moat_nb.cli.open import open_port
from moat_nb.errors import MoatError
from moat_nb.host.run_directory import RunDir
from tests.unit.sandboxes import DEAD, sandbox_state

WEB, API = "http://web.a-aaaaaaaa.localhost:1", "http://api.a-aaaaaaaa.localhost:2"


@pytest.fixture(autouse=True)
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``here`` in this directory, older and newer; ``other`` and ``bare`` elsewhere."""
    monkeypatch.setattr(chosen, "base_directory", lambda environ, uid: tmp_path / "run")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for id, name, project, ports in (
        ("11111111", "here", here, (("web", "http://old"),)),
        ("aaaaaaaa", "here", here, (("web", WEB), ("api", API))),
        ("bbbbbbbb", "other", tmp_path / "other", (("docs", "http://docs"),)),
        ("cccccccc", "bare", tmp_path / "bare", ()),
    ):
        run_dir = RunDir(tmp_path / "run" / id)
        run_dir.path.mkdir(parents=True)
        state = sandbox_state(id, name, DEAD, started=int(id[0], 16))
        run_dir.write_state(replace(state, project=str(project), ports=ports))


@pytest.mark.parametrize(
    ("words", "url"),
    [
        (["web"], WEB),
        (["api"], API),
        (["11111111"], "http://old"),
        (["aaaaaaaa", "api"], API),
        ([".", "web"], WEB),
        (["../other"], "http://docs"),
        (["other"], "http://docs"),
        (["other", "docs"], "http://docs"),
    ],
)
def test_a_port_of_the_project_here_or_of_a_sandbox(
    words: list[str], url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    assert main(["open", "--print", *words]) == 0
    assert capsys.readouterr().out == f"{url}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "aaaaaaaa (here): it has several ports; there are: web, api"),
        (["docs"], "aaaaaaaa (here): it has no port docs; there are: web, api"),
        (["bare"], "cccccccc (bare): it has no ports; name them in its moat.yaml's `ports`"),
        (["other", "web"], "bbbbbbbb (other): it has no port web; there are: docs"),
        (["here", "web"], "2 sandboxes have this name; say which: 11111111, aaaaaaaa"),
        (["a", "b", "c"], "give a sandbox and one of its ports"),
    ],
)
def test_what_is_not_clear_is_said(words: list[str], said: str) -> None:
    with pytest.raises(MoatError) as raised:
        open_port(words, only_print=True)
    assert said in str(raised.value)


@pytest.mark.parametrize("found", [True, False])
def test_it_is_opened_in_the_browser_and_printed(
    found: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or found)
    assert open_port(["web"], only_print=False) == 0
    assert opened == [WEB]
    said = capsys.readouterr()
    assert said.out == f"{WEB}\n"
    assert said.err == ("" if found else "moat-nb: no browser was found here\n")
