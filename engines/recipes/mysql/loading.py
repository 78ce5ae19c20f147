"""From the verified dump to the restored schema: unused, kept, loaded, replayed, checked, swapped in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engines import checks
from engines.errors import Refused, RestoreError
from engines.mysql import server, sessions, since, snapshot, tables_check
from engines.mysql.client_load import load_by_client
from engines.mysql.connect import Login, connection_id, quoted
from engines.mysql.dumps.facts import DumpFacts
from engines.mysql.kept_logs import Wanted, keep_logs
from engines.mysql.load.loader import Hooks, Job, Loaded, LoadProgress, load
from engines.mysql.programs import Tool, find
from engines.mysql.queries import rows_of
from engines.mysql.rebuild import clear as clear_live
from engines.mysql.rebuild import default_of, load_in_place
from engines.mysql.replay import pipeline
from engines.mysql.replay import programs as replaying
from engines.mysql.replay.plan import ReplayPlan
from engines.mysql.replay.ways import Hooks as ReplayHooks
from engines.mysql.replay.ways import Into, Replayed, ReplayProgress
from engines.mysql.source import replay as pulled
from engines.mysql.stage import account, code, schema, swap
from engines.mysql.stage.code import StagedCode
from engines.mysql.stage.found import look
from engines.mysql.stage.steps import Swap, Tables, where
from engines.recipes.mysql import ground, keeping, nodes, pulling, reach, staging
from engines.recipes.mysql.opened import Opened, bulk, opened, opened_by
from engines.recipes.mysql.until import replay_of
from engines.recipes.recalling import recall
from engines.session.state import SessionState
from engines.session.work import Work
from engines.targets import Ghosts, LoadClient, MysqlTarget
from engines.text import both_zones, count, drawable, size, utc_now

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

BEFORE = "before-restore"
BEFORE_UNDO = "before-undo"
_CLOSING = 3.0  # seconds
# A server whose binary log finds no room waits without a word to those who wait for it.
WAITING = (
    "the server is busy with something long, or waits for room on a disk (its binary log's, too). Its error log says "
    "which; so does SHOW PROCESSLIST"
)


@contextmanager
def right_server(work: Work, target: MysqlTarget) -> Iterator[Connection[Cursor]]:
    """A connection to the server that the plan was made for. Raises Refused where another one answers."""
    with reach.reached(target) as connection:
        facts = server.look(connection)
        planned = work.step.params.get("server") or work.state.facts("look").get("identity")
        if planned and server.identity(facts) != planned:
            raise Refused(
                f"Another server answers at {target.address}: {server.identity(facts)}; the plan was made for "
                f"{planned}. Nothing was changed.",
                "Find out which one it is. For this one, begin another session.",
            )
        yield connection


# -- before anything is destroyed -----------------------------------------------------------------------------


def prove_unused(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    with right_server(work, target) as connection:
        usage = sessions.wait_until_unused(
            connection,
            target.database,
            timeout=target.writers_timeout.total_seconds(),
            say=work.say,
            stop=work.stopped,
        )
        nodes.prove_unused(work, target, server.look(connection))
    return {"message": f"nobody uses {target.database}; {usage.others} other sessions on the server"}


def keep_last_logs(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    """The data that no backup has: fetched, verified, and out of reach of the server's own expiry."""
    dump = ground.needed_dump(work.state)
    with right_server(work, target):
        kept = keep_logs(
            Wanted(
                place=reach.place_of(target),
                login=reach.login_of(target),
                schema=target.database,
                folder=str(keeping.folder_of(target, work.state)),
                name=keeping.name_for(work, target, "binary-logs"),
                keep_until=utc_now() + timedelta(days=target.keep_days),
                target=target.name,
                session=work.state.id,
                since=dump.coordinates.file,
            ),
            say=work.say,
            progress=lambda done, total: work.progress(done, total, text="fetching logs"),
            stop=work.stopped,
            at=work.at,
        )
    stored = keeping.stored(work, target, kept.snapshot)
    missing = f"; no longer on the server: {ground.told_names(kept.missing)}" if kept.missing else ""
    if kept.flaws:
        hint = "Look for an undamaged copy of it before the server purges it."
        work.check(checks.warn("The server's latest binary logs", "; ".join(kept.flaws), hint))
    return {
        "kept_logs": msgspec.to_builtins(stored),
        "message": f"{size(kept.snapshot.size)} of logs, verified, kept {target.keep_days} days{missing}",
    }


def keep_safe(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    with right_server(work, target) as connection:
        if not ground.look(connection, target).schema.exists:
            return {"message": f"there is nothing to keep: {target.database} does not exist"}
    return keep(work, target, BEFORE)


def keep(work: Work, target: MysqlTarget, kind: str, again: str = "") -> Mapping[str, object]:
    """A dump of the schema as it is now, read back, with where the binary log stood.

    Before an undo a bucket that does not take it stops nothing. Before a restore it does: nothing goes before that.
    """
    place = keeping.place_for(work, target, f"{kind}{again}", spare=kind == BEFORE_UNDO)
    with work.children("mysqldump") as started:
        taken = snapshot.take(
            snapshot.Asked(
                program=find(Tool.DUMP, reach.flavour_of(target)),
                place=reach.place_of(target),
                login=reach.login_of(target),
                schema=target.database,
                folder=str(place.folder),
                name=place.name,
                keep_until=utc_now() + timedelta(days=target.keep_days),
                target=target.name,
                session=work.state.id,
                private=reach.private(work),
                kind=kind,
            ),
            started=started,
            say=work.say,
            progress=lambda done, total: work.progress(done, total, text="dumping"),
            stop=work.stopped,
            at=work.at,
        )
    taken = keeping.settled(work, target, taken, place)
    where = ""
    if bucket := keeping.bucket_of(target):
        here = taken.folder != str(bucket)
        where = f", NOT in {bucket} but in {drawable(taken.folder)}" if here else f" from {bucket}"
    return {
        "snapshot": msgspec.to_builtins(taken),
        "before": dict(taken.counts),
        "message": f"{taken.name}, {size(taken.size)}, {count(taken.tables)} tables, {count(taken.rows)} rows, "
        f"read back{where}, kept until {taken.keep_until[:10]}",
    }


def refuse_used(work: Work, target: MysqlTarget) -> None:
    """Raises Refused while somebody uses the schema, or where that can't be seen.

    A connection that was just closed, one of ours for instance, may be shown for a moment still.
    """
    with reach.reached(target) as connection:
        sessions.wait_until_unused(
            connection, target.database, opened_by(work), timeout=_CLOSING, say=work.say, stop=work.stopped
        )
        nodes.refuse_used(work, target, server.look(connection))


def refuse_written(work: Work, target: MysqlTarget, action: str, kind: str) -> None:
    """Nobody uses the schema, and nothing was written to it since it was kept; on a second try it is kept anew first.

    Raises Refused. Where the server writes no binary log, that nobody uses it now is all that can be proven.
    """
    refuse_used(work, target)
    kept = snapshot_of(work.state, work.step.action) or snapshot_of(work.state, action)
    if kept is None or not kept.log_file:
        work.say("whether anything was written since the snapshot can't be told: it has no place in a binary log")
        return
    written = since.written_since(
        reach.place_of(target),
        reach.login_of(target),
        target.database,
        since.Point(kept.log_file, kept.log_position),
        reach.private(work),
        stop=work.stopped,
    )
    if not written.transactions:
        return
    known = work.state.step(work.step.id)
    if known is None or known.attempt < 2:
        raise Refused(
            f"{target.database} was written to after it was kept: {written}. It was not touched.",
            "Find out who still writes, and stop it. Trying again (r) keeps it as it is then, and goes on.",
        )
    work.say(f"it was written to since it was kept ({written}): it is kept once more, as it is now")
    work.found(**keep(work, target, kind, again="-again"))


def last_look(work: Work, target: MysqlTarget, begun_by: str, kept_by: str, kind: str) -> None:
    """Right before the first drop: nobody has written since it was kept. Where it is half done, nobody uses it."""
    if work.state.facts(begun_by).get("begun"):
        refuse_used(work, target)
    else:
        refuse_written(work, target, kept_by, kind)
    work.found(begun=True)


def snapshot_of(state: SessionState, action: str) -> snapshot.Snapshot | None:
    found = state.facts(action).get("snapshot")
    return msgspec.convert(found, snapshot.Snapshot) if found else None


# -- loading ---------------------------------------------------------------------------------------------------


def hooks_of(work: Work, tell: Opened) -> Hooks:
    done: dict[str, int] = {str(name): 0 for name in _complete(work.state, work.step.action)}

    def loaded(table: str, rows: int) -> None:
        done[table] = rows
        work.found(tables=sorted(done))

    def progress(now: LoadProgress) -> None:
        work.progress(now.done, now.total, text=f"{now.table}, {count(now.rows)} rows", waiting=WAITING)

    return Hooks(say=work.say, progress=progress, stop=work.stopped, at=work.at, loaded=loaded, opened=tell)


def _complete(state: SessionState, action: str) -> frozenset[str]:
    """Tables that an earlier attempt of this load completed."""
    found = state.facts(action).get("tables", ())
    return frozenset(str(name) for name in found) if isinstance(found, (list, tuple)) else frozenset()


def load_live(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    """In place: the runbook's letter."""
    _refuse_other_dump(work)
    with right_server(work, target) as connection:
        loaded = _load_live(work, target, connection, _complete(work.state, "load"))
        point = since.here(connection)
    return {
        "point": msgspec.to_builtins(point) if point else None,
        "message": f"{count(loaded.tables)} tables, {count(loaded.rows)} rows; {target.database} is the dump",
    }


def _load_live(work: Work, target: MysqlTarget, connection: Connection[Cursor], done: frozenset[str]) -> Loaded:
    dump = ground.needed_dump(work.state)
    tell = opened(work, connection)
    hooks = hooks_of(work, tell)
    rebuild = target.ghosts is Ghosts.REBUILD

    def last() -> None:
        last_look(work, target, "load", "snapshot", BEFORE)
        rows_of(connection, f"CREATE DATABASE IF NOT EXISTS {quoted(target.database)}")

    with bulk(work, target, connection) as by_bulk:
        job = replace(_job(work, target, dump, target.database, reach.login_of(target), bulk=by_bulk), done=done)
        if target.client is LoadClient.OWN:
            return load_in_place(job, dump, rebuild=rebuild, hooks=hooks, last=last)
        default = default_of(job.dump, job.source, job.entry, stop=hooks.stop)
        last()
        clear_live(job, dump, default, rebuild=rebuild, hooks=hooks)
        with work.children("mysql, fed with the dump") as started:
            program = find(Tool.CLIENT, reach.flavour_of(target))
            return load_by_client(job, dump, program, reach.private(work), hooks, started=started)


def _refuse_other_dump(work: Work) -> None:
    staged = staging.staged_dump(work.state)
    if work.step.params.get("sha256") != staged.sha256:
        raise Refused("The staged dump is not the one in the plan. Nothing was loaded.", "Choose the backup again.")
    with Path(staged.path).open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != staged.sha256:
        raise Refused(
            f"The staged dump {staged.path} has been changed since it was verified. Nothing was loaded.",
            "Find out who changed it; choose the backup again.",
        )


def source_of(dump: DumpFacts, target: MysqlTarget) -> str:
    """The database of the dump that is wanted; empty where it names none."""
    return target.database if target.database in dump.databases else ""


def _job(work: Work, target: MysqlTarget, dump: DumpFacts, into: str, login: Login, *, bulk: bool) -> Job:
    source = source_of(dump, target)
    return Job(
        dump=Path(staging.staged_dump(work.state).path),
        place=reach.place_of(target),
        login=login,
        schema=into,
        source=source,
        rows={table.name: table.rows for table in dump.tables if table.database in ("", source)},
        connections=reach.connections_of(target),
        bulk=bulk,
        binary_log=reach.logs_all(target),
    )


def load_staged(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    """Beside the live schema, by an account that can reach nothing else."""
    _refuse_other_dump(work)
    with right_server(work, target) as connection:
        loaded = _load_staged(work, target, connection, _complete(work.state, "load-staged"))
        if replay_of(work.state) is None:
            _make_code(work, target, connection)
    names = reach.names_of(target, work.state)
    return {"message": f"{count(loaded.tables)} tables, {count(loaded.rows)} rows in {names.stage}"}


def _load_staged(work: Work, target: MysqlTarget, connection: Connection[Cursor], done: frozenset[str]) -> Loaded:
    dump, names, session = ground.needed_dump(work.state), reach.names_of(target, work.state), work.state.id
    logs = reach.logs_all(target)
    schema.prepare(connection, names, session, binary_log=logs, say=work.say, at=work.at)
    if not done:
        schema.empty(connection, names, session, at=work.at)
    tell = opened(work, connection)
    tell(connection_id(connection))
    with _account(work, target, connection) as login, bulk(work, target, connection) as by_bulk:
        job = _job(work, target, dump, names.stage, login, bulk=by_bulk)
        return load(replace(job, done=done, code=False), hooks_of(work, tell))


@contextmanager
def _account(
    work: Work, target: MysqlTarget, connection: Connection[Cursor], *, replays: bool = False
) -> Iterator[Login]:
    """The throwaway account of a staged load. Where it can't be removed, the next attempt or the clearing up does."""
    import pymysql

    names, session = reach.names_of(target, work.state), work.state.id
    login = account.make(
        connection,
        names,
        session,
        reach.login_of(target),
        reach.flavour_of(target),
        binary_log=reach.logs_all(target),
        replays=replays,
        say=work.say,
        at=work.at,
    )
    try:
        yield login
    except BaseException:
        with suppress(RestoreError, pymysql.err.MySQLError):  # why the step failed is what has to be told
            account.drop(connection, names, session, say=work.say, at=work.at)
        raise
    account.drop(connection, names, session, say=work.say, at=work.at)


def _make_code(work: Work, target: MysqlTarget, connection: Connection[Cursor]) -> StagedCode:
    """The dump's views, routines, triggers and events, once every row is in: also those that are replayed."""
    dump = ground.needed_dump(work.state)
    made = code.make(
        connection,
        reach.names_of(target, work.state),
        work.state.id,
        Path(staging.staged_dump(work.state).path),
        source=source_of(dump, target),
        binary_log=reach.logs_all(target),
        say=work.say,
        stop=work.stopped,
        at=work.at,
    )
    work.found(code=msgspec.to_builtins(made))
    return made


# -- replaying ---------------------------------------------------------------------------------------------------


def replay(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    """In one session and in order. What was cut off is loaded and replayed again from the start: see the note."""
    plan = replay_of(work.state)
    if plan is None:
        raise RestoreError("Nothing is planned to be replayed.", "Skip it, with a reason.")
    staged = plan.schema != target.database
    known = work.state.step(work.step.id)
    with right_server(work, target) as connection:
        if known is not None and known.attempt > 1:
            work.say("the earlier replay ended at a point that is not known: the dump is loaded again first")
            pulling.remove(connection, work.state, say=work.say)
            (_load_staged if staged else _load_live)(work, target, connection, frozenset())
        done = _replay(work, target, connection, plan, staged=staged)
        if staged:
            _make_code(work, target, connection)
        point = since.here(connection)
    reaches = f", the last committed {both_zones(done.reaches)}" if done.reaches else ""
    return {
        "point": msgspec.to_builtins(point) if point else None,
        "message": f"{count(done.transactions)} transactions, {size(done.size)}{reaches}",
    }


def _replay(
    work: Work, target: MysqlTarget, connection: Connection[Cursor], plan: ReplayPlan, *, staged: bool
) -> Replayed:
    tell = opened(work, connection)
    flavour = reach.flavour_of(target)

    def progress(now: ReplayProgress) -> None:
        when = f", {now.at:%H:%M:%S} UTC" if now.at else ""
        told = f"{count(now.transactions)} of {count(now.transactions_total)} transactions{when}"
        work.progress(now.done, now.total, text=told, waiting=WAITING)

    with ExitStack() as stack:
        login = reach.login_of(target)
        if staged:
            login = stack.enter_context(_account(work, target, connection, replays=True))
        hooks = ReplayHooks(say=work.say, progress=progress, stop=work.stopped, at=work.at, opened=tell)
        if work.step.params.get("by") == pulling.SOURCE:
            applies = f"{login.user}@%" if staged else ""
            found = pulling.where(target, work.state, connection, account=applies)
            return pulled.replay(plan, pulling.into(work, target), hooks, reach=found, noted=pulling.noted(work))
        programs = replaying.Programs(find(Tool.CLIENT, flavour).path, find(Tool.BINLOG, flavour).path)
        started = stack.enter_context(work.children("mysqlbinlog | mysql"))
        into = Into(place=reach.place_of(target), login=login, private=reach.private(work))
        return pipeline.replay(plan, into, replace(hooks, started=started), programs=programs)


# -- afterwards ---------------------------------------------------------------------------------------------------


def check_tables(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    schema_name = str(work.step.params.get("schema", target.database))
    with right_server(work, target) as connection:
        opened(work, connection)(connection_id(connection))
        found = tables_check.check_tables(
            connection,
            schema_name,
            say=work.say,
            progress=lambda done, total: work.progress(done, total, text="checking"),
            stop=work.stopped,
            at=work.at,
        )
    check = work.check(tables_check.verdict(found))
    return {"message": check.evidence}


def go_live(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    """Swap every table in one statement. What is planned is in the journal before anything is done."""
    names, session = reach.names_of(target, work.state), work.state.id
    with right_server(work, target) as connection:
        opened(work, connection)(connection_id(connection))
        planned = planned_swap(work.state)
        if planned is not None and where(planned, look(connection, names)) is Tables.OLD:
            refuse_used(work, target)  # a swap that was begun long ago
        if planned is None or swap.position(connection, planned).position is swap.Position.OLD:
            if ground.look(connection, target).schema.exists:
                refuse_written(work, target, "snapshot", BEFORE)
            # A swap that was begun has taken the triggers off the stage.
            by = "load-staged" if replay_of(work.state) is None else "replay"
            made = recall(work.state, by, "code", StagedCode)
            planned = swap.plan(
                connection,
                names,
                session,
                staged=_make_code(work, target, connection) if planned is not None else made,
                leave_ghosts=target.ghosts is Ghosts.LEAVE,
                binary_log=reach.logs_all(target),
            )
            work.found(swap=msgspec.to_builtins(planned))
            for line in (*planned.notes, *planned.statements):
                work.say(line)
        position = swap.go_live(connection, planned, say=work.say, at=work.at)
        point = since.here(connection)
    if position is not swap.Position.NEW:
        raise RestoreError(f"The {position} schema is live after the swap.", "Look at the log; try again (r), or undo.")
    return {
        "point": msgspec.to_builtins(point) if point else None,
        "message": f"{target.database} is the restored schema; the replaced tables are kept in {names.parked}",
    }


def planned_swap(state: SessionState) -> Swap | None:
    found = state.facts("swap").get("swap")
    return msgspec.convert(found, Swap) if found else None
