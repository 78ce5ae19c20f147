"""Is the data the same on every server? Rows are counted and CHECKSUM TABLE is asked, on all servers at a time.

What CHECKSUM TABLE says depends on the row format and on how a version stores its types: it is compared only between
servers of one flavour and version family, and of tables with one row format. Nothing is changed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engines.checks import Check, Panel, fail, ok, unknown, warn
from engines.errors import RestoreError
from engines.hooks import Progress, Stop, never, unmeasured
from engines.mysql.connect import Login, Place, close, connect, connection_id, quoted
from engines.mysql.flavour import Version
from engines.mysql.queries import NotSaid, rows_of, value_of
from engines.text import count, drawable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_POLL = 0.1  # seconds between two looks at the word to stop
_TOLD = 5


@dataclass(frozen=True, slots=True)
class Sum:
    """One table as a server has it."""

    rows: int
    checksum: int | None  # None: the server does not say
    row_format: str


@dataclass(frozen=True, slots=True)
class Survey:
    """One server's tables. `why` is empty unless it could not be surveyed to the end."""

    tables: Mapping[str, Sum] = field(default_factory=dict)
    why: str = ""


def survey(
    places: Sequence[Place],
    login: Login,
    schema: str,
    tables: Sequence[str] | None = None,
    *,
    progress: Progress = unmeasured,
    stop: Stop = never,
) -> Mapping[Place, Survey]:
    """Count and sum `tables` (default: all of the schema) on each server, one thread a server.

    `progress`: tables, of all servers. Raises RestoreError where it was stopped; a server that fails is told of.
    """
    tellers = [_Teller(place, login, schema, tables) for place in places]
    threads = [threading.Thread(target=teller.run, daemon=True) for teller in tellers]
    for thread in threads:
        thread.start()
    stopped = False
    for thread in threads:
        while thread.is_alive():
            thread.join(_POLL)
            progress(sum(len(one.found) for one in tellers), sum(one.total for one in tellers))
            if not stopped and stop():
                stopped = True
                for teller in tellers:
                    teller.end()
    if stopped:
        raise RestoreError("Comparing the nodes was stopped. Nothing was changed.", "Compare them again (r).")
    for teller in tellers:
        if teller.defect is not None:
            raise teller.defect
    return {teller.place: Survey(dict(teller.found), teller.why) for teller in tellers}


class _Teller:
    """Surveys one server."""

    def __init__(self, place: Place, login: Login, schema: str, tables: Sequence[str] | None) -> None:
        self.place = place
        self.found: dict[str, Sum] = {}
        self.total = 0
        self.why = ""
        self.defect: Exception | None = None
        self._login, self._schema, self._wanted = login, schema, tables
        self._ended = threading.Event()
        self._connection: Connection[Cursor] | None = None

    def run(self) -> None:
        try:
            self._connection = connect(self.place, self._login)
            try:
                self._tell(self._connection)
            finally:
                close(self._connection)
        except (RestoreError, NotSaid) as error:
            self.why = error.message if isinstance(error, RestoreError) else error.why
        except Exception as error:  # noqa: BLE001 - a defect of ours: raised where the caller waits
            self.defect = error

    def end(self) -> None:
        """Let the server end what is under way."""
        self._ended.set()
        if self._connection is None:
            return
        with suppress(RestoreError, NotSaid):  # it has ended by itself, or the server has
            killer = connect(self.place, self._login)
            try:
                rows_of(killer, f"KILL QUERY {connection_id(self._connection)}")
            finally:
                close(killer)

    def _tell(self, connection: Connection[Cursor]) -> None:
        listed = {
            str(name): str(row_format or "")
            for name, row_format in rows_of(
                connection,
                "SELECT table_name, row_format FROM information_schema.tables "
                "WHERE table_schema = %s AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY table_name",
                (self._schema,),
            )
        }
        wanted = [name for name in listed if self._wanted is None or name in self._wanted]
        self.total = len(wanted)
        for name in wanted:
            if self._ended.is_set():
                return
            table = f"{quoted(self._schema)}.{quoted(name)}"
            rows = int(value_of(connection, f"SELECT COUNT(*) FROM {table}"))  # noqa: S608 - quoted as identifiers
            answer = rows_of(connection, f"CHECKSUM TABLE {table} EXTENDED")
            checksum = answer[0][1] if answer else None
            self.found[name] = Sum(rows, None if checksum is None else int(checksum), listed[name])


# -- judging --------------------------------------------------------------------------------------------------


def newer(before: Survey, now: Survey, again: Sequence[str] | None) -> Survey:
    """A survey of which some tables (None: all) were looked at again."""
    if again is None or now.why:
        return now
    kept = {name: one for name, one in before.tables.items() if name not in again}
    return Survey(kept | dict(now.tables))


def differing(here: Survey, there: Survey, *, comparable: bool) -> tuple[str, ...]:
    """Names of tables that are not the same."""
    names = sorted({*here.tables, *there.tables})
    return tuple(name for name in names if _difference(here.tables.get(name), there.tables.get(name), comparable))


def comparable(one: Version, other: Version) -> bool:
    """Are two servers of one flavour and version family, so that checksums of the same rows are the same?"""
    return one.flavour is other.flavour and one.numbers[:2] == other.numbers[:2]


def verdict(name: str, here: Survey, there: Survey, versions: tuple[Version, Version]) -> Check:
    """The same data? `versions`: of this server and of the node."""
    if here.why or there.why:
        hint = "Compare again (r) once it can be reached and asked."
        return unknown(name, there.why or f"this server could not be surveyed: {here.why}", hint, Panel.VALIDATION)
    sums = comparable(*versions)
    wrong = [
        f"{drawable(table)} {_difference(here.tables.get(table), there.tables.get(table), sums)}"
        for table in differing(here, there, comparable=sums)
    ]
    if wrong:
        more = f"; and {len(wrong) - _TOLD} more" if len(wrong) > _TOLD else ""
        hint = "Its data is not this server's: take it out of service, and make it anew from this one or a new backup."
        return fail(name, f"differs: {'; '.join(wrong[:_TOLD])}{more}", hint, Panel.VALIDATION)
    told = f"{count(len(here.tables))} tables, {count(sum(one.rows for one in here.tables.values()))} rows"
    if not sums:
        hint = "Compare some of its rows by hand: servers of two versions may sum up the same rows differently."
        return warn(
            name, f"{told}: the counts are the same; checksums are not compared, {versions[1]}", hint, Panel.VALIDATION
        )
    unsummed = [
        table
        for table, mine in here.tables.items()
        if mine.checksum is None
        or there.tables[table].checksum is None
        or mine.row_format != there.tables[table].row_format
    ]
    if unsummed:
        hint = "Compare their rows by hand: a checksum depends on the row format, or was not given."
        few = ", ".join(map(drawable, unsummed[:_TOLD]))
        return unknown(name, f"{told}: the counts are the same; no checksum of {few}", hint, Panel.VALIDATION)
    return ok(name, f"{told}: counts and checksums are the same", Panel.VALIDATION)


def _difference(here: Sum | None, there: Sum | None, sums: bool) -> str:
    if here is None or there is None:
        return "is not there" if there is None else "is there alone"
    if here.rows != there.rows:
        return f"has {count(there.rows)} rows, here {count(here.rows)}"
    told = here.checksum is not None and there.checksum is not None and here.row_format == there.row_format
    return "has other rows (by CHECKSUM TABLE)" if sums and told and here.checksum != there.checksum else ""
