"""Empties a schema without dropping it, so that its grants stay; and loads a dump in its place.

Every statement asks what is there now and can be sent again: a kill at any of them is put right by beginning again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import RestoreError
from engines.hooks import At, Say, Stop, never, nowhere, silent
from engines.mysql.connect import close, connect, connection_id, lost, quoted
from engines.mysql.dumps.effects import words_of
from engines.mysql.dumps.facts import DumpFacts
from engines.mysql.dumps.packing import opened
from engines.mysql.dumps.statements import Statement, plain_name, read
from engines.mysql.errors import meaning
from engines.mysql.load.loader import Hooks, Job, Loaded, leave_out_of_binary_log, load
from engines.mysql.objects import Objects, objects_of
from engines.text import count, drawable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_LOCK_WAIT = 60  # seconds that a statement waits for a table that somebody has locked
_WORD = re.compile(r"[A-Za-z0-9_]+")
_NAME = rb"(`(?:[^`]|``)+`|[\w$]+)"
_MADE = re.compile(rb"CREATE (?:DATABASE|SCHEMA)\s+(?:IF NOT EXISTS\s+)?" + _NAME, re.IGNORECASE)
_CHARSET = re.compile(rb"CHARACTER SET\s*=?\s*(\w+)", re.IGNORECASE)
_COLLATION = re.compile(rb"COLLATE\s*=?\s*(\w+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Default:
    """A schema's default character set, and its collation; empty: the character set's own."""

    charset: str
    collation: str = ""


@dataclass(frozen=True, slots=True)
class _Drop:
    """One thing to be dropped."""

    kind: str  # as SQL says it
    name: str


def default_of(dump: Path, database: str, entry: str = "", *, stop: Stop = never) -> Default | None:
    """What the dump says of the schema's own default; None where it does not make the schema.

    Only a dump of several databases is read further than to its first table.
    """
    several = False
    with opened(dump, entry) as packed:
        for part in read(packed.stream):
            if stop():
                raise RestoreError("Reading the dump was stopped. Nothing was changed.", "Start the step again.")
            if not isinstance(part, Statement):
                continue
            words = words_of(part.text)
            if words.startswith("CREATE TABLE") and not several:
                return None
            if words.startswith(("CREATE DATABASE", "CREATE SCHEMA")):
                several = True
                text = re.sub(rb"/\*M?!\d*|\*/", b" ", part.text)
                made = _MADE.match(re.sub(rb"\s+", b" ", text))
                if made and plain_name(made[1]) == database:
                    charset, collation = _CHARSET.search(text), _COLLATION.search(text)
                    return Default(charset[1].decode(), collation[1].decode() if collation else "") if charset else None
    return None


def empty_schema(
    connection: Connection[Cursor],
    schema: str,
    *,
    default: Default | None = None,
    say: Say = silent,
    at: At = nowhere,
    stop: Stop = never,
) -> int:
    """Drop everything in the schema, and set its default where one is given. How many things were dropped.

    The schema itself stays, and so do the rights on it. The connection's foreign key checks are off afterwards. What
    the login may not see stays. Raises RestoreError: what is left then is unfinished.
    """
    found = objects_of(connection, schema)
    dropped = _drop(connection, found, _everything(found), say, at, stop)
    left = objects_of(connection, schema)
    if not left.empty:
        raise RestoreError(
            f"{drawable(schema)} is not empty after everything in it was dropped: somebody makes new tables in it.",
            "Stop what writes there, then start the step again; or undo (u).",
        )
    if default is not None:
        _set_default(connection, left, default, say, at)
    return dropped


def drop_only(
    connection: Connection[Cursor],
    schema: str,
    facts: DumpFacts,
    *,
    say: Say = silent,
    at: At = nowhere,
    stop: Stop = never,
) -> int:
    """Drop what the dump makes anew, and leave everything else. How many things were dropped. As `empty_schema`."""
    found = objects_of(connection, schema)
    folded = _folds(connection)
    tables = {_key(name, folded=folded) for name in (*(one.name for one in facts.tables), *facts.views)}
    tables |= {_key(name, folded=folded) for name in facts.sequences}
    code = {name.casefold() for name in (*facts.routines, *facts.events)}  # names of these have no case

    def wanted(one: _Drop) -> bool:
        match one.kind:
            case "TABLE" | "VIEW" | "SEQUENCE":
                return _key(one.name, folded=folded) in tables
            case "TRIGGER":
                return one.name in facts.triggers
            case _:
                return one.name.casefold() in code

    return _drop(connection, found, (one for one in _everything(found) if wanted(one)), say, at, stop)


def load_in_place(
    job: Job, facts: DumpFacts, *, rebuild: bool, hooks: Hooks | None = None, last: Callable[[], None] = lambda: None
) -> Loaded:
    """Make the live schema what the dump is: emptied (or, without `rebuild`, the dump's own things dropped), loaded.

    Begun again, it begins at the start, unless `job.done` names tables that are complete already: then nothing is
    dropped, and the load goes on. `last` is called right before the first change, and may refuse.
    """
    hooks = hooks or Hooks()
    default = default_of(job.dump, job.source, job.entry, stop=hooks.stop)
    last()
    if not job.done:
        clear(job, facts, default, rebuild=rebuild, hooks=hooks)
    return load(job, hooks)


def clear(job: Job, facts: DumpFacts, default: Default | None, *, rebuild: bool, hooks: Hooks) -> None:
    """The first half of a load in place, on a connection of its own."""
    connection = connect(job.place, job.login, database=job.schema)
    try:
        hooks.opened(connection_id(connection))
        if not job.binary_log:
            leave_out_of_binary_log(connection)
        if rebuild:
            number = empty_schema(connection, job.schema, default=default, say=hooks.say, at=hooks.at, stop=hooks.stop)
        else:
            number = drop_only(connection, job.schema, facts, say=hooks.say, at=hooks.at, stop=hooks.stop)
    finally:
        close(connection)
    hooks.say(f"dropped {count(number)} tables, views, routines, triggers and events of {job.schema}")


def _everything(found: Objects) -> Iterator[_Drop]:
    """In the order in which nothing runs or is missed by what is still there."""
    yield from (_Drop("EVENT", name) for name in found.events)
    yield from (_Drop("TRIGGER", name) for name in found.triggers)
    yield from (_Drop("VIEW", name) for name in found.views)
    yield from (_Drop("TABLE", table.name) for table in found.tables)
    yield from (_Drop("SEQUENCE", name) for name in found.sequences)
    yield from (_Drop(kind, name) for kind, name in found.routines)


def _drop(connection: Connection[Cursor], found: Objects, drops: Iterator[_Drop], say: Say, at: At, stop: Stop) -> int:
    _run(connection, "SET SESSION foreign_key_checks = 0", "The session's settings")
    _run(connection, f"SET SESSION lock_wait_timeout = {_LOCK_WAIT}", "The session's settings")
    number = 0
    for one in drops:
        if stop():
            raise RestoreError(
                f"Stopped while {drawable(found.schema)} was emptied: it is unfinished.", "Go on (r), or undo (u)."
            )
        at(f"drop.{one.kind.lower().replace(' ', '-')}.before")
        _run(
            connection,
            f"DROP {one.kind} IF EXISTS {quoted(found.schema)}.{quoted(one.name)}",
            f"Dropping {one.kind.lower()} {drawable(one.name)}",
        )
        at(f"drop.{one.kind.lower().replace(' ', '-')}.after")
        number += 1
        say(f"dropped {one.kind.lower()} {one.name}")
    return number


def _set_default(connection: Connection[Cursor], now: Objects, wanted: Default, say: Say, at: At) -> None:
    if not all(_WORD.fullmatch(word) for word in (wanted.charset, wanted.collation or "x")):
        raise RestoreError("The dump's default character set is no name.", "Choose another dump.")
    if now.charset == wanted.charset and wanted.collation in ("", now.collation):
        return
    collate = f" COLLATE {wanted.collation}" if wanted.collation else ""
    at("default.before")
    _run(
        connection,
        f"ALTER DATABASE {quoted(now.schema)} CHARACTER SET {wanted.charset}{collate}",
        f"Setting the default character set of {drawable(now.schema)}",
    )
    at("default.after")
    say(f"default character set {wanted.charset}{collate.lower()}; it was {now.charset} collate {now.collation}")


def _run(connection: Connection[Cursor], statement: str, what: str) -> None:
    import pymysql

    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    except pymysql.err.MySQLError as error:
        hint = "Look at what the login may do, and at the server's error log; then go on (r), or undo (u)."
        if lost(error):
            hint = "The connection was lost: go on (r) when the server is back."
        elif error.args and error.args[0] == 1205:
            hint = "Somebody has it locked: SHOW PROCESSLIST says who. End that, then go on (r), or undo (u)."
        raise RestoreError(f"{what} failed: {meaning(error)}. The schema is unfinished.", hint) from None


def _folds(connection: Connection[Cursor]) -> bool:
    """Are names of tables without case on this server?"""
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@lower_case_table_names")
        return bool((cursor.fetchone() or (0,))[0])


def _key(name: str, *, folded: bool) -> str:
    return name.casefold() if folded else name
