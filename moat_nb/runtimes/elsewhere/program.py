"""What another machine needs of ours, as one archive, and the lines that unpack and run it there.

Nothing is installed: the archive is kept below that user's ``~/.cache``, by its digest, so it
travels once.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
import shlex
import tarfile
from collections.abc import Iterator
from pathlib import Path

from moat_nb.host.package import PACKAGE
from moat_nb.runtimes.elsewhere.frames import HEADER, MARK, SEND

__all__ = ["Packed", "command", "packed"]

ROOMS = ("config", "egress", "guest", "host", "planning", "runtimes", "text")
FILES = ("__init__.py", "errors.py")
OTHERS = ("packaging", "yaml")
"""Pure Python, by which a plan is read."""

_BOOTSTRAP = f"""\
import io, os, shutil, sys, tarfile, tempfile
digest = sys.argv[1]
if sys.version_info < (3, 10):
    sys.exit("its python is %d.%d, and 3.10 or newer is needed" % sys.version_info[:2])
cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
home = os.path.join(cache, "moat-nb", "elsewhere")
place = os.path.join(home, digest)
if not os.path.isdir(place):
    sys.stdout.buffer.write({MARK + SEND + bytes([10])!r})
    sys.stdout.buffer.flush()
    size = int.from_bytes(sys.stdin.buffer.read({HEADER}), "big")
    data = sys.stdin.buffer.read(size)
    if len(data) != size:
        sys.exit("our program did not come whole")
    try:
        os.makedirs(home, mode=0o700, exist_ok=True)
        new = tempfile.mkdtemp(dir=home)
    except OSError as error:
        sys.exit("%s: %s; our program is kept there" % (home, error.strerror))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(new)
    try:
        os.rename(new, place)
    except OSError:  # another start's was first
        shutil.rmtree(new, ignore_errors=True)
if os.stat(home).st_uid != os.getuid():
    sys.exit(home + " belongs to another user")
sys.path.insert(0, place)
from moat_nb.runtimes.elsewhere.serve import main
main(place)
"""


def command(python: str) -> str:
    """For the shell there: it runs our program by an interpreter of that machine."""
    words = (python, "-I", "-B", "-c", _BOOTSTRAP, packed().digest)
    return "exec " + shlex.join(words)


class Packed:
    """The archive, and by what name it is kept there."""

    def __init__(self) -> None:
        self._files = dict(_files())
        known = hashlib.sha256()
        for name, content in self._files.items():
            known.update(f"{name}\0{len(content)}\0".encode() + content)
        self.digest = known.hexdigest()[:32]

    def archive(self) -> bytes:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w:gz") as tar:
            for name, content in self._files.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content), 0o644
                tar.addfile(member, io.BytesIO(content))
        return made.getvalue()


@functools.cache
def packed() -> Packed:
    return Packed()


def _files() -> Iterator[tuple[str, bytes]]:
    for name in FILES:
        yield f"moat_nb/{name}", (PACKAGE / name).read_bytes()
    for room in ROOMS:
        yield from _below(PACKAGE / room, f"moat_nb/{room}")
    for name in OTHERS:
        found = importlib.util.find_spec(name)
        if found is not None and found.origin:
            yield from _below(Path(found.origin).parent, name)


def _below(directory: Path, name: str) -> Iterator[tuple[str, bytes]]:
    for path in sorted(directory.rglob("*")):
        if path.suffix in (".py", "") and path.is_file():
            yield f"{name}/{path.relative_to(directory).as_posix()}", path.read_bytes()
