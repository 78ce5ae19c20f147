"""From the chosen dump and the logs after it to verified files on this machine, and what is in them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engines.backups import staging
from engines.backups.checksums import Digest
from engines.backups.listed import fetch_listed, listed_logs
from engines.backups.places import located
from engines.backups.staging import Staged
from engines.checks import fail
from engines.errors import OtherBytes, Refused, RestoreError
from engines.mysql import server, space
from engines.mysql.binlogs import chain as chains
from engines.mysql.binlogs import moments
from engines.mysql.binlogs.chain import Chain, Coordinates
from engines.mysql.binlogs.fetch import fetch_logs, listing
from engines.mysql.binlogs.logs import LogFile, logs_in, name_parts, read_logs
from engines.mysql.binlogs.moments import StopPoint
from engines.mysql.dumps.facts import DumpFacts, read_facts, told
from engines.mysql.dumps.guards import guards
from engines.mysql.queries import rows_of
from engines.mysql.replay.plan import NotStaged, ReplayPlan, plan_replay
from engines.mysql.server import ServerFacts
from engines.recipes import points, trust
from engines.recipes.mysql import exploring, ground, reach
from engines.recipes.mysql.until import until_of
from engines.recipes.recalling import recall
from engines.session.state import SessionState
from engines.session.work import Work
from engines.targets import Method, MysqlTarget
from engines.text import both_zones, count, duration, size

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor


def stage_dump(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    state = work.state
    place = points.place_of(state.backup, target)
    wanted = trust.expected(state)
    into = reach.staging_of(target, state)
    begun = time.monotonic()
    try:
        staged = staging.stage(
            place,
            into,
            Digest(*wanted, where=str(state.backup.get("listed_in", ""))) if wanted else None,
            say=work.say,
            progress=lambda done, total: work.progress(done, total, text="staging"),
            stop=work.stopped,
            at=work.at,
        )
    except OtherBytes as error:
        trust.mismatch(work, error.sha256, error.message, error.hint)
        raise
    except Refused as error:
        if not trust.overridden(state):
            work.check(fail(trust.CHECKSUM, error.message, error.hint))
        raise
    seconds = max(time.monotonic() - begun, 1e-3)
    return {
        "staged": msgspec.to_builtins(staged),
        "status": str(trust.judged(work, staged.sha256)),
        "rate": round(staged.size / seconds),
        "message": f"{size(staged.size)} in {duration(seconds)}, sha256 {staged.sha256[:16]}…",
    }


def read_dump(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    """Every statement, executed by nobody; then which way of restoring it rights and room allow."""
    staged = recall(work.state, "stage", "staged", Staged)
    dump = read_facts(
        Path(staged.path),
        progress=lambda done, total: work.progress(done, total, text="reading"),
        stop=work.stopped,
    )
    for line in told(dump):
        work.say(line)
    with reach.reached(target) as connection:
        found = ground.look(connection, target)
        free = space.free_on_server(connection, reach.place_of(target), found.server, target.space_command)
    for check in guards(dump, target.database, found.server.version):
        work.check(check)
    is_staged, why = ground.decide(work.state, target, found, dump, free)
    work.say(f"method: {why}")
    return {
        "dump": msgspec.to_builtins(dump),
        "staged": is_staged,
        "method": why,
        "message": f"{count(len(dump.tables))} tables, {count(dump.rows)} rows, {size(dump.size)}; {why}",
    }


# -- logs ------------------------------------------------------------------------------------------------


def stage_logs(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    """Bring the logs here, prove them a chain from where the dump was taken, find the stop."""
    dump = ground.needed_dump(work.state)
    start = start_of(dump)
    until = until_of(work.state)
    folder = reach.staging_of(target, work.state) / "logs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with reach.reached(target) as connection:
        facts = server.look(connection)
    _from_archive(work, target, start, folder)
    _from_server(work, target, facts, start, folder)
    logs = _of_this_dump(read_logs(logs_in(folder), stop=work.stopped), start)
    chain = chains.chain(logs, start, stop=work.stopped)
    for note in chain.notes:
        work.say(note)
    for problem in chain.problems:
        work.say(f"the chain ends: {problem}")
    work.found(**exploring.facts_of(folder, start, logs))  # so that a stop that is not there can be looked for
    stop = moments.stop_point(until.kind, until.value, until.exclude)
    resolved = moments.resolve(chain, stop, stop=work.stopped)
    staged = ground.is_staged(work.state, target)
    plan, staged, why = _planned(work, target, facts, chain, stop, staged=staged)
    for note in plan.notes:
        work.say(note)
    reach_told = f", the last committed {both_zones(plan.reaches)}" if plan.reaches else ""
    return {
        **exploring.facts_of(folder, start, logs, resolved),
        "replay": msgspec.to_builtins(plan),
        "staged": staged,
        "method": why,
        "size": chain.size,
        "message": f"{count(plan.transactions)} transactions, {size(plan.size)} of log{reach_told}",
    }


def start_of(dump: DumpFacts) -> Coordinates:
    found = dump.coordinates
    if not found.known:
        raise Refused(
            "The dump does not say where its binary logs go on, so nothing can be replayed after it. "
            "Nothing was changed.",
            "Restore the dump alone (page 1, up to when), or one that has --source-data=2 (MariaDB: --master-data=2).",
        )
    return Coordinates(found.file or None, found.position or None, found.gtids or None)


def _from_archive(work: Work, target: MysqlTarget, start: Coordinates, folder: Path) -> None:
    if target.binlogs is None:
        return
    listed = listed_logs(located(target.binlogs, points.service_of(target)))
    for problem in listed.problems:
        work.say(problem)
    wanted = [log for log in listed.logs if _is_after(log.name, start)]
    fetch_listed(
        wanted,
        folder,
        say=work.say,
        progress=lambda done, total: work.progress(done, total, text="fetching logs"),
        stop=work.stopped,
        at=work.at,
    )


def _from_server(work: Work, target: MysqlTarget, facts: ServerFacts, start: Coordinates, folder: Path) -> None:
    """The server's own, where it writes any: they reach to this moment. What it lacks may be in the archive."""
    if not facts.log_bin:
        work.say("the server writes no binary log")
        return
    try:
        with reach.reached(target) as connection:
            names = [one.name for one in listing(connection)]
        since = start.file if start.file in names else next((name for name in names if _is_after(name, start)), None)
        if since is None and start.file is not None:
            work.say("the server's logs are from before the dump, or of another server: they are not taken")
            return
        fetch_logs(
            reach.place_of(target),
            reach.login_of(target),
            folder,
            since=since,
            progress=lambda done, total: work.progress(done, total, text="fetching the server's logs"),
            stop=work.stopped,
            at=work.at,
        )
    except RestoreError as error:
        if target.binlogs is None or work.stopped():
            raise
        work.say(f"the server's own logs could not be fetched: {error.message}")


def _is_after(name: str, start: Coordinates) -> bool:
    """May this log belong to the chain, by its name? Where the dump names none, every one may."""
    parts, first = name_parts(name), name_parts(start.file or "")
    return parts is not None and (first is None or (parts[0] == first[0] and parts[1] >= first[1]))


def _of_this_dump(logs: Sequence[LogFile], start: Coordinates) -> tuple[LogFile, ...]:
    return tuple(log for log in logs if _is_after(log.name, start))


def _planned(
    work: Work, target: MysqlTarget, facts: ServerFacts, chain: Chain, stop: StopPoint, *, staged: bool
) -> tuple[ReplayPlan, bool, str]:
    """The replay, beside the live schema where that is the method and these logs allow it; and why."""
    with reach.reached(target) as connection:
        others = _schemas(connection)

    def plan(schema: str | None) -> ReplayPlan:
        return plan_replay(
            chain,
            stop,
            source=target.database,
            schema=schema,
            others=others,
            binary_log=reach.logs_all(target) and facts.log_bin,
            progress=lambda done, total: work.progress(done, total, text="planning the replay"),
            stop=work.stopped,
        )

    if not staged:
        return plan(None), False, str(work.state.facts("read-dump").get("method", ""))
    beside = reach.names_of(target, work.state).stage
    try:
        return _without_code(plan(beside)), True, str(work.state.facts("read-dump").get("method"))
    except NotStaged as error:
        if target.method is Method.STAGED:
            raise
        work.say(f"in place: {error.message}")
        return plan(None), False, f"in place: {error.message}"


def _without_code(made: ReplayPlan) -> ReplayPlan:
    if made.code:
        raise NotStaged(
            f"The logs make or drop {count(made.code)} views, routines, triggers or events, which can't be made beside "
            "the live schema. Nothing was changed.",
            "Restore in place.",
        )
    return made


def _schemas(connection: Connection[Cursor]) -> tuple[str, ...]:
    return tuple(str(row[0]) for row in rows_of(connection, "SELECT schema_name FROM information_schema.schemata"))


def staged_dump(state: SessionState) -> Staged:
    return recall(state, "stage", "staged", Staged)


def clear(target: MysqlTarget, state: SessionState) -> tuple[str, ...]:
    """Remove what was staged on this machine."""
    folder = reach.staging_of(target, state)
    if not folder.is_dir():
        return ()
    shutil.rmtree(folder)
    return (str(folder),)
