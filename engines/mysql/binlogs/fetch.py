"""Brings the binary logs of a living server into a folder, verified, before anything can purge them there.

What is fetched is ours: the server's own expiry (binlog_expire_logs_seconds) is neither asked for nor changed. A log
that the server purges between listing and fetching is named, never silently left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final
from zlib import crc32

from engines.errors import RestoreError
from engines.mysql.binlogs import wire
from engines.mysql.binlogs.decoding import ERRORS, rotate
from engines.mysql.binlogs.events import ARTIFICIAL, HEADER, IN_USE, START, BadLog, Kind, opened
from engines.mysql.binlogs.logs import LogFile, name_parts, read_log, stopped
from engines.mysql.connect import Login, Place, close, code_of, connect, connected, said
from engines.text import drawable, size

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_MAGIC: Final = b"\xfebin"
_FLAGS: Final = 17  # where an event's header has its flags
_IGNORABLE: Final = 0x80  # flag: whoever does not know the event may leave it out
_NO_LOG: Final = 1236  # the server can't send this log, and says why
_TIMEOUT: Final = 60.0  # seconds without a byte from a server that has something to send
_PART: Final = ".part"
_ENCRYPTION_HEADER: Final = 512  # bytes, of MySQL's encrypted files; what it sends is without it
_FURTHEST: Final = 1 << 32  # the protocol can't ask for a position beyond
_ASKED_EVERY: Final = 200  # events
_PRIVILEGES: Final = (
    "It takes REPLICATION SLAVE, RELOAD, and REPLICATION CLIENT (BINLOG MONITOR on MariaDB): "
    "GRANT REPLICATION SLAVE, REPLICATION CLIENT, RELOAD ON *.* TO …"
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A binary log as the server lists it."""

    name: str
    size: int  # bytes that fetching it gives; of the last one, at least
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of fetching, in the logs' order."""

    logs: tuple[LogFile, ...]
    purged: tuple[str, ...] = ()  # listed, and gone from the server before they could be fetched

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(log.size for log in self.logs)


def flush(connection: Connection[Cursor]) -> None:
    """Close the log that the server is writing, and begin another: what was written is then in closed files."""
    with _asking("FLUSH BINARY LOGS"), connection.cursor() as cursor:
        cursor.execute("FLUSH BINARY LOGS")


def listing(connection: Connection[Cursor]) -> tuple[Listed, ...]:
    """The server's binary logs, oldest first; the last one is being written. Raises RestoreError."""
    with _asking("SHOW BINARY LOGS"), connection.cursor() as cursor:
        cursor.execute("SHOW BINARY LOGS")
        rows = cursor.fetchall()
    found = []
    for row in rows:
        hidden = len(row) > 2 and str(row[2]).lower() == "yes"
        found.append(Listed(str(row[0]), int(row[1]) - (_ENCRYPTION_HEADER if hidden else 0), hidden))
    if not found:
        raise RestoreError("The server lists no binary log.", "Look at log_bin on the server.")
    for one in found:
        if "/" in one.name or name_parts(one.name) is None:
            raise RestoreError(
                f"The server lists {drawable(one.name)} among its binary logs, which is not how they are named.",
                "Look at log_bin_basename and the log index on the server.",
            )
    return tuple(found)


def fetch_logs(
    place: Place,
    login: Login,
    folder: Path,
    *,
    since: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
    at: Callable[[str], None] = lambda point: None,
) -> Fetched:
    """Flush the server's log, fetch every log from `since` (a name; default: the oldest) on, verify each.

    A log that lies in `folder` already, sound and as long as the server's, is not fetched again; one that came in
    part is continued. The log that the server is writing is fetched as far as it is written, and is marked as in
    use. `progress`: bytes. Raises RestoreError; what is whole by then stays, and so does the part.
    """
    with connected(place, login, timeout=_TIMEOUT) as connection:
        flush(connection)
        listed = _wanted(listing(connection), since)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    total = sum(one.size for one in listed)
    done = 0
    logs: list[LogFile] = []
    for one in listed:
        before = done

        def told(bytes_done: int, before: int = before) -> None:
            progress(min(before + bytes_done, total), total)

        last = one is listed[-1]
        log = None if last else _present(folder / one.name, one, stop)
        if log is None:
            try:
                path = fetch_log(place, login, one, folder, growing=last, progress=told, stop=stop, at=at)
            except _Purged:
                continue
            log = _verified(path, one, stop, growing=last)
        logs.append(log)
        done += one.size
        progress(done, total)
        at(f"fetched {one.name}")
    here = {log.name for log in logs}
    missing = tuple(one.name for one in listed if one.name not in here)
    if missing != tuple(one.name for one in listed[: len(missing)]):  # only the oldest can be done without
        raise RestoreError(
            f"The server purged {', '.join(missing)} while its logs were fetched: there is a gap.",
            "Look for these files in the bucket, or restore no further than they begin.",
        )
    return Fetched(tuple(logs), missing)


def _wanted(listed: Sequence[Listed], since: str | None) -> Sequence[Listed]:
    if since is None:
        return listed
    names = [one.name for one in listed]
    if since not in names:
        raise RestoreError(
            f"The server no longer has {drawable(since)}: it lists {names[0]} to {names[-1]}. Nothing was changed.",
            "Look for it in the bucket, or use a later dump.",
        )
    return listed[names.index(since) :]


def fetch_log(
    place: Place,
    login: Login,
    listed: Listed,
    folder: Path,
    *,
    growing: bool = False,
    progress: Callable[[int], None] = lambda done: None,
    stop: Callable[[], bool] = lambda: False,
    at: Callable[[str], None] = lambda point: None,
) -> Path:
    """One log, byte for byte as the server has it, as a file of its name in `folder` (0600).

    `growing`: the server is writing it. It is written aside and named when it is whole, so that a file of that
    name is never a part; a part is continued where its last whole event ends. `progress`: bytes done.
    """
    part = folder / f"{listed.name}{_PART}"
    begin = _sound_part(part)
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            file.truncate(begin)
            file.seek(begin)
            if not begin:
                file.write(_MAGIC)
            position = _receive(place, login, listed, file, progress, stop, growing=growing)
            at(f"received {listed.name}")
            if growing and position > START + HEADER:
                # The server sends it without the flag; but this is not all that it will write.
                file.seek(START + _FLAGS)
                file.write(bytes([IN_USE]))
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / listed.name)
        _sync(folder)
    except OSError as error:
        raise RestoreError(
            f"{drawable(listed.name)} can't be written to {drawable(str(folder))}: {error.strerror or error}.",
            "Make room there, or look at its permissions. Started again, it goes on where it was.",
        ) from error
    return folder / listed.name


class _Purged(RestoreError):
    """The server does not have the log any more."""


def _receive(
    place: Place,
    login: Login,
    listed: Listed,
    file: IO[bytes],
    progress: Callable[[int], None],
    stop: Callable[[], bool],
    *,
    growing: bool,
) -> int:
    """Writes the log's events from where the file is; where it is then, in bytes."""
    position = file.tell()
    beginning = position == START
    checksums = False
    with _asking(listed.name):
        connection = connect(place, login, timeout=_TIMEOUT)
        try:
            for number, event in enumerate(wire.sent(connection, listed.name, position)):
                if not number % _ASKED_EVERY:
                    progress(position)
                    if stop():
                        raise stopped(f"{listed.name} was fetched")
                if event.flags & ARTIFICIAL or event.kind in (Kind.HEARTBEAT, Kind.HEARTBEAT_V2):
                    if event.kind == Kind.ROTATE and not _names(event, listed.name):
                        break  # the server has gone on to the next log
                    continue
                if event.kind == Kind.FORMAT:
                    if not beginning:
                        continue  # sent to every reader, wherever it begins
                    body = b"".join(event.pieces)
                    checksums = body[-5] == 1
                    file.write(event.header + body)
                    beginning = False
                elif event.kind == Kind.START_ENCRYPTION:
                    file.write(_filler(event.header, checksums=checksums))
                else:
                    file.write(event.header)
                    for piece in event.pieces:
                        file.write(piece)
                position += event.size
                if not growing and position >= listed.size:
                    break
        finally:
            close(connection)
    progress(position)
    return position


def _names(event: wire.Sent, name: str) -> bool:
    """Is this the server's announcement of the log `name`? It may or may not end in a checksum."""
    body = b"".join(event.pieces)
    return any(rotate(memoryview(body)[: len(body) - tail])[0] == name for tail in (0, 4))


def _filler(header: bytes, *, checksums: bool) -> bytes:
    """An event to be ignored in place of MariaDB's START_ENCRYPTION: what it sends after it is in the clear.

    It keeps the room, so that positions stay those of the server's own file.
    """
    length = int.from_bytes(header[9:13], "little")
    event = header[:4] + bytes([Kind.IGNORABLE]) + header[5:17] + _IGNORABLE.to_bytes(2, "little")
    event += bytes(length - HEADER - (4 if checksums else 0))
    return event + crc32(event).to_bytes(4, "little") if checksums else event


def _sound_part(part: Path) -> int:
    """Up to which byte an earlier part can be kept; 0: not at all."""
    try:
        with opened(part) as log:
            end = log.format.end
            try:
                for event in log.events():
                    end = event.end
            except BadLog as bad:
                end = bad.position
    except BadLog:
        return 0
    return end if end < _FURTHEST else 0


def _present(path: Path, listed: Listed, stop: Callable[[], bool]) -> LogFile | None:
    """The log that an earlier fetch left, if it is whole and sound."""
    try:
        if path.stat().st_size != listed.size:
            return None
    except OSError:
        return None
    log = read_log(path, stop=stop)
    return log if log.flaw is None and not log.in_use else None


def _verified(path: Path, listed: Listed, stop: Callable[[], bool], *, growing: bool) -> LogFile:
    log = read_log(path, stop=stop)
    if log.size < listed.size or (log.size > listed.size and not growing):
        raise RestoreError(
            f"{listed.name} came with {size(log.size)} ({log.size} bytes), and the server lists {listed.size} bytes.",
            "Start the step again. If it stays so, look at the server's log files and its error log.",
        )
    return log


@contextmanager
def _asking(what: str) -> Iterator[None]:
    """What the server or the line says, as an error that an operator can act on."""
    from pymysql.err import MySQLError

    try:
        yield
    except MySQLError as error:
        if code_of(error) == _NO_LOG and "first log file" in str(error).lower():
            raise _Purged(f"The server no longer has {drawable(what)}: it was purged.", "Look in the bucket.") from None
        hint = "Look at the server's error log. Started again, it goes on where it was."
        if code_of(error) in (1227, 1045, 1142, 1044):
            hint = _PRIVILEGES
        raise RestoreError(f"{drawable(what)}: the server said {said(error)}. Nothing was changed.", hint) from None
    except ERRORS as error:
        raise RestoreError(
            f"{drawable(what)}: the server sent what can't be understood ({type(error).__name__}).",
            "Fetch the log with mysqlbinlog --read-from-remote-server --raw, and name the folder in the configuration.",
        ) from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
