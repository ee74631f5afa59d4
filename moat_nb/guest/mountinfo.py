"""A process's mount table, read. The launcher reads it with this too."""

from __future__ import annotations

from typing import Dict, Iterable, NamedTuple, Set


class Mounted(NamedTuple):
    """A line of a mount table."""

    type: str
    options: Set[str]
    device: str  # MAJOR:MINOR, the same for whoever mounts that filesystem
    root: str  # what of that filesystem is mounted: a path in it, with no link left
    filesystem: Set[str]  # options of the filesystem itself: a cgroup's controllers, of version 1


NOTHING = Mounted("", set(), "", "", set())


def mount_table(file: str = "/proc/self/mountinfo") -> Dict[str, Mounted]:
    """This process's; see :func:`read_table`."""
    # A path may hold anything that some str method takes for the end of a word or line; the
    # kernel escapes no more than space, tab, newline and backslash.
    with open(file, encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        return read_table(lines)


def read_table(lines: Iterable[str]) -> Dict[str, Mounted]:
    """By mount point; the last mount at a point is on top.

    ``lines`` are a mountinfo's. ValueError or IndexError for a line that is no such thing.
    """
    table = {}
    for line in lines:
        fields = line.split(" ")
        separator = fields.index("-")
        path, root = _unescape(fields[4]), _unescape(fields[3])
        options = set(fields[5].split(","))
        own = set(fields[-1].rstrip("\n").split(","))
        table[path] = Mounted(fields[separator + 1], options, fields[2], root, own)
    return table


def _unescape(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text
