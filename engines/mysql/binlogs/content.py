"""What one transaction of a log touches: tables, rows, statements. Compressed ones are unpacked as they are read.

It is for exploring: content that can't be read makes the transaction unclear, and is no reason to stop.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import IO, Final

from engines.mysql.binlogs import decoding, rows
from engines.mysql.binlogs.decoding import Malformed, TableMap
from engines.mysql.binlogs.events import HEADER, WINDOW, Event, Kind, OpenLog
from engines.mysql.binlogs.rows import VERB, Layout

MOST_STATEMENTS: Final = 20  # of one transaction that are kept as text
_MOST_TABLES: Final = 1000  # of one transaction, and table maps that are remembered
_LARGEST_WINDOW: Final = 1 << 27  # bytes of memory that unpacking may take; zstd's own limit without --ultra
_header: Final = Struct("<IBIIIH").unpack
_NAME: Final = r"(?:`(?:[^`]|``)+`|[\w$]+)"
_QUALIFIED: Final = re.compile(rf"\s*({_NAME})(?:\s*\.\s*({_NAME}))?")
_COMMENTS: Final = re.compile(r"/\*(?!M?!).*?\*/|/\*M?!\d*|\*/|--\s[^\n]*\n", re.DOTALL)
_DDL: Final = re.compile(
    r"\s*(?:CREATE(?:\s+OR\s+REPLACE)?|DROP|ALTER(?:\s+(?:ONLINE|OFFLINE|IGNORE))*|RENAME|TRUNCATE)\s+"
    r"(?:TEMPORARY\s+)?(?:(TABLES?|DATABASE|SCHEMA)\s+)?(?:(?:NO)?WAIT\s+)?(?:IF\s+(?:NOT\s+)?EXISTS\s+)?",
    re.IGNORECASE,
)
_INDEX: Final = re.compile(
    rf"\s*(?:CREATE|DROP)\b.*?\bINDEX\b.*?\bON\s+({_NAME}(?:\s*\.\s*{_NAME})?)", re.I | re.DOTALL
)
_BOUNDS: Final = re.compile(rb"\s*(?:BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|XA\s+(?:START|END|PREPARE))\b", re.I)
_TEXTS: Final = frozenset((Kind.QUERY, Kind.QUERY_COMPRESSED, Kind.EXECUTE_LOAD_QUERY))

Name = tuple[str, str]  # schema and table


@dataclass(frozen=True, slots=True)
class Touched:
    """A table that a transaction changes. Rows: 0 is none; None is some, that were not or can't be counted."""

    schema: str
    table: str  # empty: the whole schema
    inserted: int | None = 0
    updated: int | None = 0
    deleted: int | None = 0

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}" if self.table else self.schema


class Content:
    """Collects what the events of one transaction touch; `clear` begins the next one."""

    def __init__(self, log: OpenLog, *, count_rows: bool) -> None:
        self._log = log
        self._count = count_rows
        self._known: dict[bytes, TableMap] = {}
        self._layouts: dict[bytes, Layout] = {}
        self.clear()

    def clear(self) -> None:
        self._maps: dict[int, tuple[TableMap, bytes]] = {}
        self._tables: dict[Name, dict[str, int | None]] = {}
        self.statements: list[str] = []
        self.more = 0  # statements that were not kept
        self.unclear = ""  # why something of it could not be read

    @property
    def tables(self) -> tuple[Touched, ...]:
        return tuple(Touched(schema, table, **found) for (schema, table), found in self._tables.items())

    def take(self, event: Event) -> None:
        """What this event adds. Never raises for its bytes: `unclear` says what was wrong with them."""
        try:
            if not event.whole and self._count and event.kind in VERB and event.end - event.position <= rows.LARGEST:
                tail = 4 if self._log.format.checksums else 0
                pieces = self._log.pieces(event.position + HEADER, event.end - tail)
                event = event._replace(body=memoryview(b"".join(pieces)), whole=True)
            self._take(event)
        except decoding.ERRORS:
            self.unclear = f"an event of kind {event.kind} can't be read"

    def _take(self, event: Event) -> None:
        kind = event.kind
        if kind == Kind.TABLE_MAP:
            raw = bytes(event.body)
            table = self._known.get(raw)
            if table is None:
                if len(self._known) >= _MOST_TABLES:
                    self._known.clear()
                    self._layouts.clear()
                table = self._known[raw] = decoding.table_map(event.body)
            if len(self._maps) < _MOST_TABLES:
                self._maps[table.number] = table, raw
        elif kind in VERB:
            self._rows(event)
        elif kind == Kind.ANNOTATE_ROWS:
            self._statement(decoding.statement_text(event.body))
        elif kind == Kind.ROWS_QUERY:
            self._statement(decoding.rows_query(event.body))
        elif kind in _TEXTS:
            self._query(event)
        elif kind == Kind.TRANSACTION_PAYLOAD:
            for inner in unpacked(self._log, event):
                self._take(inner)

    def _rows(self, event: Event) -> None:
        known = self._maps.get(rows.table_number(event.body))
        if known is None:
            raise Malformed("rows of a table that was not named")
        table, raw = known
        verb = VERB[event.kind]  # type: ignore[index]  # a number equals its Kind
        counted: int | None = None
        if self._count and event.whole:
            layout = self._layouts.get(raw)
            if layout is None:
                layout = self._layouts[raw] = rows.layout(table)
            counted = rows.count(event.kind, event.body, layout)
        found = self._touch(table.schema, table.table)
        if found is not None:
            before = found.get(verb, 0)
            found[verb] = None if counted is None or before is None else before + counted

    def _touch(self, schema: str, table: str) -> dict[str, int | None] | None:
        found = self._tables.get((schema, table))
        if found is None and len(self._tables) < _MOST_TABLES:
            found = self._tables[schema, table] = {}
        return found

    def _query(self, event: Event) -> None:
        if event.kind == Kind.EXECUTE_LOAD_QUERY:
            # 13 bytes more than a query: file id, two offsets, how duplicates are handled.
            query = decoding.query(memoryview(bytes(event.body[:13]) + bytes(event.body[26:])))
        elif event.kind == Kind.QUERY_COMPRESSED:
            query = decoding.query_compressed(event.body)
        else:
            query = decoding.query(event.body)
        if _BOUNDS.match(query.statement):
            return
        text = decoding.statement_text(query.statement)
        self._statement(text)
        for schema, table in named_tables(query.schema, text):
            self._touch(schema, table)

    def _statement(self, text: str) -> None:
        if len(self.statements) < MOST_STATEMENTS:
            self.statements.append(text)
        else:
            self.more += 1


def unpacked(log: OpenLog, event: Event) -> Iterator[Event]:
    """The events inside a compressed transaction; they have no checksums and the place of the one around them."""
    found = decoding.payload(event.body)
    begin = event.position + HEADER + found.offset
    if begin + found.size > event.end:
        raise Malformed("the compressed transaction lies behind its event's end")
    if found.compression == 255:
        yield from _inner(_Pieces(log, begin, begin + found.size), event)
        return
    if found.compression != 0:
        raise Malformed(f"an unknown compression, number {found.compression}")
    import zstandard

    source = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW).stream_reader(
        _Pieces(log, begin, begin + found.size)  # type: ignore[arg-type]  # it only needs read()
    )
    try:
        yield from _inner(source, event)
    except zstandard.ZstdError:
        raise Malformed("the compressed transaction can't be unpacked") from None


class _Pieces:
    """A part of the log as a file to read from."""

    def __init__(self, log: OpenLog, begin: int, end: int) -> None:
        self._pieces = log.pieces(begin, end)
        self._left = b""

    def read(self, size: int = -1) -> bytes:
        if not self._left:
            self._left = next(self._pieces, b"")
        size = len(self._left) if size < 0 else size
        piece, self._left = self._left[:size], self._left[size:]
        return piece


def _inner(source: IO[bytes] | _Pieces, around: Event) -> Iterator[Event]:
    while header := _exactly(source, HEADER):
        time, kind, server_id, size, _, flags = _header(header)
        if size < HEADER:
            raise Malformed("an event without its header")
        body = _exactly(source, min(size - HEADER, rows.LARGEST if kind in VERB else WINDOW))
        left = size - HEADER - len(body)
        whole = left == 0
        while left:
            left -= len(_exactly(source, min(left, WINDOW)))
        yield Event(around.position, around.end, kind, time, server_id, flags, memoryview(body), whole)


def _exactly(source: IO[bytes] | _Pieces, size: int) -> bytes:
    """So many bytes, or none at the end."""
    parts = []
    left = size
    while left and (piece := source.read(left)):
        parts.append(piece)
        left -= len(piece)
    if left and parts:
        raise Malformed("it ends inside an event")
    return b"".join(parts)


def named_tables(schema: str, statement: str) -> list[Name]:
    """The tables, or the schema, that a statement of data definition names, as far as its text tells."""
    text = _COMMENTS.sub(" ", statement)
    if index := _INDEX.match(text):
        return [_name(schema, index[1])]
    start = _DDL.match(text)
    if start is None:
        return []
    verb = text.split(None, 1)[0].upper()
    what = (start[1] or "").upper()
    if what in ("DATABASE", "SCHEMA"):
        found = _QUALIFIED.match(text, start.end())
        return [(_plain(found[1]), "")] if found else []
    if not what and verb != "TRUNCATE":
        return []
    names: list[Name] = []
    at = start.end()
    while found := _QUALIFIED.match(text, at):
        names.append(_name(schema, found[0]))
        more = re.compile(r"\s*,|\s+TO\b" if verb == "RENAME" else r"\s*,", re.I).match(text, found.end())
        if verb not in ("DROP", "RENAME") or more is None:
            break
        at = more.end()
    return names


def _name(schema: str, text: str) -> Name:
    found = _QUALIFIED.match(text)
    if found is None:
        return schema, text
    return (_plain(found[1]), _plain(found[2])) if found[2] else (schema, _plain(found[1]))


def _plain(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name
