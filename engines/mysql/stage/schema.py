"""Makes the schemas of a staged restore, and knows them again: a marker says whose they are.

The parked schema is made first, with a table in it whose comment names the session. As long as that stands, the three
names (stage, parked, account) are ours; without it, whatever has one of these names is somebody else's.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from engines.errors import Refused
from engines.hooks import At, Say, nowhere, silent
from engines.mysql.connect import code_of, quoted
from engines.mysql.stage.ask import execute, rows, schema_exists, settle, texts, told
from engines.mysql.stage.names import Names
from engines.mysql.stage.objects import drop_code
from engines.text import drawable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_COMMENT = "reinstate session "
_HINT = "Look at the server's error log and at what the login may do; then try again (r)."


_CLEARED = " cleared"


class Owner(StrEnum):
    NOBODY = "nobody"  # none of the names is taken
    US = "this session"
    OTHERS = "others"


def owner(connection: Connection[Cursor], names: Names, session: str) -> Owner:
    """Whose are the stage, the parked schema and the account?"""
    comment = _marked(connection, names)
    if comment is not None:
        return Owner.US if comment.removesuffix(_CLEARED) == _COMMENT + session else Owner.OTHERS
    if _taken(connection, names):
        return Owner.OTHERS
    return Owner.NOBODY


def is_kept(connection: Connection[Cursor], names: Names) -> bool:
    """Do stage and parked schema stand as the session left them? Not when their removal was begun."""
    comment = _marked(connection, names)
    return comment is not None and not comment.endswith(_CLEARED)


def mark_cleared(connection: Connection[Cursor], names: Names, session: str) -> None:
    """Before anything is removed: from here on nothing is concluded from what is missing."""
    _mark(connection, names, _COMMENT + session + _CLEARED)


def _mark(connection: Connection[Cursor], names: Names, comment: str) -> None:
    table = f"{quoted(names.parked)}.{quoted(names.marker)}"
    execute(connection, f"ALTER TABLE {table} COMMENT = {connection.escape(comment)}")


def _marked(connection: Connection[Cursor], names: Names) -> str | None:
    found = rows(
        connection,
        "SELECT table_comment FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
        names.parked,
        names.marker,
    )
    return str(found[0][0]) if found else None


def refuse_others(connection: Connection[Cursor], names: Names, session: str) -> None:
    """Raises Refused unless the names are ours, or nobody's."""
    if owner(connection, names, session) is Owner.OTHERS:
        taken = ", ".join(map(drawable, _taken(connection, names) or (names.parked,)))
        raise Refused(
            f"{taken}: already there, and not made by this session. Nothing was changed.",
            "Look whose it is. Another session's is removed by that session (sign-off, undo, abandon).",
        )


def prepare(
    connection: Connection[Cursor],
    names: Names,
    session: str,
    *,
    binary_log: bool = True,
    say: Say = silent,
    at: At = nowhere,
) -> None:
    """Make the parked schema with its marker, then an empty stage that takes after the live schema; may be repeated.

    The tables of an earlier attempt are kept: the loader knows which are complete. `session`: its id. Raises
    Refused where a name is taken by others.
    """
    settle(connection, binary_log=binary_log)
    refuse_others(connection, names, session)
    with told("The schema beside the live one could not be made", _HINT):
        _make(connection, names.parked, names.live, at)
        table = f"{quoted(names.parked)}.{quoted(names.marker)}"
        comment = connection.escape(_COMMENT + session)
        at("prepare: marker before")
        execute(connection, f"CREATE TABLE IF NOT EXISTS {table} (id INT PRIMARY KEY) COMMENT = {comment}")
        at("prepare: marker after")
        if not is_kept(connection, names):
            _mark(connection, names, _COMMENT + session)
        _make(connection, names.stage, names.live, at)
        drop_code(connection, names.stage, at=at)  # the account that loads may not, and triggers would fire
    say(f"schema {names.stage} is there; {names.parked} will keep the replaced tables")


def empty(connection: Connection[Cursor], names: Names, session: str, *, at: At = nowhere) -> None:
    """Throw the stage away and make it anew: for a load that begins from its start."""
    if owner(connection, names, session) is not Owner.US:
        refuse_others(connection, names, session)
        return
    with told("The staged schema could not be emptied", _HINT):
        at("empty: drop before")
        execute(connection, f"DROP DATABASE IF EXISTS {quoted(names.stage)}")
        at("empty: drop after")
        _make(connection, names.stage, names.live, at)


def creation(connection: Connection[Cursor], model: str, schema: str) -> str:
    """CREATE DATABASE IF NOT EXISTS with the defaults of another schema, or of the server where that is absent."""
    if not schema_exists(connection, model):
        return f"CREATE DATABASE IF NOT EXISTS {quoted(schema)}"
    text = str(rows(connection, f"SHOW CREATE DATABASE {quoted(model)}")[0][1])
    head = f"CREATE DATABASE {quoted(model)}"
    if not text.startswith(head):  # the server writes the name in small letters
        head = text[: len(head)]
    return f"CREATE DATABASE IF NOT EXISTS {quoted(schema)}{text[len(head) :]}"


def _make(connection: Connection[Cursor], schema: str, model: str, at: At) -> None:
    if schema_exists(connection, schema):
        return
    at("prepare: schema before")
    execute(connection, creation(connection, model, schema))
    at("prepare: schema after")


def _taken(connection: Connection[Cursor], names: Names) -> tuple[str, ...]:
    """Which of the names exist. A parked schema without anything in it is what a killed `prepare` leaves: free."""
    found = [name for name in (names.stage,) if schema_exists(connection, name)]
    if texts(connection, "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", names.parked):
        found.append(names.parked)
    if _account_exists(connection, names.account):
        found.append(names.account)
    return tuple(found)


def _account_exists(connection: Connection[Cursor], account: str) -> bool:
    import pymysql

    try:
        return bool(rows(connection, "SELECT 1 FROM mysql.user WHERE user = %s", account))
    except pymysql.err.MySQLError as error:
        if code_of(error) in (1142, 1044):
            return False  # the login may not look; making it will say so
        raise
