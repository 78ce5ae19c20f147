"""What a rewind leaves to be put right: signals that were rewound, jobs and sessions that must not come back, numbers
that were handed out before, and a chain of backups that has forked. Each is a step of its own.

Steps that change rows are there only where they are configured; where the restored data has such a table, they are
shown as not configured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from engines import checks
from engines.backups.adding import name_for
from engines.backups.catalogue import Backup, Status
from engines.backups.verify import verify
from engines.checks import Check, Panel
from engines.errors import RestoreError
from engines.people import Role
from engines.process import shown
from engines.recipes import points
from engines.recipes.application import STOPPING, Stopping, commands_of
from engines.recipes.recalling import token
from engines.recipes.serving import standing
from engines.session.plan import Gate, GateKind, Step
from engines.session.state import SessionState
from engines.session.work import Work
from engines.targets import Application, Framework, Target
from engines.text import count, drawable, parse_stamp, stamp, utc_now

AGAIN = "set-again"
JOBS, SESSIONS, IDS = "put-aside-jobs", "put-aside-sessions", "skip-ids"
BACKUP = "full-backup"
CHANGES = f"{JOBS} {SESSIONS} {IDS}"  # what putting the old data back takes back too
FRESH = "new full backup"
_SIGNAL = "queue:restart"
# Laravel's own names, for what is offered where nothing is configured.
_USUAL: Mapping[str, tuple[str, ...]] = {
    JOBS: ("jobs",),
    SESSIONS: ("sessions", "personal_access_tokens", "password_resets", "password_reset_tokens", "oauth_access_tokens"),
}
_CONFIRM = Gate(GateKind.CONFIRM, Role.OPERATOR, "Enter runs it.")


class Sql(Protocol):
    """An engine's statements, as the plan shows them: its module `aftermath`."""

    def aside_sql(self, table: str, kept: str) -> tuple[str, ...]: ...

    def back_sql(self, table: str, kept: str) -> tuple[str, ...]: ...

    def skip_sql(self, by: int) -> tuple[str, ...]: ...


class Live(Protocol):
    """The restored database, to be changed."""

    def has(self, table: str) -> bool: ...

    def put_aside(self, table: str, kept: str) -> tuple[int, Sequence[str]]:
        """How many rows are put aside now, and the exact statements that put them back."""

    def skip_ids(self, by: int, leave: Collection[str]) -> Mapping[str, int]:
        """The number before, by table."""


@dataclass(frozen=True, slots=True)
class Next:
    """Where the steps stand in the plan: the number of the first, in the phase."""

    phase: str
    number: int

    def ids(self) -> Iterator[str]:
        number = self.number
        while True:
            yield f"{self.phase}.{number}"
            number += 1


def steps(state: SessionState, target: Target, sql: Sql, tables: Collection[str], begin: Next) -> tuple[Step, ...]:
    """The steps right after going live, while nothing runs yet. `tables`: those of the restored data."""
    application, ids = target.application, begin.ids()
    found: list[Step] = []
    if _rewound(application):
        found.append(_again(next(ids), application))
    for action, title, key, configured in (
        (JOBS, "Put stale jobs aside", "stale_jobs", application.stale_jobs),
        (SESSIONS, "Put sessions and tokens aside", "clear_tables", application.clear_tables),
    ):
        offered = [table for table in _USUAL[action] if table in tables and not configured]
        if configured or (offered and application.framework is Framework.LARAVEL):
            names = {table: _kept(state, table) for table in configured}
            found.append(_aside(next(ids), action, title, key, names, offered, sql))
    if application.skip_ids:
        found.append(_skip(next(ids), application.skip_ids, sql))
    return tuple(found)


def backup_step(step_id: str, target: Target) -> Step:
    run = commands_of(target.application, "full_backup")
    own = (
        f"copy {target.database} as it is then into {target.backups}"
        if target.engine == "sqlite"
        else f"dump {target.database} consistently into {target.backups}"
    )
    return Step(
        id=step_id,
        title="Take a new full backup",
        action=BACKUP,
        shows=(*map(shown, run), "look for it among the backups, and compare it with its checksum")
        if run
        else (own, "list its checksum there, and compare them"),
        note="The chain of backups has forked: what is based on the backups before does not fit this database.",
        gates=(_CONFIRM,),
        optional=True,
    )


def set_again(work: Work, application: Application) -> Mapping[str, object]:
    """Maintenance mode and the workers' signal, where the restored database has rewound them."""
    told: list[str] = []
    maintenance = next(kind for kind in STOPPING if kind.key == "maintenance")
    if work.state.did(maintenance.stop_action):
        told.append(_down_again(work, application, maintenance))
    workers = next(kind for kind in STOPPING if kind.key == "workers")
    if work.state.did(workers.stop_action) and _SIGNAL in application.workers_stop:
        for command in commands_of(application, workers.stop):
            work.must(command, "The workers' signal", "Try again (r), or pass over it (p) with a reason.")
        told.append(f"{_SIGNAL} is sent again")
    return {"message": "; ".join(told) or "nothing was stopped that a database holds"}


def put_aside(work: Work, live: Live) -> Mapping[str, object]:
    """The rows of the step's tables, each into its own. A table that is not there is told."""
    names = work.step.params.get("kept")
    told: list[str] = []
    undo: list[str] = []
    for table, kept in names.items() if isinstance(names, Mapping) else ():
        if not live.has(str(table)):
            told.append(f"there is no {drawable(str(table))}")
            continue
        rows, back = live.put_aside(str(table), str(kept))
        undo += back
        work.found(undo=list(undo))  # kept before the next: what was done can be taken back
        for statement in back:
            work.say(f"puts them back: {statement}")
        told.append(f"{count(rows)} rows of {drawable(str(table))} are in {drawable(str(kept))}")
    return {"message": "; ".join(told)}


def skip_ids(work: Work, live: Live) -> Mapping[str, object]:
    by = work.step.params.get("by")
    kept = [str(name) for known in work.state.steps for name in _values(known.step.params.get("kept"))]
    before = live.skip_ids(by if isinstance(by, int) else 0, kept)
    for table, number in before.items():
        work.say(f"{table}: from {number} on by {by}")
    work.found(before=dict(before))
    many = (
        f"{count(len(before))} tables hand out numbers from {by} higher on" if before else "no table counts by itself"
    )
    return {"message": many}


def proven(work: Work, target: Target, name: str) -> Mapping[str, object]:
    """The new backup is among the others, listed and whole."""
    check = work.check(fresh(target, name))
    if check.verdict.blocks:
        raise RestoreError(f"The new backup is not to be relied on: {check.evidence}.", check.hint)
    return {"backup": name, "message": check.evidence}


def named(work: Work, target: Target, ending: str, stem: str) -> tuple[str, str]:
    """The new backup's name, the same at every attempt, and the hash that an earlier attempt's had; empty: none."""
    found = work.state.facts(BACKUP)
    name = str(found.get("name", "")) or name_for(utc_now(), ending, stem, target.pattern)
    work.found(name=name)
    return name, str(found.get("sha256", ""))


def by_command(work: Work, target: Target) -> Mapping[str, object]:
    """Run the configured command, and look for what it made."""
    begun = utc_now()
    if not work.state.facts(BACKUP).get("begun"):
        work.found(begun=stamp(begun))
    for command in commands_of(target.application, "full_backup"):
        work.must(
            command, "The new full backup", "Its output is in the log. Mend it and try again (r), or pass over it."
        )
    since = parse_stamp(str(work.state.facts(BACKUP).get("begun", stamp(begun)))).replace(microsecond=0)
    newest = next((one for one in points.backups_of(target).backups if one.taken_at >= since), None)
    if newest is None:
        hint = "Is it listed later, or elsewhere? Look for it; without it the next restore has nothing to begin from."
        check = checks.warn(FRESH, "the command succeeded, and no newer backup is listed yet", hint, Panel.VALIDATION)
        return {"message": work.check(check).evidence}
    return proven(work, target, newest.name)


def fresh(target: Target, name: str) -> Check:
    """Is the backup there, and what its checksum says?"""
    hint = "Take it again (r), or pass over it (p) with a reason: it is a follow-up then."
    found: Backup | None = next((one for one in points.backups_of(target).backups if one.name == name), None)
    if found is None:
        return checks.fail(FRESH, f"{drawable(name)} is not among the backups", hint, Panel.VALIDATION)
    seen = verify(found, lambda _done, _total: None, lambda: False)
    told = f"{drawable(name)}: {seen.status}, {seen.evidence}"
    if seen.status is Status.VERIFIED:
        return checks.ok(FRESH, told, Panel.VALIDATION)
    return checks.fail(FRESH, told, hint, Panel.VALIDATION)


def check_again(name: str, target: Target, state: SessionState) -> Check | None:
    known = str(state.facts(BACKUP).get("backup", ""))
    return fresh(target, known) if name == FRESH and known else None


def _rewound(application: Application) -> bool:
    return bool(application.maintenance_on and application.maintenance_check) or _SIGNAL in application.workers_stop


def _again(step_id: str, application: Application) -> Step:
    shows: list[str] = []
    if application.maintenance_on and application.maintenance_check:
        down = "; ".join(map(shown, commands_of(application, "maintenance_on")))
        shows.append(f"where the application is not in maintenance mode any more: {down}")
    if _SIGNAL in application.workers_stop:
        shows += map(shown, commands_of(application, "workers_stop"))
    return Step(
        id=step_id,
        title="Set again what the database held",
        action=AGAIN,
        shows=tuple(shows),
        note="With the cache in the database, maintenance mode and queue:restart have been rewound with it.",
        optional=True,
    )


def _aside(
    step_id: str, action: str, title: str, key: str, names: Mapping[str, str], offered: Sequence[str], sql: Sql
) -> Step:
    return Step(
        id=step_id,
        title=title,
        action=action,
        shows=tuple(line for table, kept in names.items() for line in sql.aside_sql(table, kept))
        or (f"not configured ({key}): the restored data has {', '.join(map(drawable, offered))}",),
        undo="; ".join(line for table, kept in names.items() for line in sql.back_sql(table, kept)),
        note="Jobs that were queued then would run again."
        if action == JOBS
        else "Sessions and tokens of then would be valid again; users log in anew.",
        gates=(_CONFIRM,),
        optional=True,
        configured=bool(names),
        params={"kept": dict(names)},
    )


def _skip(step_id: str, by: int, sql: Sql) -> Step:
    return Step(
        id=step_id,
        title="Skip numbers that were handed out",
        action=IDS,
        shows=sql.skip_sql(by),
        undo="the numbers before are in the step's log; nothing is lost by numbers that are skipped",
        note="Ids of the lost rows would be handed out again, and mean others to whoever noted them.",
        gates=(_CONFIRM,),
        optional=True,
        params={"by": by},
    )


def _kept(state: SessionState, table: str) -> str:
    return f"reinstate_{token(state)}_{table}"[:64]


def _values(found: object) -> tuple[object, ...]:
    return tuple(found.values()) if isinstance(found, Mapping) else ()


def _down_again(work: Work, application: Application, maintenance: Stopping) -> str:
    before = standing(application, maintenance, off=True)
    if before is None:
        return "nothing can tell whether maintenance mode is on"
    if not before.verdict.blocks:
        work.check(before)
        return f"{before.name} still"
    for command in commands_of(application, maintenance.stop):
        work.must(command, "Maintenance mode", "Try again (r), or pass over it (p) with a reason.")
    now = standing(application, maintenance, off=True)
    if now is not None and work.check(now).verdict.blocks:
        raise RestoreError(f"{now.name} is not so after it was set again: {now.evidence}.", now.hint)
    return "maintenance mode was rewound, and is on again"
