"""A dry run: the plan and the checks of a restore, made without a session and without changing anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from engines.backups.catalogue import Backup, Status
from engines.backups.places import ObjectAt
from engines.backups.verify import asked, verify
from engines.checks import Check, Panel, fail, ok, warn
from engines.config import Config
from engines.incident import Incident
from engines.recipes import report, sessions
from engines.recipes.mysql import ground as mysql_ground
from engines.recipes.mysql import plans as mysql_plans
from engines.recipes.mysql.foreseen import foresee
from engines.recipes.mysql.until import Until
from engines.recipes.sqlite import ground, plans
from engines.recipes.sqlite.facts import Found, describe, swap_for
from engines.recipes.trust import CHECKSUM
from engines.session.events import CheckDone, Entry
from engines.session.plan import Plan
from engines.session.state import SessionState, after, fold
from engines.sqlite import files
from engines.sqlite.inspect import look
from engines.sqlite.stage import Staged
from engines.targets import MysqlTarget, SqliteTarget, Target
from engines.text import utc_now

_NAME = "dry-run-0000"


@dataclass(frozen=True, slots=True)
class DryRun:
    plan: Plan
    checks: tuple[Check, ...]
    later: tuple[str, ...] = ()  # what is known only once the backup has been read, each in a line


def checks(config: Config, target: Target, incident: Incident | None) -> tuple[Check, ...]:
    """Every check that needs no chosen backup. Raises RestoreError where the server does not answer."""
    state = _state(config, target, None, incident)
    return tuple(check for check in _ground(target, state) if check.panel is not Panel.SPACE)


def _ground(target: Target, state: SessionState) -> Iterator[Check]:
    if isinstance(target, SqliteTarget):
        return ground.all_checks(target, state)
    return mysql_ground.all_checks(target, state)


def dry_run(
    config: Config, target: Target, backup: Backup, incident: Incident | None, until: Until | None = None
) -> DryRun:
    """The restore plan for `backup`, as a session would make it.

    A file's bytes are read and hashed for it; of an object the bucket is asked. Raises RestoreError.
    """
    sessions.check_until(target, until)
    read = looked_at(backup)
    state = _state(config, target, read, incident, until)
    checksum = _checksum(read)
    state = after(state, Entry(2, utc_now(), "dry run", CheckDone(checksum), ""))
    plan, later = _sqlite(state, target, read) if isinstance(target, SqliteTarget) else _mysql(state, target, read)
    return DryRun(plan, (checksum, *_ground(target, state), *report.before(state)), later)


def looked_at(backup: Backup) -> Backup:
    """With the status that it earns, once. An object is not fetched for it."""
    if backup.actual is not None:
        return backup
    if isinstance(backup.place, ObjectAt) and backup.status is not Status.MISSING_FILE:
        return asked(backup)
    return verify(backup, lambda _done, _total: None, lambda: False)


def _checksum(read: Backup) -> Check:
    told = f"{read.status}: {read.evidence}"
    if read.restorable:
        return ok(CHECKSUM, told)
    if read.status is Status.UNCHECKED and read.expected is not None and not read.expected.weak:
        return warn(CHECKSUM, told, "It is compared while it is staged, and refused if it is another.")
    return fail(CHECKSUM, told, "Choose a VERIFIED backup, or the incident commander overrides with a reason.")


def _sqlite(state: SessionState, target: SqliteTarget, read: Backup) -> tuple[Plan, tuple[str, ...]]:
    live = look(str(target.database))
    found = Found(
        swap=swap_for(target, live, _as_if_staged(read, live.path), _NAME[-4:]),
        kind=live.kind,
        live_size=live.identity.size if live.identity else 0,
        rate=None,
        details=describe(live),
        user=target.application.user,
    )
    return plans.restore_plan(state, target, found), ()


def _mysql(state: SessionState, target: MysqlTarget, read: Backup) -> tuple[Plan, tuple[str, ...]]:
    foreseen = foresee(state, target, read)
    return mysql_plans.restore_plan(state, target, foreseen.found), foreseen.later


def _state(
    config: Config, target: Target, backup: Backup | None, incident: Incident | None, until: Until | None = None
) -> SessionState:
    begun = sessions.beginning(config, target, backup, incident, sessions.login(), _NAME, until)
    return fold((Entry(1, utc_now(), "dry run", begun, ""),))


def _as_if_staged(backup: Backup, live: str) -> Staged:
    """What staging would make: the same bytes, beside the live database."""
    digest = backup.actual.hex if backup.actual and backup.actual.algorithm == "sha256" else ""
    device = os.stat(os.path.dirname(live)).st_dev  # noqa: PTH116, PTH120 - the path is text here
    path = files.beside(live, _NAME[-4:], "staged")
    return Staged(path, device, 0, backup.size, 0, digest, (), "", backup.where)
