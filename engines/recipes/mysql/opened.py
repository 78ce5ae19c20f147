"""What a session has open or turned on at the server. It is journalled first, so that whoever comes later ends it:
the next attempt, the next runner, the clearing up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.errors import RestoreError
from engines.mysql.errors import meaning
from engines.mysql.queries import NotSaid, rows_of, tables_of, value_of
from engines.recipes.mysql import pulling, reach
from engines.session.state import SessionState
from engines.session.work import Work
from engines.targets import LoadClient, MysqlTarget

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

LOCAL_INFILE = "local_infile"
_ENDING = 60.0  # seconds that a killed connection has to roll back
_CLOCK = 2  # seconds by which two looks at a server's start may differ


# -- connections -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Opened:
    """Connections of this step. Their ids are in the journal before they do anything."""

    work: Work
    ids: list[int]

    def __call__(self, number: int) -> None:
        self.ids.append(number)
        self.work.found(connections=list(self.ids))


def opened(work: Work, connection: Connection[Cursor]) -> Opened:
    """For a step that begins: what earlier attempts and steps had open is ended first.

    Where only the line was cut the server may still be at their last statement. `connection` tells since when the
    server runs: ids count anew after a restart.
    """
    pulling.remove(connection, work.state, say=work.say)
    for number in end_earlier(connection, work.state):
        work.say(f"connection {number} of an earlier attempt is ended")
    work.found(connections=[], server_since=since_when(connection))
    return Opened(work, [])


def opened_by(work: Work) -> tuple[int, ...]:
    """The connections that the step under way has: they are nobody else's."""
    known = work.state.step(work.step.id)
    found = known.facts.get("connections") if known is not None else None
    return tuple(number for number in found if isinstance(number, int)) if isinstance(found, (list, tuple)) else ()


def end_earlier(connection: Connection[Cursor], state: SessionState) -> tuple[int, ...]:
    """KILL those connections of this session's steps that the server still has. Raises RestoreError if one stays."""
    since = since_when(connection)
    ours = {number for known in state.steps for number in _of_this_run(known.facts, since)}
    if not ours:
        return ()
    alive = {int(str(row["id"])) for row in tables_of(connection, "SHOW PROCESSLIST")} & ours
    alive.discard(int(value_of(connection, "SELECT CONNECTION_ID()")))
    for number in sorted(alive):
        _end(connection, number)
    return tuple(sorted(alive))


def _of_this_run(facts: Mapping[str, object], since: int) -> Iterator[int]:
    numbers, then = facts.get("connections"), facts.get("server_since")
    if isinstance(numbers, (list, tuple)) and isinstance(then, int) and abs(since - then) <= _CLOCK:
        yield from (number for number in numbers if isinstance(number, int))


def since_when(connection: Connection[Cursor]) -> int:
    """When the server was started, in seconds of its own clock; exact to a second or two."""
    uptime = rows_of(connection, "SHOW GLOBAL STATUS LIKE 'Uptime'")[0][1]
    return int(value_of(connection, "SELECT UNIX_TIMESTAMP()")) - int(uptime)


def _end(connection: Connection[Cursor], number: int) -> None:
    """KILL it, and wait until the server shows it no more: a rollback takes its time."""
    with suppress(NotSaid):  # it has just ended by itself
        rows_of(connection, f"KILL {number}")
    until = time.monotonic() + _ENDING
    while any(int(str(row["id"])) == number for row in tables_of(connection, "SHOW PROCESSLIST")):
        if time.monotonic() > until:
            raise RestoreError(
                f"Connection {number} of an earlier attempt does not end: the server rolls it back.",
                "Wait until SHOW PROCESSLIST shows it no more, then go on (r), or: reinstate resume.",
            )
        rows_of(connection, "DO SLEEP(0.05)")


# -- settings --------------------------------------------------------------------------------------------------


@contextmanager
def bulk(work: Work, target: MysqlTarget, connection: Connection[Cursor]) -> Iterator[bool]:
    """May rows go by LOAD DATA LOCAL? Where the plan may turn local_infile on, it is turned back off, in any case.

    Where the server can't be reached for that, it is done by the next attempt, or by the clearing up.
    """
    import pymysql

    if target.client is not LoadClient.OWN:
        yield False
        return
    is_on = bool(int(value_of(connection, "SELECT @@GLOBAL.local_infile")))
    if (is_on and not turned_on(work.state)) or not target.local_infile:
        yield is_on
        return
    work.found(turned_on=[LOCAL_INFILE])  # first: a later runner turns it off
    rows_of(connection, "SET GLOBAL local_infile = 1")
    work.say("local_infile is turned on for the load")
    try:
        yield True
    finally:
        try:
            turn_off(target)
            work.found(turned_on=[])
            work.say("local_infile is off again")
        except (RestoreError, pymysql.err.MySQLError) as error:  # why the load failed is what has to be told
            why = error.message if isinstance(error, RestoreError) else f"{meaning(error)}."
            work.say(f"local_infile is still on: {why} It is turned off by the next step that can.")


def turned_on(state: SessionState) -> bool:
    """Has this session turned local_infile on, and not off again as far as the journal knows?"""
    found = (known.facts.get("turned_on") for known in state.steps)
    return any(isinstance(names, (list, tuple)) and LOCAL_INFILE in names for names in found)


def turn_off(target: MysqlTarget) -> None:
    with reach.reached(target) as connection:
        rows_of(connection, "SET GLOBAL local_infile = 0")
