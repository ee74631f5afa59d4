"""The launcher's end of the channels that the attach stream carries, in a thread of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from moat_nb.errors import SandboxGone, StartError
from moat_nb.guest import protocol, tunnel
from moat_nb.guest.tunnel import LAUNCHER, MOST, WINDOW, Tunnel

__all__ = ["LauncherTunnel"]

MOST_WAITING = sum(MOST.values()) * WINDOW
"""Bytes of the guest's that wait for the thread: the windows of all channels that there may be."""
EACH = 700
"""Bytes that a message takes here, beside those that it carries."""
FIELDS: dict[str, dict[str, type]] = {
    protocol.OPEN: {"type": str, "channel": int, "name": str},
    protocol.DATA: {"type": str, "channel": int, "body": bytes},
    protocol.WINDOW: {"type": str, "channel": int, "count": int},
    protocol.EOF: {"type": str, "channel": int},
    protocol.RESET: {"type": str, "channel": int},
}
LARGEST = 1 << 53
LONGEST_NAME = 100


class LauncherTunnel:
    """Sockets here that lead into a sandbox, and one of the launcher's that it can reach.

    Any thread may listen, and tell what the guest says; neither waits for anything.
    """

    def __init__(
        self, send: Callable[..., None], abandon: Callable[[str], None], proxy: Path | None
    ) -> None:
        """``send`` and ``abandon`` are those of the guest's client; ``proxy`` is the proxy's
        socket, where there is one."""
        self._abandon = abandon
        self._proxy = proxy
        # The proxy's socket is there before any sandbox is, so nobody waits for it.
        self._tunnel = Tunnel(send, self._path_of, end=LAUNCHER, patience=0)
        self._lock = threading.Lock()
        self._orders: list[Callable[[], None]] = []
        self._waiting = 0
        self._listeners: dict[socket.socket, str] = {}
        self._ended = False
        self._awake, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._tunnel.watch(self._awake, self._obey)
        threading.Thread(target=self._run, name="moat-tunnel", daemon=True).start()

    def listen(self, paths: Sequence[str]) -> Callable[[], object]:
        """Make sockets here that lead to the same paths inside, in place of any that are there;
        what is returned ends them. StartError."""
        listeners: dict[socket.socket, str] = {}
        with self._lock:  # or the end of who had a path before takes the new one's away
            try:
                for path in paths:
                    Path(path).unlink(missing_ok=True)
                    listeners[tunnel.listening(path, 0o600)] = path
            except (OSError, ValueError) as error:
                _close_all(listeners)
                words = getattr(error, "strerror", None) or error
                raise StartError(f"{path}: no socket can be made there: {words}") from error
            if not self._ended:
                self._listeners.update(listeners)
        if not self._order(partial(self._listen, listeners)):
            _close_all(listeners)
        return partial(self._order, partial(self._end_listeners, tuple(listeners)))

    def hear(self, message: dict[str, Any]) -> None:
        """Take one of the guest's messages; ValueError for one that no guest of ours sends, and
        when more wait than a guest of ours ever sends."""
        if {key: type(value) for key, value in message.items()} != FIELDS[message["type"]]:
            raise ValueError("no message about a channel")
        numbers = (message["channel"], message.get("count", 0))
        if max(map(abs, numbers)) > LARGEST or len(message.get("name", "")) > LONGEST_NAME:
            raise ValueError("a number, or a name, that is none")
        size = len(message.get("body", b"")) + EACH
        with self._lock:
            self._waiting += size
            if self._waiting > MOST_WAITING:
                raise ValueError("more than there is room for")
        self._order(partial(self._hear, message, size))

    def close(self) -> None:
        """Of a second call nothing comes."""
        self._order(self._end)

    def _order(self, order: Callable[[], None]) -> bool:
        """Have its thread do it; whether it does."""
        with self._lock:
            if self._ended:
                return False
            self._orders.append(order)
            with contextlib.suppress(BlockingIOError):  # it has been woken often enough
                os.write(self._wake, b"1")
            return True

    # -------- in its thread

    def _run(self) -> None:
        try:
            while not self._ended:
                self._tunnel.run_once(None)
        except SandboxGone:
            pass  # those who wait for something of it hear that elsewhere
        except Exception as error:  # whatever a hostile message provokes
            words = f"{type(error).__name__}: {error!s:.200}"
            self._abandon(f"the guest sent what no guest of ours sends ({words}), so it was ended")
        finally:
            self._end()
            self._tunnel.close()
            _close_all(self._listeners)  # those too that it never came to know
            self._orders.clear()  # nothing is added to either any more
            os.close(self._awake)

    def _obey(self, awake: Any) -> None:
        os.read(awake, tunnel.CHUNK)
        with self._lock:
            orders, self._orders = self._orders, []
        for order in orders:
            if not self._ended:
                order()

    def _end(self) -> None:
        with self._lock:
            if not self._ended:
                self._ended = True
                os.close(self._wake)

    def _listen(self, listeners: dict[socket.socket, str]) -> None:
        for listener, path in listeners.items():
            self._tunnel.listen(listener, path)

    def _end_listeners(self, listeners: Sequence[socket.socket]) -> None:
        for listener in listeners:
            self._tunnel.close_listener(listener)
        with self._lock:
            paths = {self._listeners.pop(listener, "") for listener in listeners}
            for path in paths - {"", *self._listeners.values()}:  # or another one is there now
                with contextlib.suppress(OSError):
                    Path(path).unlink()

    def _hear(self, message: dict[str, Any], size: int) -> None:
        with self._lock:
            self._waiting -= size
        self._tunnel.hear(message.pop("type"), **message)

    def _path_of(self, name: str) -> str:
        if name != protocol.PROXY or self._proxy is None:
            raise PermissionError("nothing of this name can be reached")
        return str(self._proxy)


def _close_all(listeners: Iterable[socket.socket]) -> None:
    for listener in listeners:
        listener.close()
