"""The first program of a pod: it waits for who carries its launcher's stream, takes that stream as
its own, has the guest's files come by it, and becomes the guest.

Its text is an argument of ``python3 -I -c``, so it needs no file, and nothing of the workspace is
imported. Python >= 3.8.
"""

import array
import io
import json
import os
import resource
import runpy
import socket
import sys
import tarfile

SECONDS = 60
"""For the launcher to come, before the pod ends by itself."""
LONGEST = 16 << 20
"""Bytes of the archive."""


def main(meeting: str, limits: str, guest: str) -> None:
    for name, soft, hard in json.loads(limits):
        resource.setrlimit(getattr(resource, "RLIMIT_" + name.upper()), (soft, hard))
    # Kept: who carries the stream waits for its end.
    _carrier, descriptors = _met(meeting)
    for target, descriptor in enumerate(descriptors):
        os.dup2(descriptor, target)
        os.close(descriptor)
    with open(0, "rb", buffering=0, closefd=False) as stream:
        size = int.from_bytes(_exactly(stream, 8), "big")
        if size > LONGEST:
            sys.exit("that is no guest")
        packed = _exactly(stream, size)
    os.mkdir(guest)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            with open(os.path.join(guest, os.path.basename(member.name)), "wb") as file:
                file.write(content.read())
    # The image's own, which -I leaves out; what is the workspace's stays out.
    given = os.environ.get("PYTHONPATH", "").split(":")
    sys.path[:0] = [path for path in given if path.startswith("/") and path[:10] != "/workspace"]
    sys.argv[:] = [guest, *sys.argv[4:]]
    runpy.run_path(guest, run_name="__main__")


def _met(meeting: str) -> "tuple[socket.socket, list[int]]":
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(meeting)
        listener.listen(1)
        listener.settimeout(SECONDS)
        carrier, _ = listener.accept()
    os.unlink(meeting)  # nobody else is met here
    received = array.array("i")
    _, sent, _, _ = carrier.recvmsg(1, socket.CMSG_SPACE(3 * received.itemsize))
    received.frombytes(sent[0][2])
    return carrier, list(received)


def _exactly(stream: io.RawIOBase, size: int) -> bytes:
    pieces = bytearray()
    while len(pieces) < size:
        piece = stream.read(size - len(pieces))
        if not piece:
            sys.exit("the launcher is gone")
        pieces += piece
    return bytes(pieces)


if __name__ == "__main__":
    main(*sys.argv[1:4])
