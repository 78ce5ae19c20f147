"""Puts the incident report's queries to a server. They can read and compute, and nothing else.

Three walls: the words of the query are looked at before it is sent; it runs in a transaction that may only read; and
the server ends it when its time is over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from engines.errors import RestoreError, UsageError
from engines.mysql.connect import lost
from engines.mysql.errors import meaning
from engines.mysql.queries import NotSaid, rows_of, value_of
from engines.mysql.reading import refused
from engines.text import drawable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

Cell = str | int | float | None

_LARGEST = 1 << 20  # characters of one value


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows as they can be stored: bytes become x'…', times and exact numbers their text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    cut: bool  # there were more rows than asked for


def ask(connection: Connection[Cursor], sql: str, *, most: int = 100, seconds: float = 30.0) -> Answer:
    """The first `most` rows of one reading statement, within `seconds`; `connection` is as it was, afterwards.

    Raises UsageError for a statement that does more than read, RestoreError where the server does not answer in time.
    """
    import pymysql
    from pymysql.cursors import SSCursor

    why = refused(sql)
    if why:
        raise _refusal(sql, why)
    with _reading(connection, most, seconds):
        try:
            # The text goes as it is: a % in it is no placeholder without arguments.
            with connection.cursor(SSCursor) as cursor:
                cursor.execute(sql)
                if cursor.description is None:
                    raise _refusal(sql, "it gives no rows")
                columns = tuple(drawable(str(column[0])) for column in cursor.description)
                rows = cursor.fetchmany(most + 1)
        except (pymysql.err.MySQLError, OSError) as error:
            raise _failed(sql, error, seconds) from None
    return Answer(columns, tuple(tuple(map(_cell, row)) for row in rows[:most]), len(rows) > most)


@contextmanager
def _reading(connection: Connection[Cursor], most: int, seconds: float) -> Iterator[None]:
    """A transaction that may only read, and the time that a statement may take."""
    limit, amount = _limit(connection, seconds)
    before, mode = rows_of(connection, f"SELECT @@SESSION.{limit}, @@SESSION.sql_mode")[0]
    # Under these two, quotes mean something else than what the words were looked at for.
    plain = ",".join(one for one in str(mode).split(",") if one not in ("ANSI", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES"))
    try:
        rows_of(connection, f"SET SESSION {limit} = {amount}, SESSION sql_select_limit = {most + 1}")
        rows_of(connection, "SET SESSION sql_mode = %s", (plain,))
        rows_of(connection, "START TRANSACTION READ ONLY")
        yield
    finally:
        with suppress(RestoreError, NotSaid):  # a connection that is lost has nothing to put back
            rows_of(connection, "ROLLBACK")
            rows_of(connection, f"SET SESSION {limit} = {before}, SESSION sql_select_limit = DEFAULT")
            rows_of(connection, "SET SESSION sql_mode = %s", (mode,))


def _limit(connection: Connection[Cursor], seconds: float) -> tuple[str, str]:
    try:
        value_of(connection, "SELECT @@SESSION.max_execution_time")
    except NotSaid:
        return "max_statement_time", f"{seconds:.3f}"  # MariaDB: seconds
    return "max_execution_time", str(max(int(seconds * 1000), 1))  # MySQL: milliseconds


def _failed(sql: str, error: BaseException, seconds: float) -> RestoreError:
    code = error.args[0] if error.args else None
    if code in (3024, 1969, 1317):
        return RestoreError(
            f"The query took longer than {seconds:g} s and was ended. Nothing was changed.",
            "Ask for less, or for what an index finds.",
        )
    if lost(error):
        return RestoreError(f"The server did not answer: {meaning(error)}. Nothing was changed.", "Try again (r).")
    return _refusal(sql, meaning(error))


def _cell(value: object) -> Cell:
    if isinstance(value, Decimal):
        # COUNT and SUM of whole numbers are whole; anything else keeps its digits as text.
        value = int(value) if value == value.to_integral_value() and value.as_tuple().exponent == 0 else str(value)
    elif isinstance(value, bytes):
        value = f"x'{value.hex()}'"
    elif isinstance(value, datetime | date | timedelta | set | frozenset):
        value = str(value) if not isinstance(value, set | frozenset) else ",".join(sorted(map(str, value)))
    elif isinstance(value, float) and not math.isfinite(value):
        value = str(value)
    if isinstance(value, str) and len(value) > _LARGEST:
        raise RestoreError(
            f"A value of {len(value):,} characters came back. Nothing was changed.",
            "Ask for its length, a part of it, or a digest.",
        )
    if value is None or isinstance(value, str | int | float):
        return value
    raise RestoreError(f"A value of type {type(value).__name__} came back. Nothing was changed.", "Report this.")


def _refusal(sql: str, why: str) -> UsageError:
    shown = drawable(sql if len(sql) <= 200 else sql[:200] + "…")
    return UsageError(
        f"The query was refused ({why}): {shown}  Nothing was changed.",
        "Write one SELECT, on tables that exist, with functions that only compute.",
    )
