"""What a server has executed already: it would leave such transactions out without a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engines.errors import Refused
from engines.mysql.binlogs.gtids import GtidSet
from engines.mysql.replay.plan import ReplayPlan
from engines.text import count

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor


def must_be_new(connection: Connection[Cursor], plan: ReplayPlan) -> None:
    """Refuses a plan that keeps GTIDs which the server has executed."""
    both = GtidSet.parse(plan.gtid_set) & _executed_by(connection)
    if both:
        raise Refused(
            f"The server has executed {count(len(both))} of these transactions already, and would leave them out "
            "silently. Nothing was replayed.",
            "Load again and replay with new GTIDs.",
        )


def _executed_by(connection: Connection[Cursor]) -> GtidSet:
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@GLOBAL.gtid_executed")
        row = cursor.fetchone()
    return GtidSet.parse(str(row[0]) if row else "")
