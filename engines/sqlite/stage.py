"""Brings a backup next to the live database, and knows that what lies there is what was listed.

The bytes are hashed while they are copied, once; everything later uses this copy. Whether it is a sound database is
`proof`'s question.
"""

from __future__ import annotations

import errno
import hashlib
import os
import queue
import stat
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from engines.errors import OtherBytes, Refused, RestoreError, UsageError
from engines.hooks import At, Progress, Stop, never, nowhere, unmeasured
from engines.sqlite import files
from engines.sqlite.connect import stopped
from engines.sqlite.file_facts import HEADER_SIZE, MAGIC, parse_header
from engines.text import drawable, size

_BUFFER = 1024 * 1024  # bytes; with four of them hashing and copying overlap fully (measured, 1 GB)
_BUFFERS = 4


@dataclass(frozen=True, slots=True)
class Staged:
    """A verified copy beside the live database."""

    path: str
    device: int
    inode: int
    size: int  # bytes
    mtime_ns: int
    sha256: str  # of the bytes as they came, before `swap.dress` sets the journal mode in the header
    digests: tuple[tuple[str, str], ...]  # every algorithm computed, with its hexadecimal digest
    header: str  # the first 100 bytes as they came, hexadecimal
    source: str


def stage(
    source: str,
    beside: str,
    token: str,
    expected: tuple[str, str] | None = None,
    *,
    progress: Progress = unmeasured,
    stop: Stop = never,
    at: At = nowhere,
) -> Staged:
    """Copies `source` into the folder of the live database `beside`, hashing it on the way.

    `expected` is an algorithm's name and the hexadecimal digest from the catalogue. A leftover of the same token is
    replaced. Raises Refused, and leaves nothing behind, when the source is no plain, complete, quiet file or has
    another digest; RestoreError when the copy can't be written.
    """
    path = files.beside(os.path.realpath(beside), token, "staged")
    digests = _digests(expected)
    handle = _open_source(source, os.path.realpath(beside))
    try:
        before = os.fstat(handle)
        start = os.pread(handle, HEADER_SIZE, 0)
        _refuse_unfit(source, before, start)
        _remove_leftover(path)
        at("stage.create.before")
        target = _create(path)
        try:
            at("stage.create.after")
            _copy(handle, target, before.st_size, tuple(digests.values()), progress, stop)
            at("stage.copy.after")
            _refuse_changed(source, before, os.fstat(handle))
            _refuse_other_digest(source, expected, digests)
            os.fsync(target)
            at("stage.sync.after")
            status = os.fstat(target)
        except BaseException as error:
            _drop(path)
            raise _readable(error, path) from error
        finally:
            os.close(target)
    finally:
        os.close(handle)
    files.sync_folder(path)
    at("stage.folder-sync.after")
    return Staged(
        path,
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        digests["sha256"].hexdigest(),
        tuple((name, digest.hexdigest()) for name, digest in digests.items()),
        start.hex(),
        source,
    )


def _digests(expected: tuple[str, str] | None) -> dict[str, hashlib._Hash]:
    digests = {"sha256": hashlib.sha256()}
    if expected is not None and expected[0] not in digests:
        try:
            digests[expected[0]] = hashlib.new(expected[0], usedforsecurity=False)
        except ValueError as error:
            raise UsageError(
                f"{drawable(expected[0])} is no checksum that can be computed here. Nothing was changed.",
                "Use sha256, sha512, sha1 or md5.",
            ) from error
    return digests


def _open_source(source: str, live: str) -> int:
    """Refuses what is not a plain file before reading it: opening a FIFO or a device could wait for ever."""
    try:
        handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        reason = "is a symlink" if error.errno == errno.ELOOP else f"can't be opened: {error.strerror}"
        raise Refused(
            f"The backup {drawable(source)} {reason}. Nothing was changed.",
            "Choose a regular file; where it is a link, name the file that it leads to.",
        ) from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or (status.st_dev, status.st_ino) == files.key(live):
        os.close(handle)
        what = "the live database itself" if stat.S_ISREG(status.st_mode) else "not a regular file"
        raise Refused(f"The backup {drawable(source)} is {what}. Nothing was changed.", "Choose another backup.")
    return handle


def _refuse_unfit(source: str, status: os.stat_result, start: bytes) -> None:
    if status.st_size == 0:
        raise Refused(
            f"The backup {drawable(source)} is empty. Nothing was changed.",
            "SQLite would call it a sound database without tables. Choose another backup.",
        )
    if parse_header(start) is None:
        raise Refused(
            f"The backup {drawable(source)} is not an SQLite database: it begins with {start[: len(MAGIC)]!r}. "
            "Nothing was changed.",
            "A dump or an archive has to be turned into a database file first. Choose another backup.",
        )
    for ending in ("-wal", "-journal"):
        beside = Path(source + ending)
        if beside.exists() and beside.stat().st_size > 0:
            raise Refused(
                f"The backup {drawable(source)} has {drawable(beside.name)} beside it, so it may lack rows or hold "
                "half a transaction. Nothing was changed.",
                "Make backups with VACUUM INTO or sqlite3's .backup; choose another one now.",
            )


def _refuse_changed(source: str, before: os.stat_result, after: os.stat_result) -> None:
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise Refused(
            f"The backup {drawable(source)} changed while it was read. Nothing was changed.",
            "Something still writes it. Wait until it is complete, or choose another one.",
        )


def _refuse_other_digest(source: str, expected: tuple[str, str] | None, digests: dict[str, hashlib._Hash]) -> None:
    if expected is None:
        return
    name, wanted = expected
    found = digests[name].hexdigest()
    if found != wanted.strip().lower():
        raise OtherBytes(
            f"The backup {drawable(Path(source).name)} has {name} {_enough(found, wanted)}, "
            f"and {drawable(_enough(wanted, found))} is expected of it. Nothing was changed.",
            "It is damaged or another file. Choose another backup.",
            digests["sha256"].hexdigest(),
        )


def _enough(digest: str, other: str) -> str:
    """As many digits as it takes to see that it is another: 64 of them twice would hide what comes after them."""
    return digest if digest[:16] == other[:16] or len(digest) <= 16 else f"{digest[:16]}…"


def _remove_leftover(path: str) -> None:
    for leftover in files.present((path, *files.sidecars(path))):
        if Path(leftover).is_dir() and not Path(leftover).is_symlink():
            raise Refused(f"{drawable(leftover)} is a folder. Nothing was changed.", "Remove it.")
        Path(leftover).unlink()


def _create(path: str) -> int:
    try:
        target = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _readable(error, path) from error
    os.fchmod(target, 0o600)  # a umask, or the folder's default ACL, could have made it another mode
    return target


def _copy(
    source: int,
    target: int,
    total: int,
    digests: tuple[hashlib._Hash, ...],
    progress: Progress,
    stop: Stop,
) -> None:
    """Copies to the end of `source`; the same buffers are hashed on a second thread meanwhile."""
    free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
    full: queue.SimpleQueue[tuple[memoryview, int] | None] = queue.SimpleQueue()
    for _ in range(_BUFFERS):
        free.put(memoryview(bytearray(_BUFFER)))

    def hash_all() -> None:
        while (item := full.get()) is not None:
            for digest in digests:
                digest.update(item[0][: item[1]])
            free.put(item[0])

    hasher = Thread(target=hash_all, name="stage-hash", daemon=True)
    hasher.start()
    done = 0
    try:
        while done <= total:  # beyond that it grows while it is read, and is refused for it
            buffer = free.get()
            count = os.readv(source, [buffer])
            if count == 0:
                break
            full.put((buffer, count))
            written = 0
            while written < count:
                written += os.write(target, buffer[written:count])
            done += count
            progress(done, total)
            if stop():
                raise stopped("staging the backup")
    finally:
        full.put(None)
        hasher.join()


def _drop(path: str) -> None:
    """Removes our own partial copy. That it could not be removed must not hide why."""
    try:
        Path(path).unlink(missing_ok=True)
        files.sync_folder(path)
    except OSError:
        return


def _readable(error: BaseException, path: str) -> BaseException:
    if not isinstance(error, OSError):
        return error
    free = os.statvfs(Path(path).parent)
    return RestoreError(
        f"The backup could not be copied to {drawable(path)}: {error.strerror}. The live database was not changed, and "
        "the partial copy was removed.",
        f"{size(free.f_bavail * free.f_frsize)} are free there. Make room, or mend what the message says.",
    )
