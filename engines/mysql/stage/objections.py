"""Why a swap can't be done, found before it is begun; and what an operator should know of one that can."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from engines.errors import Refused
from engines.mysql.connect import quoted
from engines.mysql.dumps.code import Kind
from engines.mysql.stage.ask import rows, texts
from engines.mysql.stage.objects import Code
from engines.mysql.stage.steps import Swap
from engines.text import count, drawable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_IN_PLACE = 'Restore in place (method = "in-place").'
_QUOTED = r"(?:`((?:[^`]|``)*)`|\"((?:[^\"]|\"\")*)\")"  # double quotes: made under ANSI_QUOTES
_DEFINER = re.compile(rf"^CREATE (?:ALGORITHM=\w+ )?DEFINER={_QUOTED}(?:@{_QUOTED})?")
_DEFINES = re.compile(r"\b(?:ALL PRIVILEGES|SUPER|SET_ANY_DEFINER|SET_USER_ID|SET USER)\b")
_TRUSTED = re.compile(r"\b(?:ALL PRIVILEGES|SUPER)\b")
_LOGGED = (Kind.TRIGGER, Kind.FUNCTION)


def refuse(connection: Connection[Cursor], swap: Swap) -> None:
    """Raises Refused with everything that stands against the swap."""
    found = tuple(_objections(connection, swap))
    if not found:
        return
    told = "; ".join(what for what, _ in found[:6])
    hints = " ".join(dict.fromkeys(hint for _, hint in found))
    raise Refused(f"The schemas can't be swapped: {told}. Nothing was changed.", hints)


def _objections(connection: Connection[Cursor], swap: Swap) -> Iterator[tuple[str, str]]:
    yield from _foreign_keys(connection, swap)
    yield from _defaults(connection, swap)
    yield from _broken_views(swap)
    yield from _rights(connection, swap)
    yield from _libraries(connection, swap)


def _foreign_keys(connection: Connection[Cursor], swap: Swap) -> Iterator[tuple[str, str]]:
    """A foreign key goes with its table: from another schema it would point into the parked one for ever."""
    names = swap.names
    pairs = rows(
        connection,
        "SELECT constraint_schema, table_name, unique_constraint_schema, referenced_table_name "
        "FROM information_schema.referential_constraints "
        "WHERE constraint_schema IN (%s, %s) OR unique_constraint_schema IN (%s, %s)",
        *(names.live, names.stage) * 2,
    )
    parks = set(swap.parks)
    for row in pairs:
        child_schema, child, parent_schema, parent = map(str, row)
        told = f"{drawable(child_schema)}.{drawable(child)} refers to {drawable(parent_schema)}.{drawable(parent)}"
        if child_schema != parent_schema:
            yield told, f"Drop that foreign key and add it again afterwards. Or: {_IN_PLACE}"
        elif child_schema == names.live and (child in parks) is not (parent in parks):
            yield f"{told}, and only one of them is replaced", 'Replace both (ghosts = "rebuild").'


def _defaults(connection: Connection[Cursor], swap: Swap) -> Iterator[tuple[str, str]]:
    """MariaDB: a column's default that takes from a sequence names the schema, and a rename leaves it as it is."""
    for schema in (swap.names.live, swap.names.stage):
        wanted = f"nextval({quoted(schema)}."
        for table, column, default in rows(
            connection,
            "SELECT table_name, column_name, column_default FROM information_schema.columns "
            "WHERE table_schema = %s AND column_default LIKE '%%nextval(%%'",
            schema,
        ):
            if schema == swap.names.live and wanted in str(default):
                continue  # parked, it takes from the new sequence; nobody writes there
            yield f"the default of {drawable(str(table))}.{drawable(str(column))} takes from a sequence", _IN_PLACE


def _broken_views(swap: Swap) -> Iterator[tuple[str, str]]:
    wanted = {code.key: code for code in swap.new}
    goes = {code.name for code in swap.old if code.kind is Kind.VIEW and wanted.get(code.key) != code}
    views = [(swap.names.live, code) for code in swap.old if code.name in goes]
    views += [(swap.names.stage, code) for code in swap.new if code not in swap.old]
    for schema, code in views:
        if code.broken:
            yield (
                f"the view {drawable(schema)}.{drawable(code.name)} refers to what is not there, and could not be made",
                "Drop that view, or mend it.",
            )


def _rights(connection: Connection[Cursor], swap: Swap) -> Iterator[tuple[str, str]]:
    """May the login make the code of both? The new one's was made on the stage, the old one's an undo would make."""
    code = (*swap.old, *swap.new)
    grants = " / ".join(grant for grant in texts(connection, "SHOW GRANTS") if " ON *.* " in grant)
    current = texts(connection, "SELECT CURRENT_USER()")[0]
    others = sorted({definer for one in code if (definer := definer_of(one)) not in ("", current)})
    if others and not _DEFINES.search(grants):
        yield (
            f"the login may not make code of {', '.join(map(drawable, others[:4]))}",
            "Grant it SET_ANY_DEFINER (MariaDB: SET USER).",
        )
    logged = rows(connection, "SELECT @@GLOBAL.log_bin, @@GLOBAL.log_bin_trust_function_creators")[0]
    if logged == (1, 0) and not _TRUSTED.search(grants) and any(one.kind in _LOGGED for one in code):
        yield (
            "with the binary log on, the login may not make triggers and functions",
            "SET GLOBAL log_bin_trust_function_creators = 1, or grant it SUPER.",
        )


def definer_of(code: Code) -> str:
    """`root@localhost`; empty where the server shows none."""
    found = _DEFINER.match(code.text)
    if found is None:
        return ""
    user = (found[1] or "").replace("``", "`") or (found[2] or "").replace('""', '"')
    host = (found[3] or "").replace("``", "`") or (found[4] or "").replace('""', '"')
    return f"{user}@{host}"


def _libraries(connection: Connection[Cursor], swap: Swap) -> Iterator[tuple[str, str]]:
    """MySQL 9.2 and later: JavaScript libraries, which are not carried over."""
    listed = "SELECT 1 FROM information_schema.tables WHERE table_schema = 'information_schema' AND table_name = %s"
    if not rows(connection, listed, "LIBRARIES"):
        return
    found = rows(
        connection,
        "SELECT COUNT(*) FROM information_schema.libraries WHERE library_schema IN (%s, %s)",
        swap.names.live,
        swap.names.stage,
    )
    if found[0][0]:
        yield f"it has {found[0][0]} libraries", _IN_PLACE


def notes(connection: Connection[Cursor], swap: Swap) -> tuple[str, ...]:
    """What to say of a swap that can be done."""
    replaced = {code.key for code in swap.old} - {code.key for code in swap.new if code in swap.old}
    lines = [
        f"grants on {drawable(swap.names.live)} and its tables go by name: they stay as they are",
        f"{count(len(swap.parks))} tables are parked in {drawable(swap.names.parked)} until the session is signed off",
    ]
    if stays := set(swap.old_tables) - set(swap.parks):
        lines.append(f"left as they are: {', '.join(map(drawable, sorted(stays)[:8]))}")
    if lost := _routine_grants(
        connection, swap, {name for kind, name in replaced if kind in (Kind.PROCEDURE, Kind.FUNCTION)}
    ):
        lines.append(f"grants on routines that are replaced go with them: {', '.join(lost[:8])}")
    return tuple(lines)


def _routine_grants(connection: Connection[Cursor], swap: Swap, routines: set[str]) -> list[str]:
    import pymysql

    if not routines:
        return []
    try:
        found = rows(connection, "SELECT routine_name, user, host FROM mysql.procs_priv WHERE db = %s", swap.names.live)
    except pymysql.err.MySQLError:
        return ["the login may not see which there are"]
    known = {name.lower() for name in routines}
    return [
        f"{drawable(str(name))} to {drawable(str(user))}@{drawable(str(host))}"
        for name, user, host in found
        if str(name).lower() in known
    ]
