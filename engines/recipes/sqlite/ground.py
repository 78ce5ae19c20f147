"""Readiness: what is true before anything is destroyed, each question with its evidence."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import msgspec

from engines import checks
from engines.application.probe import configured, reached
from engines.backups.catalogue import read
from engines.checks import Check, Verdict
from engines.errors import RestoreError
from engines.hooks import Progress, Stop, never, unmeasured
from engines.recipes import deploys
from engines.recipes.drills.estimating import recovery_time
from engines.recipes.readiness import clock, fresh, incident_of, right_target, verdicts
from engines.recipes.sqlite.facts import describe, told_rows
from engines.recipes.steps import objective
from engines.session.launch import survival, survival_check
from engines.session.moves import is_drill
from engines.session.state import SessionState
from engines.session.work import Work
from engines.sqlite.holders import holders
from engines.sqlite.inspect import Live, look, replaceable
from engines.sqlite.proof import count_tables
from engines.sqlite.space import space
from engines.targets import SqliteTarget
from engines.text import utc_now

SEEN = "Open files can be seen"


def accepts_unseen(state: SessionState) -> bool:
    """Did the commander accept, by name, that some processes can't be looked into?

    A drill's folder is its own and closed to others: nobody whom it can't see has anything open there.
    """
    if is_drill(state):
        return True
    known = state.checks.get(SEEN)
    return known is not None and known.override is not None


def look_at_live(work: Work, target: SqliteTarget) -> Mapping[str, object]:
    live = look(str(target.database))
    for name, value in describe(live).items():
        work.say(f"{name}: {value}")
    counts: dict[str, int | None] = {}
    if live.kind == "database":
        try:
            counts = {table.table: table.rows for table in count_tables(live.path, stop=work.stopped)}
        except RestoreError as error:
            work.say(f"its tables could not be counted: {error.message}")
    return {
        "live": msgspec.to_builtins(live),
        "before": counts,
        "message": f"{live.kind}, {told_rows(counts)}" if counts else f"{live.kind}: {live.why}",
    }


def check_space(work: Work, target: SqliteTarget) -> Mapping[str, object]:
    found = [work.check(check) for check in _space(target, work.state)]
    return {"message": verdicts(found)}


def check_ground(work: Work, target: SqliteTarget) -> Mapping[str, object]:
    found = [work.check(check) for check in _ground(target, work.state, _hashing(work), work.stopped)]
    return {"message": verdicts(found)}


def all_checks(target: SqliteTarget, state: SessionState) -> Iterator[Check]:
    """Every check that can be asked by itself, at any time, without changing anything."""
    yield from _space(target, state)
    yield from _ground(target, state)


def _space(target: SqliteTarget, state: SessionState) -> tuple[Check, ...]:
    wanted = state.backup.get("size", 0)
    return space(look(str(target.database)), wanted if isinstance(wanted, int) else 0, str(target.snapshots))


def _hashing(work: Work) -> Progress:
    return lambda done, total: work.progress(done, total, text="hashing the newest backup")


def _ground(
    target: SqliteTarget, state: SessionState, progress: Progress = unmeasured, stop: Stop = never
) -> Iterator[Check]:
    live = look(str(target.database))
    uid, gid, groups = writer(target, live)
    yield from replaceable(str(target.database), uid, gid, groups)
    yield _open_now(target)
    yield from reached(target.application)
    for check in configured(target.application):
        yield _as_things_are(replace(check, name=f"command {check.name}"), live)
    yield from deploys.ready(target.application)
    yield survival_check(survival())
    names = (str(target.database), target.database.name, target.name)
    yield right_target(target.environment, target.engine, names, incident_of(state))
    yield clock()
    if (foretold := recovery_time(state, utc_now(), objective(state, target))) is not None:
        yield foretold
    # Last, since it hashes a backup: whoever asks for another check does not wait for it.
    yield fresh(partial(read, target.backups, target.pattern, target.checksums), target.every, progress, stop)


def writer(target: SqliteTarget, live: Live) -> tuple[int | None, int | None, tuple[int, ...]]:
    """Who the application writes as: its configured user, else the live file's owner. Uid, gid, further groups."""
    try:
        if target.application.user:
            account = pwd.getpwnam(target.application.user)
        elif live.identity is not None:
            account = pwd.getpwuid(live.identity.uid)
        else:
            return None, None, ()
    except KeyError:
        return None, None, ()
    return account.pw_uid, account.pw_gid, tuple(os.getgrouplist(account.pw_name, account.pw_gid))


def _open_now(target: SqliteTarget) -> Check:
    """Who has the database open is no obstacle yet; not being able to see it is."""
    real = os.path.realpath(target.database)
    now = holders((real, f"{real}-wal", f"{real}-shm"))
    if not now.complete:
        return checks.unknown(SEEN, now.why, "Run Reinstate as root, on the machine where the application runs.")
    told = "; ".join(f"pid {holder.pid} ({holder.user}) {holder.command[:40]}" for holder in now.found[:3])
    more = f" and {len(now.found) - 3} more" if len(now.found) > 3 else ""
    return checks.ok(SEEN, f"open now: {told}{more}; they are stopped in phase 3" if told else "nobody has it open")


def _as_things_are(check: Check, live: Live) -> Check:
    """An application that can't be asked because its database is gone is what the restore is for.

    Nothing relies on the answer alone: each command's step shows whether it worked, and its effect is proven.
    """
    if check.verdict is not Verdict.UNKNOWN or live.kind == "database":
        return check
    hint = "Its step shows whether it works now; one that can't is passed over (p) with that reason."
    return checks.warn(check.name, f"{check.evidence}; the live database is {live.kind}", hint)
