"""What is in a schema now: tables with their size, code, and ties to other schemas. Nothing is changed.

Rows and bytes are the storage engine's own estimates; `engines.mysql.counting` counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engines.mysql.dumps.facts import DumpFacts
from engines.mysql.queries import NotSaid, rows_of
from engines.text import drawable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_ENCODED = re.compile(r"@([0-9a-f]{4})")


@dataclass(frozen=True, slots=True)
class LiveTable:
    name: str
    engine: str
    rows: int  # approximate
    size: int  # bytes of rows and keys, approximate
    index_size: int  # bytes of the secondary keys within `size`, approximate


@dataclass(frozen=True, slots=True)
class Tie:
    """A foreign key between two schemas: `child` refers to `parent`, each as schema.table."""

    name: str
    child: str
    parent: str

    def __str__(self) -> str:
        return f"{self.child} → {self.parent}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaFacts:
    schema: str
    exists: bool
    charset: str = ""
    collation: str = ""
    tables: tuple[LiveTable, ...] = ()
    views: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()  # MariaDB
    routines: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    enabled_events: tuple[str, ...] = ()
    ties_in: tuple[Tie, ...] = ()  # foreign keys of other schemas into this one
    ties_out: tuple[Tie, ...] = ()  # of this one into others
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes, approximate."""
        return sum(table.size for table in self.tables)

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    @property
    def readable(self) -> bool:
        """Is there anything that a safety snapshot could keep?"""
        return self.exists and bool(self.tables or self.views or self.routines or self.events or self.sequences)


def look_at_schema(connection: Connection[Cursor], schema: str) -> SchemaFacts:
    """Raises RestoreError only where the server does not answer. A schema that the login may not see looks absent."""
    with suppress(NotSaid):  # MySQL keeps sizes for a day otherwise
        rows_of(connection, "SET SESSION information_schema_stats_expiry = 0")
    found = rows_of(
        connection,
        "SELECT default_character_set_name, default_collation_name FROM information_schema.schemata "
        "WHERE schema_name = %s",
        (schema,),
    )
    if not found:
        return SchemaFacts(schema=schema, exists=False)
    tables, views, sequences = _tables(connection, schema)
    events = rows_of(
        connection,
        "SELECT event_name, status FROM information_schema.events WHERE event_schema = %s ORDER BY event_name",
        (schema,),
    )
    unknown: dict[str, str] = {}
    ties = _ties(connection, schema, unknown)
    return SchemaFacts(
        schema=schema,
        exists=True,
        charset=str(found[0][0]),
        collation=str(found[0][1]),
        tables=tables,
        views=views,
        sequences=sequences,
        routines=_names(connection, schema, "routine_name", "routines", "routine_schema"),
        triggers=_names(connection, schema, "trigger_name", "triggers", "trigger_schema"),
        events=tuple(str(name) for name, _status in events),
        enabled_events=tuple(str(name) for name, status in events if status == "ENABLED"),
        ties_in=tuple(tie for tie in ties if not tie.child.startswith(f"{schema}.")),
        ties_out=tuple(tie for tie in ties if tie.child.startswith(f"{schema}.")),
        unknown=unknown,
    )


def ghosts(live: SchemaFacts, dump: DumpFacts) -> tuple[str, ...]:
    """Tables, views and sequences that are there now and not in the dump, by name."""
    held = {table.name for table in dump.tables if table.database in ("", live.schema)}
    held.update(dump.views, dump.sequences)
    present = (*(table.name for table in live.tables), *live.views, *live.sequences)
    return tuple(sorted(name for name in present if name not in held))


def _tables(
    connection: Connection[Cursor], schema: str
) -> tuple[tuple[LiveTable, ...], tuple[str, ...], tuple[str, ...]]:
    tables: list[LiveTable] = []
    views: list[str] = []
    sequences: list[str] = []
    for name, kind, engine, rows, length, index in rows_of(
        connection,
        "SELECT table_name, table_type, engine, table_rows, data_length, index_length "
        "FROM information_schema.tables WHERE table_schema = %s ORDER BY table_name",
        (schema,),
    ):
        if kind == "VIEW":
            views.append(str(name))
        elif kind == "SEQUENCE":
            sequences.append(str(name))
        else:
            keys = int(index or 0)
            tables.append(LiveTable(str(name), str(engine or ""), int(rows or 0), int(length or 0) + keys, keys))
    return tuple(tables), tuple(views), tuple(sequences)


def _names(connection: Connection[Cursor], schema: str, column: str, table: str, by: str) -> tuple[str, ...]:
    sql = f"SELECT {column} FROM information_schema.{table} WHERE {by} = %s ORDER BY {column}"  # noqa: S608 - ours
    return tuple(str(name) for (name,) in rows_of(connection, sql, (schema,)))


def _ties(connection: Connection[Cursor], schema: str, unknown: dict[str, str]) -> tuple[Tie, ...]:
    """From InnoDB's own dictionary, which shows every schema; else as far as the login's privileges go."""
    for table in ("innodb_foreign", "innodb_sys_foreign"):
        try:
            rows = rows_of(connection, f"SELECT id, for_name, ref_name FROM information_schema.{table}")  # noqa: S608
        except NotSaid as error:
            if error.denied:
                unknown["ties"] = error.why
                break
            continue
        made = (Tie(_decoded(str(key)), _decoded(str(child)), _decoded(str(parent))) for key, child, parent in rows)
        return _between(schema, made)
    rows = rows_of(
        connection,
        "SELECT constraint_name, constraint_schema, table_name, unique_constraint_schema, referenced_table_name "
        "FROM information_schema.referential_constraints WHERE constraint_schema <> unique_constraint_schema",
    )
    return _between(schema, (Tie(str(r[0]), f"{r[1]}.{r[2]}", f"{r[3]}.{r[4]}") for r in rows))


def _between(schema: str, ties: Iterable[Tie]) -> tuple[Tie, ...]:
    inside = f"{schema}."
    return tuple(tie for tie in ties if tie.child.startswith(inside) is not tie.parent.startswith(inside))


def _decoded(name: str) -> str:
    """`my@002dshop/orders` as InnoDB keeps it: my-shop.orders. Source: MySQL manual, "Mapping of Identifiers"."""
    schema, _, table = name.partition("/")
    return ".".join(drawable(_ENCODED.sub(lambda found: chr(int(found[1], 16)), part)) for part in (schema, table))
