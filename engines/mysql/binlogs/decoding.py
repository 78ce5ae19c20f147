"""What single events of a binary log hold: ids, names, times, statements.

Works on an event's body alone. Whatever the bytes, it either answers or raises `Malformed`; lengths are checked
before anything is taken. Rows are counted in `rows`.

Sources: MySQL source code documentation, "Replication Protocol" and libs/mysql/serialization/readme.md; MariaDB
documentation, "Replication Protocol".
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct, error
from typing import Final, NamedTuple
from uuid import UUID

from engines.mysql.binlogs.gtids import GtidSet, Interval, MariaGtid, Source

LONGEST_TEXT: Final = 10_000  # bytes of a statement that are kept

_query = Struct("<IIBHH").unpack_from  # thread, seconds it took, length of the schema's name, error, status length
_gtid = Struct("<x16sQ17xQ").unpack_from  # source, number; commit time, the lower 55 bits
_COMMITTED: Final = (1 << 55) - 1
_u16 = Struct("<H").unpack_from
_u32 = Struct("<I").unpack_from
_u64 = Struct("<Q").unpack_from
_gtid_list = Struct("<IIQ").unpack_from
_maria_gtid = Struct("<QIB").unpack_from

STANDALONE: Final = 0x01  # MariaDB: the transaction is one statement, without BEGIN and COMMIT
DDL: Final = 0x20  # MariaDB

_LENGTHS = {252: 2, 253: 3, 254: 8}  # bytes that follow the first one of a packed integer
ERRORS = (error, LookupError, ValueError, OverflowError, zlib.error)  # what bytes that make no sense raise here


class Malformed(ValueError):
    """The bytes make no sense."""


class Query(NamedTuple):
    schema: str  # the session's, not necessarily that of the tables
    statement: bytes  # at most LONGEST_TEXT bytes, and one more where it is longer


class MysqlGtid(NamedTuple):
    source: Source | None  # None: anonymous
    number: int
    committed: int | None  # microseconds since 1970 by the server's clock; None before MySQL 8.0


@dataclass(frozen=True, slots=True)
class TableMap:
    """A table as row events refer to it until the end of their statement."""

    number: int
    schema: str
    table: str
    types: bytes  # one a column; source: MySQL source code documentation, enum_field_types
    metadata: bytes


@dataclass(frozen=True, slots=True)
class Payload:
    """Where a compressed transaction lies in its event's body."""

    compression: int  # 0: zstd; 255: none
    offset: int
    size: int  # bytes, compressed
    unpacked: int | None  # bytes, as the event says


def query(body: memoryview, most: int = LONGEST_TEXT) -> Query:
    """`most`: bytes of the statement that are wanted."""
    _, _, schema_length, _, status_length = _query(body)
    at = 13 + status_length
    end = at + schema_length
    if end >= len(body):
        raise Malformed("the statement lies behind the event's end")
    return Query(str(body[at:end], "utf-8", "replace"), bytes(body[end + 1 : end + most + 2]))


def query_compressed(body: memoryview, most: int = LONGEST_TEXT) -> Query:
    """MariaDB, log_bin_compress. Source: MariaDB documentation, "Compressing Events to Reduce Size"."""
    packed = _after_schema(body)
    return Query(query(body, 0).schema, uncompressed(packed, most + 1))


def _after_schema(body: memoryview) -> memoryview:
    _, _, schema_length, _, status_length = _query(body)
    return body[14 + status_length + schema_length :]


def uncompressed(packed: memoryview, most: int) -> bytes:
    """MariaDB's compressed piece: a byte with algorithm and length of length, the length, then zlib data.

    At most `most` bytes of it.
    """
    head = packed[0]
    if not head & 0x80 or head & 0x70:
        raise Malformed("an unknown compression")
    length = head & 0x07
    if not 1 <= length <= 4:
        raise Malformed("an impossible length")
    unpacked = int.from_bytes(packed[1 : 1 + length], "big")
    return zlib.decompressobj().decompress(packed[1 + length :], max(1, min(unpacked, most)))


def mysql_gtid(body: memoryview) -> MysqlGtid:
    """GTID and ANONYMOUS_GTID, which differ in the event's kind alone."""
    if len(body) >= 50 and body[25] == 2:
        raw, number, committed = _gtid(body)
        return MysqlGtid(_source(raw), number, committed & _COMMITTED)
    return MysqlGtid(_source(bytes(body[1:17])), _u64(body, 17)[0], None)


@dataclass(frozen=True, slots=True)
class TaggedFields:
    """A GTID event with a tag, field by field; `numbers` by the field's number. Source: MySQL source, Gtid_event."""

    uuid: bytes
    tag: str
    numbers: Mapping[int, int]


GNO, LAST_COMMITTED, SEQUENCE, COMMITTED = 2, 4, 5, 6
FIRST_COMMITTED, LENGTH, SERVER, FIRST_SERVER, TICKET = 7, 8, 9, 10, 11
_SIGNED: Final = (GNO, LAST_COMMITTED, SEQUENCE)


def tagged_fields(body: memoryview) -> TaggedFields:
    """MySQL 8.3 and later, for GTIDs with a tag: fields with numbers, integers of variable length."""
    integers = _Integers(body)
    if integers.next() != 1:
        raise Malformed("an unknown serialization")
    end = integers.next()
    integers.next()  # the last field that a reader must know
    uuid, tag = b"", ""
    numbers: dict[int, int] = {}
    while integers.at < min(end, len(body)):
        match integers.next():
            case 1:
                uuid = bytes(integers.next() for _ in range(16))
            case 3:
                tag = integers.text()
            case field if field in _SIGNED:
                numbers[field] = integers.next_signed()
            case 0 | 6 | 7 | 8 | 9 | 10 | 11 as field:
                numbers[field] = integers.next()
            case _:
                break  # a later server's fields come last
    return TaggedFields(uuid, tag, numbers)


def tagged_gtid(body: memoryview) -> MysqlGtid:
    fields = tagged_fields(body)
    return MysqlGtid((_uuid(fields.uuid), fields.tag), fields.numbers.get(GNO, 0), fields.numbers.get(COMMITTED))


def maria_gtid(body: memoryview, server_id: int) -> tuple[MariaGtid, int]:
    """The id and its flags; the server's part is in the event's header."""
    sequence, domain, flags = _maria_gtid(body)
    return MariaGtid(domain, server_id, sequence), flags


def previous_gtids(body: memoryview) -> GtidSet:
    """All that came before this log. Source: MySQL source, Gtid_set::encode."""
    head = _u64(body)[0]
    tagged = head >> 56 == 1
    sources = (head >> 8) & ((1 << 48) - 1) if tagged else head
    if sources * 24 > len(body):
        raise Malformed("more sources than there are bytes")
    integers = _Integers(body, 8)
    found: dict[Source, tuple[Interval, ...]] = {}
    for _ in range(sources):
        uuid = _uuid(body[integers.at : integers.at + 16])
        integers.at += 16
        tag = integers.text() if tagged else ""
        count = _u64(body, integers.at)[0]
        integers.at += 8
        if integers.at + count * 16 > len(body):
            raise Malformed("more intervals than there are bytes")
        intervals = Struct(f"<{2 * count}Q").unpack_from(body, integers.at)
        integers.at += count * 16
        found[uuid, tag] = tuple(zip(intervals[::2], (end - 1 for end in intervals[1::2]), strict=True))
    return GtidSet.of((source, first, last) for source, pairs in found.items() for first, last in pairs)


def gtid_list(body: memoryview) -> tuple[MariaGtid, ...]:
    """MariaDB: the last transactions by domain and server; of a domain's, the newest comes last."""
    count = _u32(body)[0] & 0x0FFFFFFF
    if 4 + count * 16 > len(body):
        raise Malformed("more entries than there are bytes")
    return tuple(MariaGtid(*_gtid_list(body, 4 + index * 16)) for index in range(count))


def rotate(body: memoryview) -> tuple[str, int]:
    """The next file's name, and the position in it."""
    return _text(body[8:]), _u64(body)[0]


def incident(body: memoryview) -> str:
    """Why the source says that events are missing."""
    return f"number {_u16(body)[0]}, {_text(body[3 : 3 + body[2]])}" if len(body) > 2 else "without a reason"


def table_map(body: memoryview) -> TableMap:
    number = int.from_bytes(body[:6], "little")
    at = 8
    schema = _text(body[at + 1 : at + 1 + body[at]])
    at += body[at] + 2
    table = _text(body[at + 1 : at + 1 + body[at]])
    at += body[at] + 2
    columns, at = packed(body, at)
    types = bytes(body[at : at + columns])
    length, at = packed(body, at + columns)
    if columns > 4096 * 16 or len(types) != columns or at + length > len(body):
        raise Malformed("more columns than there are bytes")
    return TableMap(number, schema, table, types, bytes(body[at : at + length]))


def payload(body: memoryview) -> Payload:
    """A transaction in one event, binlog_transaction_compression. `body` may be its beginning alone."""
    at, found = 0, {}
    while (field := packed(body, at))[0] != 0:
        length, at = packed(body, field[1])
        found[field[0]] = packed(body, at)[0]
        at += length
    at = field[1]
    return Payload(found.get(2, 255), at, found[1], found.get(3))


def statement_text(raw: bytes | memoryview) -> str:
    """A statement as text, cut where it is too long for anybody to read."""
    text = _text(raw[:LONGEST_TEXT])
    return f"{text}…" if len(raw) > LONGEST_TEXT else text


def rows_query(body: memoryview) -> str:
    """MySQL's ROWS_QUERY: the statement behind the row events. Its length byte is of no use past 255."""
    return statement_text(body[1 : LONGEST_TEXT + 2])


def packed(body: memoryview, at: int) -> tuple[int, int]:
    """A packed integer, and where the next thing begins. Source: MySQL, "Protocol::LengthEncodedInteger"."""
    first = body[at]
    if first < 251:
        return first, at + 1
    length = _LENGTHS.get(first)
    if length is None or at + 1 + length > len(body):
        raise Malformed("no packed integer")
    return int.from_bytes(body[at + 1 : at + 1 + length], "little"), at + 1 + length


class _Integers:
    """Reads MySQL's serialization of integers: the ones at a first byte's lower end count the bytes that follow."""

    __slots__ = ("at", "body")

    def __init__(self, body: memoryview, at: int = 0) -> None:
        self.body = body
        self.at = at

    def next(self) -> int:
        first = self.body[self.at]
        more = (~first & (first + 1)).bit_length() - 1
        raw = self.body[self.at : self.at + more + 1]
        if len(raw) != more + 1:
            raise Malformed("an integer lies behind the event's end")
        self.at += more + 1
        return int.from_bytes(raw[1:], "little") if more == 8 else int.from_bytes(raw, "little") >> (more + 1)

    def next_signed(self) -> int:
        value = self.next()
        return -(value >> 1) - 1 if value & 1 else value >> 1

    def text(self) -> str:
        length = self.next()
        if self.at + length > len(self.body):
            raise Malformed("a text lies behind the event's end")
        self.at += length
        return _text(self.body[self.at - length : self.at])


@lru_cache(maxsize=256)
def _source(raw: bytes) -> Source:
    return str(UUID(bytes=raw)), ""


def _uuid(raw: bytes | memoryview) -> str:
    return _source(bytes(raw))[0]


def _text(raw: bytes | memoryview) -> str:
    return str(raw, "utf-8", "replace")
