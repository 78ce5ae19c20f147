"""Counts tables exactly, over several connections that look at one and the same moment.

No lock is taken. Every connection opens a consistent snapshot; that they are the same is proven, or said not to be:
MariaDB tells each snapshot's own place in the binary log; MySQL's log has not moved while they were opened.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from engines.errors import RestoreError
from engines.hooks import Progress, Stop, never, unmeasured
from engines.mysql.connect import Login, Place, close, connect, connection_id, quoted
from engines.mysql.queries import NotSaid, first_that_works, rows_of, value_of

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_ATTEMPTS = 5  # to open all snapshots while nothing is committed
_SETTLE = 0.05  # seconds: what was being committed when the log was first looked at has its GTID by then
_PART = 500_000  # rows, about: a table with a whole number for its key is counted in parts of this size
_POLL = 0.1  # seconds between two looks at the word to stop
_SNAPSHOT = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted. A table that does not exist is None."""

    rows: Mapping[str, int | None]
    same_moment: bool  # is it proven that every table was counted as of one moment?
    how: str  # the proof, or why there is none


@dataclass(frozen=True, slots=True)
class _Part:
    table: str
    sql: str
    weight: int  # rows, approximate


def count_tables(
    place: Place,
    login: Login,
    schema: str,
    tables: Sequence[str] | None = None,
    *,
    connections: int = 2,
    progress: Progress = unmeasured,
    stop: Stop = never,
) -> Counts:
    """Rows of `tables` (default: every table of the schema). `progress`: rows, approximate. Raises RestoreError."""
    with ExitStack() as stack:
        opened = []
        for _ in range(max(connections, 1)):
            connection = connect(place, login, database=schema)
            stack.callback(close, connection)
            rows_of(connection, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            opened.append(connection)
        watching = connect(place, login, database=schema)
        stack.callback(close, watching)
        with_engines = _engines(watching, schema)
        wanted = tuple(dict.fromkeys(tables)) if tables is not None else tuple(with_engines)
        present = {name: with_engines[name] for name in wanted if name in with_engines}
        same, how = _open_snapshots(opened, watching)
        plain = sorted(name for name, (engine, _rows) in present.items() if engine != "InnoDB")
        if plain and same:
            same, how = False, f"{how}; but {', '.join(plain[:3])} have no snapshots: their engine is not InnoDB"
        parts = [part for name, (_engine, rows) in present.items() for part in _parts(opened[0], name, rows)]
        counted = _count(parts, opened, watching, progress, stop)
    return Counts({name: counted.get(name) if name in present else None for name in wanted}, same, how)


def _engines(connection: Connection[Cursor], schema: str) -> dict[str, tuple[str, int]]:
    """Engine and approximate rows of each table."""
    rows = rows_of(
        connection,
        "SELECT table_name, engine, table_rows FROM information_schema.tables "
        "WHERE table_schema = %s AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY table_name",
        (schema,),
    )
    return {str(name): (str(engine or ""), int(number or 0)) for name, engine, number in rows}


def _open_snapshots(opened: Sequence[Connection[Cursor]], watching: Connection[Cursor]) -> tuple[bool, str]:
    how = ""
    for _ in range(_ATTEMPTS):
        before = _written(watching)
        for connection in opened:
            rows_of(connection, "ROLLBACK")
            rows_of(connection, _SNAPSHOT)
        same, how = _proof(opened, watching, before)
        if same:
            return True, how
    return len(opened) == 1, "one connection counted everything" if len(opened) == 1 else how


def _proof(
    opened: Sequence[Connection[Cursor]], watching: Connection[Cursor], before: tuple[str, ...] | None
) -> tuple[bool, str]:
    if len(opened) == 1:
        return True, "one connection counts everything in one snapshot"
    own = [tuple(str(v) for _n, v in rows_of(c, "SHOW STATUS LIKE 'binlog_snapshot_%'")) for c in opened]
    if own[0] and own[0][0]:  # MariaDB: opened under the same lock that orders commits
        if len(set(own)) == 1:
            return True, f"every snapshot was taken at {own[0][0]}:{own[0][1]}"
        return False, "transactions were committed while the snapshots were opened"
    if before is None:
        return False, "the server keeps no binary log, or does not show it: nothing tells the snapshots apart"
    time.sleep(_SETTLE)
    if _written(watching) == before:
        return True, f"nothing was committed while the snapshots were opened: the log stayed at {':'.join(before[:2])}"
    return False, "transactions were committed while the snapshots were opened"


def _written(connection: Connection[Cursor]) -> tuple[str, ...] | None:
    """How far the binary log is written, with the GTIDs in it; None where that is not told."""
    try:
        rows = first_that_works(connection, "SHOW BINARY LOG STATUS", "SHOW MASTER STATUS")
    except NotSaid:
        return None
    return tuple(str(value) for value in rows[0].values()) if rows else None


def _parts(connection: Connection[Cursor], table: str, rows: int) -> Iterator[_Part]:
    """The table whole, or cut along its key where that is one whole number."""
    whole = f"SELECT COUNT(*) FROM {quoted(table)}"  # noqa: S608 - quoted as identifier
    key = _key(connection, table) if rows > 2 * _PART else None
    if key is None:
        yield _Part(table, whole, rows)
        return
    name = quoted(key)
    first, last = rows_of(connection, f"SELECT MIN({name}), MAX({name}) FROM {quoted(table)}")[0]  # noqa: S608
    if first is None:
        yield _Part(table, whole, rows)
        return
    pieces = min(rows // _PART, 1000)
    step = max((int(last) - int(first)) // pieces + 1, 1)
    edges = [int(first) + step * number for number in range(1, pieces)]
    conditions = [f"{name} < {edges[0]}"]
    conditions += [f"{name} >= {low} AND {name} < {high}" for low, high in pairwise(edges)]
    conditions.append(f"{name} >= {edges[-1]}")
    for condition in conditions:
        yield _Part(table, f"{whole} WHERE {condition}", rows // pieces)


def _key(connection: Connection[Cursor], table: str) -> str | None:
    rows = rows_of(
        connection,
        "SELECT k.column_name, c.data_type FROM information_schema.key_column_usage k "
        "JOIN information_schema.columns c USING (table_schema, table_name, column_name) "
        "WHERE k.table_schema = DATABASE() AND k.table_name = %s AND k.constraint_name = 'PRIMARY'",
        (table,),
    )
    whole = len(rows) == 1 and str(rows[0][1]).lower() in ("tinyint", "smallint", "mediumint", "int", "bigint")
    return str(rows[0][0]) if whole else None


def _count(
    parts: Sequence[_Part],
    opened: Sequence[Connection[Cursor]],
    watching: Connection[Cursor],
    progress: Progress,
    stop: Stop,
) -> Mapping[str, int]:
    """Largest first, spread over the connections. A stop ends the queries on the server."""
    waiting: queue.SimpleQueue[_Part] = queue.SimpleQueue()
    for part in sorted(parts, key=lambda one: one.weight, reverse=True):
        waiting.put(part)
    counted: dict[str, int] = {}
    done, total = 0, sum(part.weight for part in parts)
    wrong: list[str] = []
    lock, ended = threading.Lock(), threading.Event()

    def work(connection: Connection[Cursor]) -> None:
        nonlocal done
        while not ended.is_set():
            try:
                part = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                found = int(value_of(connection, part.sql))
            except (RestoreError, NotSaid) as error:
                with lock:
                    wrong.append(error.message if isinstance(error, RestoreError) else error.why)
                ended.set()
                return
            with lock:
                counted[part.table] = counted.get(part.table, 0) + found
                done += part.weight

    threads = [threading.Thread(target=work, args=(connection,), daemon=True) for connection in opened]
    for thread in threads:
        thread.start()
    stopped = killed = False
    for thread in threads:
        while thread.is_alive():
            thread.join(_POLL)
            progress(done, total)
            if not stopped and stop():
                stopped = True
                ended.set()
            if not killed and ended.is_set():
                killed = True
                for connection in opened:
                    with suppress(RestoreError, NotSaid):  # it has ended by itself; the threads are waited for
                        rows_of(watching, f"KILL QUERY {connection_id(connection)}")
    if stopped:
        raise RestoreError("Counting was stopped. Nothing was changed.", "Count again (r).")
    if wrong:
        raise RestoreError(f"The tables could not be counted: {wrong[0]} Nothing was changed.", "Count again (r).")
    progress(total, total)
    return counted
