"""Makes a staged copy look as the live file should: owner, mode, extended attributes, journal mode."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

from engines.errors import Refused, RestoreError
from engines.hooks import At, Say, nowhere, silent
from engines.sqlite import files
from engines.sqlite.file_facts import HEADER_SIZE, header
from engines.sqlite.lock import set_journal_mode
from engines.sqlite.positions import Position, Swap, where
from engines.text import drawable

# Header bytes that setting the journal mode rewrites: write and read version, change counter, size in pages,
# version-valid-for and SQLite's version number. Everything else has to be what was verified.
_REWRITTEN = frozenset((18, 19, *range(24, 32), *range(92, 100)))
_ACLS = ("system.posix_acl_access", "system.posix_acl_default")
_BUFFER = 4 * 1024 * 1024  # bytes


def dress(swap: Swap, *, say: Say = silent, at: At = nowhere) -> None:
    """Gives the staged copy its final owner, mode, attributes and journal mode, and makes that durable.

    First makes sure that it still is what was verified. Can be repeated after a crash. Raises Refused; the live
    database is not touched.
    """
    if where(swap) not in (Position.OLD, Position.LINKED):
        return  # the staged file is live already: nothing to dress
    _refuse_other_bytes(swap)
    at("dress.journal-mode.before")
    set_journal_mode(swap.staged, swap.journal_mode)
    at("dress.journal-mode.after")
    say(f"journal mode {swap.journal_mode}")
    try:
        os.chown(swap.staged, swap.uid, swap.gid, follow_symlinks=False)
        at("dress.owner.after")
        _copy_attributes(swap, say)
        at("dress.attributes.after")
        os.chmod(swap.staged, swap.mode)  # noqa: PTH101 - last, since an ACL brings its own mode; no link can be here
        at("dress.mode.after")
        files.sync_file(swap.staged)
        at("dress.sync.after")
        files.sync_folder(swap.staged)
        at("dress.folder-sync.after")
    except OSError as error:
        raise RestoreError(
            f"The staged copy could not be given owner {swap.uid}:{swap.gid} and mode {swap.mode:04o}, durably: "
            f"{error.strerror}. The live database was not changed.",
            "Run this as root, or configure owner and mode that this user may set.",
        ) from error
    refuse_undressed(swap)
    say(f"owner {swap.uid}:{swap.gid}, mode {swap.mode:04o}, written to disk")


def refuse_undressed(swap: Swap) -> None:
    """Raises Refused unless the staged copy is there, complete, alone and as it should look."""
    try:
        status = Path(swap.staged).lstat()
    except FileNotFoundError:
        raise _refusal(swap, "is gone") from None
    if (status.st_dev, status.st_ino) != swap.new or not stat.S_ISREG(status.st_mode):
        raise _refusal(swap, "is another file than the one verified")
    if status.st_nlink != 1:
        raise _refusal(swap, f"has {status.st_nlink} hard links")
    if (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) != (swap.uid, swap.gid, swap.mode):
        raise _refusal(swap, "does not have its owner and mode")
    if files.present(files.sidecars(swap.staged)):
        raise _refusal(swap, "has sidecars")
    head = header(swap.staged)
    if head is None or status.st_size != swap.copy.size:
        raise _refusal(swap, "is not the database that was verified")
    if head.wal != (swap.journal_mode == "wal"):
        raise _refusal(swap, f"is not in journal mode {swap.journal_mode}")


def _refuse_other_bytes(swap: Swap) -> None:
    """What was verified is what is used: the same file, not written since; else every byte is hashed again."""
    if files.present(files.sidecars(swap.staged)):
        set_journal_mode(swap.staged, swap.journal_mode)  # a crash while setting it: SQLite first puts that right
    try:
        status = Path(swap.staged).lstat()
    except FileNotFoundError:
        raise _refusal(swap, "is gone") from None
    if (status.st_dev, status.st_ino) != swap.new or not stat.S_ISREG(status.st_mode):
        raise _refusal(swap, "is another file than the one verified")
    if (status.st_size, status.st_mtime_ns) == (swap.copy.size, swap.copy.mtime_ns):
        return
    if _hash_as_staged(swap) != swap.copy.sha256:
        raise _refusal(swap, "has been written to since it was verified")


def _hash_as_staged(swap: Swap) -> str:
    """The digest with the header as it was staged, or nothing where the header differs in more than it may."""
    then = bytes.fromhex(swap.copy.header)
    digest = hashlib.sha256()
    handle = os.open(swap.staged, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        now = os.read(handle, HEADER_SIZE)
        if len(now) != HEADER_SIZE or any(
            now[index] != then[index] for index in range(HEADER_SIZE) if index not in _REWRITTEN
        ):
            return ""
        digest.update(then)
        while chunk := os.read(handle, _BUFFER):
            digest.update(chunk)
    finally:
        os.close(handle)
    return digest.hexdigest()


def _copy_attributes(swap: Swap, say: Say) -> None:
    """SELinux label, ACL and user attributes of the live file. An ACL that the folder lent to the copy goes."""
    source = swap.live if swap.before is not None else None
    wanted = {} if source is None else {name: os.getxattr(source, name) for name in os.listxattr(source)}
    for name in os.listxattr(swap.staged):
        if name in _ACLS and name not in wanted:
            os.removexattr(swap.staged, name)
    for name, value in wanted.items():
        if name in os.listxattr(swap.staged) and os.getxattr(swap.staged, name) == value:
            continue
        try:
            os.setxattr(swap.staged, name, value)
        except OSError as error:
            # Without its ACL the application could lose access; signatures (ima, evm) and the like can't be copied.
            if name in _ACLS or error.errno not in (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL):
                raise
            say(f"extended attribute {drawable(name)} could not be copied: {error.strerror}")
        else:
            say(f"extended attribute {drawable(name)} copied")


def _refusal(swap: Swap, what: str) -> Refused:
    return Refused(
        f"The staged copy {drawable(swap.staged)} {what}. The live database was not changed.",
        "Stage the backup again.",
    )
