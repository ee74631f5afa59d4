"""What a run makes once for all of its workers: a directory, an engine, and images on it.

The run's first process owns them: pytest itself, or pytest-xdist's controller, whose workers ask
it over a socket. Each is made when the first test wants it and is gone after the last test, also
when the run is killed: the engine dies with its owner, and the directory's remover sees to that.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

import docker

from moat_nb.planning.image import PROJECT_LABEL
from tests.base_image import base_images
from tests.engine import find_or_start
from tests.machine import Machine
from tests.service_images import service_images

Facts = Mapping[str, str]

_REMOVER = """
import os, shutil, sys, time
sys.stdin.read()  # ends with its owner
for _ in range(600):
    for top, names, _ in os.walk(sys.argv[1]) if os.getuid() else ():
        for name in names:
            if not os.path.islink(os.path.join(top, name)):
                os.chmod(os.path.join(top, name), 0o700)  # a test may have closed it
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    if not os.path.exists(sys.argv[1]):
        break
    time.sleep(0.1)  # what ends with the owner too may still write
"""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Where the owner of a run's things is asked for them: by its workers, and by itself."""

    address: str
    key: str
    directory: str

    def __call__(self, name: str) -> Facts:
        """``"engine"``: url, base, kernel. ``"services"``: tags by service. Waits for them."""
        with Client(self.address, authkey=bytes.fromhex(self.key)) as connection:
            connection.send(name)
            answer = connection.recv()
        if isinstance(answer, str):
            raise RuntimeError(answer)
        found: Facts = answer
        return found

    def fields(self) -> dict[str, str]:
        return asdict(self)


class Owner:
    """Makes what is asked for, once, and removes it in :meth:`close`."""

    def __init__(self) -> None:
        self._before = Machine.now()
        self._undo = contextlib.ExitStack()
        self.directory = self._undo.enter_context(run_directory())
        self._makers = {"engine": self._engine, "services": self._services}
        self._made: dict[str, Future[Facts]] = {}
        self._lock = threading.Lock()
        # What is started dies with the thread that started it: these live until the end.
        self._threads = ThreadPoolExecutor(len(self._makers))
        key = secrets.token_bytes(16)
        self._listener = Listener(str(self.directory / "ask"), authkey=key, backlog=64)
        self.ask = Ask(
            address=str(self._listener.address), key=key.hex(), directory=str(self.directory)
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> list[str]:
        """A line for all that the run left in its TMPDIR, or changed of the machine."""
        self._listener.close()
        left = [f"left: {path}" for path in self.directory.glob("t/moat-*")]
        try:
            self._undo.close()
        finally:
            self._threads.shutdown(cancel_futures=True)
        return left + self._before.changes_to(Machine.now())

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: Connection) -> None:
        with connection, contextlib.suppress(EOFError, OSError):
            try:
                connection.send(self._get(connection.recv()))
            except Exception as error:
                connection.send(f"{type(error).__name__}: {error}")

    def _get(self, name: str) -> Facts:
        with self._lock:
            if name not in self._made:
                self._made[name] = self._threads.submit(self._makers[name])
        return self._made[name].result()

    def _engine(self) -> Facts:
        path, private = find_or_start(self.directory / "engine")
        if private is not None:
            self._undo.callback(private.stop)
        client = self._client = docker.DockerClient(base_url=f"unix://{path}", timeout=300)
        self._undo.callback(client.close)
        images = self._undo.enter_context(base_images(client, self._cache))
        self._undo.callback(remove_images, client, self.directory, {images.plain, images.kernel})
        return {"url": f"unix://{path}", "base": images.plain, "kernel": images.kernel}

    def _services(self) -> Facts:
        self._get("engine")
        images = self._undo.enter_context(service_images(self._client, self._cache))
        return asdict(images)

    @property
    def _cache(self) -> Path:
        """Root filesystems take a minute; a developer may keep them from run to run."""
        return Path(os.environ.get("MOAT_TEST_CACHE") or self.directory / "image")


@contextlib.contextmanager
def run_directory() -> Iterator[Path]:
    """A directory that every user may pass, unlike pytest's own, and this run's TMPDIR in it."""
    directory = Path(tempfile.mkdtemp(prefix="moat-nb-tests-", dir="/var/tmp"))
    argv = [sys.executable, "-I", "-S", "-c", _REMOVER, str(directory)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True, cwd="/"):
        directory.chmod(0o711)
        (directory / "t").mkdir()
        (directory / "t").chmod(0o1777)
        before = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = tempfile.tempdir = str(directory / "t")
        try:
            yield directory
        finally:
            os.environ.pop("TMPDIR")
            tempfile.tempdir = None
            if before is not None:
                os.environ["TMPDIR"] = before
    assert not directory.exists()


def remove_images(client: docker.DockerClient, directory: Path, names: set[str]) -> None:
    """Those of this run's projects: the engine may be others' too."""
    bases = {client.api.inspect_image(name)["Id"] for name in names}
    for image in client.api.images():
        projects = (image["Labels"] or {}).get(PROJECT_LABEL, "")
        if image["Id"] in bases or str(directory) in projects:
            for tag in image["RepoTags"] or ():
                # Those with a run's number are removed by that run; bakery is a notebook's project.
                if re.match(r"moat-nb/(test-(?![0-9a-f]{8}:)|bakery:)", tag):
                    client.images.remove(tag)
