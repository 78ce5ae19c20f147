"""Changes a schema that has been rewound, where its rows would do harm: rows are put aside, numbers are skipped.

Nothing is lost: rows go into a table of their own beside the others, in one transaction where the table has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from engines.errors import Refused, RestoreError
from engines.mysql.connect import lost, quoted
from engines.mysql.errors import meaning
from engines.mysql.queries import NotSaid, rows_of, value_of
from engines.text import drawable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

# Generated columns are not written: their values come by themselves. DEFAULT_GENERATED is another thing.
_COLUMNS = (
    "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s "
    "AND NOT (extra LIKE '%%VIRTUAL%%' OR extra LIKE '%%STORED%%' OR extra LIKE '%%PERSISTENT%%') "
    "ORDER BY ordinal_position"
)
_DEPENDENT = (
    "SELECT table_name FROM information_schema.referential_constraints WHERE unique_constraint_schema = DATABASE() "
    "AND referenced_table_name = %s AND delete_rule NOT IN ('RESTRICT', 'NO ACTION') ORDER BY table_name"
)
_TRIGGERED = (
    "SELECT trigger_name FROM information_schema.triggers WHERE event_object_schema = DATABASE() "
    "AND event_object_table = %s AND event_manipulation = 'DELETE' ORDER BY trigger_name"
)
_NUMBERED = (
    "SELECT table_name, auto_increment FROM information_schema.tables "
    "WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' AND auto_increment IS NOT NULL ORDER BY table_name"
)


def aside_sql(table: str, kept: str, columns: Sequence[str] = ()) -> tuple[str, ...]:
    """What puts every row of `table` aside into `kept`; done twice, it puts aside what has come since."""
    into, what = _columns(columns)
    return (
        f"CREATE TABLE IF NOT EXISTS {quoted(kept)} LIKE {quoted(table)}",
        "START TRANSACTION",
        f"INSERT INTO {quoted(kept)}{into} SELECT {what} FROM {quoted(table)}",  # noqa: S608 - quoted
        f"DELETE FROM {quoted(table)}",  # noqa: S608 - quoted
        "COMMIT",
    )


def back_sql(table: str, kept: str, columns: Sequence[str] = ()) -> tuple[str, ...]:
    """What puts them back."""
    into, what = _columns(columns)
    return (
        f"INSERT INTO {quoted(table)}{into} SELECT {what} FROM {quoted(kept)}",  # noqa: S608 - quoted
        f"DROP TABLE {quoted(kept)}",
    )


def _columns(columns: Sequence[str]) -> tuple[str, str]:
    these = ", ".join(map(quoted, columns))
    return (f" ({these})", these) if these else ("", "*")


def skip_sql(by: int) -> tuple[str, ...]:
    """What makes each table hand out numbers that were never handed out before, in words: they are asked for then."""
    return (f"ALTER TABLE … AUTO_INCREMENT = the next number + {by}, for each table that has one",)


def columns_of(connection: Connection[Cursor], table: str) -> tuple[str, ...]:
    """The columns that a statement may write."""
    return tuple(str(name) for (name,) in rows_of(connection, _COLUMNS, (table,)))


def put_aside(connection: Connection[Cursor], table: str, kept: str) -> int:
    """Put the rows aside; how many there are in `kept` now. Raises RestoreError.

    Raises Refused where rows of other tables would go with them: those would be in no table beside.
    """
    for query, what in ((_DEPENDENT, "rows of {} go or change with its own"), (_TRIGGERED, "trigger {} runs then")):
        if found := rows_of(connection, query, (table,)):
            raise Refused(
                f"{drawable(table)} is not emptied: {what.format(drawable(str(found[0][0])))}. Nothing was changed.",
                "Leave it out of stale_jobs and clear_tables, and pass over this step (p) with a reason.",
            )
    for statement in aside_sql(table, kept, columns_of(connection, table)):
        _change(connection, statement)
    return int(value_of(connection, f"SELECT COUNT(*) FROM {quoted(kept)}"))  # noqa: S608 - quoted


def skip_ids(connection: Connection[Cursor], by: int, leave: Sequence[str] = ()) -> Mapping[str, int]:
    """Skip `by` numbers of each table that has AUTO_INCREMENT, but of those in `leave`; the next number before, by
    table. Raises RestoreError."""
    with suppress(NotSaid):  # MySQL 8 and later remember for a day what they said last; MariaDB has no such word
        rows_of(connection, "SET SESSION information_schema_stats_expiry = 0")
    before = {str(name): int(number) for name, number in rows_of(connection, _NUMBERED) if str(name) not in leave}
    for name, number in before.items():
        _change(connection, f"ALTER TABLE {quoted(name)} AUTO_INCREMENT = {number + by}")
    return before


def _change(connection: Connection[Cursor], statement: str) -> None:
    import pymysql

    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    except (pymysql.err.MySQLError, OSError) as error:
        if not lost(error):
            connection.rollback()
        how = "How far it came is not known." if lost(error) else "The rows are where they were."
        raise RestoreError(
            f"The server did not take {statement.partition('(')[0][:100]!r}: {meaning(error)}. {how}",
            "Mend what it says and try again (r), or pass over it (p) with a reason.",
        ) from None
