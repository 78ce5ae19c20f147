"""Who uses a schema now, and waiting until nobody does. Nobody is ended here.

A session uses it that has it for its default database (idle ones too: they can write at any moment), that holds a lock
on one of its tables, or whose transaction is open and whose tables can't be seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engines.checks import Check, fail, ok, unknown
from engines.errors import Refused, RestoreError
from engines.hooks import Say, Stop, never, silent
from engines.mysql.queries import NotSaid, rows_of, tables_of, value_of
from engines.text import drawable, duration

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

SEEN = "Sessions of others can be seen"
UNUSED = "Nobody uses the schema"
_PAUSE = 0.5  # seconds between two looks
# InnoDB makes its list of transactions anew only when nobody has read it for 0.1 s (CACHE_MIN_IDLE_TIME_US in the
# servers' trx0i_s.cc): what we read last must not be what we read again.
_STALE = 0.11  # seconds
_TOLD = 8  # sessions that a message names
_APPLIERS = ("system user",)  # threads of replication, Galera and the event scheduler's kin


@dataclass(frozen=True, slots=True)
class ServerSession:
    id: int  # of the connection; 0: a prepared XA transaction that has none
    user: str
    host: str
    database: str
    command: str  # Sleep, Query, …
    seconds: int  # that it has been in this state
    transaction: bool  # has it an open transaction?
    state: str
    kind: str  # client, replication applier, event, XA transaction
    why: str  # what makes it a user of the schema

    def __str__(self) -> str:
        who = f"{self.kind} " if self.kind != "client" else ""
        open_one = ", transaction open" if self.transaction else ""
        return f"{who}{self.id} {self.user}@{self.host} {self.command} {duration(self.seconds)}{open_one}: {self.why}"


@dataclass(frozen=True, slots=True)
class Usage:
    """Who was found. When not `complete`, that nobody was found proves nothing; `why` says what could not be seen."""

    found: tuple[ServerSession, ...]
    complete: bool
    why: str = ""
    hint: str = ""
    others: int = 0  # further sessions of clients, which use other schemas or none

    def told(self) -> str:
        names = "; ".join(map(str, self.found[:_TOLD]))
        return names + (f"; and {len(self.found) - _TOLD} more" if len(self.found) > _TOLD else "")


def users_of(connection: Connection[Cursor], schema: str, ours: Collection[int] = ()) -> Usage:
    """Everybody who uses the schema, `connection` itself and the connections of `ours` (their ids) left out."""
    own = {int(value_of(connection, "SELECT CONNECTION_ID()")), *ours}
    lower = int(value_of(connection, "SELECT @@lower_case_table_names"))
    same = (lambda name: name.lower() == schema.lower()) if lower else (lambda name: name == schema)
    try:
        transactions = _transactions(connection)
    except NotSaid as error:
        hint = "GRANT PROCESS ON *.* TO the login: without it only its own sessions are shown."
        return Usage((), complete=False, why=f"the login may not see other sessions ({error.why})", hint=hint)
    locks = _locks(connection, same)
    found: list[ServerSession] = []
    others = 0
    for row in tables_of(connection, "SHOW FULL PROCESSLIST"):
        number = int(row["id"])
        kind = _kind(row)
        if number in own or kind == "":
            continue
        why = _why(row, same, locks, number in transactions)
        if why:
            found.append(_session(row, kind, why, transaction=number in transactions))
        else:
            others += kind == "client"
    found += [
        ServerSession(
            0, "", "", "", "Prepared", 0, True, "", "XA transaction", "prepared, and whose tables can't be seen"
        )
        for _ in range(transactions.get(0, 0))
    ]
    return Usage(tuple(found), complete=True, others=others)


def _why(
    row: Mapping[str, Any], same: Callable[[str], bool], locks: frozenset[int] | None, open_transaction: bool
) -> str:
    if row["db"] and same(str(row["db"])):
        return "the schema is its default database"
    if locks is not None:
        return "it holds a lock on a table of the schema" if int(row["id"]) in locks else ""
    return "its transaction is open, and the server does not show on which tables" if open_transaction else ""


def _kind(row: Mapping[str, Any]) -> str:
    """Empty: no session that could use a table."""
    user, command = str(row["user"] or ""), str(row["command"])
    if user == "event_scheduler" or command.startswith("Binlog Dump") or command == "Daemon":
        return ""
    if user in _APPLIERS or command in ("Slave_SQL", "Slave_worker", "Slave_IO"):
        return "replication applier"
    return "event" if command == "Connect" and not row["host"] else "client"


def _session(row: Mapping[str, Any], kind: str, why: str, *, transaction: bool) -> ServerSession:
    return ServerSession(
        id=int(row["id"]),
        user=drawable(str(row["user"] or "")),
        host=drawable(str(row["host"] or "")),
        database=drawable(str(row["db"] or "")),
        command=drawable(str(row["command"])),
        seconds=int(row["time"] or 0),
        transaction=transaction,
        state=drawable(str(row["state"] or "")),
        kind=kind,
        why=why,
    )


def _transactions(connection: Connection[Cursor]) -> Mapping[int, int]:
    """Open InnoDB transactions by connection; 0: of none. Raises NotSaid without PROCESS."""
    time.sleep(_STALE)
    rows = rows_of(connection, "SELECT trx_mysql_thread_id, COUNT(*) FROM information_schema.innodb_trx GROUP BY 1")
    return {int(number): int(many) for number, many in rows}


def _locks(connection: Connection[Cursor], same: Callable[[str], bool]) -> frozenset[int] | None:
    """Connections with a metadata lock in the schema; None where the server does not show them."""
    try:
        rows = rows_of(connection, "SELECT thread_id, table_schema FROM information_schema.metadata_lock_info")
        return frozenset(int(number) for number, name in rows if name and same(str(name)))
    except NotSaid:
        pass  # not MariaDB, or its plugin is not there
    try:
        watched = value_of(
            connection,
            "SELECT i.enabled = 'YES' AND c.enabled = 'YES' AND @@performance_schema = 1 "
            "FROM performance_schema.setup_instruments i, performance_schema.setup_consumers c "
            "WHERE i.name = 'wait/lock/metadata/sql/mdl' AND c.name = 'global_instrumentation'",
        )
        if not watched:
            return None
        rows = rows_of(
            connection,
            "SELECT t.processlist_id, l.object_schema FROM performance_schema.metadata_locks l "
            "JOIN performance_schema.threads t ON t.thread_id = l.owner_thread_id "
            "WHERE l.lock_status = 'GRANTED' AND t.processlist_id IS NOT NULL",
        )
    except NotSaid:
        return None
    return frozenset(int(number) for number, name in rows if name and same(str(name)))


def seen(usage: Usage) -> Check:
    """Readiness: who uses the schema is no obstacle yet; not being able to see it is."""
    if not usage.complete:
        return unknown(SEEN, usage.why, usage.hint)
    if usage.found:
        return ok(SEEN, f"in use now: {usage.told()}; they have to be gone before anything is destroyed")
    return ok(SEEN, f"nobody uses the schema; {usage.others} other sessions")


def unused(usage: Usage) -> Check:
    """Right before the schema is touched."""
    if not usage.complete:
        return unknown(UNUSED, usage.why, usage.hint)
    if usage.found:
        return fail(UNUSED, usage.told(), "Stop what holds them; KILL and the number ends one.")
    return ok(UNUSED, f"no session has it, and no lock is held in it; {usage.others} other sessions on the server")


def wait_until_unused(
    connection: Connection[Cursor],
    schema: str,
    ours: Collection[int] = (),
    *,
    timeout: float = 120.0,
    say: Say = silent,
    stop: Stop = never,
) -> Usage:
    """Wait `timeout` seconds for the last user to go. Raises Refused with the list, or where it can't be seen."""
    deadline = time.monotonic() + timeout
    told: frozenset[int] | None = None
    while True:
        usage = users_of(connection, schema, ours)
        if not usage.complete:
            raise Refused(f"Whether anybody uses {drawable(schema)} is not known: {usage.why}.", usage.hint)
        if not usage.found:
            say(f"nobody uses {schema}; {usage.others} other sessions on the server")
            return usage
        now = frozenset(session.id for session in usage.found)
        if now != told:
            told = now
            say(f"{len(usage.found)} sessions use {schema}:")
            for session in usage.found[:50]:
                say(f"  {session}")
        if stop():
            raise RestoreError("Waiting was stopped. Nothing was changed.", "Go on (r) when the sessions are gone.")
        if time.monotonic() >= deadline:
            raise Refused(
                f"{drawable(schema)} is still in use after {duration(timeout)}: {usage.told()}. Nothing was changed.",
                "Stop what holds them, then go on (r). KILL and the number ends one on the server.",
            )
        time.sleep(min(_PAUSE, max(deadline - time.monotonic(), 0.0)))
