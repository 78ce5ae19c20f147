"""Tells which events make up a transaction, on MySQL and on MariaDB, with GTIDs and without.

A transaction begins at its GTID event (where there is none: at BEGIN, or at the statement itself), since that is
where a replay may start or stop. Nothing of its content is kept but its kind; details are `transactions`' work.

Sources: MySQL source, rpl_trx_boundary_parser.cc; MariaDB source, log_event.h (Gtid_log_event) and measured logs
of both.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from engines.mysql.binlogs import decoding
from engines.mysql.binlogs.decoding import MysqlGtid
from engines.mysql.binlogs.events import Event, Kind
from engines.mysql.binlogs.gtids import MariaGtid, gtid_text

_WORD: Final = re.compile(rb"(?:\s+|/\*(?!M?!).*?\*/|--\s[^\n]*\n|#[^\n]*\n|/\*M?!\d*)*\(*\s*([A-Za-z]+)", re.DOTALL)
_CHANGES: Final = frozenset((b"INSERT", b"UPDATE", b"DELETE", b"REPLACE", b"LOAD", b"CALL", b"SELECT", b"WITH", b"DO"))
# Inside a transaction; CREATE is what CREATE TABLE … SELECT leaves before its rows.
_HARMLESS: Final = frozenset((b"SAVEPOINT", b"ROLLBACK", b"RELEASE", b"XA", b"CREATE", b"DROP", b"BEGIN", b"COMMIT"))
_ROWS: Final = frozenset((23, 24, 25, 30, 31, 32, 39, *range(166, 172)))
_CONTEXT: Final = frozenset(
    (Kind.INTVAR, Kind.RAND, Kind.USER_VAR, Kind.BEGIN_LOAD_QUERY, Kind.APPEND_BLOCK, Kind.DELETE_FILE)
)
_IDLE: Final = frozenset((Kind.TABLE_MAP, Kind.ANNOTATE_ROWS, Kind.ROWS_QUERY))
_LAST: Final = frozenset((Kind.XID, Kind.XA_PREPARE))
_GTIDS: Final = frozenset((Kind.GTID, Kind.ANONYMOUS_GTID))
# Plain numbers: looking up a member of an enumeration takes longer than all else that is done with an event.
_QUERY: Final = int(Kind.QUERY)
_MARIA_GTID: Final = int(Kind.MARIA_GTID)


class Nature(StrEnum):
    """What a transaction is made of."""

    ROWS = "rows"
    DDL = "ddl"
    STATEMENT = "statement"  # changes of rows, logged as the statements that made them
    OTHER = "other"  # XA COMMIT, an empty transaction


class Grouping:
    """A fold over a log's events, for speed not a pure one: the properties are those of the transaction read last."""

    __slots__ = (
        "_inside",
        "begin",
        "compressed",
        "ddl",
        "end",
        "gtid",
        "micros",
        "open",
        "precise",
        "rows",
        "server_id",
        "statement",
    )

    def __init__(self) -> None:
        self.open = False  # is a transaction begun and not ended?
        self.begin = 0
        self.end = 0
        self.gtid: MysqlGtid | MariaGtid | None = None
        self.micros = 0  # microseconds since 1970 of its commit, as far as the log tells
        self.precise = False  # by the server's clock; else by whole seconds that a session can set
        self.server_id = 0
        self.rows = self.ddl = self.statement = self.compressed = False
        self._inside = False  # BEGIN was there, so that COMMIT or XID has to come

    def take(self, event: Event) -> bool:
        """Takes the next event of a log. True: it is a transaction's last one. Raises what decoding raises."""
        kind = event.kind
        if kind in _ROWS:
            self.rows = True
        elif kind in _IDLE:
            pass
        elif kind in _LAST:
            return self._closed(event)
        elif kind == _QUERY:
            return self._query(event, decoding.query(event.body).statement)
        elif kind in _GTIDS:
            gtid = decoding.mysql_gtid(event.body)
            self._begun(event, gtid if gtid.number else None, gtid.committed)
        elif kind == _MARIA_GTID:
            maria, flags = decoding.maria_gtid(event.body, event.server_id)
            self._begun(event, maria, None)
            self._inside = not flags & decoding.STANDALONE
        else:
            return self._seldom(event, kind)
        return False

    def _seldom(self, event: Event, kind: int) -> bool:
        if kind == Kind.GTID_TAGGED:
            gtid = decoding.tagged_gtid(event.body)
            self._begun(event, gtid, gtid.committed)
        elif kind == Kind.TRANSACTION_PAYLOAD:
            self.rows = self.compressed = True
            return self._closed(event)
        elif kind == Kind.QUERY_COMPRESSED:
            self.compressed = True
            return self._query(event, decoding.query_compressed(event.body).statement)
        elif kind in _CONTEXT:
            self._opened(event)
            self.statement = True
        elif kind == Kind.EXECUTE_LOAD_QUERY:
            self._opened(event)
            self.statement = True
            return not self._inside and self._closed(event)
        elif kind == Kind.INCIDENT and self.open:
            return self._closed(event)
        return False

    @property
    def nature(self) -> Nature:
        if self.statement:
            return Nature.STATEMENT
        if self.rows:
            return Nature.ROWS
        return Nature.DDL if self.ddl else Nature.OTHER

    @property
    def gtid_text(self) -> str | None:
        match self.gtid:
            case MariaGtid():
                return str(self.gtid)
            case MysqlGtid(source=source, number=number) if source is not None:
                return gtid_text(source, number)
            case _:
                return None

    def _begun(self, event: Event, gtid: MysqlGtid | MariaGtid | None, committed: int | None) -> None:
        if self.open:
            # Taking it for ended would let a replay stop in its middle.
            raise decoding.Malformed("a transaction begins inside another")
        self.open = True
        self.begin = event.position
        self.gtid = gtid
        self.precise = bool(committed)
        self.micros = committed or event.time * 1_000_000
        self.server_id = event.server_id
        self.rows = self.ddl = self.statement = self.compressed = self._inside = False

    def _opened(self, event: Event) -> None:
        """Where no GTID event came before: MySQL 5.6 without GTIDs."""
        if not self.open:
            self._begun(event, None, None)

    def _query(self, event: Event, statement: bytes) -> bool:
        self._opened(event)
        if statement == b"BEGIN":
            self._inside = True
            return False
        first = _WORD.match(statement)
        word = first[1].upper() if first else b""
        if word == b"BEGIN" or (word == b"XA" and statement[:8].upper() == b"XA START"):
            self._inside = True
            return False
        if not self._inside:
            if word in _CHANGES:
                self.statement = True
            elif word != b"XA":
                self.ddl = True
            return self._closed(event)
        if word == b"COMMIT" or (word == b"ROLLBACK" and b" TO" not in statement[:16].upper()):
            return self._closed(event)
        if word not in _HARMLESS:
            self.statement = True
        return False

    def _closed(self, event: Event) -> bool:
        self._opened(event)
        if self.gtid is None and not self.precise:
            self.micros = event.time * 1_000_000
        self.open = False
        self.end = event.end
        return True
