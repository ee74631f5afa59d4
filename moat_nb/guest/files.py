"""One operation on files, tried with the sandbox's own rights: what a server asks on its user's
behalf must see what the sandbox sees, and be refused what it is refused.

``python3 files.py`` reads a line of JSON from stdin, ``{"op": NAME, "path": ...}``, and behind it
the bytes to write. It prints a line of JSON, ``{"error": ERRNO}`` or the answer, and behind it the
bytes that were read. Paths are absolute.
"""

import errno
import json
import os
import shutil
import stat
import sys
from typing import Any, Dict, List, Optional, Tuple

MAX_ENTRIES = 20000
"""Of a directory; a listing beyond it is cut."""
PIECE = 1 << 20

Answer = Tuple[Dict[str, Any], bytes]


def describe(path: str) -> Dict[str, Any]:
    """A file's or directory's facts; a link is described as what it leads to."""
    status = os.stat(path)
    kind = "other"
    if stat.S_ISDIR(status.st_mode):
        kind = "directory"
    elif stat.S_ISREG(status.st_mode):
        kind = "file"
    return {
        "type": kind,
        "size": status.st_size,
        "modified": max(0, int(status.st_mtime)),
        "created": max(0, int(status.st_ctime)),
        "writable": os.access(path, os.W_OK),
    }


def look(path: str) -> Answer:
    return describe(path), b""


def enumerate_directory(path: str) -> Answer:
    found: List[Dict[str, Any]] = []
    with os.scandir(path) as entries:
        for entry in entries:
            if len(found) == MAX_ENTRIES:
                break
            try:
                entry.name.encode()
                facts = describe(entry.path)
            except (OSError, UnicodeError):  # a link to nowhere; a name that no request can have
                continue
            if facts["type"] != "other":
                found.append({"name": entry.name, **facts})
    return {**describe(path), "entries": found}, b""


def read(path: str, limit: int) -> Answer:
    # A fifo would block, and a device never end.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EISDIR, "")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, "")
    return describe(path), data


def write(path: str, append: bool) -> Answer:
    """The file as a whole is replaced in one step, where the directory lets it be."""
    path = os.path.realpath(path)
    if os.path.lexists(path) and not os.path.isfile(path):
        raise OSError(errno.EISDIR, "")
    if append:
        _fill(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))
        return describe(path), b""
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise OSError(errno.EACCES, "")  # which replacing it would get round
    beside = os.path.join(os.path.dirname(path), ".moat-%d~" % os.getpid())
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except PermissionError:
        _fill(os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC))
        return describe(path), b""
    try:
        _fill(descriptor)
        if os.path.exists(path):
            shutil.copymode(path, beside)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
    return describe(path), b""


def _fill(descriptor: int) -> None:
    with open(descriptor, "wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file, PIECE)


def make_directory(path: str) -> Answer:
    os.mkdir(path)
    return describe(path), b""


def delete(path: str) -> Answer:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
    return {}, b""


def rename(path: str, to: str) -> Answer:
    if os.path.lexists(to):
        raise OSError(errno.EEXIST, "")
    os.rename(path, to)
    return describe(to), b""


OPERATIONS = {
    "look": look,
    "list": enumerate_directory,
    "read": read,
    "write": write,
    "mkdir": make_directory,
    "delete": delete,
    "rename": rename,
}


def answer(request: Dict[str, Any]) -> Answer:
    try:
        operation = OPERATIONS[request.pop("op")]
        return operation(**request)  # type: ignore[operator, no-any-return]
    except OSError as error:
        return {"error": error.errno or errno.EIO}, b""
    except shutil.Error:
        return {"error": errno.EIO}, b""


def main(line: Optional[bytes] = None) -> None:
    head, data = answer(json.loads(line or sys.stdin.buffer.readline()))
    out = sys.stdout.buffer
    out.write(json.dumps(head).encode() + b"\n")
    out.write(data)
    out.flush()


if __name__ == "__main__":
    main()
