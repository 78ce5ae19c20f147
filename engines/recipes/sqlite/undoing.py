"""The way back: keep what is live now, put the old database back, and show that it is as it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from engines import checks
from engines.checks import Panel
from engines.errors import RestoreError
from engines.recipes.expected import before_of
from engines.recipes.grid import MATCH, MISMATCH
from engines.recipes.recalling import token
from engines.recipes.sqlite.facts import planned_swap, told_rows
from engines.recipes.sqlite.ground import accepts_unseen
from engines.recipes.sqlite.replacing import keep, kept_mark, told
from engines.session.events import GridMade, GridRow
from engines.session.state import SessionState
from engines.session.work import Work
from engines.sqlite import files, swap
from engines.sqlite.inspect import look
from engines.sqlite.proof import count_tables
from engines.targets import SqliteTarget
from engines.text import count, drawable

UNDONE = "old database"
BEFORE_UNDO = "before-undo"


def written_since(state: SessionState, planned: swap.Swap) -> tuple[str, ...]:
    """What was written to the restored database since it went live, and an undo would therefore discard."""
    then = state.facts("replace").get("fingerprint")
    if swap.where(planned) not in (swap.Position.NEW, swap.Position.UNDOING):
        return ("nothing is discarded: the old database is live",)
    if then is None:
        return ("what was written since is not known: all of it is discarded (a snapshot is kept)",)
    try:
        change = swap.changed_since(planned.live, msgspec.convert(then, swap.Fingerprint))
    except RestoreError as error:
        return (f"what was written since is not known ({drawable(error.message)}); a snapshot of it is kept",)
    if not change.changed:
        return ("nothing was written since it went live: nothing is discarded",)
    return ("DISCARDED, though kept in the snapshot: what was written since it went live", *change.evidence)


def keep_present(work: Work, target: SqliteTarget) -> Mapping[str, object]:
    planned = planned_swap(work.state)
    for line in written_since(work.state, planned):
        work.say(line)
    live = look(str(target.database))
    return told(keep(work, target, live, BEFORE_UNDO), live)


def put_old_back(work: Work, target: SqliteTarget) -> Mapping[str, object]:
    planned = planned_swap(work.state)
    since = kept_mark(work, target, planned, "keep-present", BEFORE_UNDO)
    position = swap.put_back(planned, since=since, accept_unseen=accepts_unseen(work.state), say=work.say, at=work.at)
    return {"message": f"{planned.live} is as it was before ({position})"}


def compare_undone(work: Work, target: SqliteTarget) -> Mapping[str, object]:
    """The tables of the database that was put back, against the safety snapshot's."""
    live = look(str(target.database))
    if live.kind != "database":
        planned = planned_swap(work.state)
        right = live.kind == planned.before_kind
        told = f"it is {live.kind}, it was {planned.before_kind}"
        hint = "The raw files are with the safety snapshot."
        work.check(
            checks.ok(UNDONE, told, Panel.VALIDATION) if right else checks.fail(UNDONE, told, hint, Panel.VALIDATION)
        )
        return {"message": told}
    now = {table.table: table.rows for table in count_tables(live.path, stop=work.stopped)}
    before = before_of(work.state)
    rows = tuple(_row(table, before.get(table), now.get(table)) for table in sorted(before.keys() | now.keys()))
    work.emit(GridMade(UNDONE, rows))
    wrong = [row.table for row in rows if row.verdict != MATCH]
    if wrong:
        hint = "Something wrote to it between the snapshot and the replacement. The snapshot is a restore point."
        work.check(checks.fail(UNDONE, f"differs from before: {', '.join(wrong)}", hint, Panel.VALIDATION))
    else:
        work.check(checks.ok(UNDONE, f"every count as before: {told_rows(now)}", Panel.VALIDATION))
    return {"message": f"differs: {', '.join(wrong)}" if wrong else "every count is as it was before"}


def _row(table: str, before: int | None, now: int | None) -> GridRow:
    difference = now - before if now is not None and before is not None else None
    told = count(before) if before is not None else ""
    return GridRow(table, before, told, now, difference, MATCH if now == before else MISMATCH, "safety snapshot")


def clear_up(work: Work, target: SqliteTarget) -> Mapping[str, object]:
    return {
        "removed": list(leave(work.state, target)),
        "message": "nothing of this session is left beside the database",
    }


def leave(state: SessionState, target: SqliteTarget) -> tuple[str, ...]:
    """Remove what is only this session's from beside the database, where the old database is live."""
    if state.did("replace"):
        planned = planned_swap(state)
        if swap.where(planned) in (swap.Position.OLD, swap.Position.BACK):
            return swap.clear(planned)
        return ()
    staged = files.beside(look(str(target.database)).path, token(state), "staged")
    for path in (found := files.present((staged,))):
        Path(path).unlink()
    return found
