"""Decides, event by event, what of a chain of logs is replayed: which schema, without which transactions.

The plan counts with it what the replay then sends, so that there is one decision. An event of another schema is
never given out; what can't be decided is a problem, and a plan that has one is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from struct import Struct
from typing import Final
from zlib import crc32

from engines.mysql.binlogs import decoding
from engines.mysql.binlogs.content import unpacked
from engines.mysql.binlogs.decoding import MysqlGtid
from engines.mysql.binlogs.events import HEADER, Event, Kind, OpenLog
from engines.mysql.binlogs.grouping import Grouping
from engines.mysql.binlogs.gtids import GtidSet, MariaGtid, MariaPosition
from engines.mysql.replay.statements import About, Reading, before_dots, read_statement

STATEMENT_END: Final = 1  # flag of a row event: its statement's last one. Source: MySQL source, Rows_event
_DELIMITER: Final = b"/*!*/;"  # with it mysqlbinlog ends each statement
_LONGEST: Final = 4 << 20  # bytes of a statement that are looked at
_DUMMY: Final = 0xFFFFFF  # table number of a row event that does nothing but end its statement
_XA: Final = 0x40 | 0x80  # flags of a MariaDB GTID event: FL_PREPARED_XA, FL_COMPLETED_XA
_GROUP_COMMIT: Final = 0x02  # another: FL_GROUP_COMMIT_ID, whose number comes before the XA one's id
_ROWS: Final = frozenset((23, 24, 25, 30, 31, 32, 39, *range(166, 172)))
# Plain numbers: comparing with a member of an enumeration takes far longer.
_TABLE_MAP: Final = int(Kind.TABLE_MAP)
_ENDS: Final = frozenset((int(Kind.XID), int(Kind.XA_PREPARE)))
_QUERIES: Final = frozenset((int(Kind.QUERY), int(Kind.QUERY_COMPRESSED)))
_COMMENTS: Final = frozenset((int(Kind.ROWS_QUERY), int(Kind.ANNOTATE_ROWS)))
_CONTEXT: Final = frozenset((int(Kind.INTVAR), int(Kind.RAND), int(Kind.USER_VAR)))
_LOADS: Final = frozenset((int(Kind.BEGIN_LOAD_QUERY), int(Kind.APPEND_BLOCK), int(Kind.DELETE_FILE)))
_header: Final = Struct("<IBIIIH").pack

Sent = Event | bytes  # an event as it lies in its log, or one that was made of it
_NOTHING: Final[tuple[Sent, ...]] = ()


class Fate(StrEnum):
    """What becomes of a transaction."""

    REPLAYED = "replayed"
    PART = "part"  # replayed without what it does to other schemas
    FOREIGN = "foreign"  # it is of other schemas, or does nothing
    SERVER = "server"  # accounts, rights: of no schema
    EXCLUDED = "excluded"
    ALREADY = "already"  # in the dump


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the logs is to be replayed, and how."""

    source: str  # the schema, as the logs call it
    known: frozenset[str] = frozenset()  # other schemas: of the logs and of the server
    staged: bool = False  # into a schema of another name
    fresh: bool = True  # with new GTIDs
    excluded: frozenset[tuple[str, int]] = frozenset()  # file and first byte of transactions
    already: GtidSet | MariaPosition | None = None


class Sieve:
    """A fold over the events of logs, for speed not a pure one: its properties are those of the last transaction."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.grouping = Grouping()
        self._schema_of: dict[bytes, str] = {}
        self._prepared: dict[str, bool] = {}  # XA transactions: were they replayed?
        self._log: OpenLog | None = None
        self._clear()

    def begin_log(self, log: OpenLog) -> None:
        """The events that follow are of this log."""
        self._log = log

    def _clear(self) -> None:
        self.fate = Fate.FOREIGN
        self.problem = ""  # why it can't be replayed
        self.statements = 0  # changes that are logged as statements
        self.definitions = 0
        self.code = 0  # of these: triggers, routines, views, events
        self.temporary = False  # does it make a temporary table?
        self.largest = 0  # bytes of events that the largest statement of rows has
        self.schemas: set[str] = set()  # that it touches
        self.dotted: set[str] = set()  # names before dots in its statements
        self._head: list[Sent] = []  # what has to come before the first event that is given out
        self._dropped = self._sent = self._left_out = False
        self._xid = ""
        self._mine: set[int] = set()  # tables of the statement under way
        self._maps: list[Sent] = []
        self._held: Event | None = None  # a row event, until it is known whether its statement ends with it
        self._mixed = self._inside = False
        self._size = 0

    def take(self, event: Event) -> tuple[bool, Sequence[Sent]]:
        """Takes the next event. Whether a transaction ended with it, and what is to be sent now.

        Raises what decoding raises.
        """
        was_open = self.grouping.open
        ended = self.grouping.take(event)
        if not was_open:
            if not self.grouping.open and not ended:
                return False, _NOTHING  # between transactions: nothing that a replay needs
            self._clear()
            self._begin(event)
        if self._dropped:
            return ended, _NOTHING
        found = self._event(event)
        if ended and self._sent:
            self.fate = Fate.PART if self._left_out else Fate.REPLAYED
        return ended, found

    def _begin(self, event: Event) -> None:
        assert self._log is not None  # noqa: S101 - begin_log comes first
        if (self._log.name, event.position) in self.wanted.excluded:
            self.fate, self._dropped = Fate.EXCLUDED, True
            return
        match self.wanted.already, self.grouping.gtid:
            case GtidSet() as already, MysqlGtid(source=source, number=number) if source is not None:
                self._dropped = already.has(source, number)
            case MariaPosition() as already, MariaGtid() as gtid:
                self._dropped = already.has(gtid)
        if self._dropped:
            self.fate = Fate.ALREADY

    def _event(self, event: Event) -> Sequence[Sent]:
        kind = event.kind
        if kind in _ROWS:
            return self._rows(event)
        if kind == _TABLE_MAP:
            return self._table(event)
        if kind in _ENDS:
            if kind == Kind.XA_PREPARE and self._xid:
                self._prepared[self._xid] = self._sent
            return self._give(self._as_sent(event)) if self._sent else _NOTHING
        if kind in _QUERIES:
            read = decoding.query if kind == Kind.QUERY else decoding.query_compressed
            return self._query(event, read(event.body, _LONGEST))
        if kind in _COMMENTS or kind in _LOADS:
            return _NOTHING
        if kind == Kind.EXECUTE_LOAD_QUERY:
            query = decoding.query(memoryview(bytes(event.body[:13]) + bytes(event.body[26:])), _LONGEST)
            if self._changes(query.schema, str(query.statement, "utf-8", "replace")):
                self._unfit("a LOAD DATA that is logged as a statement, with its file")
            return _NOTHING
        if kind == Kind.TRANSACTION_PAYLOAD:
            return self._payload(event)
        if kind == Kind.MARIA_GTID:
            self._head.extend(self._maria_gtid(event))
        else:
            self._head.append(self._as_sent(event))  # a GTID, or what the next statement needs: INSERT_ID, a variable
        return _NOTHING

    def _give(self, *events: Sent) -> Sequence[Sent]:
        self._sent = True
        if not self._head:
            return events
        found = (*self._head, *events)
        self._head = []
        return found

    # -- rows -----------------------------------------------------------------------------------------------

    def _table(self, event: Event) -> Sequence[Sent]:
        body = event.body
        schema = self._schema(body)
        self.schemas.add(schema)
        if schema != self.wanted.source:
            self._mixed = self._left_out = True
            return _NOTHING
        self._mine.add(int.from_bytes(body[:6], "little"))
        self._maps.append(self._as_sent(event))
        self._size += len(body)
        return _NOTHING

    def _schema(self, table_map: memoryview) -> str:
        raw = bytes(table_map[9 : 9 + table_map[8]])
        schema = self._schema_of.get(raw)
        if schema is None:
            schema = self._schema_of[raw] = str(raw, "utf-8", "replace")
        return schema

    def _rows(self, event: Event) -> Sequence[Sent]:
        body = event.body
        number = int.from_bytes(body[:6], "little")
        mine = number in self._mine or (number == _DUMMY and bool(self._mine))
        found: list[Sent] = []
        if mine:
            self._size += HEADER + (event.end - event.position if not self._inside else len(body))
            self.largest = max(self.largest, self._size)
            found, self._maps = self._maps, []
            if not self._mixed:
                found.append(self._as_sent(event))
            else:
                if self._held is not None:
                    found.append(self._as_sent(self._held))
                self._held = event
        if body[6] & STATEMENT_END:
            if self._held is not None:
                # What ended the statement may be of another schema, and is left out then.
                found.append(self._as_sent(self._held) if mine else self._as_last(self._held))
            self._maps, self._held, self._mixed, self._size = [], None, False, 0
            self._mine.clear()
        return self._give(*found) if found else _NOTHING

    # -- statements -----------------------------------------------------------------------------------------

    def _query(self, event: Event, query: decoding.Query) -> Sequence[Sent]:
        statement = query.statement
        word = bytes(statement[:12]).upper()
        if word.startswith((b"BEGIN", b"SAVEPOINT", b"START TRANSA", b"XA START", b"XA BEGIN")):
            if word.startswith(b"XA"):
                self._xid = _xid(statement)
            self._head.append(self._as_sent(event))
            return _NOTHING
        if word.startswith((b"COMMIT", b"ROLLBACK", b"RELEASE", b"XA END")):
            return self._give(self._as_sent(event)) if self._sent else _NOTHING
        if word.startswith((b"XA COMMIT", b"XA ROLLBACK")):
            return self._completed(event, _xid(statement), commits=word.startswith(b"XA COMMIT"))
        text = str(statement, "utf-8", "replace")
        reading = read_statement(query.schema, text, self.wanted.known | {self.wanted.source})
        if reading.about is About.UNCLEAR and self.grouping.statement:
            mine = self._changes(query.schema, text)
        else:
            mine = self._defines(reading, text)
        if not mine:
            self._left_out = True
            self._head = [one for one in self._head if not (isinstance(one, Event) and one.kind in _CONTEXT)]
            return _NOTHING
        if not event.whole:
            self._unfit("a statement that is too long to be looked at")
        elif _DELIMITER in statement:
            self._unfit("a statement that holds mysqlbinlog's own delimiter")
        return self._give(self._as_sent(event))

    def _changes(self, schema: str, text: str) -> bool:
        """Is a change that is logged as a statement ours?"""
        source = self.wanted.source
        named = before_dots(text)
        self.dotted |= named
        known = named & (self.wanted.known | {source})
        self.schemas |= {schema, *known} - {""}
        if schema != source and source not in known:
            return False
        self.statements += 1
        if schema != source or known - {source}:
            self._unfit("a change that is logged as a statement, and names another schema than the one it runs in")
        elif self.wanted.staged:
            self._unfit("a change that is logged as a statement, which renaming the schema does not hold back")
        return True

    def _defines(self, reading: Reading, text: str) -> bool:
        """Is a statement of data definition ours, or another one that is not a change of rows?"""
        source = self.wanted.source
        dotted = before_dots(text)
        self.dotted |= dotted
        if reading.about is About.SERVER:
            self.fate = Fate.SERVER
            return False
        self.schemas |= reading.schemas - {""}
        moves = reading.verb in ("RENAME", "ALTER") or reading.about is About.UNCLEAR
        if source not in reading.schemas:
            if moves and source in reading.mentioned:
                self._unfit("a statement that touches this schema and another one")
                return True
            return False
        if self.wanted.staged and reading.temporary and reading.verb == "DROP":
            return False  # row events need no temporary table
        self.definitions += 1
        self.code += reading.code
        self.temporary |= reading.temporary
        if reading.schemas != {source} or (moves and reading.mentioned):
            self._unfit("a statement that touches this schema and another one")
        elif self.wanted.staged:
            self._unfit_beside(reading, dotted)
        return True

    def _unfit_beside(self, reading: Reading, dotted: set[str] | frozenset[str]) -> None:
        """What a schema of another name does not get along with."""
        if reading.temporary:
            self._unfit("a temporary table, which only changes logged as statements use")
        elif reading.about is About.DATABASE:
            self._unfit(f"{reading.verb} DATABASE, which names the live schema")
        elif reading.qualified or self.wanted.source in dotted:
            self._unfit("a statement that writes the live schema's name out, which renaming does not change")
        elif reading.mentioned:
            self._unfit("a statement that needs another schema, which the account of a staged replay can't reach")

    def _unfit(self, why: str) -> None:
        self.problem = self.problem or why

    # -- XA, GTIDs, compressed transactions -------------------------------------------------------------------

    def _completed(self, event: Event, xid: str, *, commits: bool) -> Sequence[Sent]:
        replayed = self._prepared.pop(xid, None)
        if replayed is None and commits:
            self.schemas.add(self.wanted.source)
            self._unfit("an XA COMMIT of what was prepared before, or was left out: its rows are not there")
        return self._give(self._as_sent(event)) if replayed else _NOTHING

    def _maria_gtid(self, event: Event) -> list[Sent]:
        """MariaDB's GTID event is its BEGIN too. With a new GTID only that is left of it."""
        flags = event.body[12]
        if flags & _XA:
            self._xid = _maria_xid(event.body)
        if not self.wanted.fresh:
            return [event]
        if flags & decoding.STANDALONE:
            return []
        statement = f"XA START {self._xid}" if flags & _XA else "BEGIN"
        body = bytes(13) + b"\0" + statement.encode()  # no schema, no settings: the statement's own come with it
        return [self._made(event, int(Kind.QUERY), body)]

    def _payload(self, event: Event) -> Sequence[Sent]:
        """A compressed transaction goes as it is where all of it is ours; else what is ours of it, unpacked."""
        assert self._log is not None  # noqa: S101 - begin_log comes first
        size, large, xid = 0, False, ""
        for inner in unpacked(self._log, event):
            if inner.kind == _TABLE_MAP:
                self.schemas.add(self._schema(inner.body))
            elif inner.kind in _ROWS:
                large |= not inner.whole
                size += HEADER + len(inner.body)
                self.largest = max(self.largest, size)
                size *= not inner.body[6] & STATEMENT_END
            elif inner.kind == Kind.QUERY and (statement := decoding.query(inner.body).statement)[:3] == b"XA ":
                xid = _xid(statement)
        if xid:
            self._prepared[xid] = self.wanted.source in self.schemas
        if self.wanted.source not in self.schemas:
            self._left_out = True
            return _NOTHING
        if len(self.schemas) == 1:
            return self._give(event)
        if large:
            self._unfit("a compressed transaction of several schemas, with a row that is too large to be taken out")
        found: list[Sent] = []
        self._inside = True
        for inner in unpacked(self._log, event):
            found.extend(self._event(inner))
        self._inside = False
        return found

    def _as_sent(self, event: Event) -> Sent:
        return self._raw(event) if self._inside else event

    def _raw(self, event: Event) -> bytes:
        if self._inside:
            return self._made(event, event.kind, event.body)
        assert self._log is not None  # noqa: S101 - begin_log comes first
        return b"".join(self._log.pieces(event.position, event.end))

    def _made(self, event: Event, kind: int, body: bytes | memoryview) -> bytes:
        """An event of this kind, otherwise as `event` is."""
        assert self._log is not None  # noqa: S101 - begin_log comes first
        tail = 4 if self._log.format.checksums else 0
        plain = _header(event.time, kind, event.server_id, HEADER + len(body) + tail, 0, event.flags) + body
        return plain + crc32(plain).to_bytes(4, "little") if tail else plain

    def _as_last(self, event: Event) -> bytes:
        """A row event as its statement's last one."""
        assert self._log is not None  # noqa: S101 - begin_log comes first
        raw = bytearray(self._raw(event))
        raw[HEADER + 6] |= STATEMENT_END
        if self._log.format.checksums:
            raw[-4:] = crc32(raw[:-4]).to_bytes(4, "little")
        return bytes(raw)


def _xid(statement: bytes) -> str:
    """What XA START, END, COMMIT and ROLLBACK call a transaction: `X'7831',X'',1`."""
    words = statement.decode("ascii", "replace").split(None, 2)
    return words[2].upper().replace("ONE PHASE", "").strip() if len(words) > 2 else ""


def _maria_xid(body: memoryview) -> str:
    """The same, out of a GTID event. Source: MariaDB source, Gtid_log_event."""
    at = 13 + (8 if body[12] & _GROUP_COMMIT else 0)
    number = int.from_bytes(body[at : at + 4], "little")
    first, second = body[at + 4], body[at + 5]
    name = bytes(body[at + 6 : at + 6 + first + second])
    return f"X'{name[:first].hex()}',X'{name[first:].hex()}',{number}".upper()
