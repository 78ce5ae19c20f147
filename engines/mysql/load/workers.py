"""Connections that take rows and build indexes side by side.

The reader is never far ahead of them, so that it waits when the server does not keep up, and memory stays flat.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engines.errors import RestoreError
from engines.mysql.connect import close, lost
from engines.mysql.dumps.statements import Insert
from engines.mysql.errors import FULL, ROOM, meaning
from engines.mysql.load.shapes import Shape, Way, fits_bulk, load_statement
from engines.mysql.load.wire import Sent, load_local, send_query
from engines.text import size

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_PIECES = 6  # of about a megabyte that a worker may have waiting
_TURN = 512 << 10  # bytes of rows that one worker gets before it is another's turn
_AHEAD = 16 << 20  # bytes of rows that all of them together may have waiting
_TICK = 0.2  # seconds between two looks at whether the operator wants to stop
_COMMIT = 32 << 20  # bytes of rows a transaction
_PACKETS = (1153, 2020)  # a packet that is too large, as either side says it
_DEADLOCKS = (1205, 1213)  # lock wait timeout, deadlock: the server took the transaction back


@dataclass(frozen=True, slots=True)
class Settings:
    """What a dump sets on its own connection, and rows depend on."""

    sql_mode: str
    time_zone: str
    charset: str
    collation: str


@dataclass(frozen=True, slots=True)
class _Rows:
    """One INSERT: what to send before its rows, and the rows as they come. None ends them."""

    head: bytes
    bulk: str  # the LOAD DATA to use instead; empty: INSERT
    start: int
    pieces: queue.Queue[bytes | None]


@dataclass(frozen=True, slots=True)
class _Build:
    statement: bytes


_Work = _Rows | _Build | Settings | None  # None: the end of a table: commit


@dataclass(slots=True)
class _Trouble:
    """What went wrong in a worker, first come first told."""

    why: str
    start: int
    again: bool  # may loading the table once more help?
    hint: str = ""  # where more is known than the error's number


class Workers:
    def __init__(self, number: int, connect: Callable[[], Connection[Cursor]]) -> None:
        self._connect = connect
        self._lock = threading.Condition()
        self._rows = 0
        self._waiting = 0
        self._trouble: _Trouble | None = None
        self._workers = [_Worker(self, connect) for _ in range(max(number, 1))]
        self._settings: Settings | None = None
        self._turn = self._workers[0]
        self._given = 0  # bytes, in this turn

    @property
    def rows(self) -> int:
        return self._rows

    @property
    def waiting(self) -> int:
        """Bytes of rows that were handed over and that no server has taken yet."""
        return self._waiting

    @property
    def may_retry(self) -> bool:
        return self._trouble is None or self._trouble.again

    @property
    def hint(self) -> str:
        return self._trouble.hint if self._trouble else ""

    @property
    def failed_at(self) -> int:
        return self._trouble.start if self._trouble else 0

    def use(self, settings: Settings) -> None:
        """Set on every worker what the dump has set, before the next rows."""
        self._settings = settings
        for worker in self._workers:
            worker.work.put(settings)

    def send(self, shape: Shape, insert: Insert, tick: Callable[[], None]) -> None:
        """Hand an INSERT's rows to the worker that has the least to do; the first alone, where order matters.

        Small ones go to the same worker for a while: dealt out one by one, neighbours lock one another's gaps.
        """
        if not shape.spread:
            self._turn = self._workers[0]
        elif self._given >= _TURN or self._turn not in self._workers:
            self._turn = min(self._workers, key=lambda one: one.work.qsize())
            self._given = 0
        worker = self._turn
        pieces: queue.Queue[bytes | None] = queue.Queue(_PIECES)
        begun = False
        for piece in insert.values:
            self._given += len(piece)
            if not begun:
                begun = True
                bulk = shape.way is Way.BULK and fits_bulk(insert, piece)
                statement = load_statement(shape.name, insert.columns) if bulk else ""
                worker.work.put(_Rows(insert.head, statement, insert.start, pieces))
            self._put(worker, pieces, piece, tick)
        if begun:
            self._put(worker, pieces, None, tick)

    def _put(
        self, worker: _Worker, pieces: queue.Queue[bytes | None], piece: bytes | None, tick: Callable[[], None]
    ) -> None:
        with self._lock:
            while self._waiting >= _AHEAD and self._trouble is None:
                if not self._lock.wait(_TICK):
                    tick()  # a stop is heard also while the server is slow
            self._waiting += len(piece or b"")
        while True:
            try:
                pieces.put(piece, timeout=_TICK)
            except queue.Full:
                tick()
                continue
            tick()
            return

    def taken(self, number: int) -> None:
        """So many bytes of rows wait no longer."""
        with self._lock:
            self._waiting -= number
            self._lock.notify_all()

    def settle(self, tick: Callable[[], None]) -> str | None:
        """Wait until everything that was sent is committed; what went wrong, or None."""
        for worker in self._workers:
            worker.work.put(None)
        return self.built(tick)

    def take_rows(self) -> int:
        with self._lock:
            taken, self._rows = self._rows, 0
        return taken

    def build(self, statement: bytes, *, alone: bool = False) -> None:
        """Add indexes or foreign keys to a table, beside whatever else is under way; `alone`: one after the other."""
        worker = self._workers[0] if alone else min(self._workers, key=lambda one: one.work.qsize())
        worker.work.put(_Build(statement))

    def built(self, tick: Callable[[], None]) -> str | None:
        """Wait until nothing is under way; what went wrong, or None."""
        for worker in self._workers:
            worker.wait(tick)
        return self._trouble.why if self._trouble else None

    def revive(self) -> None:
        """After trouble: fresh connections, with the settings that the old ones had."""
        for worker in self._workers:
            worker.close()
        self._trouble = None
        self._rows = self._waiting = 0
        self._workers = [_Worker(self, self._connect) for _ in self._workers]
        if self._settings is not None:
            self.use(self._settings)

    def close(self) -> None:
        for worker in self._workers:
            worker.close()

    def add(self, sent: Sent) -> None:
        with self._lock:
            self._rows += sent.rows

    def failed(self, trouble: _Trouble) -> None:
        with self._lock:
            self._trouble = self._trouble or trouble

    @property
    def in_trouble(self) -> bool:
        return self._trouble is not None


@dataclass(slots=True, eq=False)
class _Worker:
    workers: Workers
    connect: Callable[[], Connection[Cursor]]
    work: queue.Queue[_Work | _Stop] = field(default_factory=lambda: queue.Queue(64))
    thread: threading.Thread = field(init=False)
    connection: Connection[Cursor] | None = field(default=None, init=False)
    uncommitted: int = field(default=0, init=False)
    sent: int = field(default=0, init=False)  # bytes of the statement under way
    packet: int = field(default=0, init=False)  # bytes that the server takes in one statement

    def __post_init__(self) -> None:
        self.connection = _prepared(self.connect())
        self.packet = _packet(self.connection)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def close(self) -> None:
        """End it. Rows that are on their way are not waited for: their transaction is taken back."""
        if self.workers.in_trouble and self.connection is not None:
            close(self.connection)
        self.work.put(_STOP)
        self.thread.join()
        if self.connection is not None:
            close(self.connection)

    def wait(self, tick: Callable[[], None]) -> None:
        """Until it has done everything; `tick` is called meanwhile."""
        with self.work.all_tasks_done:
            while self.work.unfinished_tasks:
                if not self.work.all_tasks_done.wait(_TICK):
                    tick()

    def _run(self) -> None:
        while True:
            work = self.work.get()
            try:
                if isinstance(work, _Stop):
                    return
                self._do(work)
            finally:
                self.work.task_done()

    def _do(self, work: _Work) -> None:
        import pymysql

        connection = self.connection
        start = work.start if isinstance(work, _Rows) else 0
        pieces = self._pieces(work) if isinstance(work, _Rows) else iter(())
        if connection is None or self.workers.in_trouble:
            _drain(pieces)  # the reader must not wait for a worker that takes nothing
            return
        try:
            match work:
                case Settings():
                    _apply(connection, work)
                case _Build():
                    connection.query(work.statement)
                case _Rows():
                    self._take(connection, work, pieces)
                case None:
                    connection.commit()
                    self.uncommitted = 0
        except pymysql.err.MySQLError as error:
            self.workers.failed(self._trouble(error, work, start))
        except (OSError, RestoreError) as error:
            told = error.message if isinstance(error, RestoreError) else type(error).__name__
            self.workers.failed(_Trouble(told, start, again=True))
        finally:
            _drain(pieces)

    def _trouble(self, error: Exception, work: _Work, start: int) -> _Trouble:
        """What an error means. A server that gets more than it takes hangs up, most often without a word.

        What LOAD DATA sends is not bound by that, so that its rows are sent once more, by INSERT, which tells.
        """
        code = error.args[0] if error.args else None
        inserts = isinstance(work, _Rows) and not work.bulk
        if inserts and self.sent > self.packet and (lost(error) or code in _PACKETS):
            why = f"a statement of more than the {size(self.packet)} that max_allowed_packet lets through"
            return _Trouble(why, start, again=False, hint="SET GLOBAL max_allowed_packet on the server, to 1G at most.")
        # An error that the server sends while LOAD DATA's rows are still under way comes out of turn, without a number.
        unsaid = not isinstance(code, int) and isinstance(work, _Rows) and bool(work.bulk)
        again = unsaid or lost(error) or code in _DEADLOCKS
        return _Trouble(meaning(error), start, again, ROOM if code in FULL else "")

    def _take(self, connection: Connection[Cursor], work: _Rows, pieces: Iterator[bytes]) -> None:
        self.sent = 0
        if work.bulk:
            sent = load_local(connection, work.bulk, self._measured(pieces))
            if sent.warnings:
                raise RestoreError(f"LOAD DATA gave {sent.warnings} warnings", "It is loaded by INSERT.")
        else:
            sent = send_query(connection, self._measured(pieces, work.head))
        self.workers.add(sent)
        if self.uncommitted >= _COMMIT:
            connection.commit()
            self.uncommitted = 0

    def _pieces(self, work: _Rows) -> Iterator[bytes]:
        while (piece := work.pieces.get()) is not None:
            yield piece
            self.workers.taken(len(piece))  # asked for the next one: this one is sent

    def _measured(self, pieces: Iterator[bytes], head: bytes = b"") -> Iterator[bytes]:
        if head:
            self.sent += len(head)
            yield head
        for piece in pieces:
            self.sent += len(piece)
            self.uncommitted += len(piece)
            yield piece


class _Stop:
    """The word to end."""


_STOP = _Stop()


def _drain(pieces: Iterator[bytes]) -> None:
    for _piece in pieces:
        pass


def _packet(connection: Connection[Cursor]) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def _prepared(connection: Connection[Cursor]) -> Connection[Cursor]:
    """Rows of a dump are consistent among themselves: they are not checked one by one, as in mysqldump's own header.

    With both checks off MariaDB locks an empty table for one transaction, to build it in bulk: two connections would
    lock each other out (a deadlock), so that there one of them stays on.
    """
    unique = 1 if "MariaDB" in str(connection.get_server_info()) else 0  # type: ignore[no-untyped-call]  # not in the stubs
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION unique_checks = %s, foreign_key_checks = 0", (unique,))
    connection.autocommit(False)
    return connection


def _apply(connection: Connection[Cursor], settings: Settings) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = %s, time_zone = %s", (settings.sql_mode, settings.time_zone))
        cursor.execute(f"SET NAMES {settings.charset} COLLATE {settings.collation}")
