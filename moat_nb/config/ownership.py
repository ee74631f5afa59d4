"""Who may have written a moat.yaml: a file that another user could have put there is not obeyed.

What it asks for is done with the launcher's rights, so it must be the launcher's own word. Root may
write what it likes everywhere, so what is root's is as good as one's own.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from moat_nb.errors import Problem

__all__ = ["distrust"]


def distrust(file: Path, status: os.stat_result, label: str, *, uid: int) -> Problem | None:
    """Why ``file``, with this status, is not to be read by a launcher of user ``uid``; None when
    nothing speaks against it.

    The directory is judged too, as who can write there can put another file in its place; not
    those above it, for what is put in the place of a directory is owned by who put it there.
    """
    directory = file.parent.stat()
    owner = directory.st_uid if uid == 0 else uid
    for path, found in ((file.parent, directory), (file, status)):
        name = f"its directory {path}" if path != file else "the file"
        if found.st_uid not in (0, owner):
            return Problem(
                where=label,
                what=f"{name} belongs to {_user(found.st_uid)}, and you are {_user(uid)}: another "
                "user's moat.yaml would be followed with your rights",
                hint="read it, and copy it to a directory of your own",
            )
        if who := _other_writers(found, owner):
            return Problem(
                where=label,
                what=f"{name} can be written by {who} (mode {stat.S_IMODE(found.st_mode):04o}): "
                "what they write would be followed with your rights",
                hint=f"{_chmod(who)} {path}, or put the project in a directory of its own",
            )
    return None


def _other_writers(status: os.stat_result, owner: int) -> str:
    """Who else can write there: in a sticky directory too, as anyone can add a file there."""
    if status.st_mode & stat.S_IWOTH:
        return "everyone"
    if status.st_mode & stat.S_IWGRP and not _is_private(status.st_gid, owner):
        return f"the group {_group(status.st_gid)}"
    return ""


def _is_private(gid: int, uid: int) -> bool:
    """Whether nobody but ``uid`` and root is in the group: the user's own of the same name, as
    Debian and Fedora make it, where a umask of 002 is the rule. Group 0 is root's.

    A user whom the machine does not list, as one of a directory service, may not be alone there.
    """
    if gid == 0:
        return True
    users = pwd.getpwall()
    if any(user.pw_gid == gid and user.pw_uid not in (0, uid) for user in users):
        return False
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return gid == uid  # in a container whose user has no name
    listed = any(user.pw_uid == uid and user.pw_name == group.gr_name for user in users)
    return listed and set(group.gr_mem) <= {group.gr_name}


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _chmod(who: str) -> str:
    return "chmod o-w" if who == "everyone" else "chmod g-w"
