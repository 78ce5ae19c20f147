"""Has mysqldump or mariadb-dump write one schema, whole and at one moment. Where its output goes is others' work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engines.mysql.connect import connected
from engines.mysql.flavour import Flavour, Version, parse_version
from engines.mysql.objects import Objects, broken_views, objects_of
from engines.mysql.programs import Program

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

    from engines.mysql.connect import Login, Place

# Without --hex-blob: binary strings come out as _binary '…', byte for byte, in half the room, and a load of them may
# go by LOAD DATA. In the primary key's order: two dumps of the same rows are the same text, and loading is faster.
_ALWAYS = (
    "--single-transaction",
    "--quick",
    "--routines",
    "--events",
    "--triggers",
    "--no-tablespaces",  # they are the server's, and would take PROCESS
    "--order-by-primary",
    "--default-character-set=utf8mb4",
    "--max-allowed-packet=1G",
)


@dataclass(frozen=True, slots=True)
class Ground:
    """What has to be known of server and schema before a dump is taken."""

    version: Version
    objects: Objects
    binary_log: bool
    unsafe: tuple[str, ...] = ()  # tables whose engine has no transactions: not at one moment while somebody writes
    broken: dict[str, str] = field(default_factory=dict)  # views that can't be read -> what made them

    @property
    def history(self) -> bool:
        """Are there tables with rows of the past, and does this server's dump program write those?"""
        versioned = any(table.versioned for table in self.objects.tables)
        return versioned and self.version.at_least(Flavour.MARIADB, 10, 11)


def look(place: Place, login: Login, schema: str) -> Ground:
    """Ask the server. Raises RestoreError."""
    with connected(place, login) as connection:
        objects = objects_of(connection, schema)
        version, binary_log, engines = _server(connection)
        unsafe = tuple(table.name for table in objects.tables if table.engine and table.engine not in engines)
        return Ground(version, objects, binary_log, unsafe, dict(broken_views(connection, objects)))


def arguments(program: Program, ground: Ground, *, coordinates: bool) -> tuple[str, ...]:
    """The dump program's arguments. `coordinates`: also where the binary log stands, as a comment (=2).

    On MySQL that takes a short FLUSH TABLES WITH READ LOCK, and RELOAD.
    """
    return (*_ALWAYS, *_of_its_kind(program, ground, coordinates=coordinates), "--", ground.objects.schema)


def _of_its_kind(program: Program, ground: Ground, *, coordinates: bool) -> Iterator[str]:
    if program.flavour is Flavour.MYSQL:
        yield "--set-gtid-purged=OFF"  # what the server has executed is not the schema's to set
        yield "--skip-column-statistics"
        # They are the whole server's; from 9.7 on it looks for them, and complains where the login may not.
        yield "--loose-skip-masking-policies"
        if coordinates:
            new = program.version is not None and program.version.at_least(Flavour.MYSQL, 8, 0, 26)
            yield "--source-data=2" if new else "--master-data=2"
    else:
        if coordinates:
            yield "--master-data=2"
        if ground.history:
            yield "--dump-history"
    for view in ground.broken:
        yield f"--ignore-table={ground.objects.schema}.{view}"


def _server(connection: Connection[Cursor]) -> tuple[Version, bool, frozenset[str]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT VERSION(), @@version_comment, @@log_bin")
        text, comment, log = cursor.fetchone() or ("", "", 0)
        cursor.execute("SELECT engine FROM information_schema.engines WHERE transactions = 'YES'")
        engines = frozenset(str(name) for (name,) in cursor.fetchall())
    version = parse_version(str(text), str(comment)) or Version(Flavour.MYSQL, (), str(text))
    return version, bool(int(log)), engines
