"""Looks at a database file and says what it is and whether it can be replaced. Changes nothing.

Who has it open is `holders`' question, whether a copy is sound is `proof`'s.
"""

from __future__ import annotations

import os
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.checks import Check, fail, ok, warn
from engines.sqlite import connect
from engines.sqlite.elsewhere import ask_apart, first_bytes
from engines.sqlite.file_facts import (
    HEADER_SIZE,
    FileIdentity,
    Header,
    filesystem,
    header,
    identity,
    live_header,
    parse_header,
)
from engines.sqlite.files import sidecars
from engines.text import drawable

__all__ = ["FileIdentity", "Header", "Kind", "Live", "header", "identity", "live_header", "look", "replaceable"]

Kind = Literal["database", "missing", "empty", "unreadable"]
NO_FILE = "it is not a regular file"

# sqlite.org/wal.html#walresetbug: two connections that write and checkpoint at once could corrupt a WAL database.
WAL_RESET_FIXED = (3, 51, 3)
_PATIENCE = 0.5  # seconds that a look waits for a lock; being locked is an answer too
_NETWORK = re.compile(r"nfs|cifs|smb|9p|afs|ceph|gluster|lustre|gpfs|ocfs|gfs2|vboxsf|vmhgfs|prl_fs|virtiofs|fuse")


@dataclass(frozen=True, slots=True)
class Live:
    """What is at the path of the target now. `path` is what will be replaced: where a symlink leads, not the link."""

    kind: Kind
    path: str
    identity: FileIdentity | None
    journal_mode: str | None  # delete, wal: what the header makes permanent
    page_size: int | None  # bytes
    user_version: int | None
    application_id: int | None
    sidecars: tuple[FileIdentity, ...]
    why: str
    asked: str  # the path as it was asked for


def look(path: str) -> Live:
    """What is at `path`. Rows that are only in the write-ahead log count. Changes no byte; see `connect.reading`."""
    real = os.path.realpath(path)
    beside = tuple(_present(sidecars(real)))

    def live(kind: Kind, who: FileIdentity | None, why: str, head: Header | None = None) -> Live:
        if head is None:
            return Live(kind, real, who, None, None, None, None, beside, why, path)
        mode = "wal" if head.wal else "delete"
        return Live(kind, real, who, mode, head.page_size, head.user_version, head.application_id, beside, why, path)

    try:
        who = identity(real)
    except (FileNotFoundError, NotADirectoryError):
        extra = "; sidecars of a former database are beside it" if beside else ""
        return live("missing", None, f"nothing is at {drawable(real)}{extra}")
    except OSError as error:
        return live("unreadable", None, f"it can't be looked at: {error.strerror}")
    if not Path(real).is_file():
        return live("unreadable", who, NO_FILE)
    if who.size == 0:
        return live("empty", who, "it has 0 bytes")
    try:
        start = first_bytes(real, HEADER_SIZE)
    except OSError as error:
        return live("unreadable", who, f"it can't be read: {drawable(str(error.strerror))}")
    head = parse_header(start)
    if head is None:
        return live("unreadable", who, "it does not begin like an SQLite database")
    try:
        with connect.reading(real, in_wal=head.wal, timeout=_PATIENCE) as connection:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            return Live(
                "database",
                real,
                who,
                "wal" if head.wal else "delete",
                connect.whole(connection, "PRAGMA page_size"),
                connect.whole(connection, "PRAGMA user_version"),
                connect.whole(connection, "PRAGMA application_id"),
                beside,
                "it opens as an SQLite database",
                path,
            )
    except sqlite3.Error as error:
        if connect.primary(error) == sqlite3.SQLITE_BUSY:
            return live("database", who, f"another process has locked it ({error})", head)
        # A read-only connection must not roll an interrupted transaction back; the one that replaces it will.
        if connect.primary(error) == sqlite3.SQLITE_READONLY:
            return live("database", who, "a transaction was interrupted; opening it for writing rolls it back", head)
        return live("unreadable", who, f"SQLite can't read it: {drawable(str(error))}", head)


def replaceable(
    path: str, uid: int | None = None, gid: int | None = None, groups: tuple[int, ...] = ()
) -> tuple[Check, ...]:
    """Can the file at `path` be replaced safely, and can the application (`uid`, `gid`) write there afterwards?"""
    live = look(path)
    folder = str(Path(live.path).parent)
    return (
        _what_it_is(live),
        _links(live),
        _filesystem(filesystem(folder)),
        _folder(folder),
        *(() if uid is None else (_folder_for_application(folder, uid, uid if gid is None else gid, groups),)),
        _sqlite_version(live),
    )


def _what_it_is(live: Live) -> Check:
    where = drawable(live.path)
    if live.asked != live.path and Path(live.asked).is_symlink():
        where = f"{drawable(live.asked)} is a symlink; the file it leads to, {where}, is what is replaced"
    if live.kind == "database":
        return ok("Live database", f"{where}: {live.why}")
    if live.why == NO_FILE:
        return fail("Live database", f"{where}: {live.why}", "Move it away; then there is no live database.")
    return warn(
        "Live database",
        f"{where}: {live.kind}, {live.why}",
        "No consistent snapshot of it can be taken. Its raw files are kept; the commander has to accept that.",
    )


def _links(live: Live) -> Check:
    links = 1 if live.identity is None else live.identity.links
    if links <= 1:
        return ok("Names of the file", "one")
    return fail(
        "Names of the file",
        f"{links} hard links lead to it; the others would keep the old data",
        f"Find them with: find / -xdev -inum {live.identity.inode if live.identity else 0}  and remove all but one.",
    )


def _filesystem(kind: str) -> Check:
    if kind == "unknown":
        return warn("File system", "its type could not be found out", "Make sure that it is a local one.")
    if "overlay" in kind or kind in {"aufs", "unionfs"}:
        return warn(
            "File system",
            f"{kind}: a container's own layer, gone with the container",
            "Keep the database on a volume. Other containers' processes can't be seen from here.",
        )
    if _NETWORK.search(kind) and kind != "fuseblk":
        return fail(
            "File system",
            f"{kind}: locks on it can't be relied on, and other machines' processes can't be seen",
            "Run this on the machine that has the disk, or have the commander accept it with a reason.",
        )
    return ok("File system", kind)


def _folder(folder: str) -> Check:
    try:
        read_only = bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError as error:
        return fail("Folder", f"{drawable(folder)}: {error.strerror}", "Make the folder, or mend the configured path.")
    if read_only:
        return fail("Folder", f"{drawable(folder)} is mounted read-only", "Mount it for writing.")
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return fail("Folder", f"{drawable(folder)} is not writable for uid {os.geteuid()}", "Run this as root.")
    return ok("Folder", f"{drawable(folder)} is writable")


def _folder_for_application(folder: str, uid: int, gid: int, groups: tuple[int, ...]) -> Check:
    """SQLite makes its journal in the folder: an application that can't write there has a read-only database."""
    name = "Folder, for the application"
    if os.geteuid() not in (0, uid):
        return warn(name, f"can't be tried as uid {uid} from uid {os.geteuid()}", "Run this as root.")
    reply = ask_apart({"do": "reach", "path": folder, "uid": uid, "gid": gid, "groups": list(groups or (gid,))})
    if reply["ok"]:
        return ok(name, f"uid {uid} may create files in {drawable(folder)}")
    return fail(
        name,
        f"uid {uid} may not create files in {drawable(folder)}, so SQLite could not make its journal",
        f"chown or chmod {drawable(folder)} so that uid {uid} can write there.",
    )


def _sqlite_version(live: Live) -> Check:
    """What SQLite this process links; the application's own may be another."""
    version = sqlite3.sqlite_version
    if live.journal_mode == "wal" and sqlite3.sqlite_version_info < WAL_RESET_FIXED:
        return warn(
            "SQLite library",
            f"{version} here, and a WAL database: before 3.51.3 two connections that checkpoint at once can corrupt it",
            "Nothing else may have the database open meanwhile (which is checked). Upgrade the application's SQLite.",
        )
    return ok("SQLite library", version)


def _present(paths: tuple[str, ...]) -> list[FileIdentity]:
    found = []
    for path in paths:
        try:
            found.append(identity(path))
        except OSError:
            continue
    return found
