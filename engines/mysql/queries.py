"""Asks a server one thing at a time: rows, a value, or why it does not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engines.errors import RestoreError
from engines.mysql.connect import code_of, lost
from engines.mysql.errors import meaning

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_DENIED = (1044, 1045, 1142, 1143, 1227, 1370)  # access denied, in its forms
# A variable, table, plugin or statement that this version does not have; a connection that has ended by itself.
_ABSENT = (1064, 1109, 1146, 1193, 1235, 1286, 1305, 1524, 1054, 1094)

Row = tuple[Any, ...]


class NotSaid(Exception):
    """The server does not tell. `denied`: because the login may not know; else because it does not know itself."""

    def __init__(self, why: str, *, denied: bool) -> None:
        super().__init__(why)
        self.why = why
        self.denied = denied


def rows_of(connection: Connection[Cursor], sql: str, values: Sequence[object] = ()) -> list[Row]:
    """Every row of an answer. Raises NotSaid, or RestoreError where the line is gone."""
    return _answer(connection, sql, values)[1]


def tables_of(connection: Connection[Cursor], sql: str, values: Sequence[object] = ()) -> list[Mapping[str, Any]]:
    """`rows_of`, each row by its columns' names in small letters: MySQL writes some of them in capitals."""
    names, rows = _answer(connection, sql, values)
    return [dict(zip(names, row, strict=True)) for row in rows]


def _answer(connection: Connection[Cursor], sql: str, values: Sequence[object]) -> tuple[list[str], list[Row]]:
    import pymysql

    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, tuple(values) or None)
            return [str(column[0]).lower() for column in cursor.description or ()], list(cursor.fetchall())
    except (pymysql.err.MySQLError, OSError) as error:
        code = code_of(error)
        if not lost(error) and code in (*_DENIED, *_ABSENT):
            raise NotSaid(meaning(error), denied=code in _DENIED) from None
        told = "did not answer" if lost(error) else "answered with an error"
        raise RestoreError(
            f"The server {told}: {meaning(error)}. Nothing was changed.",
            "Look at the server and the network between here and there, then do it again (r).",
        ) from None


def value_of(connection: Connection[Cursor], sql: str, values: Sequence[object] = ()) -> Any:  # noqa: ANN401 - SQL's
    """The first column of the first row; None where there is no row. Raises as `rows_of`."""
    rows = rows_of(connection, sql, values)
    return rows[0][0] if rows else None


def first_that_works(connection: Connection[Cursor], *statements: str) -> list[Mapping[str, Any]]:
    """The answer to the first of several spellings that this version knows. Raises NotSaid with a denial first."""
    refusal = NotSaid("unknown to this version", denied=False)
    for statement in statements:
        try:
            return tables_of(connection, statement)
        except NotSaid as error:
            if error.denied:
                raise
            refusal = error
    raise refusal
