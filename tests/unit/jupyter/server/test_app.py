"""What the server is set up with."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys

import pytest

from moat_nb.config.reader import read_config
from moat_nb.errors import MoatError
from moat_nb.jupyter.server.app import PlainFormatter, hostname
from moat_nb.jupyter.server.serve import serve


def config(directory, name="P.x_1"):
    text = f"name: {name}".encode()
    return read_config(text, path=directory / "moat.yaml", home=directory)


def test_a_projects_name_makes_a_host_of_its_own(tmp_path) -> None:
    found = hostname(config(tmp_path))
    label, _, rest = found.partition(".")
    assert rest == "localhost"
    assert label.startswith("p-x-1-")
    assert label.replace("-", "").isalnum()
    assert found == hostname(config(tmp_path))
    assert found != hostname(config(tmp_path / "other"))


def test_a_log_line_does_not_steer_the_terminal() -> None:
    record = logging.LogRecord("n", logging.INFO, "f", 1, "at %s", ("\x1b]52;c;eA==\x07",), None)
    assert "\x1b]" not in PlainFormatter(color=False).format(record)
    assert record.args == ("\x1b]52;c;eA==\x07",)


UNDER_WAY = """
import asyncio
import anyio.to_thread
from moat_nb.jupyter.server import app
loop = asyncio.new_event_loop()
async def request():
    await anyio.to_thread.run_sync(lambda: None)
    loop.stop()
    await asyncio.sleep(1000)
task = loop.create_task(request())
loop.run_forever()
print([thread.name for thread in app.threading.enumerate()][1:], flush=True)
"""


def test_a_request_under_way_does_not_keep_the_server_from_its_end(tmp_path) -> None:
    code = f"{UNDER_WAY}app.end_request_threads()\n"
    argv = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(argv, stdout=subprocess.PIPE, timeout=120, check=False, cwd=tmp_path)
    assert done.stdout == b"['AnyIO worker thread']\n"


def test_jupyters_own_waits_for_ever(tmp_path) -> None:
    """The control: should it end by itself one day, ours may go."""
    argv = [sys.executable, "-W", "ignore", "-c", UNDER_WAY]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"['AnyIO worker thread']\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        process.kill()


@pytest.mark.parametrize(("front_end", "module"), [("lab", "jupyterlab"), ("notebook", "notebook")])
def test_without_the_extra_it_is_named(tmp_path, monkeypatch, front_end, module) -> None:
    (tmp_path / "moat.yaml").write_text("name: p")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == module else find(name)
    )
    words = rf"{module} is not installed here: pip install 'moat-nb\[lab\]'"
    with pytest.raises(MoatError, match=words):
        serve(str(tmp_path), front_end=front_end, browser=False)
