"""Takes a swap back, and after sign-off removes what made that possible. The mirror of `swap`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engines.errors import Refused
from engines.hooks import At, Say, nowhere, silent
from engines.mysql.connect import quoted
from engines.mysql.stage import account
from engines.mysql.stage.ask import execute, schema_exists, settle, told
from engines.mysql.stage.found import look, tables
from engines.mysql.stage.names import Names
from engines.mysql.stage.schema import Owner, mark_cleared, owner, refuse_others
from engines.mysql.stage.steering import Position, steer
from engines.mysql.stage.steps import Goal, Swap, Tables, where

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_HINT = "Look at the server's error log and at what the login may do; then try again (r)."


def put_back(connection: Connection[Cursor], swap: Swap, *, say: Say = silent, at: At = nowhere) -> Position:
    """Make the old schema live again, from wherever the swap stands. Returns OLD.

    What was live goes to the stage, with tables that were made since; the caller has kept the present state. Raises as
    `swap.go_live` does.
    """
    settle(connection, binary_log=swap.binary_log)
    steer(connection, swap, Goal.OLD, say=say, at=at)
    return Position.OLD


def clear(connection: Connection[Cursor], swap: Swap, *, say: Say = silent, at: At = nowhere) -> None:
    """After sign-off or undo: remove the account, the stage, and the parked schema last. Then nothing is undone.

    Raises Refused while tables are between. May be repeated. Foreign keys among the removed tables don't matter.
    """
    settle(connection, binary_log=swap.binary_log)
    with told("Where the swap stands could not be seen. Nothing was removed", _HINT):
        tables_are = where(swap, look(connection, swap.names))
    if tables_are is Tables.BETWEEN:
        raise Refused(
            f"The swap of {swap.names.live} is unfinished. Nothing was removed.", "Go on with it (r), or undo it (u)."
        )
    discard(connection, swap.names, swap.session, binary_log=swap.binary_log, say=say, at=at, swapped=True)


def discard(
    connection: Connection[Cursor],
    names: Names,
    session: str,
    *,
    binary_log: bool = True,
    swapped: bool = False,
    say: Say = silent,
    at: At = nowhere,
) -> None:
    """Remove what a staged restore that never went live has made. May be repeated; what is not ours is refused.

    The marker goes last, with the parked schema, so that a killed clearing knows its own rests. Raises Refused where
    the parked schema holds tables and no swap is known (`swapped`): those are the old ones.
    """
    settle(connection, binary_log=binary_log)
    with told("What the staged restore made could not be removed", _HINT):
        refuse_others(connection, names, session)
        if owner(connection, names, session) is not Owner.US:
            if schema_exists(connection, names.parked) and not _parked(connection, names):
                execute(connection, f"DROP DATABASE IF EXISTS {quoted(names.parked)}")  # its marker went, it did not
            return
        if not swapped and _parked(connection, names):
            raise Refused(f"{names.parked} holds replaced tables. Nothing was removed.", "Undo (u), or sign off.")
        account.drop(connection, names, session, say=say, at=at)
        mark_cleared(connection, names, session)
        at("clear: mark after")
        execute(connection, "SET SESSION foreign_key_checks = 0")
        execute(connection, f"DROP DATABASE IF EXISTS {quoted(names.stage)}")
        at("clear: stage after")
        # A killed DROP DATABASE may leave some tables: the marker must not be the first to go.
        for table in sorted(tables(connection, names.parked) - {names.marker}):
            execute(connection, f"DROP TABLE IF EXISTS {quoted(names.parked)}.{quoted(table)}")
            at("clear: table after")
        execute(connection, f"DROP DATABASE IF EXISTS {quoted(names.parked)}")
        execute(connection, "SET SESSION foreign_key_checks = 1")
        at("clear: parked after")
        say(f"schemas {names.stage} and {names.parked} are removed")


def _parked(connection: Connection[Cursor], names: Names) -> bool:
    return bool(tables(connection, names.parked) - {names.marker})
