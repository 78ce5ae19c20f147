"""The way back: keep what is live now, put the old schema back, and show that it is as it was; and clearing up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engines import checks
from engines.checks import Panel
from engines.errors import Refused, RestoreError
from engines.hooks import At, Say, nowhere, silent
from engines.mysql import rates, since
from engines.mysql.connect import connection_id
from engines.mysql.programs import Tool, find
from engines.mysql.same import same
from engines.mysql.snapshot import Snapshot
from engines.mysql.stage import back
from engines.mysql.stage.found import look
from engines.mysql.stage.steps import Swap, Tables, where
from engines.mysql.stage.swap import Position
from engines.mysql.stage.swap import position as standing
from engines.mysql.undo import PutBack, put_back
from engines.recipes.mysql import keeping, pulling, reach, staging
from engines.recipes.mysql.loading import (
    BEFORE_UNDO,
    hooks_of,
    keep,
    last_look,
    planned_swap,
    refuse_used,
    refuse_written,
    right_server,
    snapshot_of,
)
from engines.recipes.mysql.opened import bulk, opened, turn_off, turned_on
from engines.recipes.steps import NOTHING_DISCARDED
from engines.session.state import SessionState
from engines.session.work import Work
from engines.targets import MysqlTarget
from engines.text import drawable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

UNDONE = "old schema"


def written_since(state: SessionState, target: MysqlTarget) -> tuple[str, ...]:
    """What was written to the restored schema since it went live, and an undo would therefore discard."""
    if not (state.did("load") or state.did("swap")):
        return ()
    found = next(
        (point for action in ("replay", "swap", "load") if (point := state.facts(action).get("point"))),
        None,
    )
    if state.did("swap"):
        found = state.facts("swap").get("point")
    if not found:
        return ("what was written since is not known: all of it is discarded (a snapshot is kept)",)
    try:
        written = since.written_since(
            reach.place_of(target),
            reach.login_of(target),
            target.database,
            msgspec.convert(found, since.Point),
            reach.staging_of(target, state),
        )
    except RestoreError as error:
        return (f"what was written since is not known ({drawable(error.message)}); a snapshot of it is kept",)
    if not written.transactions:
        return (f"nothing was written since it went live: {NOTHING_DISCARDED}",)
    return ("DISCARDED, though kept in the snapshot: what was written since it went live", str(written))


def keep_present(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    with right_server(work, target):
        for line in written_since(work.state, target):
            work.say(line)
        return keep(work, target, BEFORE_UNDO)


def put_old_back(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    """Where the tables were swapped, they are renamed back; where the schema was loaded in place, the snapshot is."""
    with right_server(work, target) as connection:
        planned = planned_swap(work.state)
        if planned is not None:
            return _swap_back(work, target, connection, planned)
        kept = keeping.brought(work, target, _kept(work.state))
        tell = opened(work, connection)

        def last() -> None:
            last_look(work, target, "put-back", "keep-present", BEFORE_UNDO)

        with bulk(work, target, connection) as by_bulk, work.children("mysql") as started:
            asked = PutBack(
                snapshot=kept,
                place=reach.place_of(target),
                login=reach.login_of(target),
                schema=target.database,
                client=find(Tool.CLIENT, reach.flavour_of(target)),
                private=reach.private(work),
                connections=reach.connections_of(target),
                bulk=by_bulk,
                binary_log=reach.logs_all(target),
            )
            loaded = put_back(asked, hooks_of(work, tell), started=started, last=last)
    return {"message": f"{loaded.tables} tables, {loaded.rows} rows of {kept.name} are back in {target.database}"}


def _swap_back(work: Work, target: MysqlTarget, connection: Connection[Cursor], planned: Swap) -> Mapping[str, object]:
    opened(work, connection)(connection_id(connection))
    if where(planned, look(connection, planned.names)) is Tables.NEW:
        begun = work.state.facts("put-back").get("begun")
        if begun and standing(connection, planned).position is not Position.NEW:
            refuse_used(work, target)  # what an earlier attempt has taken off is no writing of others
        else:
            refuse_written(work, target, "keep-present", BEFORE_UNDO)
        work.found(begun=True)
    back.put_back(connection, planned, say=work.say, at=work.at)
    return {"message": f"{target.database} is as it was before: the kept tables are back"}


def _kept(state: SessionState) -> Snapshot:
    kept = snapshot_of(state, "load") or snapshot_of(state, "snapshot")
    if kept is None:
        raise Refused(
            "There is no safety snapshot that could be put back: there was nothing to keep. Nothing was changed.",
            "Drop the schema by hand if it is not wanted, and abandon the session (x).",
        )
    return kept


def compare_undone(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    """The schema that was put back, against the safety snapshot, statement by statement."""
    kept = snapshot_of(work.state, "swap") or snapshot_of(work.state, "load") or snapshot_of(work.state, "snapshot")
    if kept is None or kept.path is None:
        told = "there was nothing before the restore to compare with"
        work.check(checks.ok(UNDONE, told, Panel.VALIDATION))
        return {"message": told}
    found = same(
        find(Tool.DUMP, reach.flavour_of(target)),
        reach.place_of(target),
        reach.login_of(target),
        target.database,
        Path(str(keeping.brought(work, target, kept).path)),
        private=reach.private(work),
        stop=work.stopped,
    )
    if found.same:
        told = f"{found.statements} statements of a dump are as in the safety snapshot"
        work.check(checks.ok(UNDONE, told, Panel.VALIDATION))
    else:
        told = f"it differs from the safety snapshot: {found.difference}"
        hint = "Something wrote to it between the snapshot and the restore. The snapshot is a restore point."
        work.check(checks.fail(UNDONE, told, hint, Panel.VALIDATION))
    return {"message": told}


# -- clearing up ------------------------------------------------------------------------------------------------


def clear_up(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    """After the last sign-off: then nothing is undone but by the safety snapshot."""
    removed = _on_server(work.state, target, say=work.say, at=work.at)
    removed += staging.clear(target, work.state)
    for name in removed:
        work.say(f"removed {name}")
    return {"removed": list(removed), "message": "closed; the safety snapshot stays a restore point"}


def clear_undone(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    return {"removed": list(leave(work.state, target)), "message": "nothing of this session is left on the server"}


def leave(state: SessionState, target: MysqlTarget) -> tuple[str, ...]:
    """Remove what is only this session's, where the old schema is live or nothing was replaced."""
    planned = planned_swap(state)
    if planned is not None:
        with reach.reached(target) as connection:
            where = standing(connection, planned).position
        if where not in (Position.OLD, Position.SETTLED):
            return ()
    return (*_on_server(state, target), *staging.clear(target, state))


def _on_server(state: SessionState, target: MysqlTarget, *, say: Say = silent, at: At = nowhere) -> tuple[str, ...]:
    """The staged schema, the parked one, the account; what was turned on, and what measuring left."""
    if turned_on(state):
        turn_off(target)
    if pulling.left(state):
        with reach.reached(target) as connection:
            pulling.remove(connection, state, say=say)
    if state.did("check-ground"):
        with reach.reached(target) as connection:
            rates.remove(connection, reach.probe_of(target, state))
    if not state.did("load-staged"):
        return ()
    names, logs = reach.names_of(target, state), reach.logs_all(target)
    planned = planned_swap(state)
    with reach.reached(target) as connection:
        if planned is not None:
            back.clear(connection, planned, say=say, at=at)
        else:
            back.discard(connection, names, state.id, binary_log=logs, say=say, at=at)
    return (names.stage, names.parked, names.account)
