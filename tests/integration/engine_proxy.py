"""An engine behind a wire that can be cut, or that changes what passes."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from pathlib import Path
from types import TracebackType


class EngineProxy:
    """Carries the bytes of one unix socket to the engine's.

    ``replace=(old, new)``, of the same length, changes what goes to the engine: so it becomes an
    engine that does not do as it is told, while all else about it stays real.
    """

    def __init__(self, engine: str, replace: tuple[bytes, bytes] | None = None) -> None:
        assert replace is None or len(replace[0]) == len(replace[1])
        self._engine = engine.removeprefix("unix://")
        self._replace = replace
        self._directory = tempfile.TemporaryDirectory(prefix="moat-nb-proxy-")
        self._path = str(Path(self._directory.name) / "docker.sock")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self._path)
        self._listener.listen()
        self._open: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    @property
    def url(self) -> str:
        return f"unix://{self._path}"

    def cut(self) -> None:
        """End every connection, and answer no more."""
        Path(self._path).unlink(missing_ok=True)
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> EngineProxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cut()
        for thread in self._threads:
            thread.join(30)
        for end in self._open:
            end.close()
        self._directory.cleanup()

    def _run(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                engine = socket.socket(socket.AF_UNIX)
                engine.connect(self._engine)
                self._open += [client, engine]
                self._run(self._carry, client, engine, self._replace)
                self._run(self._carry, engine, client, None)

    def _carry(
        self, source: socket.socket, sink: socket.socket, replace: tuple[bytes, bytes] | None
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 20):
                sink.sendall(data.replace(*replace) if replace else data)
            sink.shutdown(socket.SHUT_WR)
