"""The launcher's end of the connections that the attach stream carries, in a thread of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from moat_nb.errors import SandboxGone, StartError
from moat_nb.guest import tunnel
from moat_nb.guest.tunnel import MOST, WINDOW, Tunnel

__all__ = ["LauncherTunnel"]

MOST_WAITING = MOST * WINDOW
"""Bytes that the guest may have sent and that wait here: each connection's window, all at once."""
SMALL = 100
"""Bytes that a message without any counts as."""


class LauncherTunnel:
    """Sockets here that lead into a sandbox, and the names in it that lead to sockets here.

    Any thread may listen, and tell what the guest says; neither waits for anything.
    """

    def __init__(
        self,
        send: Callable[..., None],
        abandon: Callable[[str], None],
        sockets: Mapping[str, str],
    ) -> None:
        """``send`` and ``abandon`` are those of the guest's client, ``sockets`` the paths of what
        the sandbox may be connected to, by name."""
        self._abandon = abandon
        self._sockets = sockets
        self._tunnel = Tunnel(send, self._dial, launcher=True)
        self._lock = threading.Lock()
        self._orders: list[Callable[[], None]] = []
        self._waiting = 0
        self._ended = False
        self._awake, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._tunnel.watch(self._awake, self._obey)
        threading.Thread(target=self._run, name="moat-tunnel", daemon=True).start()

    def listen(self, paths: Sequence[str]) -> Callable[[], object]:
        """Make sockets here that lead to the same paths inside, in place of any that are there;
        what is returned ends them. StartError."""
        with contextlib.ExitStack() as made:
            listeners = {}
            for path in paths:
                try:
                    Path(path).unlink(missing_ok=True)
                    listeners[made.enter_context(tunnel.listening(path, 0o600))] = path
                except OSError as error:
                    words = f"{path}: no socket can be made there: {error.strerror}"
                    raise StartError(words) from error
            if self._order(partial(self._listen, listeners)):
                made.pop_all()
        return partial(self._order, partial(self._close_listeners, tuple(listeners)))

    def hear(self, message: dict[str, Any]) -> None:
        """Take one of the guest's messages; ValueError for more than one of ours ever sends."""
        size = len(message.get("body", b"")) + SMALL
        with self._lock:
            self._waiting += size
            if self._waiting > MOST_WAITING:
                raise ValueError("more than there is room for")
        self._order(partial(self._heard, message, size))

    def close(self) -> None:
        """Of a second call nothing comes."""
        self._order(self._end)

    def _order(self, order: Callable[[], None]) -> bool:
        """Have its thread do it; whether it does."""
        with self._lock:
            if not self._ended:
                self._orders.append(order)
                with contextlib.suppress(BlockingIOError):  # it has been woken often enough
                    os.write(self._wake, b"1")
            return not self._ended

    # -------- in its thread

    def _run(self) -> None:
        try:
            while not self._ended:
                self._tunnel.turn(None)
        except SandboxGone:
            pass  # those who wait for something of it hear that elsewhere
        except Exception as error:  # whatever a hostile message provokes
            words = f"{type(error).__name__}: {error!s:.200}"
            self._abandon(f"the guest sent what no guest of ours sends ({words}), so it was ended")
        finally:
            self._end()
            for order in self._orders:  # the listeners among them are closed with all others
                with contextlib.suppress(Exception):
                    order()
            self._tunnel.close()
            os.close(self._awake)

    def _obey(self, awake: Any) -> None:
        os.read(awake, tunnel.CHUNK)
        with self._lock:
            orders, self._orders = self._orders, []
        for order in orders:
            order()

    def _end(self) -> None:
        with self._lock:
            if not self._ended:
                self._ended = True
                os.close(self._wake)

    def _listen(self, listeners: Mapping[socket.socket, str]) -> None:
        for listener, path in listeners.items():
            self._tunnel.listen(listener, path)

    def _close_listeners(self, listeners: Sequence[socket.socket]) -> None:
        for listener in listeners:
            self._tunnel.close_listener(listener)

    def _heard(self, message: dict[str, Any], size: int) -> None:
        with self._lock:
            self._waiting -= size
        self._tunnel.heard(message.pop("type"), **message)

    def _dial(self, name: str) -> str:
        if name not in self._sockets:
            raise PermissionError("nothing of this name can be connected to")
        return self._sockets[name]
