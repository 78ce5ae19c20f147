"""The session's append-only list of events: chained, and on the disk before its effect is begun or reported.

One JSON object a line; each line carries the SHA-256 of the one before (docs/record.md).
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from engines.errors import RestoreError
from engines.session.events import Entry, Event, decode, encode
from engines.session.sharing import file_mode
from engines.text import utc_now

FIRST_PREV = "0" * 64
RESERVE_NAME = "reserve"
RESERVE_SIZE = 2 * 1024 * 1024  # bytes kept back so that a full disk can still be recorded
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class Journal:
    """What a journal file holds: its entries, its lines as they stand, and what is left of a torn last line."""

    entries: tuple[Entry, ...]
    lines: tuple[bytes, ...]
    torn: bytes = b""

    @property
    def head(self) -> str:
        return line_digest(self.lines[-1]) if self.lines else FIRST_PREV


class BrokenChain(RestoreError):
    """A journal that does not hold. `line` is the first line that is wrong, counted from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(
            f"Journal line {line}: {message}",
            "The journal was changed after it was written, or damaged. Trust only the lines before this one.",
        )
        self.line = line


def line_digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def read(path: Path) -> Journal:
    """The journal at `path`. Raises BrokenChain naming the first line that does not hold."""
    try:
        content = _content(path)
    except OSError as error:
        raise RestoreError(
            f"The journal {path} can't be read: {error.strerror}.",
            "Run as the user who began the session, or as root.",
        ) from error
    return parse(content)


def _content(path: Path) -> bytes:
    # A pipe or a device in a journal's place would keep its reader waiting for ever.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return file.read()


def parse(content: bytes) -> Journal:
    *lines, torn = content.split(b"\n")
    entries: list[Entry] = []
    prev = FIRST_PREV
    for number, line in enumerate(lines, 1):
        try:
            entry = decode(line)
        except RestoreError as error:
            raise BrokenChain(number, error.message) from error
        if entry.seq != number:
            raise BrokenChain(number, f"it says it is number {entry.seq}; a line was added, removed or moved.")
        if entry.prev != prev:
            raise BrokenChain(number, "it does not follow from the line before it; one of the two was changed.")
        entries.append(entry)
        prev = line_digest(line)
    return Journal(tuple(entries), tuple(lines), torn)


def keep_reserve(folder: Path) -> None:
    """Set aside the space that lets a full disk be survived."""
    path = folder / RESERVE_NAME
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, RESERVE_SIZE)
    finally:
        os.close(fd)


def release_reserve(folder: Path) -> bool:
    """Give the reserve back to the disk. True when there was one."""
    with suppress(FileNotFoundError):
        (folder / RESERVE_NAME).unlink()
        return True
    return False


class Writer:
    """The journal's one writer. Opening it sets a torn last line aside."""

    def __init__(self, path: Path, now: Callable[[], datetime] = utc_now) -> None:
        self.path = path
        self._now = now
        mode = file_mode(path.parent)
        self._fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        if os.fstat(self._fd).st_uid == os.geteuid():
            os.fchmod(self._fd, mode)  # whatever the umask says
        known = read(path)
        self.entries = list(known.entries)
        self.lines = list(known.lines)
        self.head = known.head
        self._size = sum(len(line) + 1 for line in known.lines)
        self.torn = known.torn
        if known.torn:
            replace_file(path.with_name(f"{path.name}.torn-{known.head[:8]}"), known.torn)
            os.ftruncate(self._fd, self._size)
            os.fsync(self._fd)
        sync_folder(path.parent)

    def append(self, event: Event, by: str) -> tuple[Entry, bytes]:
        """Write the event and wait for the disk. Raises RestoreError when it can't be kept; nothing is written then."""
        at = self._now().astimezone(UTC)
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        line, entry = _as_written(Entry(seq=len(self.lines) + 1, at=at, by=by, event=event, prev=self.head))
        try:
            self._write(line + b"\n")
        except OSError as error:
            if error.errno not in _FULL or not release_reserve(self.path.parent):
                raise self._unwritten(error) from error
            try:
                self._write(line + b"\n")
            except OSError as again:
                raise self._unwritten(again) from again
        self.entries.append(entry)
        self.lines.append(line)
        self.head = line_digest(line)
        self._size += len(line) + 1
        return entry, line

    def _write(self, content: bytes) -> None:
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise

    def _unwritten(self, error: OSError) -> RestoreError:
        return RestoreError(
            f"The journal can't be written: {error.strerror}. What was about to happen was not begun.",
            f"Free some space on the volume of {self.path.parent}, then: reinstate resume.",
        )

    def close(self) -> None:
        os.close(self._fd)


def _as_written(entry: Entry) -> tuple[bytes, Entry]:
    """The line, and the entry as it will be read again: what is folded now and after a crash must be the same."""
    try:
        line = encode(entry)
        return line, decode(line)
    except (RestoreError, RecursionError, TypeError, ValueError, msgspec.MsgspecError) as error:
        raise RestoreError(
            f"A {type(entry.event).__name__} can't be written down: {error}. Nothing was written.",
            "This is a defect of Reinstate, or a value that no journal can hold. The session stands as it was.",
        ) from error


def sync_folder(folder: Path) -> None:
    """Make names in `folder` survive a power cut (fsync(2), on directories)."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a whole file so that a reader sees the old one or the new one: write, fsync, rename, fsync of the folder.

    On a full disk the reserve beside it is given up first.
    """
    partial = path.with_name(f".{path.name}.new")
    try:
        _write_new(partial, content, mode)
    except OSError as error:
        if error.errno not in _FULL or not release_reserve(path.parent):
            raise
        _write_new(partial, content, mode)
    partial.replace(path)
    sync_folder(path.parent)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        try:
            os.fchmod(fd, mode)  # whatever the umask says
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            path.unlink(missing_ok=True)  # half a file would only fill the disk further
            raise
