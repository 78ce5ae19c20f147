"""Proves that a staged copy is a sound database, and asks databases questions that can only read.

What came from outside is never trusted: its views, triggers and expressions run nothing but computations.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engines.errors import RestoreError
from engines.hooks import Progress, Stop, never, unmeasured
from engines.sqlite import connect
from engines.sqlite.ask import Answer, ask
from engines.sqlite.file_facts import Header, header, live_header
from engines.sqlite.files import present, sidecars
from engines.text import drawable

__all__ = ["Answer", "Proof", "TableCount", "ask", "count_tables", "prove"]

_PROBLEMS_SHOWN = 20
_CACHE = 64 * 1024 * 1024  # bytes; the check looks each row up in each index, and 2 MB are too few for that


@dataclass(frozen=True, slots=True)
class TableCount:
    """How many rows a table has; None where it can't be counted, `why` then says so."""

    table: str
    rows: int | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """What full checks found. `ok`: no problem at all. A caller may accept foreign keys that were broken before."""

    ok: bool
    problems: tuple[str, ...]
    integrity: str  # "ok", or the first lines of integrity_check
    foreign_keys: int  # rows whose parent is missing
    schema_sha256: str
    tables: tuple[TableCount, ...]
    journal_mode: str
    page_size: int  # bytes
    user_version: int
    application_id: int
    encoding: str
    sqlite_version: str  # of the library that did the checks
    migrations_last: str | None  # Laravel's table of that name
    migrations_count: int | None


def prove(path: str, *, progress: Progress = unmeasured, stop: Stop = never) -> Proof:
    """Checks the copy at `path` in full: size, header, integrity, foreign keys, schema, counts.

    Only for a file that is not live: it is opened and closed as bytes too. Leaves no sidecars. A problem is a part of
    the proof, not an error; RestoreError only when stopped.
    """
    problems, head = _outside(path)
    if head is None:
        return _unproven(problems)
    total = Path(path).stat().st_size
    try:
        with connect.reading(path, in_wal=head.wal) as db:
            db.execute(f"PRAGMA cache_size=-{_CACHE // 1024}")
            with connect.interruptible(db, stop=stop, tick=_bytes_read(total, progress)):
                integrity = _integrity(db)
                broken = _foreign_keys(db)
                tables = _tables(db, None)
                last, count = _migrations(db, tables)
            if integrity != "ok":
                problems.append(f"integrity_check: {integrity}")
            if broken:
                listing = ", ".join(f"{drawable(table)} {rows}" for table, rows in broken)
                problems.append(f"foreign_key_check: rows whose parent is missing: {listing}")
            proof = Proof(
                not problems,
                tuple(problems),
                integrity,
                sum(rows for _, rows in broken),
                _schema_sha256(db),
                tables,
                "wal" if head.wal else "delete",
                connect.whole(db, "PRAGMA page_size"),
                head.user_version,
                head.application_id,
                head.encoding,
                sqlite3.sqlite_version,
                last,
                count,
            )
    except sqlite3.Error as error:
        return _unproven([*problems, f"SQLite can't read it: {drawable(str(error))}"], head)
    progress(total, total)
    left = present(sidecars(path))
    if left:
        raise RestoreError(
            f"Proving {drawable(path)} left {', '.join(map(drawable, left))}. The live database was not changed.",
            "Something else has opened the staged copy. Find out what, and stage again.",
        )
    return proof


def count_tables(path: str, tables: tuple[str, ...] | None = None, *, stop: Stop = never) -> tuple[TableCount, ...]:
    """The rows of `tables`, of every table when None. Also for a live file. RestoreError when it can't be read."""
    path = os.path.realpath(path)
    try:
        with connect.reading(path, in_wal=_in_wal(path)) as db, connect.interruptible(db, stop=stop):
            return _tables(db, tables)
    except (sqlite3.Error, OSError) as error:
        raise connect.unreadable(path, error) from error


def _in_wal(path: str) -> bool:
    head = live_header(path)
    return head is not None and head.wal


def _outside(path: str) -> tuple[list[str], Header | None]:
    """What size and header alone can show. SQLite calls an empty file sound, and does not always miss a cut-off end."""
    total = Path(path).stat().st_size
    if total == 0:
        return ["it has 0 bytes"], None
    head = header(path)
    if head is None:
        return ["it does not begin like an SQLite database"], None
    problems = []
    if head.page_size < 512 or head.page_size & (head.page_size - 1):
        return [f"its page size is {head.page_size}"], None
    if total % head.page_size:
        problems.append(f"its size, {total} bytes, is no multiple of its page size, {head.page_size}: cut short?")
    if head.pages_known and total < head.pages * head.page_size:
        problems.append(f"it has {total} bytes, its header says {head.pages * head.page_size}: cut short")
    return problems, head


def _unproven(problems: list[str], head: Header | None = None) -> Proof:
    return Proof(
        False,
        tuple(problems),
        "not checked",
        0,
        "",
        (),
        "unknown" if head is None else ("wal" if head.wal else "delete"),
        0 if head is None else head.page_size,
        0 if head is None else head.user_version,
        0 if head is None else head.application_id,
        "unknown" if head is None else head.encoding,
        sqlite3.sqlite_version,
        None,
        None,
    )


def _bytes_read(total: int, progress: Progress) -> Callable[[], None] | None:
    """Progress of a check that reads every page about once, from what the kernel has counted for this thread."""
    counter = Path("/proc/thread-self/io")

    def read() -> int:
        return int(counter.read_text().split(maxsplit=2)[1])

    try:
        start = read()
    except (OSError, ValueError, IndexError):
        return None
    return lambda: progress(min(read() - start, total), total)


def _integrity(db: sqlite3.Connection) -> str:
    """Full, not quick_check: that misses a changed byte which only an index shows."""
    try:
        lines = [str(row[0]) for row in db.execute(f"PRAGMA integrity_check({_PROBLEMS_SHOWN})")]
    except sqlite3.OperationalError:
        raise  # stopped, locked: no finding about the file
    except sqlite3.DatabaseError as error:
        return drawable(str(error))
    return "ok" if lines == ["ok"] else "; ".join(drawable(line) for line in lines)


def _foreign_keys(db: sqlite3.Connection) -> list[tuple[str, int]]:
    """Tables with the number of their rows whose parent is missing."""
    broken: dict[str, int] = {}
    try:
        for row in db.execute("PRAGMA foreign_key_check"):
            broken[str(row[0])] = broken.get(str(row[0]), 0) + 1
    except sqlite3.DatabaseError as error:
        # "foreign key mismatch": a parent without a matching unique index. A fault of the schema, not of its rows.
        if connect.primary(error) == sqlite3.SQLITE_INTERRUPT:
            raise
        return [(f"(not checked: {error})", 0)]
    return sorted(broken.items())


def _tables(db: sqlite3.Connection, wanted: tuple[str, ...] | None) -> tuple[TableCount, ...]:
    """Counts real tables only: opening a virtual one would run its module on content that is not trusted."""
    rows = db.execute("SELECT name, rootpage FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    real = {str(name): bool(root) for name, root in rows if not str(name).startswith("sqlite_")}
    counts = []
    for name in sorted(real) if wanted is None else wanted:
        if name not in real:
            counts.append(TableCount(name, None, "no such table"))
        elif not real[name]:
            counts.append(TableCount(name, None, "a virtual table"))
        else:
            try:
                counts.append(TableCount(name, connect.whole(db, f"SELECT count(*) FROM {connect.quoted(name)}")))  # noqa: S608 - quoted as an identifier
            except sqlite3.DatabaseError as error:
                if connect.primary(error) == sqlite3.SQLITE_INTERRUPT:
                    raise
                counts.append(TableCount(name, None, drawable(str(error))))
    return tuple(counts)


def _migrations(db: sqlite3.Connection, tables: tuple[TableCount, ...]) -> tuple[str | None, int | None]:
    count = next((table.rows for table in tables if table.table == "migrations"), None)
    if count is None:
        return None, None
    try:
        last = connect.single(db, "SELECT migration FROM migrations ORDER BY id DESC LIMIT 1")
    except sqlite3.DatabaseError:
        return None, count  # a table of that name, but not Laravel's
    return (None if last is None else str(last)), count


def _schema_sha256(db: sqlite3.Connection) -> str:
    """The same for databases with the same tables, indexes, views and triggers, in whatever order they were made."""
    rows = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
    kept = [row for row in rows if not str(row[1]).startswith("sqlite_")]
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()
