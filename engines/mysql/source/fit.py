"""May this server pull this replay as a replica? Every reason against it is found here, before anything is changed.

What a server would leave out without a word weighs most: filters, skipped errors, a binary log that an applier does
not write. The client pipeline takes over for whatever does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engines.mysql.flavour import Flavour
from engines.mysql.queries import NotSaid, rows_of
from engines.mysql.replay.plan import Gtids, ReplayPlan
from engines.text import count

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_RENAMED = (",", "->")  # what MariaDB's replicate_rewrite_db takes for its own


def against(connection: Connection[Cursor], plan: ReplayPlan) -> tuple[str, ...]:
    """Why the target can't pull this replay; empty where it can. Raises RestoreError where it does not answer."""
    settings = {str(name).lower(): str(value or "") for name, value in rows_of(connection, "SHOW GLOBAL VARIABLES")}
    return tuple((*_of_plan(plan), *_of_server(connection, settings, plan)))


def _of_plan(plan: ReplayPlan) -> Iterator[str]:
    if not plan.transactions:
        yield "there is no transaction to be replayed"
    if plan.gtids is Gtids.KEPT:
        yield "the logs' own GTIDs are to be kept"
    if plan.staged and plan.flavour is Flavour.MARIADB:
        if any(sign in name for name in (plan.source, plan.schema) for sign in _RENAMED):
            yield "MariaDB can't rename a schema with a comma or an arrow in its name"
        if plan.definitions:
            # MySQL applies with the rights of an account that reaches nothing else; MariaDB has no such thing.
            yield f"{count(plan.definitions)} definitions would be made with every right, beside the live schema"


def _of_server(connection: Connection[Cursor], settings: dict[str, str], plan: ReplayPlan) -> Iterator[str]:
    mysql = plan.flavour is Flavour.MYSQL

    def setting(*names: str) -> str:
        return next((settings[name] for name in names if name in settings), "")

    if mysql and "replica_parallel_workers" not in settings:  # ASSIGN_GTIDS… is there from 8.0.23 on, these names later
        yield "it needs MySQL 8.0.26 or later"
        return
    if setting("server_id") == "0":
        yield "the server's server_id is 0, with which it can't be a replica"
    if setting("wsrep_on") == "ON":
        yield "the server is a member of a Galera cluster"
    if setting("group_replication_group_name"):
        yield "the server is a member of a group"
    logged = setting("log_bin") == "ON" and setting("log_replica_updates", "log_slave_updates") == "ON"
    if plan.binary_log and not logged:
        name = "log_replica_updates" if mysql else "log_slave_updates"
        yield f"{name} is OFF: what a replica applies would not be in the binary log, as the plan wants it"
    if not plan.binary_log and logged:
        yield "what a replica applies would be in the binary log, which the plan does not want"
    if setting("replica_skip_errors", "slave_skip_errors").upper() not in ("", "OFF"):
        yield "the server's replicas skip errors (replica_skip_errors)"
    if setting("replica_exec_mode", "slave_exec_mode").upper() not in ("", "STRICT"):
        yield "the server's replicas forgive missing rows (replica_exec_mode)"
    if setting("sql_replica_skip_counter", "sql_slave_skip_counter") not in ("", "0"):
        yield "the server would skip the first events (sql_replica_skip_counter)"
    if mysql and setting("gtid_mode") not in ("ON", "OFF"):
        yield f"gtid_mode is {setting('gtid_mode')}"
    if not mysql and setting("gtid_strict_mode") == "ON" and plan.binary_log and _others(connection):
        yield "gtid_strict_mode is on, and the server is a replica already"
    if mysql and plan.binary_log and setting("binlog_format") == "STATEMENT" and not plan.statements:
        yield "binlog_format is STATEMENT, and the logs hold rows"


def _others(connection: Connection[Cursor]) -> bool:
    try:
        return bool(rows_of(connection, "SHOW ALL SLAVES STATUS"))
    except NotSaid:
        return True
