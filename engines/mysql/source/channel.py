"""The channel on the target by which its own applier pulls what is replayed: made, started, looked at, ended.

Everything here is SQL on one connection. Whoever calls journals `Changed` before `make`, so that whoever comes later
can `set_back`. No message of the server is passed on: an applier's error quotes rows. Sources: MySQL manual, "CHANGE
REPLICATION SOURCE TO", "CHANGE REPLICATION FILTER", "SHOW REPLICA STATUS"; MariaDB documentation, "Multi-Source
Replication", "SHOW REPLICA STATUS".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from engines.errors import RestoreError
from engines.hooks import Say, silent
from engines.mysql.channels import Channel, channel_of
from engines.mysql.connect import code_of, quoted
from engines.mysql.errors import meaning
from engines.mysql.flavour import Flavour
from engines.mysql.queries import NotSaid, rows_of, tables_of, value_of

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

WORKERS: Final = 4  # appliers that work at the same time, where the server has fewer
RETRY: Final = 1  # seconds between two attempts of the receiver to connect
HEARTBEAT: Final = 5  # seconds of silence after which the source has to say that it is there
_NONE: Final = (3074, 1617, 1238)  # there is no such channel, no such named connection; no filter can be set (10.10)
_FAILED: Final = re.compile(r"(?:source|master) log ([^\s,]+), end_log_pos (\d+)")


@dataclass(frozen=True, slots=True)
class Setting:
    """A global variable that is not what it was."""

    name: str
    before: str


@dataclass(frozen=True, slots=True)
class Changed:
    """What a replay by channel changes on the server."""

    flavour: Flavour
    channel: str
    domain: int = 0  # MariaDB: of the GTIDs under which the transactions are executed
    settings: tuple[Setting, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """How the target reaches its source, and what it does with what comes from there."""

    host: str
    port: int
    user: str
    password: str
    file: str
    position: int
    encrypted: bool
    new_gtids: bool = False  # MySQL: the server has GTIDs, and gives each transaction one of its own
    account: str = ""  # MySQL: `user@host` with whose rights it is applied; empty: with every right
    rename: tuple[str, str] | None = None  # schema in the logs, schema here


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the channel is. Positions are those of the stream."""

    channel: Channel
    failed: tuple[str, int] | None = None  # in which event the applier failed: file, where it ends


def would_change(connection: Connection[Cursor], flavour: Flavour, channel: str, domain: int) -> Changed:
    """What `make` will change on this server."""
    if flavour is Flavour.MYSQL:
        workers = int(value_of(connection, "SELECT @@GLOBAL.replica_parallel_workers"))
        few = workers < 2
        name = "replica_parallel_workers"
    else:
        workers = int(value_of(connection, "SELECT @@GLOBAL.slave_parallel_threads"))
        few = workers < 2 and not tables_of(connection, "SHOW ALL SLAVES STATUS")  # else it can't be set
        name = "slave_parallel_threads"
    return Changed(flavour, channel, domain, (Setting(name, str(workers)),) if few else ())


def make(connection: Connection[Cursor], changed: Changed, wiring: Wiring) -> None:
    """Make and start it. Raises RestoreError; `set_back` is right afterwards whatever happened."""
    for setting in changed.settings:
        _execute(connection, f"SET GLOBAL {setting.name} = {WORKERS}")
    statements = _mysql(connection, changed, wiring) if _is_mysql(changed) else _mariadb(connection, changed, wiring)
    for statement in statements:
        _execute(connection, statement)


def _mysql(connection: Connection[Cursor], changed: Changed, wiring: Wiring) -> Iterator[str]:
    channel = f"FOR CHANNEL {connection.escape(changed.channel)}"
    options = {
        "SOURCE_HOST": connection.escape(wiring.host),
        "SOURCE_PORT": wiring.port,
        "SOURCE_LOG_FILE": connection.escape(wiring.file),
        "SOURCE_LOG_POS": wiring.position,
        "SOURCE_AUTO_POSITION": 0,
        "SOURCE_CONNECT_RETRY": RETRY,
        "SOURCE_HEARTBEAT_PERIOD": HEARTBEAT,
        "SOURCE_SSL": int(wiring.encrypted),
        "ASSIGN_GTIDS_TO_ANONYMOUS_TRANSACTIONS": "LOCAL" if wiring.new_gtids else "OFF",
    }
    if wiring.account:
        user, _, host = wiring.account.rpartition("@")
        options["PRIVILEGE_CHECKS_USER"] = f"{connection.escape(user)}@{connection.escape(host)}"
        options["REQUIRE_ROW_FORMAT"] = 1
    yield f"CHANGE REPLICATION SOURCE TO {', '.join(f'{name} = {value}' for name, value in options.items())} {channel}"
    if wiring.rename:
        one, two = map(quoted, wiring.rename)
        yield f"CHANGE REPLICATION FILTER REPLICATE_REWRITE_DB = (({one}, {two})) {channel}"
    # Given here, user and password are in memory alone.
    login = f"USER = {connection.escape(wiring.user)} PASSWORD = {connection.escape(wiring.password)}"
    yield f"START REPLICA {login} {channel}"


def _mariadb(connection: Connection[Cursor], changed: Changed, wiring: Wiring) -> Iterator[str]:
    name = connection.escape(changed.channel)
    options = {
        "MASTER_HOST": connection.escape(wiring.host),
        "MASTER_PORT": wiring.port,
        "MASTER_USER": connection.escape(wiring.user),
        "MASTER_PASSWORD": connection.escape(wiring.password),
        "MASTER_LOG_FILE": connection.escape(wiring.file),
        "MASTER_LOG_POS": wiring.position,
        "MASTER_USE_GTID": "no",
        "MASTER_CONNECT_RETRY": RETRY,
        "MASTER_HEARTBEAT_PERIOD": HEARTBEAT,
        "MASTER_SSL": int(wiring.encrypted),
        "MASTER_SSL_VERIFY_SERVER_CERT": 0,
    }
    yield f"CHANGE MASTER {name} TO {', '.join(f'{option} = {value}' for option, value in options.items())}"
    yield f"SET GLOBAL {quoted(changed.channel)}.slave_parallel_mode = 'optimistic'"
    if wiring.rename:
        one, two = wiring.rename
        yield f"SET GLOBAL {quoted(changed.channel)}.replicate_rewrite_db = {connection.escape(f'{one}->{two}')}"
    yield f"START SLAVE {name}"


def filtered(connection: Connection[Cursor], changed: Changed, wiring: Wiring) -> str:
    """A filter that the server has put on the channel by itself; it would leave changes out without a word."""
    ours = {"replicate_rewrite_db"} if wiring.rename else set()
    return next((name for name in channel_of(_status(connection, changed)).filters if name not in ours), "")


def standing(connection: Connection[Cursor], changed: Changed) -> Standing:
    """Raises RestoreError where there is no channel, or no answer."""
    status = _status(connection, changed)
    if not status:
        raise RestoreError(
            f"The channel {changed.channel} is no longer there: somebody has removed it. The schema is unfinished.",
            "Find out who did, then load and replay again from the start (r), or undo (u).",
        )
    found, failed = channel_of(status), None
    if found.applier_error:
        number, failed = _failure(connection, changed, found.applier_error, str(status.get("last_sql_error") or ""))
        found = replace(found, applier_error=number)
    return Standing(found, failed)


def _failure(
    connection: Connection[Cursor], changed: Changed, error: int, message: str
) -> tuple[int, tuple[str, int] | None]:
    """Number and place of what failed. With several workers MySQL tells only which of them did."""
    if _is_mysql(changed):
        try:
            workers = rows_of(
                connection,
                "SELECT last_error_number, last_error_message "
                "FROM performance_schema.replication_applier_status_by_worker "
                "WHERE channel_name = %s AND last_error_number <> 0 ORDER BY last_error_timestamp DESC",
                (changed.channel,),
            )
        except NotSaid:
            workers = []
        for number, text in workers:
            error, message = int(number), str(text)
    found = _FAILED.search(message)
    return error, (found[1], int(found[2])) if found else None


def stop(connection: Connection[Cursor], changed: Changed) -> None:
    """Stop it at the end of what is under way; nothing where it is not there."""
    name = connection.escape(changed.channel)
    _gone_is_well(connection, f"STOP REPLICA FOR CHANNEL {name}" if _is_mysql(changed) else f"STOP SLAVE {name}")


def set_back(connection: Connection[Cursor], changed: Changed, say: Say = silent) -> None:
    """Stop and remove the channel, and set back what was set for it. May be repeated. Raises RestoreError."""
    stop(connection, changed)
    name = connection.escape(changed.channel)
    if not _is_mysql(changed):  # MariaDB keeps it for the next connection of this name
        _gone_is_well(connection, f"SET GLOBAL {quoted(changed.channel)}.replicate_rewrite_db = ''")
    reset = f"RESET REPLICA ALL FOR CHANNEL {name}" if _is_mysql(changed) else f"RESET SLAVE {name} ALL"
    _gone_is_well(connection, reset)
    for setting in changed.settings:
        _execute(connection, f"SET GLOBAL {setting.name} = {int(setting.before)}")
    if changed.domain:
        _forget(connection, changed.domain, say)


def _forget(connection: Connection[Cursor], domain: int, say: Say) -> None:
    """MariaDB remembers up to where it is a replica of each domain; one that is ours would confuse whoever looks."""
    position = str(value_of(connection, "SELECT @@GLOBAL.gtid_slave_pos") or "")
    kept = [one for one in position.split(",") if one and one.partition("-")[0] != str(domain)]
    if len(kept) == len([one for one in position.split(",") if one]):
        return
    try:
        _execute(connection, f"SET GLOBAL gtid_slave_pos = {connection.escape(','.join(kept))}")
    except RestoreError:
        say(f"gtid_slave_pos keeps domain {domain}, which is the replay's: it harms nothing, and can be removed later")


def _is_mysql(changed: Changed) -> bool:
    return changed.flavour is Flavour.MYSQL


def _status(connection: Connection[Cursor], changed: Changed) -> Mapping[str, Any]:
    name = connection.escape(changed.channel)
    if _is_mysql(changed):
        rows = tables_of(connection, "SHOW REPLICA STATUS")
        return next((row for row in rows if row.get("channel_name") == changed.channel), {})
    rows = tables_of(connection, "SHOW ALL SLAVES STATUS")
    return next((row for row in rows if connection.escape(row.get("connection_name")) == name), {})


def _gone_is_well(connection: Connection[Cursor], statement: str) -> None:
    import pymysql

    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    except pymysql.err.MySQLError as error:
        if code_of(error) not in _NONE:
            raise _refused(statement, error) from None


def _execute(connection: Connection[Cursor], statement: str) -> None:
    import pymysql

    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    except pymysql.err.MySQLError as error:
        raise _refused(statement, error) from None


def _refused(statement: str, error: Exception) -> RestoreError:
    """Without the statement's values: a password may be among them."""
    verb = " ".join(statement.split()[:3])
    return RestoreError(
        f"{verb} failed on the target: {meaning(error)}.",
        "Look at what the login may do, as docs/privileges.md has it.",
    )
