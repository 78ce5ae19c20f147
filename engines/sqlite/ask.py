"""Puts the incident report's queries to a database. They can read and compute, and nothing else."""

from __future__ import annotations

import math
import os
import sqlite3
from dataclasses import dataclass

from engines.errors import RestoreError, UsageError
from engines.hooks import Stop, never
from engines.sqlite import connect
from engines.sqlite.file_facts import live_header
from engines.text import drawable

Cell = str | int | float | None

_LONGEST_VALUE = 16 * 1024 * 1024  # bytes of one text or blob, also while computing
# Functions that reach outside the query, or only make a query costly.
_NO_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit", "randomblob"})
_READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows as they can be stored: a blob becomes x'…', a number that JSON has no word for its text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    cut: bool  # there were more rows than asked for


def ask(path: str, sql: str, *, most: int = 100, seconds: float = 30.0, stop: Stop = never) -> Answer:
    """The first `most` rows of one reading statement, within `seconds`.

    Raises UsageError for a statement that does not only read, RestoreError for a file that can't be read.
    """
    path = os.path.realpath(path)
    try:
        head = live_header(path)
        with connect.reading(path, in_wal=head is not None and head.wal) as db:
            db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
            db.set_authorizer(_only_reading)
            with connect.interruptible(db, stop=stop, seconds=seconds):
                return _answer(db, sql, most)
    except (sqlite3.Error, OSError) as error:
        raise connect.unreadable(path, error) from error


def _answer(db: sqlite3.Connection, sql: str, most: int) -> Answer:
    try:
        cursor = db.execute(sql)
        if cursor.description is None:
            raise _refusal(sql, "it gives no rows")
        rows = cursor.fetchmany(most + 1)
    except (sqlite3.Warning, sqlite3.Error, ValueError) as error:
        if isinstance(error, sqlite3.Error) and connect.primary(error) in (
            sqlite3.SQLITE_INTERRUPT,
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_NOTADB,
            sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_IOERR,
        ):
            raise
        raise _refusal(sql, str(error)) from error
    columns = tuple(str(column[0]) for column in cursor.description)
    return Answer(columns, tuple(tuple(map(_cell, row)) for row in rows[:most]), len(rows) > most)


def _only_reading(action: int, first: str | None, second: str | None, _db: str | None, _by: str | None) -> int:
    if action in _READING:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() not in _NO_FUNCTIONS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _cell(value: object) -> Cell:
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    raise RestoreError(f"A value of type {type(value).__name__} came back. Nothing was changed.", "Report this.")


def _refusal(sql: str, why: str) -> UsageError:
    shown = drawable(sql if len(sql) <= 200 else sql[:200] + "…")
    return UsageError(
        f"The query was refused ({drawable(why)}): {shown}  Nothing was changed.",
        "Write one SELECT, on tables that exist, without functions that reach outside the database.",
    )
