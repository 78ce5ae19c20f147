"""What is in a schema: the names of everything that a dump holds, as the server lists them now. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.errors import RestoreError
from engines.mysql.connect import code_of, quoted, said
from engines.text import drawable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_VIEWS = ("VIEW", "SYSTEM VIEW")
_SEQUENCE = "SEQUENCE"


@dataclass(frozen=True, slots=True)
class TableNow:
    """A table as the server lists it."""

    name: str
    engine: str  # empty: the server could not open it
    size: int  # bytes of its rows, as the server guesses
    versioned: bool  # MariaDB's WITH SYSTEM VERSIONING


@dataclass(frozen=True, slots=True)
class Objects:
    """Everything in one schema, each kind in the order of its names."""

    schema: str  # as the server spells it
    charset: str  # the schema's default
    collation: str
    tables: tuple[TableNow, ...] = ()
    views: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    routines: tuple[tuple[str, str], ...] = ()  # kind (PROCEDURE, FUNCTION, PACKAGE BODY, PACKAGE), name
    triggers: tuple[str, ...] = ()
    events: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return sum(table.size for table in self.tables)

    @property
    def empty(self) -> bool:
        return not (self.tables or self.views or self.sequences or self.routines or self.events)


def objects_of(connection: Connection[Cursor], schema: str) -> Objects:
    """Raises RestoreError where there is no such schema, or the login may not see it.

    Only what the login may see is listed: a trigger needs TRIGGER, an event EVENT, a view SHOW VIEW.
    """
    import pymysql

    try:
        with connection.cursor() as cursor:
            cursor.execute(f"USE {quoted(schema)}")
            cursor.execute("SELECT DATABASE(), @@character_set_database, @@collation_database")
            name, charset, collation = (str(value) for value in cursor.fetchone() or ("", "", ""))
            tables, views, sequences = _tables(cursor, name)
            return Objects(
                schema=name,
                charset=charset,
                collation=collation,
                tables=tables,
                views=views,
                sequences=sequences,
                routines=_routines(cursor, name),
                triggers=_names(cursor, "trigger_name", "trigger_schema", "triggers", name),
                events=_names(cursor, "event_name", "event_schema", "events", name),
            )
    except pymysql.err.MySQLError as error:
        hint = "Look at `database` in the configuration, and at what the login may do."
        raise RestoreError(
            f"What is in {drawable(schema)} can't be listed: {said(error)}. Nothing was changed.", hint
        ) from None


def broken_views(connection: Connection[Cursor], objects: Objects) -> Mapping[str, str]:
    """Views that can't be read, because what they read is gone; each with the statement that made it.

    A dump program gives up at such a view. After a dropped table they are to be expected.
    """
    import pymysql

    found: dict[str, str] = {}
    with connection.cursor() as cursor:
        for view in objects.views:
            try:
                cursor.execute(f"SHOW FIELDS FROM {quoted(objects.schema)}.{quoted(view)}")
                cursor.fetchall()
            except pymysql.err.MySQLError as error:
                if code_of(error) not in (1356, 1146, 1449):
                    raise
                found[view] = _definition(cursor, objects.schema, view)
    return found


def _definition(cursor: Cursor, schema: str, view: str) -> str:
    import pymysql

    try:
        cursor.execute(f"SHOW CREATE VIEW {quoted(schema)}.{quoted(view)}")
        row = cursor.fetchone() or ("", "")
        return str(row[1])
    except pymysql.err.MySQLError:
        return ""


def _tables(cursor: Cursor, schema: str) -> tuple[tuple[TableNow, ...], tuple[str, ...], tuple[str, ...]]:
    cursor.execute(
        "SELECT table_schema, table_name, table_type, engine, data_length FROM information_schema.tables "
        "WHERE table_schema = %s",
        (schema,),
    )
    # The server may compare names without case or accents: another schema's are left out here.
    rows = sorted((row[1:] for row in cursor.fetchall() if row[0] == schema), key=lambda row: str(row[0]))
    tables = tuple(
        TableNow(str(name), str(engine or ""), int(size or 0), kind == "SYSTEM VERSIONED")
        for name, kind, engine, size in rows
        if kind not in (*_VIEWS, _SEQUENCE)
    )
    views = tuple(str(name) for name, kind, _engine, _size in rows if kind in _VIEWS)
    return tables, views, tuple(str(name) for name, kind, _engine, _size in rows if kind == _SEQUENCE)


def _routines(cursor: Cursor, schema: str) -> tuple[tuple[str, str], ...]:
    cursor.execute(
        "SELECT routine_schema, routine_type, routine_name FROM information_schema.routines WHERE routine_schema = %s",
        (schema,),
    )
    found = [(str(kind), str(name)) for where, kind, name in cursor.fetchall() if where == schema]
    return tuple(sorted(found, key=lambda one: (one[0] == "PACKAGE", *one)))  # a package goes after its body


def _names(cursor: Cursor, column: str, owner: str, table: str, schema: str) -> tuple[str, ...]:
    query = f"SELECT {owner}, {column} FROM information_schema.{table} WHERE {owner} = %s"  # noqa: S608 - our own words
    cursor.execute(query, (schema,))
    return tuple(sorted(str(name) for where, name in cursor.fetchall() if where == schema))
