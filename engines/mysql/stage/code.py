"""Makes a dump's code (views, routines, triggers, events) in the staged schema, once the rows are in.

The account that loads rows may not: so the operator's own login does it, and nothing of the dump but this. Each
statement is one that makes or drops code in the stage itself, its name checked; making code runs none of it, and
events are made disabled. Source: mysqldump's and mariadb-dump's own output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import Refused, RestoreError
from engines.hooks import At, Progress, Say, Stop, never, nowhere, silent, unmeasured
from engines.mysql.connect import lost, quoted
from engines.mysql.dumps.code import Kind, charset_of, making, sets_only, with_status
from engines.mysql.dumps.effects import effect_of, words_of
from engines.mysql.dumps.packing import opened
from engines.mysql.dumps.statements import Insert, Statement, plain_name, read
from engines.mysql.errors import meaning
from engines.mysql.stage.ask import execute, neutral, settle, told, use
from engines.mysql.stage.found import default_collation
from engines.mysql.stage.names import Names
from engines.mysql.stage.objects import drop_code
from engines.mysql.stage.schema import Owner, owner
from engines.text import count, drawable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor


@dataclass(frozen=True, slots=True)
class StagedCode:
    made: tuple[str, ...] = ()  # "TRIGGER users_before"
    events: Mapping[str, str] = field(default_factory=dict)  # name -> the status that it has in the dump


def make(
    connection: Connection[Cursor],
    names: Names,
    session: str,
    dump: Path,
    *,
    source: str,
    entry: str = "",
    binary_log: bool = True,
    say: Say = silent,
    progress: Progress = unmeasured,
    stop: Stop = never,
    at: At = nowhere,
) -> StagedCode:
    """Make the dump's code in the stage, that of an earlier attempt removed first. `source`: the dump's database.

    Raises Refused where a statement reaches another schema, RestoreError where the server takes one not.
    """
    if owner(connection, names, session) is not Owner.US:
        raise Refused(f"{names.stage} was not made by this session. Nothing was changed.", "Load the dump first.")
    settle(connection, binary_log=binary_log)
    made: set[tuple[Kind, str]] = set()
    events: dict[str, str] = {}
    with told("The code of the dump could not be made", "Try again (r), or undo (u)."):
        drop_code(connection, names.stage, at=at)
        before = default_collation(connection, names.stage)
        use(connection, names.stage)
        try:
            for statement in _statements(dump, entry, source, progress, stop):
                _one(connection, names.stage, statement, source, made, events, at)
        finally:
            if connection.open:
                neutral(connection)
        if default_collation(connection, names.stage) != before:
            execute(connection, f"ALTER DATABASE {quoted(names.stage)} COLLATE = {before}")
    say(f"made {count(len(made))} views, routines, triggers and events in {names.stage}")
    return StagedCode(tuple(sorted(f"{kind} {name}" for kind, name in made)), events)


def _statements(dump: Path, entry: str, source: str, progress: Progress, stop: Stop) -> Iterator[Statement]:
    """The statements of the wanted database. Rows are passed over."""
    ours = True
    with opened(dump, entry) as stream:
        for part in read(stream.stream):
            if stop():
                raise RestoreError("Stopped. The live schema is untouched.", "Go on (r), or undo (u).")
            progress(stream.position(), stream.size)
            if isinstance(part, Insert):
                for _piece in part.values:
                    pass
            elif isinstance(part, Statement):
                if words_of(part.text).startswith("USE"):
                    ours = plain_name(part.text[3:].strip()) == source
                elif ours:
                    yield part


def _one(
    connection: Connection[Cursor],
    stage: str,
    statement: Statement,
    source: str,
    made: set[tuple[Kind, str]],
    events: dict[str, str],
    at: At,
) -> None:
    text = statement.text
    if (charset := charset_of(text, source)) is not None:
        execute(connection, f"ALTER DATABASE {quoted(stage)} {charset}")
        return
    if sets_only(text):
        if effect_of(statement) is None and b"SQL_LOG_BIN" not in text.upper():
            _run(connection, text, f"the setting at byte {count(statement.start)}")
        return
    making_ = making(statement, source)
    if making_ is None:
        return
    text = making_.text
    if making_.kind is Kind.EVENT and not making_.drops:
        text, events[making_.name] = _asleep(text, statement)
    at("code: make before")
    _run(connection, text, f"{making_.kind.lower()} {drawable(making_.name)}, at byte {count(statement.start)}")
    at("code: make after")
    (made.discard if making_.drops else made.add)((making_.kind, making_.name))


def _asleep(text: bytes, statement: Statement) -> tuple[bytes, str]:
    try:
        changed, status = with_status(text.decode("utf-8", "surrogateescape"), "DISABLE")
    except (ValueError, IndexError) as error:
        raise Refused(
            f"The event at byte {count(statement.start)} is not in a dump program's form: {error}. It was not made.",
            "Take it out of a copy of the dump, or restore in place.",
        ) from None
    return changed.encode("utf-8", "surrogateescape"), status


def _run(connection: Connection[Cursor], text: bytes, what: str) -> None:
    import pymysql

    try:
        execute(connection, text)
    except pymysql.err.MySQLError as error:
        if lost(error):
            raise
        raise RestoreError(
            f"The server does not take the {what}: {meaning(error)}. The live schema is untouched.",
            "1227, 1419: the login needs SET_ANY_DEFINER (MariaDB: SET USER) and, with the binary log on, SUPER or "
            "log_bin_trust_function_creators = 1. Otherwise restore in place, or choose another dump.",
        ) from None
