"""Changes a database that has been rewound, where its rows would do harm: rows are put aside, numbers are skipped.

Everything is done in one transaction, and nothing is lost: rows go into a table of their own beside the others.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from engines.errors import Refused, RestoreError
from engines.sqlite import connect
from engines.sqlite.connect import quoted
from engines.text import drawable

_DEPENDENT = (
    "SELECT child.name FROM sqlite_schema AS child, pragma_foreign_key_list(child.name) AS tie "
    "WHERE child.type = 'table' AND lower(tie.\"table\") = lower(?1) AND lower(child.name) <> lower(?1) "
    "ORDER BY child.name"
)
_TRIGGERED = (
    "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND lower(tbl_name) = lower(?1) "
    "AND sql LIKE '%DELETE%' ORDER BY name"
)
_BUSY = 15.0  # seconds that a lock is waited for


def aside_sql(table: str, kept: str) -> tuple[str, ...]:
    """What puts every row of `table` aside into `kept`; done twice, it puts aside what has come since."""
    source, there = quoted(table), quoted(kept)
    return (
        f"CREATE TABLE IF NOT EXISTS {there} AS SELECT * FROM {source} WHERE 0",  # noqa: S608 - quoted
        f"INSERT INTO {there} SELECT * FROM {source}",  # noqa: S608 - quoted
        f"DELETE FROM {source}",  # noqa: S608 - quoted
    )


def back_sql(table: str, kept: str) -> tuple[str, ...]:
    """What puts them back."""
    return (f"INSERT INTO {quoted(table)} SELECT * FROM {quoted(kept)}", f"DROP TABLE {quoted(kept)}")  # noqa: S608 - quoted


def skip_sql(by: int) -> tuple[str, ...]:
    """What makes each AUTOINCREMENT table hand out numbers that were never handed out before."""
    return (f"UPDATE sqlite_sequence SET seq = seq + {by:d}",)  # noqa: S608 - a number


def put_aside(path: str, table: str, kept: str) -> int:
    """Put the rows aside; how many there are in `kept` now. Raises RestoreError, and then nothing was changed.

    Raises Refused where others refer to it, or a trigger follows: they would be in no table beside.
    """
    with _changing(path) as connection:
        for query, what in ((_DEPENDENT, "{} refers to it"), (_TRIGGERED, "trigger {} runs then")):
            if found := connection.execute(query, (table,)).fetchone():
                raise Refused(
                    f"{drawable(table)} is not emptied: {what.format(drawable(str(found[0])))}. Nothing was changed.",
                    "Leave it out of stale_jobs and clear_tables, and pass over this step (p) with a reason.",
                )
        for statement in aside_sql(table, kept):
            connection.execute(statement)
        return connect.whole(connection, f"SELECT count(*) FROM {quoted(kept)}")  # noqa: S608 - quoted


def skip_ids(path: str, by: int) -> Mapping[str, int]:
    """Skip `by` numbers of each table that has AUTOINCREMENT; the last number before, by table.

    A table without it hands out the highest number plus one, whatever was handed out before: that can't be changed.
    """
    with _changing(path) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'").fetchone():
            return {}
        before = {str(name): int(seq) for name, seq in connection.execute("SELECT name, seq FROM sqlite_sequence")}
        for statement in skip_sql(by):
            connection.execute(statement)
        return before


@contextmanager
def _changing(path: str) -> Iterator[sqlite3.Connection]:
    """A connection in one transaction: kept when the block ends, taken back when it raises."""
    try:
        with connect.opened(path, "rw", timeout=_BUSY) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise RestoreError(
            f"{drawable(path)} could not be changed: {drawable(str(error))}. Nothing was changed.",
            "Mend what it says and try again (r), or pass over it (p) with a reason.",
        ) from error
