"""The hosts that the proxy is tested against, run as a program in a network namespace of their own.

One line of JSON on stdin says what to serve; ``ready`` on stdout says that all listens. Its HTTP
is written by hand: half of these servers do what no library would let them do.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
import ssl
import struct
import sys
from typing import Any

import tornado.httpserver
import tornado.web
import tornado.websocket

CHUNK = b"moat" * 16384
MODELS = {"tiny": (3_000_000, "bytes"), "endless": (10_000_000_000, "drip")}
"""Of the registry: their sizes, and which path has their bytes."""
MOST_HASHED = 1 << 30
Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


class Names(asyncio.DatagramProtocol):
    """A name server: of ``{name: [[addresses of the first answer], [of the next], ...]}``."""

    def __init__(self, names: dict[str, list[list[str]]]) -> None:
        self._names = names
        self._asked: dict[tuple[str, int], int] = {}
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = data.index(b"\0", 12) + 1
        name, kind = self._question(data[12:end]), struct.unpack("!H", data[end : end + 2])[0]
        question = data[12 : end + 4]
        turns = self._names.get(name)
        if turns == [["silent"]]:
            return
        answers = b"".join(self._answers(name, kind, turns or []))
        count = answers.count(b"\xc0\x0c\0")
        header = struct.pack("!2sHHHHH", data[:2], 0x8180 if turns else 0x8183, 1, count, 0, 0)
        self._transport.sendto(header + question + answers, addr)

    @staticmethod
    def _question(labels: bytes) -> str:
        found, at = [], 0
        while labels[at]:
            found.append(labels[at + 1 : at + 1 + labels[at]].decode().lower())
            at += 1 + labels[at]
        return ".".join(found)

    def _answers(self, name: str, kind: int, turns: list[list[str]]) -> list[bytes]:
        turn = self._asked.get((name, kind), 0)
        self._asked[name, kind] = turn + 1
        found = []
        for address in turns[min(turn, len(turns) - 1)] if turns else []:
            family, number = (socket.AF_INET6, 28) if ":" in address else (socket.AF_INET, 1)
            if number == kind:
                packed = socket.inet_pton(family, address)
                found.append(struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(packed)) + packed)
        return found


async def http(reader: Reader, writer: Writer) -> None:
    """One request a connection, answered by what its path says."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode()
        if path.startswith("http://"):
            path = "/" + path.split("/", 3)[3]
        words = path.partition("?")[0].strip("/").split("/")
        await _PATHS.get(words[0], plain)(head, reader, writer, words)
        await writer.drain()
    writer.close()


async def plain(head: bytes, _: Reader, writer: Writer, __: list[str]) -> None:
    """What was received, as it was."""
    answer(writer, head)


async def echo(head: bytes, reader: Reader, writer: Writer, _: list[str]) -> None:
    """The length and the digest of the body."""
    headers = _headers(head)
    if headers.get("expect"):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    digest, size = hashlib.sha256(), 0
    if "content-length" in headers:
        left = int(headers["content-length"])
        while left and (data := await reader.read(min(left, 1 << 16))):
            digest.update(data)
            size, left = size + len(data), left - len(data)
    else:
        while count := int(await reader.readline(), 16):
            data = await reader.readexactly(count)
            digest.update(data)
            size += count
            await reader.readline()
        if (trailer := await reader.readline()) != b"\r\n":
            digest.update(trailer)
    answer(writer, f"{size} {digest.hexdigest()}".encode())


async def size(_: bytes, __: Reader, writer: Writer, words: list[str]) -> None:
    """``/bytes/N``: so many."""
    left = int(words[1])
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n".encode())
    while left:
        writer.write(CHUNK[:left])
        left -= min(left, len(CHUNK))
        await writer.drain()


async def trickle(_: bytes, __: Reader, writer: Writer, ___: list[str]) -> None:
    """A byte at a time."""
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nslow!"
    for at in range(len(text)):
        writer.write(text[at : at + 1])
        await writer.drain()
        await asyncio.sleep(0.01)


async def silent(_: bytes, reader: Reader, __: Writer, ___: list[str]) -> None:
    await reader.read()


async def drip(_: bytes, __: Reader, writer: Writer, words: list[str]) -> None:
    """``/drip/N``: so many, which take longer than anyone waits."""
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {words[1]}\r\n\r\n".encode())
    while True:
        writer.write(CHUNK[:1024])
        await writer.drain()
        await asyncio.sleep(0.05)


async def registry(_: bytes, __: Reader, writer: Writer, words: list[str]) -> None:
    """``/v2/library/NAME/...``: of models, whose blobs are on another host."""
    size, place = MODELS.get(words[2], (0, ""))
    if not size:
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    elif words[3] == "manifests":
        whole = (CHUNK * (size // len(CHUNK) + 1))[:size] if size < MOST_HASHED else b""
        digest = f"sha256:{hashlib.sha256(whole).hexdigest()}"
        answer(writer, json.dumps({"layers": [{"digest": digest, "size": size}]}).encode())
    else:
        writer.write(b"HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\n")
        writer.write(f"Location: https://blobs.test/{place}/{size}\r\n\r\n".encode())


async def upgrade(head: bytes, reader: Reader, writer: Writer, _: list[str]) -> None:
    """A websocket, as far as a proxy sees of it: bytes back and forth once it has switched."""
    if "upgrade" not in _headers(head):
        answer(writer, b"not asked for")
        return
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n")
    writer.write(b"Connection: Upgrade\r\n\r\n")
    while data := await reader.read(1 << 16):
        writer.write(data.upper())


async def smuggle(head: bytes, reader: Reader, writer: Writer, _: list[str]) -> None:
    """It takes whatever upgrade it is offered for one to HTTP/2."""
    if "upgrade" not in _headers(head):
        answer(writer, b"not asked for")
        return
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n")
    writer.write(b"Connection: Upgrade\r\n\r\n")
    while data := await reader.read(1 << 16):
        writer.write(b"unjudged: " + data)


class Echo(tornado.websocket.WebSocketHandler):
    """A websocket as a real library speaks it."""

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


async def early(_: bytes, __: Reader, writer: Writer, ___: list[str]) -> None:
    """An answer before the request's body has come."""
    writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")


def _said(text: bytes) -> Any:
    async def say(_: bytes, __: Reader, writer: Writer, ___: list[str]) -> None:
        writer.write(text)

    return say


_PATHS = {
    "echo": echo,
    "bytes": size,
    "trickle": trickle,
    "drip": drip,
    "v2": registry,
    "silent": silent,
    "socket": upgrade,
    "early": early,
    "smuggle": smuggle,
    "short": _said(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"),
    "long": _said(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfourHTTP/1.1 200 OK\r\n\r\n"),
    "both": _said(
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "two": _said(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nfour!"),
    "trailers": _said(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n"
        b"4\r\nfour\r\n0\r\nX-Late: word\r\n\r\n"
    ),
    "cut": _said(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly"),
    "nothing": _said(b""),
    "old": _said(b"HTTP/1.0 200 OK\r\n\r\nuntil the end"),
    "garbage": _said(b"\x16\x03\x01 this is not HTTP\r\n\r\n"),
    "head": _said(b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n"),
}


async def count(reader: Reader, writer: Writer) -> None:
    """Reads to the end, and then says how much that was: what a half-closed connection is for."""
    total = 0
    while data := await reader.read(1 << 16):
        total += len(data)
    writer.write(str(total).encode())
    writer.close()


async def half(reader: Reader, writer: Writer) -> None:
    """Ends its side at once, and waits for the other's end."""
    writer.write_eof()
    while await reader.read(1 << 16):
        pass
    writer.close()


async def banner(_: Reader, writer: Writer) -> None:
    """Speaks first, as SSH and mail do."""
    writer.write(b"SSH-2.0-moat\r\n\r\n")


async def gate(reader: Reader, writer: Writer) -> None:
    """Another proxy, which tells in a header what it was asked for, and carries nothing."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    if head.startswith("CONNECT"):
        if "Basic YWRhOmx1cw==" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            writer.close()
            return
        host, _, port = head.split()[1].partition(":")
        address = "11.0.0.1" if host.endswith("behind.test") else "11.0.0.3"
        inner, outer = await asyncio.open_connection(address, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_carry(reader, outer), _carry(inner, writer))
        return
    answer(writer, head.encode())
    writer.close()


async def _carry(reader: Reader, writer: Writer) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
    writer.close()


def answer(writer: Writer, body: bytes) -> None:
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def _headers(head: bytes) -> dict[str, str]:
    lines = [line.partition(":") for line in head.decode().split("\r\n")[1:] if line]
    return {name.lower(): value.strip() for name, _, value in lines}


async def main() -> None:
    given = json.loads(sys.stdin.readline())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(given["certificate"])
    for port in (80, 8080):
        await asyncio.start_server(http, ["0.0.0.0", "::"], port, limit=1 << 17, backlog=1000)
    echoing = tornado.web.Application([("/echo", Echo)])
    tornado.httpserver.HTTPServer(echoing).listen(8081)
    tornado.httpserver.HTTPServer(echoing, ssl_options=context).listen(8444)
    for port in (443, 8443):
        await asyncio.start_server(http, ["0.0.0.0", "::"], port, ssl=context, backlog=1000)
    await asyncio.start_server(count, "0.0.0.0", 9)
    await asyncio.start_server(half, "0.0.0.0", 10)
    await asyncio.start_server(banner, "0.0.0.0", 22)
    await asyncio.start_server(gate, "0.0.0.0", 3128)
    await asyncio.start_server(gate, "0.0.0.0", 3129, ssl=context)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Names(given["names"]), local_addr=("11.0.0.1", 53))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
