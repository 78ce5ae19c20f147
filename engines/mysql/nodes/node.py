"""One other server, asked: what it is, whom it follows, how far it has come, and which tables it has.

Nothing is changed; judging is others' work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engines.mysql.queries import NotSaid, first_that_works, rows_of
from engines.mysql.server import ServerFacts, look
from engines.text import drawable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_FILTERS = ("do_db", "ignore_db", "do_table", "ignore_table", "wild_do_table", "wild_ignore_table", "rewrite_db")


@dataclass(frozen=True, slots=True)
class Galera:
    """A member's own view. Source: SHOW GLOBAL STATUS LIKE 'wsrep%'."""

    history: str  # wsrep_cluster_state_uuid: the same for all members of one cluster
    primary: bool  # is it in the part of the cluster that goes on?
    state: str  # Synced, Donor/Desynced, Joining, …
    committed: int  # wsrep_last_committed: the number of the last write set
    waiting: int  # write sets that it has received and not applied


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """What a replica says of one server that it follows. Source: SHOW REPLICA STATUS, SHOW ALL SLAVES STATUS."""

    source_id: int  # server_id
    file: str  # of the source's binary log: applied up to here
    position: int
    receiving: bool
    applying: bool
    error: int  # number of the last one, 0: none; its text may hold what is in a row
    lag: int | None  # seconds, as the replica counts; None: it can't tell
    delay: int  # seconds that it stays behind on purpose
    filters: tuple[str, ...]  # those that leave something out, by name


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
    return tuple(_channel(row) for row in rows)


def _channel(row: Mapping[str, Any]) -> Channel:
    def of(*names: str) -> Any:  # noqa: ANN401 - the server's
        return next((row[name] for name in names if row.get(name) is not None), None)

    lag = of("seconds_behind_source", "seconds_behind_master")
    return Channel(
        source_id=_number(of("source_server_id", "master_server_id")),
        file=drawable(str(of("relay_source_log_file", "relay_master_log_file") or "")),
        position=_number(of("exec_source_log_pos", "exec_master_log_pos")),
        receiving=str(of("replica_io_running", "slave_io_running")).lower() == "yes",
        applying=str(of("replica_sql_running", "slave_sql_running")).lower() == "yes",
        error=_number(of("last_sql_errno")) or _number(of("last_io_errno")),
        lag=None if lag is None else _number(lag),
        delay=_number(of("sql_delay")),
        filters=tuple(f"replicate_{one}" for one in _FILTERS if of(f"replicate_{one}")),
    )


def _log(connection: Connection[Cursor]) -> tuple[str, int] | None:
    try:
        rows = first_that_works(connection, "SHOW BINARY LOG STATUS", "SHOW MASTER STATUS")
    except NotSaid:
        return None
    return (str(rows[0]["file"]), _number(rows[0]["position"])) if rows else None


def _number(value: object) -> int:
    written = str(value)
    return int(written) if written.isdigit() else 0
