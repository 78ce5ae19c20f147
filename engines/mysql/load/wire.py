"""Sends rows to a server piece by piece, in the two ways that its protocol has.

PyMySQL would open whatever file a server asks for. Here a request is answered with the pieces at hand, whatever name
it gives, and only while a LOAD DATA of ours is running; at any other time PyMySQL refuses it (local_infile is off).
Sources: MySQL internals, "COM_QUERY", "Protocol::LOCAL_INFILE_Request", "MySQL Packets".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from engines.errors import RestoreError

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_LARGEST_PACKET = 0xFFFFFF  # bytes; a packet of just this size says that another follows
_PIECE = 1 << 20  # of a local file: any size will do
_QUERY = b"\x03"


@dataclass(frozen=True, slots=True)
class Sent:
    """What the server says of rows that it took."""

    rows: int
    warnings: int


class _Packet(Protocol):
    def is_load_local_packet(self) -> bool: ...

    def is_ok_packet(self) -> bool: ...


class _Line(Protocol):
    """The part of PyMySQL's connection that speaks packets."""

    _next_seq_id: int
    server_status: int

    def write_packet(self, payload: bytes) -> None: ...

    def _read_packet(self) -> _Packet: ...


def load_local(connection: Connection[Cursor], sql: str, pieces: Iterable[bytes]) -> Sent:
    """Run a LOAD DATA LOCAL and feed it. Raises pymysql's errors; the line can't be used after one from `pieces`."""
    line = cast(_Line, connection)
    line._next_seq_id = 0
    line.write_packet(_QUERY + sql.encode())
    first = line._read_packet()
    if not first.is_load_local_packet():
        raise RestoreError("The server did not ask for the rows of a LOAD DATA.", "Load without it: local_infile off.")
    for piece in pieces:
        for start in range(0, len(piece), _PIECE):
            line.write_packet(piece[start : start + _PIECE])
    line.write_packet(b"")
    return _sent(line._read_packet())


def send_query(connection: Connection[Cursor], pieces: Iterable[bytes]) -> Sent:
    """Run a statement that comes in pieces and gives no rows back. It is never held whole."""
    line = cast(_Line, connection)
    line._next_seq_id = 0
    last = 0
    for packet in _packets(pieces):
        line.write_packet(packet)
        last = len(packet)
    if last == _LARGEST_PACKET:
        line.write_packet(b"")
    return _sent(line._read_packet())


def _packets(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held = bytearray(_QUERY)
    for piece in pieces:
        held += piece
        while len(held) >= _LARGEST_PACKET:
            yield bytes(held[:_LARGEST_PACKET])
            del held[:_LARGEST_PACKET]
    if held:
        yield bytes(held)


def _sent(packet: _Packet) -> Sent:
    from pymysql.protocol import MysqlPacket, OKPacketWrapper

    if not packet.is_ok_packet():
        raise RestoreError("The server's answer can't be understood.", "Look at its version and error log.")
    told = OKPacketWrapper(cast(MysqlPacket, packet))
    return Sent(int(told.affected_rows), int(told.warning_count))
