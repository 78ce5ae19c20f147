"""Reads the events of one binary log file, each verified, in flat memory.

What an event holds is `decoding`'s work, and which events make a transaction `grouping`'s. Every byte is taken
for hostile: no length field decides how much memory is taken.

Source: MySQL source code documentation, "Binary Log Event"; MariaDB documentation, "Replication Protocol".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

from engines.errors import RestoreError
from engines.mysql.flavour import Flavour, Version, parse_version
from engines.text import drawable

HEADER: Final = 19  # bytes of an event's header, the same in every version-4 log
START: Final = 4  # position of the first event, after the magic
WINDOW: Final = 4 << 20  # bytes read at a time
IN_USE: Final = 0x01  # flag of the format description: the server has not closed this file
ARTIFICIAL: Final = 0x20  # flag of an event that a server made up for the wire; no file has it

_MAGIC: Final = b"\xfebin"
_MAGIC_ENCRYPTED: Final = b"\xfdbin"  # MySQL, "Encrypting Binary Log Files and Relay Log Files"
_CHANGED: Final = "the event's checksum does not match: its bytes were changed"
_LARGEST_FORMAT: Final = 4096  # a format description has about 120 bytes, MariaDB's 250
_header: Final = Struct("<IBIIIH").unpack_from  # time, kind, server id, size, next position, flags
_u32: Final = Struct("<I").unpack_from


class Kind(IntEnum):
    """The events that are understood. Others are walked over, verified all the same."""

    QUERY = 2
    STOP = 3
    ROTATE = 4
    INTVAR = 5
    APPEND_BLOCK = 9
    DELETE_FILE = 11
    RAND = 13
    USER_VAR = 14
    FORMAT = 15
    XID = 16
    BEGIN_LOAD_QUERY = 17
    EXECUTE_LOAD_QUERY = 18
    TABLE_MAP = 19
    WRITE_ROWS_V1 = 23
    UPDATE_ROWS_V1 = 24
    DELETE_ROWS_V1 = 25
    INCIDENT = 26
    HEARTBEAT = 27
    IGNORABLE = 28
    ROWS_QUERY = 29
    WRITE_ROWS = 30
    UPDATE_ROWS = 31
    DELETE_ROWS = 32
    GTID = 33
    ANONYMOUS_GTID = 34
    PREVIOUS_GTIDS = 35
    TRANSACTION_CONTEXT = 36
    VIEW_CHANGE = 37
    XA_PREPARE = 38
    PARTIAL_UPDATE_ROWS = 39
    TRANSACTION_PAYLOAD = 40
    HEARTBEAT_V2 = 41
    GTID_TAGGED = 42
    ANNOTATE_ROWS = 160  # MariaDB's begin here
    BINLOG_CHECKPOINT = 161
    MARIA_GTID = 162
    GTID_LIST = 163
    START_ENCRYPTION = 164
    QUERY_COMPRESSED = 165
    WRITE_ROWS_COMPRESSED_V1 = 166
    UPDATE_ROWS_COMPRESSED_V1 = 167
    DELETE_ROWS_COMPRESSED_V1 = 168
    WRITE_ROWS_COMPRESSED = 169
    UPDATE_ROWS_COMPRESSED = 170
    DELETE_ROWS_COMPRESSED = 171


class Fault(StrEnum):
    CUT = "cut"  # the file ends inside an event
    DAMAGED = "damaged"  # bytes that can't be what the server wrote
    ENCRYPTED = "encrypted"
    FOREIGN = "foreign"  # not a binary log, or none that is understood
    UNREADABLE = "unreadable"  # the operating system refuses


class BadLog(RestoreError):
    """A binary log that can't be used from `position` (bytes) on; what lies before it was sound."""

    def __init__(self, fault: Fault, file: str, position: int, message: str, hint: str) -> None:
        super().__init__(f"{drawable(file)}, byte {position}: {message}", hint)
        self.fault = fault
        self.file = file
        self.position = position
        self.plain = message


class Event(NamedTuple):
    """One event. A plain tuple, since a log has millions of them."""

    position: int  # where it begins in its file; inside a compressed transaction, that of the payload event
    end: int  # where the next one begins
    kind: int
    time: int  # seconds since 1970, UTC; a session can set it (SET TIMESTAMP)
    server_id: int
    flags: int
    body: memoryview  # between header and checksum; the first WINDOW bytes where `whole` is false
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Format:
    """What a log says about itself in its first event."""

    version: Version
    time: int  # seconds since 1970: when the file was begun
    server_id: int
    checksums: bool  # does each event end in its CRC-32?
    in_use: bool
    end: int  # where the next event begins


@dataclass(frozen=True, slots=True)
class OpenLog:
    """A log that is open for reading; its size is what it was when it was opened."""

    name: str
    descriptor: int
    size: int  # bytes
    format: Format

    def events(self, start: int | None = None, end: int | None = None, *, verify: bool = True) -> Iterator[Event]:
        """Each event from `start` (default: after the format description) up to `end` (default: the file's).

        `verify` compares checksums; positions are checked always. Raises BadLog at the first event that does
        not hold, after all those before it were given.
        """
        first, last = self.format.end if start is None else start, self.size if end is None else end
        return _events(self, first, min(last, self.size), verify)

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """The file's bytes from `start` up to `end`, at most WINDOW at a time."""
        while start < end:
            piece = os.pread(self.descriptor, min(WINDOW, end - start), start)
            if not piece:
                raise cut(self.name, start, "it has become shorter while it was read")
            yield piece
            start += len(piece)


@contextmanager
def opened(path: Path, name: str | None = None) -> Iterator[OpenLog]:
    """The log in `path`, its beginning read. Raises BadLog for what is no readable binary log."""
    shown = path.name if name is None else name
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _unreadable(shown, error) from error
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise _foreign(shown, "not a file")
        try:
            head = os.pread(descriptor, _LARGEST_FORMAT, 0)
        except OSError as error:
            raise _unreadable(shown, error) from error
        yield OpenLog(shown, descriptor, facts.st_size, read_format(shown, head, facts.st_size))
    finally:
        os.close(descriptor)


def read_format(name: str, head: bytes, size: int) -> Format:
    """The format description at the beginning of a log. `head`: its first bytes; `size`: of the whole file."""
    if not head.startswith(_MAGIC):
        if head.startswith(_MAGIC_ENCRYPTED):
            raise encrypted(name, 0, "MySQL")
        if _MAGIC.startswith(head):
            raise cut(name, len(head), "it ends before its first event")
        if name.endswith(".ibb"):
            raise _foreign(
                name, "a binary log inside InnoDB (binlog_storage_engine), which only MariaDB itself can read"
            )
        raise _foreign(name, "this is no binary log (it does not begin with fe 62 69 6e)")
    if len(head) < START + HEADER:
        raise cut(name, START, "it ends inside its first event")
    time, kind, server_id, length, _, flags = _header(head, START)
    if kind != Kind.FORMAT or not HEADER + 57 <= length <= _LARGEST_FORMAT - START:
        raise _foreign(name, "its first event is no format description of version 4 (MySQL 5.0 or later)")
    if START + length > size or START + length > len(head):
        raise cut(name, START, "it ends inside its first event")
    body = head[START + HEADER : START + length]
    version = parse_version(body[2:52].partition(b"\0")[0].decode("latin-1"))
    if int.from_bytes(body[:2], "little") != 4 or body[56] != HEADER or version is None:
        raise _foreign(name, "its first event is no format description of version 4 (MySQL 5.0 or later)")
    if not (version.at_least(Flavour.MYSQL, 5, 6, 1) or version.at_least(Flavour.MARIADB, 5, 3)):
        raise _foreign(name, f"it was written by {version}, or its beginning was changed: logs that old prove nothing")
    # The algorithm's byte and a checksum are there even with binlog_checksum=NONE. The server sets and clears the
    # in-use flag without writing the checksum anew: it is that of the flags without it.
    plain = bytearray(head[START : START + length - 4])
    plain[17] &= ~IN_USE
    if crc32(plain) != _u32(head, START + length - 4)[0]:
        raise _damaged(name, START, "the format description's checksum does not match")
    if body[-5] > 1:
        raise _foreign(name, f"its checksum algorithm, number {body[-5]}, is unknown")
    checksums = body[-5] == 1
    return Format(version, time, server_id, checksums, bool(flags & IN_USE), START + length)


def _events(log: OpenLog, position: int, end: int, verify: bool) -> Iterator[Event]:
    name, checksums = log.name, log.format.checksums
    tail = 4 if checksums else 0
    verify = verify and checksums
    made = tuple.__new__  # takes a third of the time that Event(…) does
    while position < end:
        window = _window(log, position)
        view = memoryview(window)
        offset, length, size = 0, len(window), 0
        while offset + HEADER <= length and position + offset < end:
            time, kind, server_id, size, following, flags = _header(window, offset)
            stop = offset + size
            # Without a checksum the position that the server wrote into the event is the only proof. With one it
            # is not asked: a server that turns a transaction's cache into a log file leaves other numbers there.
            if size < HEADER + tail or (not checksums and following != position + stop & 0xFFFFFFFF):
                raise _implausible(name, position + offset, size)
            if stop > length:
                break
            body = stop - tail
            if verify and crc32(view[offset:body]) != _u32(window, body)[0]:
                raise _damaged(name, position + offset, _CHANGED)
            held = view[offset + HEADER : body]
            yield made(Event, (position + offset, position + stop, kind, time, server_id, flags, held, True))
            offset = stop
        if offset == 0:  # larger than the window, or the file ends in it
            if length < HEADER or position + size > log.size:
                raise _ends_inside(log, position, window)
            yield _large(log, position, window, verify)
            offset = size
        position += offset


def _window(log: OpenLog, position: int) -> bytes:
    try:
        window = os.pread(log.descriptor, min(WINDOW, log.size - position), position)
    except OSError as error:
        raise _unreadable(log.name, error) from error
    if not window:
        raise cut(log.name, position, "it has become shorter while it was read")
    return window


def _large(log: OpenLog, position: int, window: bytes, verify: bool) -> Event:
    """An event that is larger than the window: verified piece by piece, only its first bytes kept."""
    time, kind, server_id, size, _, flags = _header(window)
    end = position + size
    body = end - (4 if log.format.checksums else 0)
    if verify:
        found = 0
        for piece in log.pieces(position, body):
            found = crc32(piece, found)
        if found != _u32(b"".join(log.pieces(body, end)))[0]:
            raise _damaged(log.name, position, _CHANGED)
    kept = memoryview(window)[HEADER : body - position]
    return Event(position, end, kind, time, server_id, flags, kept, whole=len(window) >= body - position)


def _ends_inside(log: OpenLog, position: int, window: bytes) -> BadLog:
    """The file ends before the event does: cut short, or the event's length is damaged. The header tells which."""
    left = log.size - position
    if len(window) < HEADER:
        return cut(log.name, position, f"it ends inside an event, {left} bytes after the last whole one")
    _, _, _, size, following, _ = _header(window)
    if following == position + size & 0xFFFFFFFF:
        return cut(log.name, position, f"it ends inside an event: {left} of its {size} bytes are there")
    return _implausible(log.name, position, size)


def _implausible(name: str, position: int, size: int) -> BadLog:
    return _damaged(name, position, f"an event can't have {size} bytes here: its header was changed")


def _damaged(name: str, position: int, message: str) -> BadLog:
    return BadLog(
        Fault.DAMAGED,
        name,
        position,
        message,
        "Fetch this log again, from the server or from another copy. What lies before this byte can be used.",
    )


def cut(name: str, position: int, message: str) -> BadLog:
    return BadLog(
        Fault.CUT,
        name,
        position,
        message,
        "Fetch this log again: it was copied while the server wrote it, or the copy broke off.",
    )


def _foreign(name: str, message: str) -> BadLog:
    return BadLog(Fault.FOREIGN, name, 0, message, "Look at where the binary logs are configured to be.")


def _unreadable(name: str, error: OSError) -> BadLog:
    why = f"it can't be read: {error.strerror or error}"
    return BadLog(Fault.UNREADABLE, name, 0, why, "Look at the file's permissions, and at the disk.")


def encrypted(name: str, position: int, by: str) -> BadLog:
    return BadLog(
        Fault.ENCRYPTED,
        name,
        position,
        f"it is encrypted by {by}, and only that server has the key",
        "Fetch it from the living server, which sends it decrypted.",
    )


def malformed(name: str, position: int, what: str) -> BadLog:
    """An event whose checksum holds, or that has none, and whose content makes no sense."""
    return _damaged(name, position, f"{what} can't be read")
