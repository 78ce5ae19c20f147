"""A dry run: the plan and the checks of a restore, made without a session and without changing anything."""

from __future__ import annotations

import os
from dataclasses import dataclass

from engines.backups.catalogue import Backup
from engines.backups.verify import verify
from engines.checks import Check, Panel, fail, ok
from engines.config import Config
from engines.errors import UsageError
from engines.incident import Incident
from engines.recipes import report, sessions
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
from engines.targets import SqliteTarget, Target
from engines.text import utc_now

_NAME = "dry-run-0000"


@dataclass(frozen=True, slots=True)
class DryRun:
    plan: Plan
    checks: tuple[Check, ...]


def checks(config: Config, target: Target, incident: Incident | None) -> tuple[Check, ...]:
    """Every check that needs no chosen backup."""
    if not isinstance(target, SqliteTarget):
        raise UsageError("MySQL and MariaDB are not available in this version.", "reinstate --version")
    state = _state(config, target, None, incident)
    return tuple(check for check in ground.all_checks(target, state) if check.panel is not Panel.SPACE)


def dry_run(
    config: Config, target: Target, backup: Backup, incident: Incident | None, until: Until | None = None
) -> DryRun:
    """The restore plan for `backup`, as a session would make it; the backup's bytes are read and hashed for it."""
    sessions.check_until(target, until)
    if not isinstance(target, SqliteTarget):
        raise UsageError("MySQL and MariaDB are not available in this version.", "reinstate --version")
    read = verify(backup, lambda _done, _total: None, lambda: False)
    state = _state(config, target, read, incident)
    told = f"{read.status}: {read.evidence}"
    hint = "Choose a VERIFIED backup, or the incident commander overrides with a reason."
    checksum = ok(CHECKSUM, told) if read.restorable else fail(CHECKSUM, told, hint)
    state = after(state, Entry(2, utc_now(), "dry run", CheckDone(checksum), ""))
    live = look(str(target.database))
    found = Found(
        swap=swap_for(target, live, _as_if_staged(read, live.path), _NAME[-4:]),
        kind=live.kind,
        live_size=live.identity.size if live.identity else 0,
        rate=None,
        details=describe(live),
        user=target.application.user,
    )
    plan = plans.restore_plan(state, target, found)
    return DryRun(plan, (checksum, *ground.all_checks(target, state), *report.before(state)))


def _state(config: Config, target: Target, backup: Backup | None, incident: Incident | None) -> SessionState:
    begun = sessions.beginning(config, target, backup, incident, sessions.login(), _NAME)
    return fold((Entry(1, utc_now(), "dry run", begun, ""),))


def _as_if_staged(backup: Backup, live: str) -> Staged:
    """What staging would make: the same bytes, beside the live database."""
    digest = backup.actual.hex if backup.actual and backup.actual.algorithm == "sha256" else ""
    device = os.stat(os.path.dirname(live)).st_dev  # noqa: PTH116, PTH120 - the path is text here
    path = files.beside(live, _NAME[-4:], "staged")
    return Staged(path, device, 0, backup.size, 0, digest, (), "", backup.where)
