"""What is true of the three schemas now: where each table is, and which code the live one has."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from engines.mysql.stage.ask import execute, rows, schema_exists
from engines.mysql.stage.names import Names
from engines.mysql.stage.objects import Code, read_code
from engines.mysql.stage.schema import is_kept

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_NOW = "SELECT UTC_TIMESTAMP(), NOW()"


@dataclass(frozen=True, slots=True)
class Trigger:
    schema: str
    name: str
    table: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    exists: bool  # the live schema
    kept: bool  # do the stage and the parked schema stand, or was their removal begun?
    collation: str  # the live schema's default
    live: frozenset[str]  # tables and sequences, without views
    stage: frozenset[str]
    parked: frozenset[str]  # without the marker
    code: tuple[Code, ...]  # of the live schema
    aside: tuple[Trigger, ...]  # in the stage and the parked schema
    now: datetime  # of the server, UTC, without a zone
    now_there: datetime  # of the server, in its own zone


def look(connection: Connection[Cursor], names: Names) -> Found:
    """Ask the server. Errors are the caller's to tell."""
    stage, parked = tables(connection, names.stage), tables(connection, names.parked)
    aside = (names.stage, names.parked)
    execute(connection, "SET SESSION time_zone = 'SYSTEM'")
    now, now_there = (datetime.fromisoformat(str(moment)) for moment in rows(connection, _NOW)[0])
    return Found(
        exists=schema_exists(connection, names.live),
        kept=is_kept(connection, names),
        collation=default_collation(connection, names.live),
        live=tables(connection, names.live),
        stage=stage,
        parked=parked - {names.marker},
        code=read_code(connection, names.live),
        now=now,
        now_there=now_there,
        aside=tuple(trigger for schema in aside for trigger in _triggers(connection, schema)),
    )


def tables(connection: Connection[Cursor], schema: str) -> frozenset[str]:
    found = rows(
        connection,
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_type <> 'VIEW'",
        schema,
    )
    return frozenset(str(row[0]) for row in found)


def default_collation(connection: Connection[Cursor], schema: str) -> str:
    found = rows(
        connection, "SELECT default_collation_name FROM information_schema.schemata WHERE schema_name = %s", schema
    )
    return str(found[0][0]) if found else ""


def _triggers(connection: Connection[Cursor], schema: str) -> tuple[Trigger, ...]:
    found = rows(
        connection,
        "SELECT trigger_name, event_object_table FROM information_schema.triggers WHERE trigger_schema = %s ORDER BY 1",
        schema,
    )
    return tuple(Trigger(schema, str(name), str(table)) for name, table in found)
