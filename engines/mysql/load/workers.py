"""Connections that take rows and build indexes side by side.

Rows come in bundles: what one connection takes in one transaction. A table whose last bundle is in is counted, and its
indexes are built at once, beside the rows of the tables behind it: a server that adds an index uses one processor, and
one that takes rows on one connection another. The reader is never far ahead, so that memory stays flat.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter, thread_time
from typing import TYPE_CHECKING

from engines.errors import RestoreError
from engines.mysql.connect import close, connection_id, lost
from engines.mysql.dumps.statements import Insert
from engines.mysql.errors import FULL, ROOM, meaning
from engines.mysql.load.shapes import Shape, Way, fits_bulk, load_statement
from engines.mysql.load.wire import load_local, send_query
from engines.spent import Spent
from engines.text import count, size

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_MOST = 4  # connections, where nothing is configured
_BUNDLE = 1 << 20
_AHEAD = 16 << 20  # bytes of rows that all of them together may have waiting
_STATEMENT = 512  # bytes that a statement takes here besides its rows
_SORTING = 64 << 20  # bytes in which MySQL sorts an index; in its default of 1 MB it merges on disk, at a cost
_TICK = 0.2  # seconds between two looks at whether the operator wants to stop
_PACKETS = (1153, 2020)  # a packet that is too large, as either side says it
_DEADLOCKS = (1205, 1213)  # lock wait timeout, deadlock: the server took the transaction back
_TYING = "foreign keys"  # side by side they lock one another's tables


@dataclass(frozen=True, slots=True)
class Settings:
    """What a dump sets on its own connection, and rows depend on."""

    sql_mode: str
    time_zone: str
    charset: str
    collation: str


@dataclass(slots=True, eq=False)
class Filling:
    """A table whose rows come in, and then its indexes."""

    shape: Shape
    start: int  # of its definition in the dump
    expected: int | None  # rows, as the dump's facts have them
    settings: Settings | None = None  # those of its first rows; without rows, those after its definition
    rows: int = 0
    sent: bool = False  # has its last row been handed over?
    bundles: int = 0  # that no server has committed yet
    keys: int = 0  # statements of `shape.keys` that are done
    counted: bool = False
    complete: bool = False


@dataclass(frozen=True, slots=True)
class _Start:
    """The beginning of an INSERT: what to send before its rows, and the LOAD DATA to use instead, if any."""

    head: bytes
    bulk: str
    start: int


@dataclass(slots=True, eq=False)
class _Bundle:
    """Rows of one table, as they come. None ends them."""

    filling: Filling
    lane: str
    parts: queue.SimpleQueue[_Start | bytes | None] = field(default_factory=queue.SimpleQueue)
    given: int = 0  # bytes
    cut: bool = False  # nobody will hand over the rest


@dataclass(frozen=True, slots=True, eq=False)
class _Build:
    statement: bytes
    settings: Settings | None  # a strict mode may refuse an index for a default that the table has had all along
    lane: str
    filling: Filling | None = None  # None: it belongs to no table alone


_Work = _Bundle | _Build


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong in a worker, first come first told."""

    why: str
    start: int  # of the statement in the dump; 0: not known
    again: bool  # may loading the table once more help?
    filling: Filling | None
    building: bool = False
    hint: str = ""  # where more is known than the error's number


def fitting() -> int:
    """How many connections suit this machine: while one waits for its commit to reach the disk, another has work."""
    return max(2, min(_MOST, (os.cpu_count() or 1) + 1))


class Workers:
    def __init__(self, number: int, connect: Callable[[], Connection[Cursor]], spent: Spent) -> None:
        self._connect = connect
        self._spent = spent  # on `send`, `server` and `indexes`
        self.held = 0.0  # seconds that the reader waited, because the rows before were not taken yet
        self._lock = threading.Condition()
        self._ready: deque[_Work] = deque()
        self._lanes: set[str] = set()  # of which somebody does something now
        self._under_way = 0
        self._waiting = 0
        self._ended = False
        self._trouble: Trouble | None = None
        self._defect: BaseException | None = None
        self._open: _Bundle | None = None  # the one that the reader fills
        self._news: deque[tuple[Filling, bool]] = deque()
        self._number = max(number, 1)
        self._workers: list[_Worker] = []
        self._begin()

    def _begin(self) -> None:
        try:
            for _ in range(self._number):
                self._workers.append(_Worker(self, self._connect))
        except BaseException:
            self.close()
            raise

    @property
    def connections(self) -> tuple[int, ...]:
        """Their ids on the server."""
        return tuple(worker.number for worker in self._workers)

    @property
    def waiting(self) -> int:
        """Bytes of rows that were handed over and that no server has taken yet."""
        return self._waiting

    @property
    def trouble(self) -> Trouble | None:
        return self._trouble

    def news(self) -> Iterator[tuple[Filling, bool]]:
        """Tables whose indexes are begun (False), and tables that are complete (True), since the last time."""
        while self._news:
            yield self._news.popleft()

    # -- the reader's side ----------------------------------------------------------------------------------

    def send(self, filling: Filling, insert: Insert, tick: Callable[[], None]) -> None:
        """Hand over an INSERT's rows, to whoever is free. `tick` is called meanwhile; what it raises goes through."""
        begun = False
        for piece in insert.values:
            if self._trouble is None:
                if not begun:
                    begun = True
                    self._put(self._bundle_for(filling), _start(filling.shape, insert, piece), _STATEMENT, tick)
                self._put(self._bundle_for(filling), piece, len(piece), tick)
            tick()
        bundle = self._open
        if bundle is not None and bundle.given >= _BUNDLE:
            self._end_bundle()

    def end(self, filling: Filling) -> None:
        """Its last row was handed over."""
        self._end_bundle()
        with self._lock:
            filling.sent = True
            self._look(filling)

    def build(self, statement: bytes, settings: Settings | None) -> None:
        """Add foreign keys, one statement after the other."""
        with self._lock:
            self._ready.append(_Build(statement, settings, _TYING))
            self._lock.notify_all()

    def resume(self, filling: Filling) -> None:
        """Go on with a table whose rows are in."""
        with self._lock:
            self._look(filling)

    def settle(self, tick: Callable[[], None]) -> Trouble | None:
        """Wait until nothing is under way; what went wrong, or None."""
        self._end_bundle()
        while True:
            with self._lock:
                if not self._under_way and not self._ready:
                    if self._defect is not None:
                        raise self._defect
                    return self._trouble
                self._lock.wait(_TICK)
            tick()

    def revive(self) -> None:
        """After trouble, with nothing under way: fresh connections."""
        self.close()
        self._ended, self._trouble, self._waiting = False, None, 0
        self._workers.clear()
        self._begin()

    def close(self) -> None:
        """End them. A bundle that is not whole is not waited for: its transaction is taken back."""
        if (bundle := self._open) is not None:
            bundle.cut = True
            self._end_bundle()
        with self._lock:
            self._ended = True
            self._lock.notify_all()
        for worker in self._workers:
            worker.close()

    def _bundle_for(self, filling: Filling) -> _Bundle:
        bundle = self._open
        if bundle is None:
            bundle = self._open = _Bundle(filling, _lane(filling.shape, mariadb=self._workers[0].mariadb))
            with self._lock:
                filling.bundles += 1
                self._ready.append(bundle)
                self._lock.notify_all()
        return bundle

    def _end_bundle(self) -> None:
        bundle, self._open = self._open, None
        if bundle is not None:
            bundle.parts.put(None)

    def _put(self, bundle: _Bundle, part: _Start | bytes, charge: int, tick: Callable[[], None]) -> None:
        with self._lock:
            if self._waiting >= _AHEAD:
                self._hold(tick)
            self._waiting += charge
        bundle.given += charge
        bundle.parts.put(part)

    def _hold(self, tick: Callable[[], None]) -> None:
        begun = perf_counter()
        while self._waiting >= _AHEAD and self._trouble is None:
            if not self._lock.wait(_TICK):
                tick()  # a stop is heard also while the server is slow
        self.held += perf_counter() - begun

    # -- the workers' side ----------------------------------------------------------------------------------

    def next(self) -> _Work | None:
        """What to do now; None at the end."""
        with self._lock:
            while not self._ended:
                for number, work in enumerate(self._ready):
                    if work.lane not in self._lanes:
                        del self._ready[number]
                        self._under_way += 1
                        if work.lane:
                            self._lanes.add(work.lane)
                        return work
                self._lock.wait()
        return None

    def taken(self, charge: int) -> None:
        """So many bytes of rows wait no longer."""
        with self._lock:
            before, self._waiting = self._waiting, self._waiting - charge
            if before >= _AHEAD > self._waiting:
                self._lock.notify_all()

    def spent(self, work: _Work, seconds: float, own: float, awaited: float) -> None:
        """A worker had it for so long: computed itself, waited for the reader, and for the server the rest."""
        if isinstance(work, _Build):
            self._spent.add("indexes", seconds, self._number)
            return
        self._spent.add("send", own, self._number)
        self._spent.add("server", seconds - own - awaited, self._number)

    def came_in(self, filling: Filling, rows: int) -> None:
        with self._lock:
            filling.rows += rows

    def did(self, work: _Work) -> None:
        """A worker has done it, whole."""
        with self._lock:
            if isinstance(work, _Bundle):
                work.filling.bundles -= 1
            elif work.filling is not None:
                work.filling.keys += 1
            if work.filling is not None:
                self._look(work.filling)

    def failed(self, trouble: Trouble) -> None:
        with self._lock:
            self._trouble = self._trouble or trouble

    def broke(self, defect: BaseException) -> None:
        with self._lock:
            self._defect = self._defect or defect
            self._trouble = self._trouble or Trouble(type(defect).__name__, 0, again=False, filling=None)

    def through(self, work: _Work) -> None:
        """A worker is through with it, whatever came of it."""
        with self._lock:
            self._under_way -= 1
            self._lanes.discard(work.lane)
            self._lock.notify_all()

    def _look(self, filling: Filling) -> None:
        """What comes next for a table: rows are awaited, then counted, then each of its keys is built."""
        if not filling.sent or filling.bundles or filling.complete or self._trouble is not None:
            return
        if not filling.counted:
            if filling.expected is not None and filling.rows != filling.expected:
                why = f"{count(filling.rows)} rows arrived of {count(filling.expected)}"
                self._trouble = Trouble(why, 0, again=True, filling=filling)
                return
            filling.counted = True
            if filling.shape.keys:
                self._news.append((filling, False))
        if filling.keys < len(filling.shape.keys):
            self._ready.appendleft(_Build(filling.shape.keys[filling.keys], filling.settings, "", filling))
            self._lock.notify_all()
            return
        filling.complete = True
        self._news.append((filling, True))


def _start(shape: Shape, insert: Insert, first: bytes) -> _Start:
    bulk = shape.way is Way.BULK and fits_bulk(insert, first)
    return _Start(insert.head, load_statement(shape.name, insert.columns) if bulk else "", insert.start)


def _lane(shape: Shape, *, mariadb: bool) -> str:
    """Work of one lane is done one after the other; empty: side by side with anything.

    Without a key the order of rows is all there is. And MariaDB locks a table that counts for the whole of a LOAD DATA
    (innodb_autoinc_lock_mode=1, its default), so that a second connection would do nothing but wait.
    """
    waits = mariadb and shape.counts and shape.way is Way.BULK
    return f"rows of {shape.name}" if waits or not shape.spread else ""


class _Worker:
    """A connection and its thread."""

    def __init__(self, workers: Workers, connect: Callable[[], Connection[Cursor]]) -> None:
        self._workers = workers
        self._connection = connect()
        self._sent = 0  # bytes of the statement under way
        self._settings: Settings | None = None
        try:
            self.number = connection_id(self._connection)
            self.mariadb = "MariaDB" in str(self._connection.get_server_info())  # type: ignore[no-untyped-call]  # not in the stubs
            self._packet = _prepare(self._connection, mariadb=self.mariadb)
        except BaseException:
            close(self._connection)
            raise
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        if self._workers.trouble is not None:
            close(self._connection)
        self._thread.join()
        close(self._connection)

    def _run(self) -> None:
        while (work := self._workers.next()) is not None:
            try:
                self._do(work)
            except BaseException as error:  # noqa: BLE001 - a defect of ours: raised where the reader waits for us
                self._workers.broke(error)
            finally:
                self._workers.through(work)

    def _do(self, work: _Work) -> None:
        import pymysql

        parts = _Parts(self._workers, work) if isinstance(work, _Bundle) else None
        begun, own = perf_counter(), thread_time()
        try:
            if self._workers.trouble is not None:
                return  # the reader must not wait for a worker that takes nothing
            if parts is not None:
                self._take(parts)
            elif isinstance(work, _Build):
                self._use(work.settings)
                self._connection.query(work.statement)
            self._workers.did(work)
        except pymysql.err.MySQLError as error:
            self._workers.failed(self._meaning(error, work, parts))
        except (OSError, RestoreError) as error:
            told = error.message if isinstance(error, RestoreError) else type(error).__name__
            at = parts.start if parts else 0
            self._workers.failed(Trouble(told, at, parts is not None, work.filling, building=parts is None))
        finally:
            if parts is not None:
                parts.drain()
            awaited = parts.awaited if parts else 0.0
            self._workers.spent(work, perf_counter() - begun, thread_time() - own, awaited)

    def _meaning(self, error: Exception, work: _Work, parts: _Parts | None) -> Trouble:
        """What an error means. A server that gets more than it takes hangs up, most often without a word.

        What LOAD DATA sends is not bound by that, so that its rows are sent once more, by INSERT, which tells.
        """
        code = error.args[0] if error.args else None
        if parts is None:
            return Trouble(meaning(error), 0, False, work.filling, building=True, hint=ROOM if code in FULL else "")
        if not parts.bulk and self._sent > self._packet and (lost(error) or code in _PACKETS):
            why = f"a statement of more than the {size(self._packet)} that max_allowed_packet lets through"
            hint = "SET GLOBAL max_allowed_packet on the server, to 1G at most."
            return Trouble(why, parts.start, False, work.filling, hint=hint)
        # An error that the server sends while LOAD DATA's rows are still under way comes out of turn, without a number.
        unsaid = not isinstance(code, int) and parts.bulk
        again = unsaid or lost(error) or code in _DEADLOCKS
        return Trouble(meaning(error), parts.start, again, work.filling, hint=ROOM if code in FULL else "")

    def _take(self, parts: _Parts) -> None:
        """One transaction."""
        connection, filling = self._connection, parts.bundle.filling
        self._use(filling.settings)
        for start in parts:
            self._sent = 0
            if start.bulk:
                sent = load_local(connection, start.bulk, self._measured(parts.rows()))
                if sent.warnings:
                    raise RestoreError(f"LOAD DATA gave {sent.warnings} warnings", "It is loaded by INSERT.")
            else:
                sent = send_query(connection, self._measured(parts.rows(), start.head))
            self._workers.came_in(filling, sent.rows)
        connection.commit()

    def _use(self, settings: Settings | None) -> None:
        if settings is not None and settings != self._settings:
            _apply(self._connection, settings)
            self._settings = settings

    def _measured(self, pieces: Iterator[bytes], head: bytes = b"") -> Iterator[bytes]:
        if head:
            self._sent += len(head)
            yield head
        for piece in pieces:
            self._sent += len(piece)
            yield piece


class _Parts:
    """A bundle as its worker reads it: its statements, and of each its rows."""

    def __init__(self, workers: Workers, bundle: _Bundle) -> None:
        self.bundle = bundle
        self.start = 0  # of the statement under way in the dump
        self.bulk = False
        self.awaited = 0.0  # seconds in which the reader had nothing for it
        self._workers = workers
        self._ended = False
        self._next: _Start | None = None

    def __iter__(self) -> Iterator[_Start]:
        for _piece in self.rows():  # none stand before the first statement
            pass
        while (begun := self._next) is not None:
            self._next, self.start, self.bulk = None, begun.start, bool(begun.bulk)
            yield begun

    def rows(self) -> Iterator[bytes]:
        """Those of the statement under way. Asked for the next piece, the one before is sent."""
        while not self._ended:
            part = self._part()
            if part is None:
                self._ended = True
                if self.bundle.cut:
                    raise RestoreError("the load was broken off", "It goes on where it was (r).")
                return
            if isinstance(part, _Start):
                self._next = part
                self._workers.taken(_STATEMENT)
                return
            yield part
            self._workers.taken(len(part))

    def _part(self) -> _Start | bytes | None:
        if not self.bundle.parts.empty():
            return self.bundle.parts.get()
        begun = perf_counter()
        part = self.bundle.parts.get()
        self.awaited += perf_counter() - begun
        return part

    def drain(self) -> None:
        """Go past what is left."""
        while not self._ended:
            part = self._part()
            self._ended = part is None
            if part is not None:
                self._workers.taken(_STATEMENT if isinstance(part, _Start) else len(part))


def _prepare(connection: Connection[Cursor], *, mariadb: bool) -> int:
    """Make a connection ready for rows; how many bytes the server takes in one statement.

    Rows of a dump are consistent among themselves: they are not checked one by one, as in mysqldump's own header.
    With both checks off MariaDB locks an empty table for one transaction, to build it in bulk: two connections would
    lock each other out (a deadlock), so that there one of them stays on.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION unique_checks = %s, foreign_key_checks = 0", (int(mariadb),))
        cursor.execute("SHOW SESSION VARIABLES LIKE 'innodb_ddl_buffer_size'")
        sorting = cursor.fetchone()
        if sorting is not None and int(sorting[1]) < _SORTING:
            cursor.execute("SET SESSION innodb_ddl_buffer_size = %s", (_SORTING,))
        cursor.execute("SELECT @@max_allowed_packet")
        row = cursor.fetchone()
    connection.autocommit(False)
    return int(row[0]) if row else 0


def _apply(connection: Connection[Cursor], settings: Settings) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = %s, time_zone = %s", (settings.sql_mode, settings.time_zone))
        cursor.execute(f"SET NAMES {settings.charset} COLLATE {settings.collation}")
