"""Asks and tells a server, for the staged restore: how a connection is set, and what its errors mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engines.errors import Refused, RestoreError
from engines.mysql.connect import code_of, connection_id, lost, quoted
from engines.mysql.errors import meaning
from engines.text import drawable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

LOCK_WAIT = 10  # seconds that a statement waits for a table that somebody else holds
LOCKED = (1205, 3572)  # lock wait timeout; NOWAIT


def settle(connection: Connection[Cursor], *, binary_log: bool) -> None:
    """Set a connection for work on schemas: short waits, neutral modes, and the binary log as asked.

    Raises Refused where the binary log is to be left out and the login may not.
    """
    import pymysql

    execute(connection, f"SET SESSION lock_wait_timeout = {LOCK_WAIT}")
    neutral(connection)
    try:
        execute(connection, f"SET SESSION sql_log_bin = {int(binary_log)}")
    except pymysql.err.MySQLError as error:
        if binary_log and code_of(error) in (1227, 1193):
            return  # it is on unless somebody turns it off
        raise Refused(
            f"The binary log can't be left out: {meaning(error)}. Nothing was changed.",
            "Grant SESSION_VARIABLES_ADMIN (MariaDB: BINLOG ADMIN), or restore with the binary log on.",
        ) from None


def neutral(connection: Connection[Cursor]) -> None:
    """The settings under which definitions are read and statements of ours are written."""
    execute(connection, "SET NAMES utf8mb4")
    execute(connection, "SET SESSION sql_mode = '', sql_quote_show_create = 1, time_zone = '+00:00'")


def execute(connection: Connection[Cursor], statement: str | bytes) -> None:
    """One statement, as it is: no value is put into it. Bytes are sent in whichever character set is set."""
    connection.query(statement)


def rows(connection: Connection[Cursor], statement: str, *values: object) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return [tuple(row) for row in cursor.fetchall()]


def texts(connection: Connection[Cursor], statement: str, *values: object) -> tuple[str, ...]:
    """The first column, as text."""
    return tuple(str(row[0]) for row in rows(connection, statement, *values))


def named(connection: Connection[Cursor], statement: str) -> list[dict[str, object]]:
    """Rows with their columns' names in small letters, which differ between servers in place and case."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        columns = [str(column[0]).lower() for column in cursor.description or ()]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def schema_exists(connection: Connection[Cursor], schema: str) -> bool:
    return bool(rows(connection, "SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", schema))


@contextmanager
def told(what: str, hint: str) -> Iterator[None]:
    """Turns a server's error into one that the operator can act on."""
    import pymysql

    try:
        yield
    except (pymysql.err.MySQLError, OSError) as error:
        raise failed(what, error, hint) from None


def failed(what: str, error: BaseException, hint: str) -> RestoreError:
    if lost(error):
        return RestoreError(
            f"{what}: the connection was lost ({meaning(error)}). Its outcome is not known.",
            "When the server is back, look where it stands, then go on (r) or undo (u).",
        )
    return RestoreError(f"{what}: {meaning(error)}.", hint)


def users_of(connection: Connection[Cursor], schema: str) -> tuple[str, ...]:
    """Who else has chosen the schema: `12 (app@web1)`, as far as the login may see."""
    own = connection_id(connection)
    return tuple(
        f"{row['id']} ({drawable(str(row['user']))}@{drawable(str(row['host']).split(':')[0])})"
        for row in named(connection, "SHOW PROCESSLIST")
        if row["db"] == schema and int(str(row["id"])) != own
    )


def use(connection: Connection[Cursor], schema: str) -> None:
    execute(connection, f"USE {quoted(schema)}")
