"""Which server this is, and how it is set: facts to show, to check, and to recognise it again by.

What the login may not know is None, and `unknown` says why. Nothing is changed; judging is others' work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from engines.errors import RestoreError
from engines.mysql.flavour import Flavour, Version, parse_version
from engines.mysql.queries import NotSaid, first_that_works, rows_of, tables_of, value_of
from engines.text import drawable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """A server that this one is a replica of. Source: SHOW REPLICA STATUS, SHOW ALL SLAVES STATUS."""

    host: str
    port: int
    channel: str
    receiving: bool
    applying: bool

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" + ("" if self.receiving or self.applying else " (stopped)")


@dataclass(frozen=True, slots=True)
class Replica:
    """A server that follows this one's binary log now. Source: SHOW REPLICAS, binary log dump threads."""

    host: str
    server_id: int | None  # None: only its connection is known
    address: str = ""  # host:port, where it tells (report_host)

    def __str__(self) -> str:
        return self.host if self.server_id is None else f"{self.host} (server_id {self.server_id})"


@dataclass(frozen=True, slots=True)
class Cluster:
    """Galera or Group Replication, where this server is a member of one."""

    kind: str  # "Galera", "Group Replication"
    size: int  # members
    state: str  # Galera: Primary, non-Primary; Group Replication: ONLINE, RECOVERING, …
    primary: bool  # may this member be written to, as far as the cluster goes?
    others: tuple[str, ...] = ()  # host:port of each other member; empty where it is not told
    shares: bool = True  # Galera: are definitions sent to all (wsrep_OSU_method = TOI)?
    limit: int = 0  # Galera: bytes that a transaction may have (wsrep_max_ws_size); 0: as many as it likes


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    version: Version
    comment: str  # @@version_comment
    hostname: str
    port: int
    uid: str  # MySQL: server_uuid; MariaDB: server_uid from 10.5.26 on, of the machine and port; empty: it has none
    server_id: int
    datadir: str
    basedir: str
    account: str  # CURRENT_USER(): the account that the login is matched to
    tls: str  # cipher of this connection; empty: in the clear, or a socket
    read_only: bool
    super_read_only: bool
    replica_of: tuple[Source, ...] | None
    replicas: tuple[Replica, ...] | None
    cluster: Cluster | None
    log_bin: bool
    log_updates: bool  # does the log also have what comes from other servers (log_replica_updates)?
    binlog_format: str
    binlog_engine: str  # MariaDB 12.3 and later: InnoDB writes the log where it is innodb; else empty
    gtid_mode: str  # MySQL
    gtid_consistency: str  # MySQL: enforce_gtid_consistency
    gtid_executed: str  # MySQL; MariaDB: gtid_current_pos
    gtid_strict: bool  # MariaDB
    sql_mode: str  # of the server, for new connections
    lower_case_table_names: int
    max_allowed_packet: int  # bytes
    local_infile: bool
    event_scheduler: str  # ON, OFF, DISABLED
    time_zone: str  # as configured: SYSTEM, +00:00, a name
    system_time_zone: str
    named_zones: bool  # are the time zone tables filled?
    clock_offset: float  # seconds that the server's clock is ahead of this machine's
    clock_within: float  # seconds that the offset may be wrong by: half of the round trip
    buffer_pool: int  # bytes
    secure_file_priv: str  # NULL: no file at all; empty: anywhere
    trust_function_creators: bool
    require_primary_key: bool
    partial_revokes: bool
    charsets: tuple[str, ...]
    collations: tuple[str, ...]
    accounts: tuple[str, ...] | None  # user@host
    system_users: tuple[str, ...] | None  # MySQL: accounts with SYSTEM_USER, whose code not everybody may make
    roles: tuple[str, ...] = ()  # active on this login
    plugins: tuple[str, ...] = ()  # active ones that matter here
    unknown: Mapping[str, str] = field(default_factory=dict)  # field -> why it is not known

    @property
    def managed(self) -> bool:
        """Is it Amazon's RDS or Aurora, where nobody has SUPER and settings live in a parameter group?"""
        return "rdsdbbin" in self.basedir

    @property
    def mariadb(self) -> bool:
        return self.version.flavour is Flavour.MARIADB


def identity(facts: ServerFacts) -> str:
    """One line that this server alone has, today and after a restart or an upgrade."""
    flavour = facts.version.flavour.shown
    where = f"{facts.hostname}:{facts.port}"
    if facts.mariadb:
        own = f"{facts.uid} " if facts.uid else ""
        return f"{flavour} {own}server_id {facts.server_id} on {where}, {facts.datadir}"
    return f"{flavour} {facts.uid} on {where}"


def look(connection: Connection[Cursor]) -> ServerFacts:
    """Everything in a dozen questions that change nothing. Raises RestoreError only where there is no answer at all."""
    asked = _Asked(connection)
    version = parse_version(asked.text("version"), asked.text("version_comment"))
    if version is None:
        raise RestoreError("The server does not say what it is. Nothing was changed.", "Is it MySQL or MariaDB?")
    mariadb = version.flavour is Flavour.MARIADB
    offset, within = clock_offset(connection)
    plugins = asked.told("plugins", lambda: _plugins(connection)) or ()
    return ServerFacts(
        version=version,
        comment=asked.text("version_comment"),
        hostname=asked.text("hostname"),
        port=asked.number("port"),
        uid=asked.text("server_uid" if mariadb else "server_uuid"),
        server_id=asked.number("server_id"),
        datadir=asked.text("datadir"),
        basedir=asked.text("basedir"),
        account=drawable(str(value_of(connection, "SELECT CURRENT_USER()") or "")),
        tls=_status(connection, "Ssl_cipher"),
        read_only=asked.on("read_only"),
        super_read_only=asked.on("super_read_only"),
        replica_of=asked.told("replica_of", lambda: _sources(connection, mariadb=mariadb)),
        replicas=asked.told("replicas", lambda: _replicas(connection)),
        cluster=asked.told("cluster", lambda: _cluster(connection, asked, plugins)),
        log_bin=asked.on("log_bin"),
        log_updates=asked.on("log_replica_updates") or asked.on("log_slave_updates"),
        binlog_format=asked.text("binlog_format"),
        binlog_engine=asked.text("binlog_storage_engine").lower(),
        gtid_mode=asked.text("gtid_mode"),
        gtid_consistency=asked.text("enforce_gtid_consistency"),
        gtid_executed="".join(asked.text("gtid_current_pos" if mariadb else "gtid_executed").split()),
        gtid_strict=asked.on("gtid_strict_mode"),
        sql_mode=asked.text("sql_mode"),
        lower_case_table_names=asked.number("lower_case_table_names"),
        max_allowed_packet=asked.number("max_allowed_packet"),
        local_infile=asked.on("local_infile"),
        event_scheduler=asked.text("event_scheduler").upper(),
        time_zone=asked.text("time_zone"),
        system_time_zone=asked.text("system_time_zone"),
        named_zones=value_of(connection, "SELECT CONVERT_TZ('2000-01-01 12:00:00','UTC','Europe/Paris')") is not None,
        clock_offset=offset,
        clock_within=within,
        buffer_pool=asked.number("innodb_buffer_pool_size"),
        secure_file_priv=asked.text("secure_file_priv"),
        trust_function_creators=asked.on("log_bin_trust_function_creators"),
        require_primary_key=asked.on("sql_require_primary_key"),
        partial_revokes=asked.on("partial_revokes"),
        charsets=_names(connection, "SELECT character_set_name FROM information_schema.character_sets"),
        collations=_collations(connection),
        accounts=asked.told("accounts", lambda: _accounts(connection)),
        system_users=() if mariadb else asked.told("system_users", lambda: _system_users(connection)),
        roles=_roles(connection),
        plugins=plugins,
        unknown=asked.unknown,
    )


class _Asked:
    """The server's global variables, and what it would not say."""

    def __init__(self, connection: Connection[Cursor]) -> None:
        self.unknown: dict[str, str] = {}
        rows = rows_of(connection, "SHOW GLOBAL VARIABLES")
        self.settings = {str(name).lower(): "" if value is None else str(value) for name, value in rows}

    def text(self, name: str) -> str:
        return drawable(self.settings.get(name, ""))

    def number(self, name: str) -> int:
        written = self.settings.get(name, "")
        return int(written) if written.isdigit() else 0

    def on(self, name: str) -> bool:
        return self.settings.get(name, "").upper() in ("ON", "1", "YES", "TRUE")

    def told(self, what: str, question: Callable[[], T]) -> T | None:
        """The answer; None where it is refused, with why in `unknown`."""
        try:
            return question()
        except NotSaid as error:
            self.unknown[what] = error.why
            return None


def clock_offset(connection: Connection[Cursor]) -> tuple[float, float]:
    """Seconds that the server's clock is ahead of this machine's, and how far that may be off. The best of three."""
    best = (0.0, float("inf"))
    for _ in range(3):
        before, begun = datetime.now(UTC), time.monotonic()
        told = value_of(connection, "SELECT UTC_TIMESTAMP(6)")
        half = (time.monotonic() - begun) / 2
        if isinstance(told, datetime) and half < best[1]:
            best = ((told.replace(tzinfo=UTC) - before).total_seconds() - half, half)
    return best


def _names(connection: Connection[Cursor], sql: str) -> tuple[str, ...]:
    return tuple(sorted(drawable(str(name)) for (name,) in rows_of(connection, sql)))


def _collations(connection: Connection[Cursor]) -> tuple[str, ...]:
    """MariaDB lists a family (uca1400_ai_ci) once, and its members by character set in another table."""
    names = set(_names(connection, "SELECT collation_name FROM information_schema.collations"))
    with suppress(NotSaid):  # MySQL has no such column: every collation is in the first table
        names |= set(
            _names(
                connection, "SELECT full_collation_name FROM information_schema.collation_character_set_applicability"
            )
        )
    return tuple(sorted(names))


def _status(connection: Connection[Cursor], name: str) -> str:
    rows = rows_of(connection, "SHOW STATUS LIKE %s", (name,))
    return drawable(str(rows[0][1])) if rows else ""


def _plugins(connection: Connection[Cursor]) -> tuple[str, ...]:
    rows = rows_of(
        connection,
        "SELECT plugin_name FROM information_schema.plugins WHERE plugin_status = 'ACTIVE' "
        "AND LOWER(plugin_name) IN ('disks', 'metadata_lock_info', 'group_replication', 'wsrep', 'clone')",
    )
    return tuple(sorted(str(name).lower() for (name,) in rows))


def _accounts(connection: Connection[Cursor]) -> tuple[str, ...]:
    rows = rows_of(connection, "SELECT user, host FROM mysql.user")
    return tuple(sorted(f"{_plain(user)}@{_plain(host)}" for user, host in rows))


def _system_users(connection: Connection[Cursor]) -> tuple[str, ...]:
    try:
        rows = rows_of(connection, "SELECT user, host FROM mysql.global_grants WHERE priv = 'SYSTEM_USER'")
    except NotSaid as error:
        if error.denied:
            raise
        return ()  # before 8.0.16 there is no such privilege
    return tuple(sorted(f"{_plain(user)}@{_plain(host)}" for user, host in rows))


def _plain(value: object) -> str:
    return drawable(value.decode(errors="replace") if isinstance(value, bytes) else str(value))


def _roles(connection: Connection[Cursor]) -> tuple[str, ...]:
    try:
        told = value_of(connection, "SELECT CURRENT_ROLE()")
    except NotSaid:
        return ()
    return () if told in (None, "NONE") else (drawable(str(told)),)


def _sources(connection: Connection[Cursor], *, mariadb: bool) -> tuple[Source, ...]:
    if mariadb:
        rows = first_that_works(connection, "SHOW ALL SLAVES STATUS", "SHOW SLAVE STATUS")
    else:
        rows = first_that_works(connection, "SHOW REPLICA STATUS", "SHOW SLAVE STATUS")
    found = []
    for row in rows:
        channel = str(row.get("channel_name") or row.get("connection_name") or "")
        if channel.startswith("group_replication_"):
            continue  # the group's own channels: told by _group
        found.append(
            Source(
                drawable(str(row.get("source_host") or row.get("master_host") or "")),
                int(row.get("source_port") or row.get("master_port") or 0),
                drawable(channel),
                str(row.get("replica_io_running") or row.get("slave_io_running")).lower() == "yes",
                str(row.get("replica_sql_running") or row.get("slave_sql_running")).lower() == "yes",
            )
        )
    return tuple(found)


def _replicas(connection: Connection[Cursor]) -> tuple[Replica, ...]:
    """Who has registered, and who only reads the log. Without the right to see either, NotSaid."""
    registered: list[Replica] = []
    refusal: NotSaid | None = None
    try:
        for row in first_that_works(connection, "SHOW REPLICAS", "SHOW SLAVE HOSTS"):
            host = drawable(str(row.get("host") or ""))
            address = f"{host}:{row.get('port')}" if host else ""
            registered.append(Replica(address or f"a replica:{row.get('port')}", int(row["server_id"]), address))
    except NotSaid as error:
        refusal = error
    if refusal is None:
        return tuple(registered)
    if not sees_processes(connection):
        raise refusal
    reading = rows_of(connection, "SELECT host FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'")
    return tuple(Replica(drawable(str(host)), None) for (host,) in reading)


def sees_processes(connection: Connection[Cursor]) -> bool:
    """Does the server show this login everybody's sessions? INNODB_TRX takes the same privilege, and says so."""
    try:
        rows_of(connection, "SELECT COUNT(*) FROM information_schema.innodb_trx")
    except NotSaid:
        return False
    return True


def _cluster(connection: Connection[Cursor], asked: _Asked, plugins: tuple[str, ...]) -> Cluster | None:
    if asked.on("wsrep_on"):
        rows = rows_of(connection, "SHOW GLOBAL STATUS LIKE 'wsrep%'")
        status = {str(name).lower(): value for name, value in rows}
        state = drawable(str(status.get("wsrep_cluster_status", "")))
        ready = str(status.get("wsrep_ready", "")).upper() == "ON"
        size = int(status.get("wsrep_cluster_size") or 0)
        return Cluster(
            "Galera",
            size,
            state,
            state == "Primary" and ready,
            _members(status, size),
            asked.text("wsrep_osu_method").upper() != "RSU",
            asked.number("wsrep_max_ws_size"),
        )
    if "group_replication" not in plugins:
        return None
    members = tables_of(
        connection,
        "SELECT member_id, member_state, member_role, member_host, member_port "
        "FROM performance_schema.replication_group_members WHERE member_id <> ''",
    )
    mine = next((row for row in members if row["member_id"] == asked.text("server_uuid")), None)
    if mine is None or mine["member_state"] == "OFFLINE":
        return None
    state = drawable(str(mine["member_state"]))
    others = tuple(drawable(f"{row['member_host']}:{row['member_port']}") for row in members if row is not mine)
    writes = state == "ONLINE" and mine["member_role"] == "PRIMARY"
    return Cluster("Group Replication", len(members), state, writes, others)


def _members(status: Mapping[str, object], size: int) -> tuple[str, ...]:
    """The other members of a Galera cluster. Source: wsrep_incoming_addresses, in the order of wsrep_local_index."""
    told = [one.strip() for one in str(status.get("wsrep_incoming_addresses") or "").split(",")]
    own = str(status.get("wsrep_local_index") or "")
    if len(told) != size or not own.isdigit() or int(own) >= size:
        return ("",) * max(size - 1, 0)
    others = [one for number, one in enumerate(told) if number != int(own)]
    return tuple(drawable(one) if one.rpartition(":")[0] else "" for one in others)
