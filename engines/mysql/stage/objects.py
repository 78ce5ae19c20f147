"""What code a schema has: views, routines, triggers, events, each as the server writes it and with its settings."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engines.errors import Refused
from engines.hooks import At, nowhere
from engines.mysql.connect import quoted
from engines.mysql.dumps.code import Kind, mentions, requalified
from engines.mysql.stage.ask import execute, named, neutral, rows, schema_exists, texts, use
from engines.text import drawable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_BROKEN = 1356  # "View … references invalid table(s) or column(s) or function(s) …"


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One object. Source: SHOW CREATE …, and information_schema for a trigger's place."""

    kind: Kind
    name: str
    text: str  # CREATE DEFINER=…
    client: str  # the character set that it was written in
    collation: str  # of the connection that made it
    sql_mode: str = ""
    schema_collation: str = ""  # the schema's default when it was made; views have none
    time_zone: str = ""  # events
    table: str = ""  # triggers
    moment: str = ""  # triggers: BEFORE INSERT
    order: int = 0  # triggers: among those of the same table and moment
    broken: bool = False  # views: refers to what is not there; its text is not its own then (MariaDB)

    @property
    def key(self) -> tuple[Kind, str]:
        return self.kind, self.name

    @property
    def shown(self) -> str:
        return f"{self.kind.lower()} {drawable(self.name)}"


def read_code(connection: Connection[Cursor], schema: str, written_as: str = "") -> tuple[Code, ...]:
    """All code of a schema, in the order in which it can be made. The connection uses that schema afterwards.

    `written_as`: the name that stands for the schema's own in the texts. Raises Refused where the login may not look.
    """
    if not schema_exists(connection, schema):
        return ()
    neutral(connection)
    use(connection, schema)
    found = [*_routines(connection, schema), *_views(connection, schema, written_as or schema)]
    return (*found, *_triggers(connection, schema), *_events(connection, schema))


def _routines(connection: Connection[Cursor], schema: str) -> Iterator[Code]:
    listed = rows(
        connection,
        "SELECT routine_type, routine_name FROM information_schema.routines WHERE routine_schema = %s ORDER BY 2",
        schema,
    )
    listed.sort(key=lambda row: list(Kind).index(Kind(str(row[0]))))
    for kind, name in listed:
        yield _shown(connection, Kind(str(kind)), str(name))


def _views(connection: Connection[Cursor], schema: str, written_as: str) -> tuple[Code, ...]:
    found = []
    for name in texts(
        connection, "SELECT table_name FROM information_schema.views WHERE table_schema = %s ORDER BY 1", schema
    ):
        view = _shown(connection, Kind.VIEW, name)
        broken = any(row["code"] == _BROKEN for row in named(connection, "SHOW WARNINGS"))
        found.append(replace(view, text=requalified(view.text, schema, written_as), broken=broken))
    return in_order(found)


def in_order(views: list[Code]) -> tuple[Code, ...]:
    """Views after those that they may stand on."""
    left = {view.name: mentions(view.text) for view in views}
    by_name = {view.name: view for view in views}
    made: list[Code] = []
    while left:
        names = left.keys()
        free = [name for name in names if not (left[name] & names - {name})] or [next(iter(left))]
        for name in free:
            made.append(by_name[name])
            del left[name]
    return tuple(made)


def _triggers(connection: Connection[Cursor], schema: str) -> Iterator[Code]:
    listed = rows(
        connection,
        "SELECT trigger_name, event_object_table, action_timing, event_manipulation, action_order "
        "FROM information_schema.triggers WHERE trigger_schema = %s ORDER BY 2, 3, 4, 5",
        schema,
    )
    for name, table, timing, event, order in listed:
        shown = _shown(connection, Kind.TRIGGER, str(name))
        yield replace(shown, table=str(table), moment=f"{timing} {event}", order=int(str(order)))


def _events(connection: Connection[Cursor], schema: str) -> Iterator[Code]:
    listed = "SELECT event_name FROM information_schema.events WHERE event_schema = %s ORDER BY 1"
    for name in texts(connection, listed, schema):
        yield _shown(connection, Kind.EVENT, name)


def _shown(connection: Connection[Cursor], kind: Kind, name: str) -> Code:
    row = named(connection, f"SHOW CREATE {kind} {quoted(name)}")[0]
    text = row.get("sql original statement") or row.get(f"create {kind.lower()}")
    if not text:
        raise Refused(
            f"The login may not read the {kind.lower()} {drawable(name)}. Nothing was changed.",
            "Grant it SHOW_ROUTINE (MariaDB: SHOW CREATE ROUTINE) and SELECT on the schema.",
        )
    return Code(
        kind=kind,
        name=name,
        text=str(text),
        client=str(row["character_set_client"]),
        collation=str(row["collation_connection"]),
        sql_mode=str(row.get("sql_mode", "")),
        schema_collation=str(row.get("database collation", "")),
        time_zone=str(row.get("time_zone", "")),
    )


def drop_code(connection: Connection[Cursor], schema: str, *, at: At = nowhere) -> None:
    """Drop all code of a schema of ours."""
    for code in reversed(read_code(connection, schema)):
        at("code: drop before")
        execute(connection, f"DROP {code.kind} IF EXISTS {quoted(schema)}.{quoted(code.name)}")
        at("code: drop after")


def make_code(connection: Connection[Cursor], code: Code) -> None:
    """Make an object in the schema in use, in the bytes and under the settings that it was first made with."""
    text = code.text
    if code.kind is Kind.VIEW:
        text = text.replace("CREATE ", "CREATE OR REPLACE ", 1)
    try:
        execute(connection, f"SET SESSION sql_mode = '{code.sql_mode}'")
        execute(
            connection, f"SET SESSION character_set_client = {code.client}, collation_connection = {code.collation}"
        )
        if code.time_zone:
            execute(connection, f"SET SESSION time_zone = {connection.escape(code.time_zone)}")
        execute(connection, text.encode(_codec(code.client), "surrogateescape"))
    finally:
        if connection.open:
            neutral(connection)


def _codec(charset: str) -> str:
    """The Python name of a server's character set."""
    known = {"latin1": "cp1252", "koi8r": "koi8_r", "koi8u": "koi8_u", "sjis": "cp932", "ujis": "euc_jp"}
    name = known.get(charset, "utf-8" if charset.startswith("utf8") else charset)
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "utf-8"
