"""How fast would this dump load here? Measured on the server, over the line, with the login: not a constant.

A small generated table is loaded for about a second and given two keys, in a schema of the probe's own that is gone
afterwards. A second on a quiet server is not an hour on a busy one: an estimate, and the plan says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.errors import Refused, RestoreError
from engines.hooks import At, Stop, never, nowhere
from engines.mysql.connect import Login, Place, close, connect, quoted
from engines.mysql.dumps.facts import DumpFacts
from engines.mysql.errors import meaning
from engines.mysql.load.shapes import load_statement
from engines.mysql.load.wire import load_local
from engines.mysql.queries import NotSaid, rows_of, value_of
from engines.text import drawable, duration, size

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_TABLE = "reinstate_probe"
_ROWS = 1500  # a statement: about 250 kB, as dump programs write them
_TEXT = "a row as applications have them, with some text in it"
_TRIPS = 20


@dataclass(frozen=True, slots=True)
class Rates:
    rows: float  # bytes of a dump's rows loaded per second, over all connections
    keys: float  # bytes of rows per second and key, building secondary keys afterwards
    trip: float  # seconds that a statement takes to get there and back
    connections: int
    bulk: bool  # by LOAD DATA

    def __str__(self) -> str:
        way = "LOAD DATA" if self.bulk else "INSERT"
        return (
            f"{size(int(self.rows))}/s by {way} over {self.connections} connections, keys {size(int(self.keys))}/s, "
            f"round trip {self.trip * 1000:.1f} ms"
        )


def probe(
    place: Place,
    login: Login,
    schema: str,
    *,
    connections: int = 2,
    bulk: bool = False,
    binary_log: bool = True,
    seconds: float = 1.0,
    stop: Stop = never,
    at: At = nowhere,
) -> Rates:
    """Load into `schema`, which is the probe's own: made, and dropped. Raises Refused where it holds anything else.

    `bulk`: by LOAD DATA LOCAL. `binary_log` False leaves the probe out of the log, as the restore would be.
    """
    with ExitStack() as stack:
        opened = []
        for number in range(max(connections, 1)):
            connection = connect(place, login, local_files=bulk)
            stack.callback(close, connection)
            if not binary_log:
                _asked(connection, "SET SESSION sql_log_bin = 0")
            _asked(connection, "SET SESSION unique_checks = 1, SESSION foreign_key_checks = 0")
            if number == 0:
                _refuse_others(connection, schema)
                stack.callback(_drop, connection, schema, at)
                at("probe: create before")
                _asked(connection, f"CREATE DATABASE IF NOT EXISTS {quoted(schema)}")
                at("probe: create after")
            opened.append(connection)
        for number, connection in enumerate(opened):
            connection.select_db(schema)
            _make(connection, number)
        trip = _trip(opened[0])
        at("probe: load before")
        loaded, spent = _load(opened, seconds, stop, bulk=bulk)
        at("probe: load after")
        keyed = _build(opened[0])
        return Rates(loaded / spent, loaded / len(opened) * 2 / keyed, trip, len(opened), bulk)


def remove(connection: Connection[Cursor], schema: str) -> None:
    """Drop the schema of a probe that was killed. Raises Refused where it holds anything else."""
    if rows_of(connection, "SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", (schema,)):
        _refuse_others(connection, schema)
        _asked(connection, f"DROP DATABASE IF EXISTS {quoted(schema)}")


def estimate(rates: Rates, dump: DumpFacts, *, replayed: float = 0.0) -> float:
    """Seconds that the load takes at these rates: rows, then keys, then a round trip for each statement.

    `replayed`: seconds that the replay takes, where somebody has measured it.
    """
    rows = sum(table.size for table in dump.tables)
    # Keys of one table are built on one connection; those of several side by side.
    keys = [table.size * table.secondary / rates.keys for table in dump.tables]
    built = max(max(keys, default=0.0), sum(keys) / rates.connections)
    return rows / rates.rows + built + dump.statements * rates.trip + replayed


def told(rates: Rates, dump: DumpFacts) -> str:
    return f"about {duration(estimate(rates, dump))} to load, at {rates}, measured just now on a small table"


def _refuse_others(connection: Connection[Cursor], schema: str) -> None:
    """Whatever is in that schema and is not the probe's is somebody else's."""
    found = rows_of(
        connection,
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_name NOT LIKE %s "
        "UNION ALL SELECT routine_name FROM information_schema.routines WHERE routine_schema = %s "
        "UNION ALL SELECT event_name FROM information_schema.events WHERE event_schema = %s",
        (schema, f"{_TABLE}\\_%", schema, schema),
    )
    if found:
        raise Refused(
            f"The schema {drawable(schema)} holds {drawable(str(found[0][0]))}: it is not the probe's own. "
            "Nothing was changed.",
            "Give the probe a schema of another name.",
        )


def _make(connection: Connection[Cursor], number: int) -> None:
    table = quoted(f"{_TABLE}_{number}")
    _asked(connection, f"DROP TABLE IF EXISTS {table}")
    _asked(
        connection,
        f"CREATE TABLE {table} (id BIGINT PRIMARY KEY, account INT, at DATETIME, amount DECIMAL(12,2), "
        "name VARCHAR(120), text VARCHAR(200)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
    )


def _trip(connection: Connection[Cursor]) -> float:
    """The median of some."""
    spent = []
    for _ in range(_TRIPS):
        begun = time.monotonic()
        value_of(connection, "SELECT 1")
        spent.append(time.monotonic() - begun)
    return sorted(spent)[_TRIPS // 2]


def _load(opened: list[Connection[Cursor]], seconds: float, stop: Stop, *, bulk: bool) -> tuple[int, float]:
    """Bytes of rows that went in, and seconds until the last was committed."""
    begun = time.monotonic()
    loaded = [0] * len(opened)
    wrong: list[RestoreError] = []

    def work(number: int) -> None:
        try:
            opened[number].autocommit(False)
            for values in _values():
                if time.monotonic() - begun >= seconds and loaded[number]:
                    break
                if stop():
                    raise RestoreError("Measuring was stopped. The probe's schema is removed.", "Measure again (r).")  # noqa: TRY301
                _send(opened[number], f"{_TABLE}_{number}", values, bulk=bulk)
                loaded[number] += len(values)
            _asked(opened[number], "COMMIT")
            opened[number].autocommit(True)
        except RestoreError as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(len(opened))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]
    return sum(loaded), time.monotonic() - begun


def _values() -> Iterator[bytes]:
    number = 0
    while True:
        rows = (
            f"({key},{key * 7919 % 100_003},'2026-11-22 20:{key % 60:02}:11',{key % 10_007}.25,"
            f"'name {key * 31 % 50_021}','{_TEXT} {key * 104_729 % 1_000_003}')"
            for key in range(number, number + _ROWS)
        )
        yield ",".join(rows).encode()
        number += _ROWS


def _send(connection: Connection[Cursor], table: str, values: bytes, *, bulk: bool) -> None:
    import pymysql

    try:
        if bulk:
            load_local(connection, load_statement(table, None), [values])
        else:
            connection.query(b"INSERT INTO " + quoted(table).encode() + b" VALUES " + values)
    except (pymysql.err.MySQLError, OSError) as error:
        raise RestoreError(
            f"The probe could not load its own rows: {meaning(error)}.", "Look at what the login may do, and try again."
        ) from None


def _build(connection: Connection[Cursor]) -> float:
    """Seconds for two keys on the first table."""
    begun = time.monotonic()
    _asked(connection, f"ALTER TABLE {quoted(f'{_TABLE}_0')} ADD KEY by_account (account), ADD KEY by_name (name)")
    return max(time.monotonic() - begun, 0.001)


def _drop(connection: Connection[Cursor], schema: str, at: At) -> None:
    at("probe: drop before")
    if connection.open:
        _asked(connection, f"DROP DATABASE IF EXISTS {quoted(schema)}")
    at("probe: drop after")


def _asked(connection: Connection[Cursor], statement: str) -> None:
    try:
        rows_of(connection, statement)
    except NotSaid as error:
        raise RestoreError(
            f"The probe may not do what it needs: {error.why}. Nothing was changed.",
            "docs/privileges.md has the GRANT statement; or go on without an estimate.",
        ) from None
