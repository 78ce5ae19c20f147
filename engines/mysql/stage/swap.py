"""Makes the staged schema the live one: the replaced tables are parked, and everything around them is made again.

What is planned is kept by the caller first. Where a swap stands is seen on the server alone (`position`), and both
`go_live` and `back.put_back` go on from wherever that is: killed at any statement, either ends in exactly one schema.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from engines.errors import Refused
from engines.hooks import At, Say, nowhere, silent
from engines.mysql.dumps.code import Kind, with_status
from engines.mysql.stage import objections
from engines.mysql.stage.ask import schema_exists, settle, told
from engines.mysql.stage.code import StagedCode
from engines.mysql.stage.found import default_collation, look, tables
from engines.mysql.stage.names import Names
from engines.mysql.stage.objects import Code, in_order, read_code
from engines.mysql.stage.schema import Owner, creation, owner
from engines.mysql.stage.steering import LOOK, Position, Standing, standing_of, steer
from engines.mysql.stage.steps import Goal, Swap, Tables, remaining, strange, where
from engines.text import drawable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

__all__ = ["Position", "Standing", "Swap", "go_live", "plan", "position"]


def plan(
    connection: Connection[Cursor],
    names: Names,
    session: str,
    *,
    staged: StagedCode,
    leave_ghosts: bool = False,
    binary_log: bool = True,
) -> Swap:
    """What a swap would do, from what both schemas are now. Changes nothing.

    `staged`: what `code.make` said, with the status that each event is to have, since all are disabled on the stage. A
    swap that was begun has taken the stage's triggers off: `code.make` comes before another plan.
    `leave_ghosts`: tables and code that only the live schema has stay. Raises Refused where it can't be done.
    """
    settle(connection, binary_log=binary_log)
    with told("The schemas could not be read. Nothing was changed", LOOK):
        if owner(connection, names, session) is not Owner.US:
            raise Refused(f"{names.stage} was not made by this session. Nothing was changed.", "Load the dump first.")
        incoming, live = tables(connection, names.stage), tables(connection, names.live)
        if not incoming:
            raise Refused(f"There is no table in {names.stage}. Nothing was changed.", "Load the dump first.")
        if tables(connection, names.parked) - {names.marker}:
            raise Refused(
                f"{names.parked} has tables already: a swap was begun. Nothing was changed.", "Resume that session."
            )
        old = read_code(connection, names.live)
        brought = tuple(_awake(code, staged) for code in read_code(connection, names.stage, names.live))
        if missing := {*staged.made} - {f"{code.kind} {code.name}" for code in brought}:
            raise Refused(
                f"{names.stage} lacks {', '.join(map(drawable, sorted(missing)[:5]))}. Nothing was changed.",
                "Make the dump's code again, then plan again.",
            )
        taken = incoming | {code.name for code in brought if code.kind is Kind.VIEW}
        parks = live & taken if leave_ghosts else live
        made = Swap(
            names=names,
            session=session,
            old_tables=tuple(sorted(live)),
            new_tables=tuple(sorted(incoming)),
            parks=tuple(sorted(parks)),
            old=old,
            new=_merged(old, brought, live - parks, incoming) if leave_ghosts else brought,
            create=creation(connection, names.live if live or old else names.stage, names.live),
            existed=schema_exists(connection, names.live),
            collation=default_collation(connection, names.live) or default_collation(connection, names.stage),
            binary_log=binary_log,
        )
        objections.refuse(connection, made)
        acts = remaining(made, look(connection, names), Goal.NEW)
        return replace(made, notes=objections.notes(connection, made), statements=tuple(act.sql for act in acts))


def _awake(code: Code, staged: StagedCode) -> Code:
    if code.kind is not Kind.EVENT:
        return code
    try:
        return replace(code, text=with_status(code.text, staged.events[code.name])[0])
    except KeyError:
        raise Refused(
            f"Which status the event {drawable(code.name)} had is not known. Nothing was changed.",
            "Load the dump's code again.",
        ) from None


def _merged(
    old: tuple[Code, ...], brought: tuple[Code, ...], stay: frozenset[str], incoming: frozenset[str]
) -> tuple[Code, ...]:
    """The new code and, of the old, what only the old has: but for triggers of tables that go, and shadowed views."""
    names = {code.key for code in brought}
    kept = [
        code
        for code in old
        if code.key not in names
        and (code.kind is not Kind.TRIGGER or code.table in stay)
        and (code.kind is not Kind.VIEW or code.name not in incoming)
    ]
    merged = sorted((*brought, *kept), key=lambda code: list(Kind).index(code.kind))
    views = in_order([code for code in merged if code.kind is Kind.VIEW])
    first = next((at for at, code in enumerate(merged) if code.kind is Kind.VIEW), 0)
    return (*merged[:first], *views, *merged[first + len(views) :])


def position(connection: Connection[Cursor], swap: Swap) -> Standing:
    """Where the swap stands, by what the server shows. Changes nothing."""
    with told("Where the swap stands could not be seen", LOOK):
        return standing_of(swap, look(connection, swap.names))


def go_live(connection: Connection[Cursor], swap: Swap, *, say: Say = silent, at: At = nowhere) -> Position:
    """Make the staged schema live, from wherever it stands. Returns NEW.

    Raises Refused where somebody holds a table or changed the live schema since the plan: then the old schema is live,
    whole. Raises RestoreError where a statement failed; the message says which tables are live.
    """
    settle(connection, binary_log=swap.binary_log)
    with told("The live schema could not be read", LOOK):
        found = look(connection, swap.names)
    if where(swap, found) is Tables.OLD and (changed := strange(swap, found)):
        raise Refused(
            f"{swap.names.live} was changed since the swap was planned: {', '.join(changed[:5])}. It was not replaced.",
            "Find out who did it; then plan again.",
        )
    steer(connection, swap, Goal.NEW, say=say, at=at)
    return Position.NEW
