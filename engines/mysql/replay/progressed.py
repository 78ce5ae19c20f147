"""How far an interrupted replay came, where the server itself proves it: only then may it be continued.

Only MySQL does, and only with the logs' own GTIDs, executed by nobody else. Everything else is loaded and replayed
again from the start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from engines.errors import Refused
from engines.mysql.binlogs.decoding import MysqlGtid
from engines.mysql.binlogs.events import opened
from engines.mysql.binlogs.gtids import GtidSet, Source
from engines.mysql.flavour import Flavour
from engines.mysql.replay.plan import Gtids, Part, ReplayPlan, wanted
from engines.mysql.replay.sieve import Fate, Sieve
from engines.text import count

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor


@dataclass(frozen=True, slots=True)
class Far:
    """Everything of the plan before this place is in the target, and nothing after it."""

    file: str
    position: int  # byte
    transactions: int  # of the plan's


@dataclass(frozen=True, slots=True)
class Unproven:
    """Nobody can tell how far it came."""

    reason: str


def how_far(connection: Connection[Cursor], plan: ReplayPlan) -> Far | Unproven:
    """Where the plan's replay into this server ended. Raises what the connection raises."""
    if plan.flavour is Flavour.MARIADB:
        return Unproven("MariaDB does not keep which of several transactions a client has replayed")
    if plan.gtids is not Gtids.KEPT:
        return Unproven("it is replayed with new GTIDs, which do not tell what they stand for")
    if plan.temporary:
        return Unproven("temporary tables ended with the session that had them")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_type = 'BASE TABLE' "
            "AND engine NOT IN ('InnoDB', 'NDB', 'ndbcluster') LIMIT 1",
            (plan.schema,),
        )
        if cursor.fetchone() is not None:
            return Unproven("it has tables that know no transactions, which may have half of one")
    return _prefix(plan, executed_by(connection))


def must_be_new(connection: Connection[Cursor], plan: ReplayPlan) -> None:
    """A server leaves out transactions whose GTIDs it has executed, without a word. Refuses."""
    both = GtidSet.parse(plan.gtid_set) & executed_by(connection)
    if both:
        raise Refused(
            f"The server has executed {count(len(both))} of these transactions already, and would leave them out "
            "silently. Nothing was replayed.",
            "Go on where it proves to be, or load again and replay with new GTIDs.",
        )


def executed_by(connection: Connection[Cursor]) -> GtidSet:
    """The server's executed GTIDs."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@GLOBAL.gtid_executed")
        row = cursor.fetchone()
    return GtidSet.parse(str(row[0]) if row else "")


def continued(plan: ReplayPlan, far: Far) -> ReplayPlan:
    """The rest of the plan."""
    names = [part.name for part in plan.parts]
    if far.file not in names:
        raise Refused(f"{far.file} is not in this plan. Nothing was changed.", "Load and replay from the start.")
    index = names.index(far.file)
    first = plan.parts[index]
    parts = (Part(first.path, first.name, far.position, first.end), *plan.parts[index + 1 :])
    left = [(one.source, one.number, one.number) for one in _places(plan)][far.transactions :]
    return replace(
        plan,
        parts=parts,
        transactions=plan.transactions - far.transactions,
        size=sum(part.end - part.begin for part in parts),
        gtid_set=str(GtidSet.of(left)),
    )


class _Place(NamedTuple):
    """A transaction of the plan."""

    file: str
    end: int  # byte
    source: Source
    number: int


def _places(plan: ReplayPlan) -> Iterator[_Place]:
    sieve = Sieve(wanted(plan))
    for part in plan.parts:
        with opened(Path(part.path), part.name) as log:
            sieve.begin_log(log)
            for event in log.events(part.begin, part.end):
                ended, _ = sieve.take(event)
                if not ended or sieve.fate not in (Fate.REPLAYED, Fate.PART):
                    continue
                match sieve.grouping.gtid:
                    case MysqlGtid(source=source, number=number) if source is not None:
                        yield _Place(part.name, event.end, source, number)


def _prefix(plan: ReplayPlan, executed: GtidSet) -> Far | Unproven:
    """How many of the plan's transactions, from the first on, the server has; it must have none after a missing one."""
    number = 0
    file, position = plan.start
    missing = False
    for place in _places(plan):
        if not executed.has(place.source, place.number):
            missing = True
        elif missing:
            return Unproven("it executed transactions behind one that it has not: something else replays there too")
        else:
            number += 1
            file, position = place.file, place.end
    if not missing and number != plan.transactions:
        return Unproven(f"the logs have {count(number)} transactions, and the plan {count(plan.transactions)}")
    return Far(file, position, number)
