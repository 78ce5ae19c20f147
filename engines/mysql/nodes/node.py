"""One other server, asked: what it is, whom it follows, how far it has come, and which tables it has.

Nothing is changed; judging is others' work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.mysql.channels import Channel, channel_of
from engines.mysql.queries import NotSaid, first_that_works, rows_of
from engines.mysql.server import ServerFacts, look
from engines.text import drawable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor


@dataclass(frozen=True, slots=True)
class Galera:
    """A member's own view. Source: SHOW GLOBAL STATUS LIKE 'wsrep%'."""

    history: str  # wsrep_cluster_state_uuid: the same for all members of one cluster
    primary: bool  # is it in the part of the cluster that goes on?
    state: str  # Synced, Donor/Desynced, Joining, …
    committed: int  # wsrep_last_committed: the number of the last write set
    waiting: int  # write sets that it has received and not applied


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    server: ServerFacts
    galera: Galera | None
    channels: tuple[Channel, ...] | None  # None: the login may not see them
    applied: str  # MySQL: gtid_executed; MariaDB: gtid_slave_pos
    log: tuple[str, int] | None  # where its own binary log stands
    written: str  # MySQL: gtid_executed; MariaDB: gtid_binlog_pos. Empty where it has no GTIDs
    tables: frozenset[str]  # of the schema; empty where there is none


def ask(connection: Connection[Cursor], schema: str) -> NodeFacts:
    """Raises RestoreError where the server does not answer."""
    server = look(connection)
    settings = {
        str(name).lower(): "".join(str(value or "").split())
        for name, value in rows_of(connection, "SHOW GLOBAL VARIABLES LIKE '%gtid%'")
    }
    mariadb = server.mariadb
    gtids = "" if mariadb or server.gtid_mode.upper() != "ON" else settings.get("gtid_executed", "")
    tables = rows_of(
        connection,
        "SELECT table_name FROM information_schema.tables "
        "WHERE table_schema = %s AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')",
        (schema,),
    )
    return NodeFacts(
        server=server,
        galera=_galera(connection, server),
        channels=_channels(connection, mariadb=mariadb),
        applied=settings.get("gtid_slave_pos", "") if mariadb else gtids,
        log=_log(connection),
        written=settings.get("gtid_binlog_pos", "") if mariadb else gtids,
        tables=frozenset(str(name) for (name,) in tables),
    )


def _galera(connection: Connection[Cursor], server: ServerFacts) -> Galera | None:
    if server.cluster is None or server.cluster.kind != "Galera":
        return None
    status = {str(name).lower(): str(value) for name, value in rows_of(connection, "SHOW GLOBAL STATUS LIKE 'wsrep%'")}
    return Galera(
        drawable(status.get("wsrep_cluster_state_uuid", "")),
        server.cluster.primary,
        drawable(status.get("wsrep_local_state_comment", "")),
        _number(status.get("wsrep_last_committed")),
        _number(status.get("wsrep_local_recv_queue")),
    )


def _channels(connection: Connection[Cursor], *, mariadb: bool) -> tuple[Channel, ...] | None:
    spellings = ("SHOW ALL SLAVES STATUS",) if mariadb else ("SHOW REPLICA STATUS", "SHOW SLAVE STATUS")
    try:
        rows = first_that_works(connection, *spellings)
    except NotSaid:
        return None
    return tuple(channel_of(row) for row in rows)


def _log(connection: Connection[Cursor]) -> tuple[str, int] | None:
    try:
        rows = first_that_works(connection, "SHOW BINARY LOG STATUS", "SHOW MASTER STATUS")
    except NotSaid:
        return None
    return (str(rows[0]["file"]), _number(rows[0]["position"])) if rows else None


def _number(value: object) -> int:
    written = str(value)
    return int(written) if written.isdigit() else 0
