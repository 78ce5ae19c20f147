"""Writes binary logs byte by byte, so that tests can damage, cut and mix them up at will.

What real servers write is tested beside it: these logs hold what the servers can't be made to write.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID
from zlib import crc32

from engines.mysql.binlogs.events import Kind
from engines.mysql.binlogs.gtids import GtidSet, MariaGtid

NOON = 1_795_435_200  # 2026-11-23 12:00:00 UTC
HOME = "4c96b939-e718-11f1-aedb-02fc00000001"


@dataclass
class Forge:
    """One log in the making; `at` is the time of the next event."""

    mariadb: bool = False
    server_id: int = 9
    checksums: bool = True
    at: int = NOON
    uuid: str = HOME
    in_use: bool = False
    version: str = ""
    content: bytearray = field(default_factory=lambda: bytearray(b"\xfebin"))

    def __post_init__(self) -> None:
        version = self.version or ("10.11.18-MariaDB-log" if self.mariadb else "9.7.4")
        body = struct.pack("<H50sIB", 4, version.encode(), self.at, 19) + bytes(40)
        body += bytes([self.checksums])
        event = self._event(Kind.FORMAT, body, 0, checksum=True)
        if self.in_use:
            event[17] |= 1
        self.content += event

    def _event(self, kind: int, body: bytes, flags: int, *, checksum: bool) -> bytearray:
        size = 19 + len(body) + (4 if checksum else 0)
        position = (len(self.content) + size) & 0xFFFFFFFF
        event = bytearray(struct.pack("<IBIIIH", self.at, kind, self.server_id, size, position, flags) + body)
        return event + struct.pack("<I", crc32(event)) if checksum else event

    def event(self, kind: int, body: bytes = b"", flags: int = 0) -> Forge:
        self.content += self._event(kind, body, flags, checksum=self.checksums)
        return self

    def previous(self, gtids: str = "") -> Forge:
        """What came before: PREVIOUS_GTIDS, or MariaDB's list."""
        if self.mariadb:
            found = [MariaGtid(*map(int, part.split("-"))) for part in gtids.split(",") if part]
            body = struct.pack("<I", len(found))
            body += b"".join(struct.pack("<IIQ", gtid.domain, gtid.server, gtid.sequence) for gtid in found)
            return self.event(Kind.GTID_LIST, body)
        sources = GtidSet.parse(gtids).sources
        body = struct.pack("<Q", len(sources))
        for (uuid, _), intervals in sources.items():
            body += UUID(uuid).bytes + struct.pack("<Q", len(intervals))
            body += b"".join(struct.pack("<QQ", first, last + 1) for first, last in intervals)
        return self.event(Kind.PREVIOUS_GTIDS, body)

    def gtid(self, number: int, micros: int | None = None, flags: int = 0, domain: int = 0) -> Forge:
        """The beginning of a transaction; number 0 is anonymous on MySQL."""
        if self.mariadb:
            return self.event(Kind.MARIA_GTID, struct.pack("<QIB", number, domain, flags) + bytes(6))
        committed = self.at * 1_000_000 if micros is None else micros
        sid = UUID(self.uuid).bytes if number else bytes(16)
        body = b"\1" + sid + struct.pack("<QBQQ", number, 2, 0, 1) + committed.to_bytes(7, "little")
        return self.event(Kind.GTID if number else Kind.ANONYMOUS_GTID, body + bytes(5))

    def query(self, statement: str, schema: str = "shop") -> Forge:
        body = struct.pack("<IIBHH", 1, 0, len(schema), 0, 0) + schema.encode() + b"\0" + statement.encode()
        return self.event(Kind.QUERY, body)

    def table(self, name: str = "t", number: int = 70, schema: str = "shop") -> Forge:
        """A table with one INT column."""
        body = number.to_bytes(6, "little") + b"\1\0" + bytes([len(schema)]) + schema.encode() + b"\0"
        return self.event(Kind.TABLE_MAP, body + bytes([len(name)]) + name.encode() + b"\0" + b"\1\3\0\0")

    def rows(self, count: int = 1, number: int = 70, kind: Kind = Kind.WRITE_ROWS) -> Forge:
        """Rows of such a table."""
        extra = b"\2\0" if kind >= Kind.WRITE_ROWS else b""
        update = kind in (Kind.UPDATE_ROWS, Kind.UPDATE_ROWS_V1)
        body = number.to_bytes(6, "little") + b"\1\0" + extra + b"\1" + (b"\1\1" if update else b"\1")
        return self.event(kind, body + b"".join(bytes(1) + bytes(4) for _ in range(count * (2 if update else 1))))

    def xid(self) -> Forge:
        return self.event(Kind.XID, bytes(8))

    def transaction(self, number: int, table: str = "t", rows: int = 1, micros: int | None = None) -> Forge:
        """A whole transaction that inserts rows into one table."""
        self.gtid(number, micros)
        if not self.mariadb:
            self.query("BEGIN")
        return self.table(table).rows(rows, kind=Kind.WRITE_ROWS_V1 if self.mariadb else Kind.WRITE_ROWS).xid()

    def rotate(self, name: str) -> Forge:
        return self.event(Kind.ROTATE, struct.pack("<Q", 4) + name.encode())

    def stop(self) -> Forge:
        return self.event(Kind.STOP)

    def save(self, path: Path) -> Path:
        path.write_bytes(self.content)
        return path

    @property
    def position(self) -> int:
        return len(self.content)


def flips(content: bytes, positions: Iterable[int], bit: int = 0) -> Iterable[tuple[int, bytes]]:
    """The same bytes with one bit turned over, once for each position."""
    for position in positions:
        changed = bytearray(content)
        changed[position] ^= 1 << bit
        yield position, bytes(changed)
