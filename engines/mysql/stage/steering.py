"""Drives a swap to the old or the new schema: does what is left, statement by statement, and proves that nothing is.

Shared by `swap` and `back`, which say which way.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from engines.errors import Refused, RestoreError
from engines.hooks import At, Say, nowhere, silent
from engines.mysql.connect import code_of, lost, quoted
from engines.mysql.dumps.code import Kind
from engines.mysql.errors import meaning
from engines.mysql.stage.ask import LOCK_WAIT, LOCKED, execute, schema_exists, told, use, users_of
from engines.mysql.stage.found import Found, look
from engines.mysql.stage.objects import make_code
from engines.mysql.stage.steps import Act, Goal, Swap, Tables, astray, moves, remaining, where

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

LOOK = "Look at the server's error log and at what the login may do; then go on (r) or undo (u)."
_DEFERRED = (1146, 1356, 1305)  # a view that stands on one that is not made yet


class Position(StrEnum):
    OLD = "old"
    NEW = "new"
    BETWEEN = "between"
    SETTLED = "settled"  # stage and parked schema are gone: whichever is live stays
    FOREIGN = "foreign"  # tables are where no swap of ours can have put them


@dataclass(frozen=True, slots=True)
class Standing:
    position: Position
    told: str  # for people: what is next, or what is wrong


def standing_of(swap: Swap, found: Found, wanted: Goal = Goal.OLD) -> Standing:
    """`wanted`: which schema is to be live; what only the other one lacks does not matter then."""
    tables_are = where(swap, found)
    if tables_are is Tables.GONE:
        return Standing(Position.SETTLED, f"neither {swap.names.stage} nor {swap.names.parked} is there any more")
    if wrong := astray(swap, found, wanted):
        return Standing(Position.FOREIGN, "; ".join(wrong[:5]))
    for goal, here in ((Goal.OLD, Position.OLD), (Goal.NEW, Position.NEW)):
        if tables_are.value == goal.value:
            left = remaining(swap, found, goal)
            if not left:
                return Standing(here, f"the {goal} schema is live")
            return Standing(
                Position.BETWEEN,
                f"the {goal} tables are live, and of the rest {len(left)} statements are left; next: {left[0].what}",
            )
    return Standing(Position.BETWEEN, "the tables are moved in part")


def steer(connection: Connection[Cursor], swap: Swap, goal: Goal, *, say: Say = silent, at: At = nowhere) -> None:
    """Do what is left on the way to `goal`, and prove that nothing is.

    Where the tables can't be renamed, what was taken off for it is put on again. The connection is settled already.
    """
    with told(f"The {goal} schema was not made live, nothing was changed", LOOK):
        found = look(connection, swap.names)
        standing = standing_of(swap, found, goal)
        if standing.position in (Position.SETTLED, Position.FOREIGN):
            raise _refusal(swap, standing)
        if away := [table for table, source, _ in moves(swap, found, goal) if source == swap.names.live]:
            _try_locks(connection, swap, away, say)
    try:
        _do(connection, swap, remaining(swap, found, goal), goal, say, at)
    except _NotRenamed as failure:
        back = Goal.OLD if goal is Goal.NEW else Goal.NEW
        if where(swap, found).value == back.value:
            say(f"the tables were not renamed ({failure.why}): what was dropped for it is made again")
            with told(f"The tables were not renamed, the {back} tables are live, but not all around them is", LOOK):
                look_again = look(connection, swap.names)
                _do(connection, swap, remaining(swap, look_again, back), back, say, at)
        raise _held(connection, swap, failure) from None
    with told(f"Whether the {goal} schema is live as a whole could not be seen", LOOK):
        standing = standing_of(swap, look(connection, swap.names))
    if standing.position.value != goal.value:
        raise RestoreError(
            f"The swap ended, but {standing.told}.", "Somebody else works on this schema? Then go on (r) or undo (u)."
        )
    say(f"{swap.names.live} is the {goal} schema")


class _NotRenamed(Exception):
    """A statement on the way up to the RENAME failed: no table was moved."""

    def __init__(self, what: str, error: BaseException) -> None:
        super().__init__(what)
        self.what, self.error, self.why = what, error, meaning(error)


def _do(connection: Connection[Cursor], swap: Swap, acts: tuple[Act, ...], goal: Goal, say: Say, at: At) -> None:
    import pymysql

    before = any(act.renames for act in acts)
    if schema_exists(connection, swap.names.live):
        use(connection, swap.names.live)
    left = deque(acts)
    patience = len(acts)
    while left:
        act = left.popleft()
        at(f"{goal}: {act.what}: before")
        try:
            if act.code is None:
                execute(connection, act.sql)
            else:
                use(connection, swap.names.live)
                make_code(connection, act.code)
        except (pymysql.err.MySQLError, OSError) as error:
            if act.code is not None and act.code.kind is Kind.VIEW and code_of(error) in _DEFERRED and patience:
                patience -= 1
                views = sum(1 for one in left if one.code is not None and one.code.kind is Kind.VIEW)
                left.insert(views, act)
                continue
            if before and not lost(error):
                raise _NotRenamed(act.what, error) from None
            raise _broken(swap, act, goal, error, before=before) from None
        at(f"{goal}: {act.what}: after")
        say(f"done: {act.what}")
        if act.renames:
            before = False


def _broken(swap: Swap, act: Act, goal: Goal, error: BaseException, *, before: bool) -> RestoreError:
    if lost(error):
        return RestoreError(
            f"The connection was lost at: {act.what} ({meaning(error)}). Its outcome is not known.",
            "When the server is back, look where it stands, then go on (r) or undo (u).",
        )
    return RestoreError(
        f"{act.what[0].upper()}{act.what[1:]} failed: {meaning(error)}. The {goal} tables of {swap.names.live} are "
        "live, and not all around them is.",
        "Mend what the message says, then go on (r), or undo (u).",
    )


def _held(connection: Connection[Cursor], swap: Swap, failure: _NotRenamed) -> RestoreError:
    if code_of(failure.error) in LOCKED:
        return _locked(connection, swap)
    return RestoreError(
        f"{failure.what[0].upper()}{failure.what[1:]} failed: {failure.why}. {swap.names.live} is as it was.", LOOK
    )


def _locked(connection: Connection[Cursor], swap: Swap) -> Refused:
    sessions = users_of(connection, swap.names.live)
    who = f" Sessions in {swap.names.live}: {', '.join(sessions[:8])}." if sessions else ""
    return Refused(
        f"Somebody holds a table of {swap.names.live}: after {LOCK_WAIT} s it was still locked. {swap.names.live} "
        f"is as it was.{who}",
        "End that session or let it finish its transaction; then go on (r).",
    )


def _refusal(swap: Swap, standing: Standing) -> Refused:
    if standing.position is Position.SETTLED:
        return Refused(
            f"This swap of {swap.names.live} is settled: {standing.told}. Nothing was changed.",
            "The safety snapshot is a restore point.",
        )
    return Refused(
        f"The tables of {swap.names.live} are not where this swap left them: {standing.told}. Nothing was changed.",
        "Somebody else works on this schema. Find out who, and put their tables aside.",
    )


def _try_locks(connection: Connection[Cursor], swap: Swap, away: list[str], say: Say) -> None:
    """Does anybody hold a table? Asked before anything is dropped, since a trigger that is missing is missed.

    MariaDB can't rename what it has locked, so that the locks are given back at once.
    """
    import pymysql

    named = ", ".join(f"{quoted(swap.names.live)}.{quoted(table)} WRITE" for table in away)
    try:
        execute(connection, f"LOCK TABLES {named}")
    except pymysql.err.MySQLError as error:
        if code_of(error) in LOCKED:
            raise _locked(connection, swap) from None
        if lost(error):
            raise
        say(f"locks could not be tried ({meaning(error)}); the statements themselves wait {LOCK_WAIT} s")
    finally:
        if connection.open:
            execute(connection, "UNLOCK TABLES")
