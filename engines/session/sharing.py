"""Who may look into a session's folder: the group that may watch, and the modes that follow from it.

The folder itself says it: 2750 with that group, or 0700. What is written in it later looks there and nowhere else.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from engines.errors import Refused

ALONE, SHARED = 0o700, 0o2750  # of folders; set-group-id, so that what is made in them belongs to the group too
_FILE_ALONE, _FILE_SHARED = 0o600, 0o640


def group_id(name: str) -> int:
    """The group's number. Raises Refused where there is no such group, or we could not give it anything."""
    try:
        found = grp.getgrnam(name)
    except KeyError as error:
        raise Refused(
            f"The group {name}, which may watch, is not known here. Nothing was started.",
            f"groupadd {name}, or mend `watchers` in the configuration.",
        ) from error
    if os.geteuid() != 0 and found.gr_gid not in (os.getegid(), *os.getgroups()):
        raise Refused(
            f"This account is not in the group {name}, which may watch, so it can't share a session with it. "
            "Nothing was started.",
            f"usermod -aG {name} …, then log in again; or run as root.",
        )
    return found.gr_gid


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def watchers_of(folder: Path) -> int | None:
    """The group that may look into this session; None where only its account, and root, may."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_gid if stat.S_IMODE(found.st_mode) == SHARED else None


def is_member(login: str, uid: int, gid: int) -> bool:
    """Does this login belong to the group, as the system's own lists have it now?"""
    try:
        primary = pwd.getpwuid(uid).pw_gid
    except KeyError:
        return False
    return gid in os.getgrouplist(login, primary)


def file_mode(folder: Path) -> int:
    """The mode of a file that those who may look into `folder` may read."""
    return _FILE_ALONE if watchers_of(folder) is None else _FILE_SHARED


def give(path: Path, gid: int | None) -> None:
    """Give a folder of ours to those who may watch; without a group it stays its account's alone."""
    if gid is not None:
        os.chown(path, -1, gid)
        path.chmod(SHARED)


def let_pass(folder: Path, gid: int) -> None:
    """Let the group through a folder of ours, where that takes nothing from anybody: 0700 becomes 0710."""
    found = folder.stat()
    mode = stat.S_IMODE(found.st_mode)
    if mode & stat.S_IXOTH or (found.st_gid == gid and mode & stat.S_IXGRP):
        return
    if found.st_uid == os.geteuid() and (found.st_gid == gid or not mode & stat.S_IRWXG):
        os.chown(folder, -1, gid)
        folder.chmod(mode | stat.S_IXGRP)


def barred(folder: Path, gid: int) -> Path | None:
    """The first folder on the way that the group can't pass; None where it gets to `folder`."""
    for part in (*reversed(folder.parents), folder):
        found = part.stat()
        passes = found.st_mode & (stat.S_IXGRP if found.st_gid == gid else stat.S_IXOTH)
        if not passes:
            return part
    return None
