"""Asks the server whether its tables are sound, and rebuilds those, and only those, that it reports damaged.

CHECK TABLE reads each table and its indexes. On InnoDB a rebuild is ALTER TABLE … ENGINE, on MyISAM, Aria, ARCHIVE and
CSV it is REPAIR TABLE. Source: MySQL manual, "CHECK TABLE Statement", "Rebuilding or Repairing Tables or Indexes".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from engines.checks import Check, Panel, fail, ok, warn
from engines.errors import RestoreError
from engines.hooks import At, Progress, Say, Stop, never, nowhere, silent, unmeasured
from engines.mysql.connect import lost, quoted
from engines.mysql.errors import meaning
from engines.text import count, drawable, size

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

SOUND = "The tables are sound"
_REPAIRED = ("MYISAM", "ARIA", "ARCHIVE", "CSV")
_REBUILT = ("INNODB",)
# The start of a message: what follows a colon or a line's end may be a row's values (a partition's misplaced row).
_SAFE = re.compile(r"[^:\n]{0,160}")


class State(StrEnum):
    SOUND = "sound"
    DAMAGED = "damaged"
    UNCHECKED = "unchecked"  # its engine has no check


@dataclass(frozen=True, slots=True)
class Finding:
    """What the server says of one table."""

    table: str
    engine: str
    state: State
    told: str = ""  # the first of what it said of a table that is not sound
    rebuilt: str = ""  # the statement that mended it, or was tried
    rows_lost: str = ""  # what the server said of rows that the repair left out


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    engine: str
    size: int  # bytes, as the server estimates them


def check_tables(
    connection: Connection[Cursor],
    schema: str,
    *,
    rebuild: bool = True,
    say: Say = silent,
    progress: Progress = unmeasured,
    stop: Stop = never,
    at: At = nowhere,
) -> tuple[Finding, ...]:
    """Check every table of a schema, and rebuild what is damaged. `progress` is in bytes of data.

    May be repeated. `stop` is honoured between tables. Raises RestoreError where the connection is lost: a damaged
    InnoDB page can end the server. The connection uses the schema afterwards.
    """
    findings: list[Finding] = []
    with _told(schema):
        connection.query(f"USE {quoted(schema)}")
        tables = _tables(connection, schema)
    total, done = sum(table.size for table in tables), 0
    for table in tables:
        if stop():
            left = len(tables) - len(findings)
            raise RestoreError(
                f"The check was stopped; {count(left)} of {count(len(tables))} tables were not looked at.",
                "Check again (r): it begins anew.",
            )
        progress(done, total)
        with _told(table.name):
            finding = _look(connection, table)
            if finding.state is State.DAMAGED:
                say(f"{table.name} ({table.engine}) is damaged: {finding.told}")
                if rebuild:
                    finding = _mend(connection, table, finding, say, at)
        findings.append(finding)
        done += table.size
    progress(total, total)
    say(f"{count(len(findings))} tables checked, {size(total)}")
    return tuple(findings)


def verdict(findings: Sequence[Finding]) -> Check:
    """The answer of all tables together."""
    damaged = [one for one in findings if one.state is State.DAMAGED]
    mended = [one for one in findings if one.rebuilt and one.state is State.SOUND]
    unchecked = [one for one in findings if one.state is State.UNCHECKED]
    if damaged:
        told = "; ".join(f"{drawable(one.table)} ({one.engine}): {one.told}" for one in damaged[:4])
        hint = "Rows may be lost: compare counts, choose an older backup, and look at the disks under the server."
        return fail(SOUND, f"damaged: {told}", hint, Panel.VALIDATION)
    if poorer := [one for one in findings if one.rows_lost]:
        told = "; ".join(f"{drawable(one.table)}: {one.rows_lost}" for one in poorer[:4])
        hint = "The repair could not save every row. Load the table again, or undo; look at the server's disks."
        return fail(SOUND, f"rebuilt, with rows lost: {told}", hint, Panel.VALIDATION)
    told = f"CHECK TABLE on {count(len(findings))} tables"
    if mended:
        names = ", ".join(drawable(one.table) for one in mended[:6])
        hint = "A repair can drop rows: compare counts. Look at the disks under the server."
        return warn(SOUND, f"{told}; rebuilt: {names}", hint, Panel.VALIDATION)
    if unchecked:
        told += f"; without a check: {', '.join(drawable(one.table) for one in unchecked[:6])}"
    return ok(SOUND, told, Panel.VALIDATION)


def _tables(connection: Connection[Cursor], schema: str) -> tuple[_Table, ...]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, engine, COALESCE(data_length, 0) + COALESCE(index_length, 0) "
            "FROM information_schema.tables WHERE table_schema = %s AND table_type <> 'VIEW' ORDER BY 1",
            (schema,),
        )
        # A damaged table's engine is not shown where the server can't open it.
        return tuple(_Table(str(name), str(engine or ""), int(length)) for name, engine, length in cursor.fetchall())


def _look(connection: Connection[Cursor], table: _Table) -> Finding:
    state, told = _read(_answers(connection, f"CHECK TABLE {quoted(table.name)}"))
    return Finding(table.name, table.engine, state, told)


def _mend(connection: Connection[Cursor], table: _Table, before: Finding, say: Say, at: At) -> Finding:
    engine = table.engine
    # The engine of a table that can't be opened is not shown: those that REPAIR does not know, it leaves alone.
    if engine.upper() in _REPAIRED or not engine:
        statement = f"REPAIR TABLE {quoted(table.name)}"
    elif engine.upper() in _REBUILT:
        statement = f"ALTER TABLE {quoted(table.name)} ENGINE = {engine}"
    else:
        return before
    at(f"rebuild {table.name}: before")
    why, rows_lost = _rebuilt(connection, statement)
    at(f"rebuild {table.name}: after")
    after = _look(connection, table)
    told = after.told if after.state is not State.SOUND else before.told
    say(f"{statement}: {why or rows_lost or 'done'}; {table.name} is {after.state} now")
    said = "; ".join(dict.fromkeys(part for part in (why, told) if part))
    return Finding(table.name, engine, after.state, said, statement, rows_lost)


def _rebuilt(connection: Connection[Cursor], statement: str) -> tuple[str, str]:
    """Why it did not succeed, and what it says of rows that are lost; empty where there is nothing to say."""
    import pymysql

    try:
        if statement.startswith("ALTER"):
            connection.query(statement)
            return "", ""
        answers = _answers(connection, statement)
    except pymysql.err.MySQLError as error:
        if lost(error):
            raise
        return meaning(error), ""
    state, told = _read(answers)
    lost_rows = next((text for _, text in answers if text.startswith("Number of rows changed")), "")
    return (told if state is not State.SOUND else ""), drawable(lost_rows)


def _answers(connection: Connection[Cursor], statement: str) -> list[tuple[str, str]]:
    """(kind, text) of each line that CHECK or REPAIR answers."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return [(str(row[2]).lower(), str(row[3])) for row in cursor.fetchall()]


def _read(answers: Sequence[tuple[str, str]]) -> tuple[State, str]:
    """What the lines mean. The last is the status; a warning alone is none: a table that was not closed is mended."""
    wrong = [text for kind, text in answers if kind == "error"]
    status = [text for kind, text in answers if kind == "status"]
    sound = bool(status) and (status[-1] == "OK" or status[-1].startswith("Table is already up to date"))
    if sound and not wrong:
        return State.SOUND, ""
    unable = [text for kind, text in answers if kind == "note" and "doesn't support" in text]
    if unable and not wrong:
        return State.UNCHECKED, ""
    found = wrong or [text for _, text in answers]
    first = _SAFE.match(found[0]) if found else None
    return State.DAMAGED, drawable(first[0]).strip() if first else "no answer"


class _told:
    """Turns a server's error into one that the operator can act on."""

    def __init__(self, what: str) -> None:
        self.what = drawable(what)

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        import pymysql

        if not isinstance(error, (pymysql.err.MySQLError, OSError)):
            return
        if lost(error):
            raise RestoreError(
                f"The connection was lost while {self.what} was checked: {meaning(error)}.",
                "A damaged page can end the server: look at its error log. Then check again (r).",
            ) from None
        raise RestoreError(f"{self.what} could not be checked: {meaning(error)}.", "Check again (r).") from None
