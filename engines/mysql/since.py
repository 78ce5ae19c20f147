"""Says what was written to a schema since a place in the server's binary log: what replacing it would throw away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from engines.errors import Refused
from engines.hooks import Stop, never
from engines.mysql.binlogs.chain import Chain, Coordinates, chain
from engines.mysql.binlogs.fetch import fetch_log, listing
from engines.mysql.binlogs.logs import read_logs
from engines.mysql.binlogs.transactions import Transaction, transactions
from engines.mysql.connect import Login, Place, connected
from engines.mysql.queries import NotSaid, first_that_works
from engines.text import count, drawable, stamp

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor


@dataclass(frozen=True, slots=True)
class Point:
    """A place in the server's binary log."""

    file: str
    position: int  # byte

    def __str__(self) -> str:
        return f"{self.file}:{self.position}"


@dataclass(frozen=True, slots=True)
class Written:
    """Transactions that changed the schema after the point."""

    transactions: int
    tables: tuple[str, ...]
    last: datetime | None

    def __str__(self) -> str:
        named = ", ".join(map(drawable, self.tables[:5])) + (" and others" if len(self.tables) > 5 else "")
        when = f", the last at {stamp(self.last)}" if self.last else ""
        return f"{count(self.transactions)} transactions in {named}{when}"


def here(connection: Connection[Cursor]) -> Point | None:
    """Where the server writes its binary log now; None where it writes none, or does not tell."""
    try:
        rows = first_that_works(connection, "SHOW BINARY LOG STATUS", "SHOW MASTER STATUS")
    except NotSaid:
        return None
    return Point(str(rows[0]["file"]), int(str(rows[0]["position"]))) if rows else None


def written_since(
    place: Place, login: Login, schema: str, point: Point, private: Path, *, stop: Stop = never
) -> Written:
    """What changed `schema` after `point`, by the server's own log. Raises RestoreError where that can't be read.

    The logs hold what is in rows: while they are read they are in a folder of their own (0700) in `private`, which the
    caller removes in the end, since a kill leaves it.
    """
    with connected(place, login) as connection:
        now = here(connection)
        if now == point:
            return Written(0, (), None)
        listed = listing(connection)
        same = str(_lower(connection)) != "0"
    wanted = [one for one in listed if one.name >= point.file or len(one.name) > len(point.file)]
    if not wanted or wanted[0].name != point.file:
        raise Refused(
            f"The server no longer has {drawable(point.file)}, so what was written since can't be told.",
            "Look at its binary logs; take another safety snapshot.",
        )
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="since-", dir=private) as name:
        folder = Path(name)
        paths = [fetch_log(place, login, one, folder, growing=one is listed[-1], stop=stop) for one in wanted]
        found = chain(read_logs(paths, stop=stop), Coordinates(point.file, point.position), stop=stop)
        return _counted(_of(found, schema, same=same, stop=stop))


def _lower(connection: Connection[Cursor]) -> object:
    return first_that_works(connection, "SELECT @@lower_case_table_names AS lower_case")[0]["lower_case"]


def _of(found: Chain, schema: str, *, same: bool, stop: Stop) -> Iterator[Transaction]:
    for one in transactions(found.links, stop=stop):
        for touched in one.tables:
            if touched.schema == schema or (same and touched.schema.lower() == schema.lower()):
                yield one
                break


def _counted(found: Iterator[Transaction]) -> Written:
    number, names, last = 0, dict[str, None](), None
    for one in found:
        number += 1
        last = one.at
        names.update(dict.fromkeys(touched.table for touched in one.tables if touched.table))
    return Written(number, tuple(names), last)
