"""What can be restored: a target, and the application around its database.

Relative paths are made absolute by `config.load`; everywhere else they are absolute.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import ClassVar

from engines.drilling import Drill
from engines.surroundings import GitHub, Host
from engines.tables import Fault
from engines.values import WrongValue, one_line, optional_path, pattern, positive, program, url, zone
from engines.watched import Prometheus

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_OCTAL = re.compile(r"0?[0-7]{3}")


class Environment(StrEnum):
    PRODUCTION = "production"
    STAGING = "staging"
    LOCAL = "local"


class Framework(StrEnum):
    """Where an application's default commands come from."""

    LARAVEL = "laravel"
    NONE = "none"


class JournalMode(StrEnum):
    """The journal mode of the restored database."""

    KEEP = "keep"  # the one that the live database had
    WAL = "wal"
    DELETE = "delete"


def _mode(value: object) -> int:
    """Permission bits from text, "0660". Raises WrongValue."""
    if not isinstance(value, str) or not _OCTAL.fullmatch(value):
        raise WrongValue("must be permissions as text.", 'Write "0660" for example.')
    bits = int(value, 8)
    if bits & 0o111 or not bits & 0o600 == 0o600:
        raise WrongValue("a database is read and written by its owner, and never executed.", 'Write "0660".')
    return bits


COMMAND: Mapping[str, object] = {"read": program, "write": list, "example": '["program", "argument"]'}


def _plain_name(name: object) -> None:
    if not name or "/" in str(name):
        raise WrongValue("must be a name in the folder of backups, without /.", "")


def _days(days: object) -> None:
    if not isinstance(days, int) or not 1 <= days <= 3650:
        raise WrongValue(f"is {days}.", "Write a number of days between 1 and 3650.")


def _schema(name: object) -> None:
    if not isinstance(name, str) or not 1 <= len(name) <= 64 or "\0" in name or name.endswith(" "):
        raise WrongValue("is no name for a schema.", "At most 64 characters.")
    if name.lower() in ("mysql", "sys", "information_schema", "performance_schema"):
        raise WrongValue("belongs to the server itself and is never restored.", "Name the application's schema.")


def _location(written: object) -> None:
    bucket, _, _ = str(written).removeprefix("s3://").partition("/")
    if not str(written) or str(written).startswith("~"):
        raise WrongValue("is no folder.", "Write its path, or s3://bucket/prefix.")
    if str(written).startswith("s3://") and not bucket:
        raise WrongValue("names no bucket.", "Write s3://bucket/prefix.")
    if str(written).startswith("s3://") and ("@" in bucket or ":" in bucket):
        hint = "Take it out: boto3 finds credentials in ~/.aws, in s3_profile or in its variables."
        raise WrongValue("holds a key or a password, which would get into the record.", hint)
    if "://" in str(written) and not str(written).startswith("s3://"):
        raise WrongValue("is neither a folder nor s3://bucket/prefix.", "")


def _folder(written: object) -> None:
    if str(written).startswith("s3:/"):  # a path has lost one of its slashes
        hint = "An SQLite database's safety snapshots go to a folder; a bucket is for mysql and mariadb."
        raise WrongValue("is a bucket.", hint)


def _port(number: object) -> None:
    if not isinstance(number, int) or not 1 <= number <= 65535:
        raise WrongValue(f"is {number}.", "A port is between 1 and 65535.")


def _any_port(number: object) -> None:
    if number != 0:
        _port(number)


def _node(written: object) -> None:
    host, _, port = str(written).rpartition(":")
    if not host or not port.isdigit() or not 1 <= int(port) <= 65535 or any(one.isspace() for one in str(written)):
        raise WrongValue(f'is "{written}".', 'Write "host:port", as in "db2:3306".')


def _connections(number: object) -> None:
    if not isinstance(number, int) or not 0 <= number <= 64:
        raise WrongValue(f"is {number}.", "Write a number between 1 and 64, or 0 for as many as suit the machine.")


def _skipped(number: object) -> None:
    if not isinstance(number, int) or not 0 <= number <= 1_000_000_000:
        raise WrongValue(
            f"is {number}.", "Write more than were handed out in the time that is lost, 10000 for example."
        )


_MODE: Mapping[str, object] = {"read": _mode, "write": lambda bits: f"{bits:04o}"}

# What each key is for a Laravel application that does not say otherwise. `schedule:finish` is not among them:
# on a real Laravel it ends in "Not enough arguments (missing: id)".
LARAVEL: Mapping[str, object] = {
    "env_file": ".env",
    "maintenance_on": ["php", "artisan", "down", "--render=errors::503-maintenance"],
    "maintenance_off": ["php", "artisan", "up"],
    "maintenance_check": ["test", "-e", "storage/framework/down"],
    "workers_stop": ["php", "artisan", "queue:restart"],
    "migrations": ["php", "artisan", "migrate:status"],
    "logs": ["storage/logs/laravel.log"],
    "log_errors": [r"\.(ERROR|CRITICAL|ALERT|EMERGENCY):"],
    "security_checklist": "docs/security-checklist.md",
    "functional_checks": ["authentication", "payment flow", "reporting dashboard"],
}


@dataclass(frozen=True, slots=True)
class Application:
    """The application that uses the database. A command that is empty is not configured: its step is skipped,
    and the record says so."""

    path: Path
    """The application's folder. Its commands run there, and a target's relative paths start there."""

    framework: Framework = Framework.LARAVEL
    """Where defaults come from: laravel fills in its commands, none leaves them empty."""

    user: str | None = None
    """The system user that commands run as. Default: the user that runs Reinstate."""

    env_file: Path | None = None
    """The application's settings, exported before the restore. Only its hash and key names get into the record."""

    maintenance_on: tuple[str, ...] = field(default=(), metadata=COMMAND)
    """Takes the application out of service."""

    maintenance_off: tuple[str, ...] = field(default=(), metadata=COMMAND)
    """Puts the application back into service."""

    maintenance_check: tuple[str, ...] = field(default=(), metadata=COMMAND)
    """Exits 0 while the application is out of service."""

    workers_stop: tuple[str, ...] = field(default=(), metadata=COMMAND)
    """Stops the queue workers. queue:restart is only a signal: workers under a supervisor come back."""

    workers_start: tuple[str, ...] = field(default=(), metadata=COMMAND)
    """Starts the queue workers."""

    workers_check: tuple[str, ...] = field(default=(), metadata=COMMAND)
    """Exits 0 while the queue workers run."""

    scheduler_stop: tuple[str, ...] = field(default=(), metadata=COMMAND)
    """Disables the cron entry or timer of the scheduler. Laravel has no command that does this."""

    scheduler_start: tuple[str, ...] = field(default=(), metadata=COMMAND)
    """Enables the cron entry or timer of the scheduler."""

    scheduler_check: tuple[str, ...] = field(default=(), metadata=COMMAND)
    """Exits 0 while the scheduler is enabled."""

    freeze_deploys: tuple[str, ...] = field(default=(), metadata=COMMAND)
    """Keeps deploys from starting. For a workflow on GitHub there is `github`; without either the release manager is
    told."""

    thaw_deploys: tuple[str, ...] = field(default=(), metadata=COMMAND)
    """Lets deploys start again."""

    freeze_check: tuple[str, ...] = field(default=(), metadata=COMMAND)
    """Exits 0 while deploys are frozen."""

    release_manager: str | None = None
    """Who is told, and how, where nothing configured freezes deploys: the operator types whom they told."""

    migrations: tuple[str, ...] = field(default=(), metadata=COMMAND)
    """Shows whether the schema is the one that the application expects."""

    smoke: tuple[str, ...] = field(default=(), metadata=COMMAND)
    """Smoke tests. Exits 0 when they pass."""

    full_backup: tuple[str, ...] = field(default=(), metadata=COMMAND)
    """Takes a new full backup once the restored database is live. Not configured: Reinstate takes one itself."""

    stale_jobs: tuple[str, ...] = ()
    """Tables of queued jobs whose rows are put aside after a restore: they would run again."""

    clear_tables: tuple[str, ...] = ()
    """Tables of sessions and tokens whose rows are put aside after a restore: they would be valid again."""

    skip_ids: int = field(default=0, metadata={"check": _skipped})
    """How many numbers each counting table skips after a restore, so that no id is handed out twice. 0: none."""

    health: tuple[str, ...] = field(default=(), metadata=COMMAND)
    """A health check. Exits 0 when the application is well."""

    health_url: str | None = field(default=None, metadata={"check": url})
    """An address that answers 200 when the application is well."""

    logs: tuple[Path, ...] = ()
    """The application's log files."""

    log_window: timedelta = field(default=timedelta(minutes=10), metadata={"check": positive})
    """How far back the logs are searched for errors."""

    log_errors: tuple[str, ...] = field(default=(), metadata={"check": pattern})
    """Regular expressions: a log entry that one of them finds is an error."""

    log_ignore: tuple[str, ...] = field(default=(), metadata={"check": pattern})
    """Regular expressions: an error that one of them finds is expected and not counted."""

    log_pattern: str | None = field(default=None, metadata={"check": partial(pattern, group="at")})
    """A regular expression for the start of a log entry, with groups named at and level. Default: Laravel's form."""

    log_zone: str = field(default="UTC", metadata={"check": zone})
    """The time zone of the log's times, as in Europe/Paris."""

    timeout: timedelta = field(default=timedelta(minutes=5), metadata={"check": positive})
    """How long one of these commands may take before it is ended."""

    security_checklist: Path | None = field(default=None, metadata={"read": optional_path, "write": str})
    """A Markdown file in which each restore and drill gets its line, as a change that is shown and confirmed."""

    functional_checks: tuple[str, ...] = field(default=(), metadata={"check": one_line})
    """What the application owner tries by hand before signing off. Each is answered by name: passed or failed."""

    hosts: tuple[Host, ...] = field(default=(), metadata={"key": "host"})
    """The machines that its commands run on: one `[[target.NAME.application.host]]` for each. Default: this one."""

    github: GitHub | None = None
    """The workflow on GitHub that deploys it: `[target.NAME.application.github]`."""

    def wrong(self) -> Iterator[Fault]:
        if self.github is not None and (self.freeze_deploys or self.thaw_deploys or self.freeze_check):
            yield "freeze_deploys", "is there beside github, which freezes deploys too.", "Keep one of them."
        seen: set[tuple[str, int]] = set()
        for n, host in enumerate(self.hosts, start=1):
            if (host.address, host.port) in seen:
                yield f"host[{n}].address", f'"{host.address}" is there twice.', "Keep one of them."
            seen.add((host.address, host.port))


@dataclass(frozen=True, slots=True)
class SqliteTarget:
    """An SQLite database that can be restored."""

    name: str = field(metadata={"internal": True})
    """The target's name, which the operator types before anything is destroyed."""

    engine: str
    """The database engine: sqlite."""

    environment: Environment
    """What is at stake: production, staging or local. Production has the strictest gates."""

    database: Path
    """The live database file. A symbolic link is followed: the file it leads to is replaced."""

    backups: Path
    """The folder of the copies to restore from."""

    pattern: str = field(default="*.sqlite", metadata={"check": _plain_name})
    """Which files in that folder are backups."""

    checksums: str = field(default="checksums.txt", metadata={"check": _plain_name})
    """The catalogue of checksums in that folder."""

    every: timedelta = field(default=timedelta(hours=1), metadata={"check": positive})
    """How often a backup is made. A newest backup that is older than twice that is a failed check."""

    snapshots: Path = field(default=Path(), metadata={"check": _folder})
    """The folder for safety snapshots. Default: snapshots/NAME in the state folder."""

    keep_days: int = field(default=30, metadata={"check": _days})
    """How many days a safety snapshot is kept before `reinstate prune` may remove it."""

    owner: str | None = None
    """The user that the restored file belongs to. Default: the one that the live file belongs to."""

    group: str | None = None
    """The group that the restored file belongs to. Default: the one that the live file belongs to."""

    mode: int | None = field(default=None, metadata=_MODE)
    """The permissions of the restored file, as in "0660". Default: those of the live file."""

    journal_mode: JournalMode = JournalMode.KEEP
    """The journal mode of the restored database: keep (as the live one had it), wal or delete."""

    holders_timeout: timedelta = timedelta(minutes=2)
    """How long to wait for the last process to close the database before the restore is refused."""

    critical_tables: tuple[str, ...] = ("users", "transactions", "audit_logs")
    """Tables that are counted before and after, whether or not the incident report names them."""

    rto: timedelta | None = field(default=None, metadata={"check": positive})
    """How long a restore may take. The incident's own objective goes first."""

    rpo: timedelta | None = field(default=None, metadata={"check": positive})
    """How much data may be lost, as a length of time. The incident's own objective goes first."""

    prometheus: Prometheus | None = None
    """The server that is asked for metrics after the restore: `[target.NAME.prometheus]`."""

    drill: Drill = field(default_factory=Drill)
    """How its backups are rehearsed: `[target.NAME.drill]`."""

    application: Application = field(default_factory=lambda: Application(Path(), Framework.NONE))
    """The application around the database. Left out: no step touches one."""

    TAG: ClassVar[tuple[str, tuple[str, ...]]] = ("engine", ("sqlite",))

    @property
    def address(self) -> str:
        return str(self.database)

    def wrong(self) -> Iterator[Fault]:
        yield from _wrong_name(self.name)
        if self.drill.login is not None or self.drill.socket is not None:
            yield "drill.login", "or socket is there, and an SQLite drill needs no server.", "Take it out."


class Method(StrEnum):
    """How the restored tables get to their place."""

    AUTO = "auto"  # staged where space and privileges allow, else in place
    STAGED = "staged"  # load and prove beside the live schema, then swap
    IN_PLACE = "in-place"  # rebuild the live schema itself


class LoadClient(StrEnum):
    """What loads a dump."""

    OWN = "own"  # several connections, indexes afterwards
    MYSQL = "mysql"  # the server's own client program


class BinaryLog(StrEnum):
    """Does the restore go into the server's binary log, and so to its replicas?"""

    AUTO = "auto"  # on where there are replicas or a cluster, and otherwise too
    ON = "on"
    OFF = "off"


class ReplayBy(StrEnum):
    """What brings binary logs to the server."""

    CLIENT = "client"  # mysqlbinlog and the server's own client program
    AUTO = "auto"  # the server pulls them from here as a replica, where that is proven to work; else the client


class Ghosts(StrEnum):
    """What becomes of tables that are there now and not in the dump."""

    REBUILD = "rebuild"  # they go: the schema is the dump's; the safety snapshot has them
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class MysqlTarget:
    """A schema on a MySQL or MariaDB server that can be restored."""

    name: str = field(metadata={"internal": True})
    """The target's name, which the operator types before anything is destroyed."""

    engine: str
    """The database engine: mysql or mariadb."""

    environment: Environment
    """What is at stake: production, staging or local. Production has the strictest gates."""

    database: str = field(metadata={"check": _schema})
    """The schema on the server."""

    login: Path
    """An option file, mode 0600: user and password in [client], and how the line is encrypted."""

    backups: str = field(metadata={"check": _location, "example": '"s3://bucket/prefix"'})
    """The folder of the dumps to restore from, or s3://bucket/prefix."""

    host: str = "127.0.0.1"
    """The server's name or address."""

    port: int = field(default=3306, metadata={"check": _port})
    """The server's port."""

    socket: Path | None = None
    """The server's socket, where it runs on this machine. It goes before host and port."""

    nodes: tuple[str, ...] = field(default=(), metadata={"check": _node})
    """The other members of its cluster, and its replicas, as "host:port". Default: those that the server tells of."""

    pattern: str = field(default="*.sql*", metadata={"check": _plain_name})
    """Which files or objects there are dumps."""

    checksums: str = field(default="checksums.txt", metadata={"check": _plain_name})
    """The catalogue of checksums beside them."""

    every: timedelta = field(default=timedelta(days=1), metadata={"check": positive})
    """How often a dump is made. A newest dump that is older than twice that is a failed check."""

    binlogs: str | None = field(default=None, metadata={"check": _location})
    """Where binary logs are kept besides the server itself: a folder or s3://bucket/prefix."""

    s3_endpoint: str | None = field(default=None, metadata={"check": url})
    """The address of an S3 service that is not Amazon's."""

    s3_region: str | None = None
    """The bucket's region."""

    s3_profile: str | None = None
    """The profile in ~/.aws/config with the credentials. Default: as boto3 finds them, a role for instance."""

    staging: Path = Path()
    """The folder that dumps and logs are staged in. Default: staging/NAME in the state folder."""

    snapshots: str = field(default="", metadata={"check": _location})
    """Where safety snapshots go: a folder or s3://bucket/prefix. Default: snapshots/NAME in the state folder."""

    spare: Path = field(default=Path(), metadata={"internal": True})
    """Where an undo keeps the present state when the bucket of `snapshots` does not take it."""

    keep_days: int = field(default=30, metadata={"check": _days})
    """How many days a safety snapshot is kept before `reinstate prune` may remove it."""

    method: Method = Method.AUTO
    """How the restored tables get to their place: staged, in-place, or auto."""

    client: LoadClient = LoadClient.OWN
    """What loads the dump: own (several connections, indexes afterwards) or mysql, the server's own client."""

    connections: int = field(default=0, metadata={"check": _connections})
    """How many connections load at the same time. 0: as many as suit the machine."""

    binary_log: BinaryLog = BinaryLog.AUTO
    """Whether the restore is written to the server's binary log, and so reaches its replicas: auto, on or off."""

    local_infile: bool = False
    """Whether the load may turn the server's local_infile on, and back off after it: faster."""

    replay: ReplayBy = ReplayBy.CLIENT
    """What replays binary logs: client (mysqlbinlog and mysql), or auto: the server itself where it can, faster."""

    replay_address: str = ""
    """The address of this machine at which the server finds the logs. Default: the one it is reached from."""

    replay_port: int = field(default=0, metadata={"check": _any_port})
    """The port at which it finds them, for a firewall. 0: any that is free."""

    replay_encrypted: bool = True
    """Whether the server pulls them over an encrypted line."""

    ghosts: Ghosts = Ghosts.REBUILD
    """Tables that are there now and not in the dump: rebuild (they go, the snapshot has them) or leave."""

    space_command: tuple[str, ...] = field(default=(), metadata=COMMAND)
    """Prints the free bytes of the server's data directory, where it can't be seen from here."""

    writers_timeout: timedelta = timedelta(minutes=2)
    """How long to wait for the last session that uses the schema before the restore is refused."""

    critical_tables: tuple[str, ...] = ("users", "transactions", "audit_logs")
    """Tables that are counted before and after, whether or not the incident report names them."""

    rto: timedelta | None = field(default=None, metadata={"check": positive})
    """How long a restore may take. The incident's own objective goes first."""

    rpo: timedelta | None = field(default=None, metadata={"check": positive})
    """How much data may be lost, as a length of time. The incident's own objective goes first."""

    prometheus: Prometheus | None = None
    """The server that is asked for metrics after the restore: `[target.NAME.prometheus]`."""

    drill: Drill = field(default_factory=Drill)
    """How its backups are rehearsed: `[target.NAME.drill]`."""

    application: Application = field(default_factory=lambda: Application(Path(), Framework.NONE))
    """The application around the database. Left out: no step touches one."""

    TAG: ClassVar[tuple[str, tuple[str, ...]]] = ("engine", ("mysql", "mariadb"))

    @property
    def address(self) -> str:
        return f"{self.socket or f'{self.host}:{self.port}'}/{self.database}"

    def wrong(self) -> Iterator[Fault]:
        yield from _wrong_name(self.name)
        if self.client is LoadClient.MYSQL and self.method is Method.STAGED:
            yield "client", "can't load beside the live schema.", 'Write client = "own", or method = "in-place".'
        own = f"{self.host}:{self.port}"
        for n, node in enumerate(self.nodes, start=1):
            if node in self.nodes[: n - 1] or (node == own and self.socket is None):
                yield (
                    f"nodes[{n}]",
                    f'"{node}" is there twice.' if node != own else "is the server itself.",
                    "Take it out.",
                )
        drill = self.drill
        live = self.socket or (self.host, self.port)
        if drill.login is not None and (drill.socket or (drill.host, drill.port)) == live:
            yield "drill.host", "is the live server.", "Name a drill server: a drill never uses the live one."


Target = SqliteTarget | MysqlTarget


def _wrong_name(name: str) -> Iterator[Fault]:
    if not _NAME.fullmatch(name) or ".." in name:
        yield "name", "is no name for a target.", "Use letters, digits, dots, dashes; at most 63 of them."
