"""Reads moat.yaml for an edit, and writes it back atomically."""

from __future__ import annotations

import difflib
import os
import secrets
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from moat_nb.config.file import find, label_of, read_file
from moat_nb.config.yaml_nodes import MAX_BYTES, Problems, compose
from moat_nb.errors import EditError, FileChanged

__all__ = ["MoatFile", "diff", "read", "save"]


@dataclass(frozen=True, kw_only=True)
class MoatFile:
    """A file as it was read. ``label`` is its name as its user knows it."""

    path: Path
    label: str
    data: bytes

    @property
    def text(self) -> str:
        """A byte order mark and the line breaks as they are in the file."""
        return self.data.decode()


def read(path: Path | str) -> MoatFile:
    """The nearest moat.yaml, as :func:`~moat_nb.config.file.find` finds it.

    ConfigError if it is no text.
    """
    file = find(Path(path))
    label = label_of(file)
    data = read_file(file, label)
    try:
        data.decode()
    except UnicodeDecodeError:
        compose(data, Problems(label=label))  # which says where
        raise
    return MoatFile(path=file, label=label, data=data)


def diff(before: str, after: str, label: str) -> str:
    """The changes as a unified diff; empty without any."""
    lines = difflib.unified_diff(_lines(before), _lines(after), f"{label}", f"{label} (new)")
    shown = "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
    return shown.replace("\r\n", "\n")


def save(file: MoatFile, text: str) -> MoatFile:
    """Put ``text`` in the file's place at once, with its mode and owner; returns what is there now.

    Nobody ever reads half of it. Raises FileChanged when the file is not what was read, and
    EditError when it cannot be written; the file is as it was then. FileChanged too when the new
    file is there and the disk does not confirm that it stays.
    """
    data = text.encode()
    try:
        directory = os.open(file.path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _refused(file, error) from None
    try:
        temporary = f".{file.path.name}.{secrets.token_hex(8)}"
        status = _unchanged(file, directory)
        try:
            _write(temporary, data, status, directory)
            _unchanged(file, directory)
            os.replace(temporary, file.path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            _remove(temporary, directory)
            raise
        _confirm(file, directory)
    except OSError as error:
        raise _refused(file, error) from None
    finally:
        os.close(directory)
    return replace(file, data=data)


def _unchanged(file: MoatFile, directory: int) -> os.stat_result:
    """The file's status; FileChanged unless it holds what was read."""
    try:
        # As it is read: no link is followed, and no pipe is waited for.
        descriptor = os.open(
            file.path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory
        )
    except OSError as error:
        raise _changed(file, f"cannot be opened any more ({error.strerror})") from None
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _changed(file, "is not a regular file any more")
        if stream.read(MAX_BYTES + 1) != file.data:
            raise _changed(file, "was changed on disk since it was read")
    return status


def _write(name: str, data: bytes, status: os.stat_result, directory: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(name, flags, 0o600, dir_fd=directory), "wb") as stream:
        stream.write(data)
        stream.flush()
        made = os.fstat(stream.fileno())
        if (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
            os.fchown(stream.fileno(), status.st_uid, status.st_gid)
        os.fchmod(stream.fileno(), stat.S_IMODE(status.st_mode))
        os.fsync(stream.fileno())


def _confirm(file: MoatFile, directory: int) -> None:
    """Make the new name outlast a loss of power."""
    try:
        os.fsync(directory)
    except OSError as error:
        raise FileChanged(
            f"{file.label}: was replaced, but the disk did not confirm it ({error.strerror}): "
            "after a loss of power the old file may be back; read it again"
        ) from None


def _remove(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return


def _lines(text: str) -> list[str]:
    # Not splitlines, which takes more characters for line breaks than an editor does.
    *lines, last = text.split("\n")
    return [*(f"{line}\n" for line in lines), *([last] if last else [])]


def _changed(file: MoatFile, how: str) -> FileChanged:
    return FileChanged(f"{file.label}: {how}; nothing was written: read it again")


def _refused(file: MoatFile, error: OSError) -> EditError:
    forbidden = isinstance(error, PermissionError)
    hint = ": its owner must be able to write in its directory" if forbidden else ""
    return EditError(
        f"{file.label}: cannot be replaced ({error.strerror}); nothing was changed{hint}"
    )
