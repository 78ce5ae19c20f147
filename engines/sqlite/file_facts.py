"""What one file is: its identity on the disk and, for a database, its header. No connection is opened here."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from engines.sqlite.elsewhere import first_bytes

MAGIC = b"SQLite format 3\x00"
HEADER_SIZE = 100
WAL_VERSION = 2  # the header's read and write version (bytes 18 and 19) of a database in WAL mode
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """Which file it is, and how it looks from outside."""

    path: str
    device: int
    inode: int
    size: int  # bytes
    uid: int
    gid: int
    mode: int  # permission bits only
    links: int
    filesystem: str  # as in /proc/self/mountinfo: ext4, nfs4, …
    mtime_ns: int  # since the epoch


@dataclass(frozen=True, slots=True)
class Header:
    """The first 100 bytes of a database. Source: sqlite.org/fileformat2.html, 1.3."""

    page_size: int  # bytes
    wal: bool
    change_counter: int
    pages: int  # only true where `pages_known`
    pages_known: bool
    schema_cookie: int
    encoding: str
    user_version: int
    application_id: int
    raw: str  # hexadecimal


def identity(path: str) -> FileIdentity:
    """The file at `path` itself, without following a symlink. Raises FileNotFoundError and other OSErrors."""
    status = Path(path).lstat()
    return FileIdentity(
        path,
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_uid,
        status.st_gid,
        stat.S_IMODE(status.st_mode),
        status.st_nlink,
        filesystem(path),
        status.st_mtime_ns,
    )


def filesystem(path: str) -> str:
    """The type of the file system that holds `path`, `unknown` where /proc does not say."""
    place = os.path.realpath(path)
    best, kind = "", "unknown"
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    except OSError:
        return kind
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), left.split()[4])
        inside = point == "/" or place == point or place.startswith(point + "/")
        if inside and len(point) >= len(best):  # of two mounts on one point the later one counts
            best, kind = point, right.split()[0]
    return kind


def parse_header(raw: bytes) -> Header | None:
    """What the first 100 bytes say; None when this is no SQLite database."""
    if len(raw) < HEADER_SIZE or not raw.startswith(MAGIC):
        return None

    def number(start: int) -> int:
        return int.from_bytes(raw[start : start + 4], "big")

    page_size = int.from_bytes(raw[16:18], "big")
    return Header(
        65_536 if page_size == 1 else page_size,
        raw[18] == WAL_VERSION,
        number(24),
        number(28),
        number(24) == number(92) and number(28) > 0,
        number(40),
        {1: "UTF-8", 2: "UTF-16le", 3: "UTF-16be"}.get(number(56), "unknown"),
        int.from_bytes(raw[60:64], "big", signed=True),
        int.from_bytes(raw[68:72], "big", signed=True),
        raw[:HEADER_SIZE].hex(),
    )


def header(path: str) -> Header | None:
    """The header of a file that is NOT live: it is opened and closed in this process, which drops its locks on it.

    None when it is no SQLite database. Raises OSError.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return parse_header(os.pread(handle, HEADER_SIZE, 0))
    finally:
        os.close(handle)


def live_header(path: str) -> Header | None:
    """The header of a file that may be live, read in a process of its own. Raises OSError."""
    return parse_header(first_bytes(path, HEADER_SIZE))
