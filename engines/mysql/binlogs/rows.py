"""Counts the rows of a row event by walking over their images; no value is read.

Sources: MySQL source code documentation, "Rows_event" and "Table_map_event", enum_field_types; MariaDB source,
log_event.h. A column type that is not known makes the count unknown, never wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from engines.mysql.binlogs.decoding import Malformed, TableMap, packed, uncompressed
from engines.mysql.binlogs.events import Kind

LARGEST: Final = 64 << 20  # bytes of one event whose rows are counted
_INSERT, _UPDATE, _DELETE = "inserted", "updated", "deleted"

VERB: Final = {
    Kind.WRITE_ROWS_V1: _INSERT,
    Kind.WRITE_ROWS: _INSERT,
    Kind.WRITE_ROWS_COMPRESSED_V1: _INSERT,
    Kind.WRITE_ROWS_COMPRESSED: _INSERT,
    Kind.UPDATE_ROWS_V1: _UPDATE,
    Kind.UPDATE_ROWS: _UPDATE,
    Kind.PARTIAL_UPDATE_ROWS: _UPDATE,
    Kind.UPDATE_ROWS_COMPRESSED_V1: _UPDATE,
    Kind.UPDATE_ROWS_COMPRESSED: _UPDATE,
    Kind.DELETE_ROWS_V1: _DELETE,
    Kind.DELETE_ROWS: _DELETE,
    Kind.DELETE_ROWS_COMPRESSED_V1: _DELETE,
    Kind.DELETE_ROWS_COMPRESSED: _DELETE,
}
_COMPRESSED: Final = range(Kind.WRITE_ROWS_COMPRESSED_V1, Kind.DELETE_ROWS_COMPRESSED + 1)
# With a length of extra bytes in the post-header.
_VERSION_2: Final = (*range(30, 33), Kind.PARTIAL_UPDATE_ROWS, *range(169, 172))

_FIXED: Final = {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 6: 0, 7: 4, 8: 8, 9: 3, 10: 3, 11: 3, 12: 8, 13: 1, 14: 3}
_JSON: Final = 245
_ONE_BYTE: Final = frozenset((4, 5, 17, 18, 19, 140, 242, _JSON, 249, 250, 251, 252, 255))  # of metadata
_TWO_BYTES: Final = frozenset((15, 16, 141, 246, 247, 248, 253, 254))
_KNOWN: Final = frozenset(_FIXED) | _ONE_BYTE | _TWO_BYTES
_DIGITS: Final = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)  # bytes for so many digits of a DECIMAL


@dataclass(frozen=True, slots=True)
class Layout:
    """How much room the columns of a table take in a row image. None: a column's type is not known."""

    columns: tuple[int, ...] | None  # >= 0: so many bytes; < 0: a length of so many bytes comes first
    json: tuple[bool, ...]


def layout(table: TableMap) -> Layout:
    """What a table map says about the room that its columns take."""
    columns: list[int] = []
    at = 0
    for kind in table.types:
        if kind not in _KNOWN:
            return Layout(None, ())
        length = 1 if kind in _ONE_BYTE else 2 if kind in _TWO_BYTES else 0
        meta = table.metadata[at : at + length]
        if len(meta) != length:
            raise Malformed("a column without its metadata")
        at += length
        room = _room(kind, meta)
        if room is None:
            return Layout(None, ())
        columns.append(room)
    return Layout(tuple(columns), tuple(kind == _JSON for kind in table.types))


def _room(kind: int, meta: bytes) -> int | None:
    match kind:
        case 4 | 5:
            return meta[0] if meta[0] in (4, 8) else None
        case 17 | 18 | 19:  # TIMESTAMP, DATETIME, TIME with fractions
            return {17: 4, 18: 5, 19: 3}[kind] + (meta[0] + 1) // 2
        case 15 | 141 | 253:
            return -1 if int.from_bytes(meta, "little") < 256 else -2
        case 16:
            return (meta[1] * 8 + meta[0] + 7) // 8
        case 246:
            whole, fraction = meta[0] - meta[1], meta[1]
            return whole // 9 * 4 + _DIGITS[whole % 9] + fraction // 9 * 4 + _DIGITS[fraction % 9]
        case 247 | 248:
            return meta[1]
        case 254:
            if meta[0] in (247, 248):
                return meta[1]
            # Lengths past 255 leave their upper bits, turned around, in the type's byte.
            return -1 if ((meta[0] & 0x30) ^ 0x30) == 0 else -2
        case 140 | 242 | 245 | 249 | 250 | 251 | 252 | 255:
            return -meta[0] if 1 <= meta[0] <= 4 else None
        case _:
            return _FIXED[kind]


def table_number(body: memoryview) -> int:
    """Which table map a row event refers to."""
    return int.from_bytes(body[:6], "little")


def count(kind: int, body: memoryview, columns: Layout) -> int | None:
    """Rows that a whole row event inserts, updates or deletes; None: they can't be counted."""
    if columns.columns is None or len(body) > LARGEST:
        return None
    at = 8
    if kind in _VERSION_2:
        at += int.from_bytes(body[8:10], "little")
    width, at = packed(body, at)
    if width != len(columns.columns):
        raise Malformed("a row with another number of columns than its table")
    bitmap = (width + 7) // 8
    before = _present(body[at : at + bitmap], columns.columns)
    at += bitmap
    after = None
    if VERB[Kind(kind)] == _UPDATE:
        after = _present(body[at : at + bitmap], columns.columns)
        at += bitmap
    images = body[at:]
    if kind in _COMPRESSED:
        images = memoryview(uncompressed(images, LARGEST + 1))
        if len(images) > LARGEST:
            return None
    return _walk(images, before, after, sum(columns.json) if kind == Kind.PARTIAL_UPDATE_ROWS else -1)


def _present(bitmap: memoryview, columns: tuple[int, ...]) -> tuple[int, ...]:
    if len(bitmap) * 8 < len(columns):
        raise Malformed("a row event without its column bitmap")
    return tuple(room for index, room in enumerate(columns) if bitmap[index >> 3] >> (index & 7) & 1)


def _walk(images: memoryview, before: tuple[int, ...], after: tuple[int, ...] | None, json: int) -> int:
    found, at, end = 0, 0, len(images)
    while at < end:
        begin = at
        at = _image(images, at, before)
        if after is not None:
            if json >= 0:  # source: MySQL source, Update_rows_log_event, binlog_row_value_options
                options, at = packed(images, at)
                at += (json + 7) // 8 if options & 1 else 0
            at = _image(images, at, after)
        if at > end:
            raise Malformed("a row lies behind the event's end")
        found += 1
        if at == begin:  # a table of NULL columns alone still has its null bitmap
            raise Malformed("a row without bytes")
    return found


def _image(images: memoryview, at: int, columns: tuple[int, ...]) -> int:
    """Where the row image that begins at `at` ends."""
    nulls = int.from_bytes(images[at : at + (len(columns) + 7) // 8], "little")
    at += (len(columns) + 7) // 8
    for room in columns:
        if not nulls & 1:
            at += room if room >= 0 else -room + int.from_bytes(images[at : at - room], "little")
        nulls >>= 1
    return at
