"""Asks a server for one of its binary logs, as a replica would, and gives the events as they come.

No client program is needed, and the bytes are those of the server's own file. Where they go is `fetch`'s work.
Source: MySQL source code documentation, "COM_BINLOG_DUMP"; MariaDB documentation, "Replica Registration".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final, Protocol, cast

from engines.mysql.binlogs.events import HEADER
from engines.mysql.flavour import Flavour, parse_version

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_COM_BINLOG_DUMP: Final = 0x12
_NON_BLOCK: Final = 1  # end at the end of the last log instead of waiting for more
_ANNOTATIONS: Final = 2  # MariaDB: send what statements were behind the rows too; else they are left out
_LARGEST_FRAME: Final = 0xFFFFFF
_PIECE: Final = 1 << 20  # bytes
_header: Final = Struct("<IBIIIH").unpack
_request: Final = Struct("<IHI").pack


class _Line(Protocol):
    """What of PyMySQL's connection is needed beyond its public part: it has no name for this command."""

    def _execute_command(self, command: int, sql: bytes) -> None: ...
    def _read_bytes(self, num_bytes: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Sent:
    """One event on its way; `pieces` has to be read before the next one is asked for."""

    kind: int
    size: int  # bytes, header and checksum among them
    following: int  # where the server's file goes on after it
    flags: int
    header: bytes
    pieces: Iterator[bytes]  # what comes after the header


def sent(connection: Connection[Cursor], name: str, position: int) -> Iterator[Sent]:
    """The events of log `name` from `position` on, then those of later logs, until the server has no more.

    Raises what PyMySQL raises. The connection is of no other use afterwards: close it.
    """
    with connection.cursor() as cursor:
        # Without these a server turns events that it takes the receiver to be too old for into others, or refuses.
        cursor.execute(
            "SET @source_binlog_checksum = @@GLOBAL.binlog_checksum, "
            "@master_binlog_checksum = @@GLOBAL.binlog_checksum, @mariadb_slave_capability = 4"
        )
    version = parse_version(str(connection.get_server_info()))  # type: ignore[no-untyped-call]  # not in the stubs
    flags = _NON_BLOCK
    if version is not None and version.flavour is Flavour.MARIADB:
        flags |= _ANNOTATIONS
    line = cast(_Line, connection)
    # Server id 0 is that of a reader that is no replica: it ends no replica's connection, and is waited for by none.
    line._execute_command(_COM_BINLOG_DUMP, _request(position, flags, 0) + name.encode())
    frames = _Frames(line)
    while frames.begin():
        header = frames.read(HEADER)
        _, kind, _, size, following, flags = _header(header)
        left = _Counted(frames, size - HEADER)
        yield Sent(kind, size, following, flags, header, left)
        for _ in left:  # what the receiver had no use for
            pass


class _Counted:
    """So many bytes from the line, in pieces."""

    def __init__(self, frames: _Frames, size: int) -> None:
        self._frames = frames
        self._left = size

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._left <= 0:
            raise StopIteration
        piece = self._frames.read(min(_PIECE, self._left))
        self._left -= len(piece)
        return piece


class _Frames:
    """The packets of the answer, each in one frame or several."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._left = 0
        self._more = False

    def begin(self) -> bool:
        """Begin the next packet; False: the server has nothing more. Raises what it says is wrong."""
        self._frame()
        status = self.read(1)[0]
        if status == 0xFE and self._left < 9:
            self.read(self._left)
            return False
        if status == 0xFF:
            from pymysql.err import raise_mysql_exception

            raise_mysql_exception(b"\xff" + self.read(self._left))
        return True

    def read(self, size: int) -> bytes:
        parts = []
        while size > 0:
            if not self._left:
                if not self._more:
                    raise ValueError("an event is longer than its packet")
                self._frame()
            part = self._line._read_bytes(min(size, self._left))
            self._left -= len(part)
            size -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _frame(self) -> None:
        if self._left:
            raise ValueError("an event is shorter than its packet")
        self._left = int.from_bytes(self._line._read_bytes(4)[:3], "little")
        self._more = self._left == _LARGEST_FRAME
