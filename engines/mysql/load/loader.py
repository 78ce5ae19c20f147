"""Loads a dump: one pass over it, statements in their order on one connection, rows over several.

What each part does:
- the reader (the caller's thread) goes through the dump, executes definitions itself and deals rows out;
- workers, each with a connection of its own, take rows, count them table by table, and build indexes;
- tables are settled (complete, with their indexes) before anything but the definition of another table.
A table whose rows did not arrive as they should (a lost connection, a deadlock, a warning of LOAD DATA) is emptied and
its rows are read from the dump once more. Whatever cannot be put right ends the load with the table and the byte.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import Refused, RestoreError
from engines.mysql.connect import Login, Place, close, code_of, connect, connection_id, lost, quoted
from engines.mysql.dumps.code import is_code
from engines.mysql.dumps.effects import effect_of, words_of
from engines.mysql.dumps.guards import LEFT_OUT
from engines.mysql.dumps.packing import Opened, opened
from engines.mysql.dumps.statements import Insert, Statement, plain_name, read
from engines.mysql.dumps.tables import parse_table
from engines.mysql.errors import FULL, ROOM, meaning
from engines.mysql.load.shapes import Shape, Way, of_unknown, shape
from engines.mysql.load.workers import Filling, Settings, Trouble, Workers
from engines.spent import Spent
from engines.text import count, drawable, duration, size

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

LOOK = "Look at the server's error log."
_EVERY = 0.2  # seconds between two tellings of progress
_COUNTER = re.compile(rb"^\)[^'\n]*?\bAUTO_INCREMENT=(\d+)", re.MULTILINE)  # among the table's options
# A connection is silent for as long as others fill a table, and a statement's rows come as fast as the others let them.
_PATIENT = "SET SESSION wait_timeout = 31536000, net_read_timeout = 3600, net_write_timeout = 3600"
_ATTEMPTS = 4  # for the rows of one table
_SKIPPED = ("LOCK TABLES", "UNLOCK TABLES", "START TRANSACTION", "COMMIT", "BEGIN", "CREATE DATABASE", "CREATE SCHEMA")


@dataclass(frozen=True, slots=True)
class LoadProgress:
    done: int  # bytes of the file whose rows the server has taken
    total: int  # 0 while indexes are built: how far that is, no server says
    table: str  # under way
    rows: int  # in all tables


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the load tells, and asks, while it is under way."""

    say: Callable[[str], None] = lambda _line: None
    progress: Callable[[LoadProgress], None] = lambda _progress: None
    stop: Callable[[], bool] = lambda: False
    at: Callable[[str], None] = lambda _name: None
    loaded: Callable[[str, int], None] = lambda _table, _rows: None  # a table is complete, with its indexes
    opened: Callable[[int], None] = lambda _connection: None  # a connection's id, before it does anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A load as it is asked for."""

    dump: Path
    place: Place
    login: Login
    schema: str  # where it goes; it exists, and is empty but for what an earlier attempt loaded
    source: str  # the database of the dump that is wanted, where it has several
    rows: Mapping[str, int]  # how many each table must have (DumpFacts)
    connections: int = 2
    bulk: bool = False  # does the server take LOAD DATA LOCAL?
    defer: bool = True  # may indexes be built afterwards?
    binary_log: bool = True
    entry: str = ""  # of a zip
    code: bool = True  # views, routines, triggers and events too? A staged load leaves them to mysql.stage.code
    done: frozenset[str] = frozenset()  # tables that an earlier attempt completed


@dataclass(frozen=True, slots=True)
class Loaded:
    tables: int
    rows: int
    seconds: float
    bulk: int  # how many tables went by LOAD DATA
    again: tuple[str, ...]  # tables whose rows had to be read once more


def load(job: Job, hooks: Hooks | None = None) -> Loaded:
    """Load the dump. Raises RestoreError: what was loaded until then is said by `hooks.loaded`."""
    import pymysql

    hooks = hooks or Hooks()
    begun = time.monotonic()
    loading = _Loading(job, hooks)
    try:
        loading.run()
    except pymysql.err.MySQLError as error:  # between two statements of the dump; those say where they stand
        loading.break_off()
        raise RestoreError(
            f"The load was broken off: {meaning(error)}.", f"{LOOK} Then go on (r), or undo (u)."
        ) from None
    except BaseException:
        loading.break_off()
        raise
    finally:
        loading.close()
    told = Loaded(len(loading.complete), loading.rows, time.monotonic() - begun, loading.bulk, tuple(loading.again))
    hooks.say(f"loaded {count(told.tables)} tables, {count(told.rows)} rows in {duration(told.seconds)}")
    hooks.say(str(loading.spent))
    return told


class _Loading:
    def __init__(self, job: Job, hooks: Hooks) -> None:
        self.job, self.hooks = job, hooks
        self.complete: dict[str, int] = {}
        self.again: list[str] = []
        self.bulk = 0
        self._ours = True  # is the dump in the database that is wanted?
        self._table: Filling | None = None  # the one whose rows are coming
        self._unfinished: dict[str, Filling] = {}
        self._begun: dict[str, float] = {}
        self._last: Settings | None = None  # of the last table: a dump sets them back before its end
        self._foreign: list[Shape] = []
        self._told = 0.0
        self._dump: Opened | None = None
        self.spent = Spent("read", "send", "server", "indexes")
        self._elsewhere = 0.0  # seconds of the reader's in which it did not read
        self._main = self._connect()
        self._workers = Workers(job.connections, self._connect, self.spent)

    @property
    def rows(self) -> int:
        return sum(self.complete.values())

    def break_off(self) -> None:
        """Let the server end what is under way: an index may take an hour, and a stop is not to wait for it."""
        import pymysql

        for number in self._workers.connections:
            # One may have ended already; without a line it ends, or is ended when the load goes on.
            with suppress(pymysql.err.MySQLError, OSError):
                self._main.query(f"KILL {number}")

    def close(self) -> None:
        self._workers.close()
        close(self._main)

    def _connect(self) -> Connection[Cursor]:
        """A connection that writes to the binary log or does not, as asked; a refusal of that is an error."""
        job = self.job
        connection = connect(job.place, job.login, database=job.schema, local_files=job.bulk)
        try:
            self.hooks.opened(connection_id(connection))
            with connection.cursor() as cursor:
                cursor.execute(_PATIENT)
            if not job.binary_log:
                leave_out_of_binary_log(connection)
        except BaseException:
            close(connection)
            raise
        return connection

    # -- the pass over the dump ---------------------------------------------------------------------------

    def run(self) -> None:
        begun = time.perf_counter()
        try:
            self._pass()
        finally:
            self.spent.add("read", time.perf_counter() - begun - self._elsewhere - self._workers.held)

    def _pass(self) -> None:
        _clear_code(self._main, self.job.schema, self.job.rows)
        with opened(self.job.dump, self.job.entry) as dump:
            self._dump = dump
            for part in read(dump.stream):
                self._look_up(dump)
                match part:
                    case Statement():
                        self._statement(part)
                    case Insert():
                        self._rows_of(part, dump)
            self._settle()
            self._tie()

    def _look_up(self, dump: Opened) -> None:
        self._heed()
        self._tell(self._table.shape.name if self._table else "", dump)

    def _heed(self) -> None:
        """Tell what the workers have done since the last time, and hear a stop."""
        self._announce()
        if self.hooks.stop():
            raise RestoreError("The load was stopped. Its schema is unfinished.", "Go on with it (r), or undo (u).")

    def _tell(self, table: str, dump: Opened | None = None) -> None:
        """How far it is. Without `dump` indexes are built."""
        now = time.monotonic()
        if now - self._told < _EVERY:
            return
        self._told = now
        done, total = (dump.position(), dump.size) if dump else (0, 0)
        if dump is not None and dump.packing == "plain":  # packed, what waits is little of the file
            done = max(done - self._workers.waiting, 0)
        rows = self.rows + sum(table.rows for table in self._unfinished.values())
        self.hooks.progress(LoadProgress(done, total, table, rows))

    def _statement(self, part: Statement) -> None:
        words = words_of(part.text)
        if words.startswith("USE"):
            self._settle()
            self._ours = plain_name(part.text[3:].strip()) == self.job.source
            return
        if not self._ours or words.startswith(_SKIPPED) or _about_keys(part.text):
            return
        if not self.job.code and is_code(part.text):
            return
        effect = effect_of(part)
        if (effect is not None and effect.what in LEFT_OUT) or b"SQL_LOG_BIN" in part.text.upper():
            return
        if effect is not None:
            raise Refused(
                f"The dump would do more than fill its schema: {effect.what}, at byte {count(effect.start)}.",
                "Choose another dump. What was loaded until then is unfinished: undo (u).",
            )
        if words.startswith("CREATE TABLE"):
            self._begin_table(part)
            return
        self._make_way(part.text, words)
        if not self._is_done(part.text, words):
            self._execute(part.text, f"the statement at byte {count(part.start)} ({words[:40]})")

    def _make_way(self, text: bytes, words: str) -> None:
        """Wait for the tables before it, but where it is about another table alone."""
        if words.startswith("SET"):
            return  # a setting stands also between a table's definition and its rows
        self._end_rows()
        own = any(quoted(name).encode() in text for name in self._unfinished)
        if own or not words.startswith("DROP TABLE"):
            self._settle()

    def _is_done(self, text: bytes, words: str) -> bool:
        """Does it drop a table that an earlier attempt completed?"""
        if not self.job.done or not words.startswith("DROP TABLE"):
            return False
        return any(quoted(name).encode() in text for name in self.job.done)

    def _begin_table(self, part: Statement) -> None:
        parsed = parse_table(part.text)
        name = parsed.name if parsed else ""
        # With its foreign keys in it a definition waits for the tables that they name.
        if self._end_rows() or parsed is None or not parsed.certain or not self.job.defer or name in self._unfinished:
            self._settle()
        if parsed is None:
            self._execute(part.text, f"the definition at byte {count(part.start)}")
            return
        made = (
            shape(parsed, part.text, bulk=self.job.bulk, defer=self.job.defer)
            if parsed.certain
            else of_unknown(name, part.text)
        )
        self._foreign.append(made)
        if name in self.job.done:
            self.complete[name] = self.job.rows.get(name, 0)
            return
        self._execute(made.create, f"the definition of {drawable(name)}, at byte {count(part.start)}")
        self._table = self._unfinished[name] = Filling(made, part.start, self.job.rows.get(name))
        self._begun[name] = time.monotonic()

    def _rows_of(self, insert: Insert, dump: Opened) -> None:
        if not self._ours or insert.table in self.job.done:
            return
        table = self._table
        if table is None or table.shape.name != insert.table:
            raise RestoreError(
                f"The dump has rows of {drawable(insert.table)} before it defines it, at byte {count(insert.start)}.",
                'Load it with client = "mysql".',
            )
        if table.settings is None:
            table.settings = _settings(self._main)
            if not table.settings.charset.startswith("utf8"):
                table.shape = replace(table.shape, way=Way.INSERT)  # LOAD DATA is told utf8mb4
        self._workers.send(table, insert, lambda: self._look_up(dump))

    def _execute(self, text: bytes, what: str) -> None:
        import pymysql

        begun = time.perf_counter()
        try:
            self._main.query(text)
        except pymysql.err.MySQLError as error:
            hint = "Undo (u), or choose another."
            if lost(error):
                hint = "The connection was lost: go on (r) when the server is back."
            elif code_of(error) in FULL:
                hint = f"{ROOM} Then try again (r), or undo (u)."
            raise RestoreError(f"{what[0].upper()}{what[1:]} failed: {meaning(error)}.", hint) from None
        finally:
            took = time.perf_counter() - begun
            self._elsewhere += took
            self.spent.add("server", took)

    # -- settling tables ----------------------------------------------------------------------------------

    def _end_rows(self) -> bool:
        """The table's last row was read. True where something has gone wrong."""
        table, self._table = self._table, None
        if table is not None:
            self.hooks.at("rows sent")
            if table.settings is None:
                table.settings = _settings(self._main)
            self._last = table.settings
            self._workers.end(table)
        self._announce()
        return self._workers.trouble is not None

    def _announce(self) -> None:
        """Tell what the workers have done since the last time."""
        for table, complete in self._workers.news():
            name = table.shape.name
            if not complete:
                self.hooks.at("rows counted")
                self.hooks.say(_building(table))
                continue
            self.bulk += table.shape.way is Way.BULK
            self.complete[name] = table.rows
            del self._unfinished[name]
            self.hooks.say(f"{name} done, {count(table.rows)} rows in {duration(time.monotonic() - self._begun[name])}")
            self.hooks.loaded(name, table.rows)
            self.hooks.at("table loaded")

    def _settle(self) -> None:
        """Wait until every table that was begun is complete; what can be put right is done once more."""
        self._end_rows()
        for attempt in range(1, _ATTEMPTS + 1):
            begun = time.perf_counter()
            trouble = self._workers.settle(self._wait)
            self._elsewhere += time.perf_counter() - begun
            self._announce()
            if trouble is None:
                return
            table = trouble.filling
            if table is None or trouble.building:
                named = f"The indexes of {drawable(table.shape.name)}" if table else "The foreign keys"
                again = "the table is loaded again; or undo (u)." if table else "or undo (u)."
                raise RestoreError(
                    f"{named} could not be {'built' if table else 'added'}: {trouble.why}.",
                    f"{trouble.hint or 'Its rows are in.' if table else 'All rows are in.'} Try again (r): {again}",
                )
            if attempt == _ATTEMPTS or not trouble.again:
                at = count(trouble.start or table.start)
                raise RestoreError(
                    f"The rows of {drawable(table.shape.name)} could not be loaded: {trouble.why}, at byte {at}.",
                    f"{trouble.hint or LOOK} Then try again (r), or undo (u).",
                )
            self._mend(trouble, table)

    def _wait(self) -> None:
        self._heed()
        rows = next((one for one in self._unfinished.values() if not one.counted), None)
        if rows is not None:
            self._tell(rows.shape.name, self._dump)
        else:
            keys = next(iter(self._unfinished.values()), None)
            self._tell(_building(keys) if keys else "adding foreign keys")

    def _mend(self, trouble: Trouble, table: Filling) -> None:
        """Go on, with fresh workers, where all rows are in; where not, read them once more."""
        self._revive(trouble, table)
        for one in list(self._unfinished.values()):
            if one.counted or (one.bundles == 0 and one is not table and one.rows == one.expected):
                self._workers.resume(one)
                continue
            why = trouble.why if one is table else "its rows were broken off with them"
            self.hooks.say(f"{one.shape.name}: {why}; its rows are read again")
            self.again.append(one.shape.name)
            self._again(one)

    def _again(self, table: Filling) -> None:
        """Empty the table and send its rows once more, by INSERT on one connection."""
        shape = table.shape
        name = quoted(shape.name).encode()
        self._execute(b"TRUNCATE TABLE " + name, "emptying the table")
        if counter := _COUNTER.search(shape.create):
            # Emptied, a table counts from 1 again: ids of rows that were deleted before the dump would be given anew.
            self._execute(b"ALTER TABLE %b AUTO_INCREMENT=%b" % (name, counter[1]), "setting the table's next number")
        careful = replace(shape, way=Way.INSERT, spread=False)
        fresh = Filling(careful, table.start, table.expected, table.settings)
        self._unfinished[shape.name] = fresh
        with opened(self.job.dump, self.job.entry) as dump:
            _skip(dump, table.start)
            for part in read(dump.stream):
                if isinstance(part, Insert):
                    if part.table != shape.name:
                        break
                    part.start += table.start
                    self._workers.send(fresh, part, lambda: self._look_up(dump))
                elif isinstance(part, Statement) and words_of(part.text).startswith("CREATE TABLE") and part.start:
                    break
        self._workers.end(fresh)

    def _revive(self, trouble: Trouble, table: Filling) -> None:
        """Fresh workers, first: an open transaction would keep the table from being emptied.

        The statements' own connection holds what the dump has set; without it the load is begun again.
        """
        import pymysql

        at = count(trouble.start or table.start)
        why = f"{trouble.why}, among the rows of {drawable(table.shape.name)}, at byte {at}"
        try:
            self._main.query("SELECT 1")
            self._workers.revive()
        except pymysql.err.MySQLError:
            raise RestoreError(
                f"The connection to the server was lost in the middle of the load: {why}.",
                f"{LOOK} Is its disk full? Then go on (r): tables that are complete are not loaded again.",
            ) from None
        except RestoreError as error:
            raise RestoreError(f"The load was broken off: {why}. {error.message}", error.hint) from None

    def _tie(self) -> None:
        """Add the foreign keys, once every table is there."""
        existing = _constraints(self._main, self.job.schema)
        for made in self._foreign:
            if made.foreign and not existing.issuperset(made.foreign_names):
                self._workers.build(made.foreign, self._last)
        self._settle()
        self.hooks.at("foreign keys added")


def _building(table: Filling) -> str:
    return f"building {table.shape.indexes} indexes on {table.shape.name}"


def _about_keys(text: bytes) -> bool:
    """ALTER TABLE … DISABLE KEYS, which would make the workers wait."""
    return b"ALTER TABLE" in text[:40] and text.rstrip(b" */").endswith((b"DISABLE KEYS", b"ENABLE KEYS"))


def _settings(connection: Connection[Cursor]) -> Settings:
    """What the dump has set on its connection, for those that take its rows."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@sql_mode, @@time_zone, @@character_set_client, @@collation_connection")
        row = cursor.fetchone() or ("", "SYSTEM", "utf8mb4", "utf8mb4_general_ci")
    return Settings(str(row[0]), str(row[1]), str(row[2]), str(row[3]))


def leave_out_of_binary_log(connection: Connection[Cursor]) -> None:
    import pymysql

    try:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION sql_log_bin = 0")
            cursor.execute("SELECT @@SESSION.sql_log_bin")
            if cursor.fetchone() == (0,):
                return
    except pymysql.err.MySQLError as error:
        why = meaning(error)
    else:
        why = "it stayed on"
    raise RestoreError(
        f"The binary log can't be left out ({why}), and the plan says that it is. Nothing was loaded.",
        'Grant the login what that needs (docs/privileges.md), or set binary_log = "on" and plan again.',
    )


def _clear_code(connection: Connection[Cursor], schema: str, tables: Mapping[str, int]) -> None:
    """Drop triggers of an earlier attempt: the dump makes them without asking whether they are there."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT trigger_name, event_object_table FROM information_schema.triggers WHERE trigger_schema = %s",
            (schema,),
        )
        for name, table in list(cursor.fetchall()):
            if str(table) in tables:  # a table that the dump does not have keeps its own
                cursor.execute(f"DROP TRIGGER IF EXISTS {quoted(str(name))}")


def _constraints(connection: Connection[Cursor], schema: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT constraint_name FROM information_schema.table_constraints "
            "WHERE constraint_type = 'FOREIGN KEY' AND constraint_schema = %s",
            (schema,),
        )
        return {str(name) for (name,) in cursor.fetchall()}


def _skip(dump: Opened, to: int) -> None:
    """Go to a byte of the unpacked dump."""
    if dump.packing == "plain":
        dump.stream.seek(to)
        return
    while to > 0:
        piece = dump.stream.read(min(to, 1 << 20))
        if not piece:
            raise RestoreError("The dump is shorter than it was.", "Stage it again.")
        to -= len(piece)


def told(progress: LoadProgress) -> str:
    return f"{progress.table}, {size(progress.done)} of {size(progress.total)}"
