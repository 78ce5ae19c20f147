"""Readiness questions that are the same for every engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, timedelta

from engines import checks
from engines.backups.catalogue import Backup, Catalogue, Status
from engines.backups.freshness import NAME, freshness
from engines.backups.places import ObjectAt
from engines.backups.verify import verify, verify_all
from engines.checks import Check
from engines.errors import RestoreError
from engines.incident import Incident
from engines.incident import from_table as incident_from
from engines.session.state import SessionState
from engines.text import both_zones, utc_now


def incident_of(state: SessionState) -> Incident | None:
    table = state.begun.incident if state.begun else {}
    return incident_from(table) if table else None


def fresh(
    listing: Callable[[], Catalogue],
    every: timedelta,
    progress: Callable[[int, int], None],
    stop: Callable[[], bool],
) -> Check:
    """A1, on the newest backups' real bytes: the first that verifies is enough to know how old it is.

    A bucket's are not fetched for it: what the bucket itself says of their bytes is taken.
    """
    try:
        catalogue = listing()
    except RestoreError as error:
        return checks.fail(NAME, error.message, error.hint)
    objects = tuple(one for one in catalogue.backups if isinstance(one.place, ObjectAt))
    asked = {one.where: one for one in verify_all(objects, lambda _one: None, stop)}
    settled: list[Backup] = []
    for backup in catalogue.backups:
        if backup.where in asked:
            settled.append(asked[backup.where])
            continue
        known = any(one.status is Status.VERIFIED for one in settled)
        settled.append(backup if known or backup.status is not Status.UNCHECKED else verify(backup, progress, stop))
    return freshness(replace(catalogue, backups=tuple(settled)), every, utc_now())


def right_target(environment: str, engine: str, names: tuple[str, ...], incident: Incident | None) -> Check:
    """Does the incident report speak of this target? A restore in the wrong place is the oldest mistake there is."""
    name = "The incident is about this target"
    if incident is None:
        hint = "Give the report with --incident, so that counts can be compared with it."
        return checks.warn(name, "there is no incident report", hint)
    told = incident.target
    pairs = (("environment", told.environment, environment), ("engine", told.engine, engine))
    for what, said, ours in pairs:
        if said and said != ours:
            return checks.fail(
                name, f"it says {what} {said}, the target's is {ours}", "Choose the target that the report names."
            )
    if told.database and told.database not in names:
        return checks.fail(
            name,
            f"it says database {told.database}, the target's is {names[0]}",
            "Choose the target that the report names.",
        )
    return checks.ok(name, f"{incident.about.id}, source {incident.source.file or 'typed'}")


def clock() -> Check:
    now = utc_now()
    zone = now.astimezone().strftime("%Z")
    return checks.ok("Clock and time zone", f"{both_zones(now)}; this machine's zone is {zone}, the record's is {UTC}")


def verdicts(found: Sequence[Check]) -> str:
    blocking = [check.name for check in found if check.verdict.blocks]
    told = f"{len(found)} checks" + (f", blocking: {', '.join(blocking)}" if blocking else ", none blocks")
    return told
