"""What the incident report expects of the restore as a whole: how much it loses, and which moment it comes back to.

Single tables and queries are `expected`'s. What no step asks is said here too, so that nobody signs it off unseen.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from engines import checks
from engines.checks import Check, Panel
from engines.config import from_table
from engines.errors import UsageError
from engines.incident import Incident
from engines.recipes.mysql.until import Kind, Until, from_backup, parse_until, told
from engines.recipes.readiness import incident_of
from engines.recipes.steps import lost
from engines.session.state import SessionState
from engines.targets import Application, Target
from engines.text import clock, drawable, parse_stamp, span, utc_now
from engines.values import moment

LOSS = "Data loss"
BAD_WRITE = "What comes back is from before the bad write"
POINT = "The restore point is the report's"
STOP = "The stop is the report's"
APPLICATION = "The report names this application"

_LATE = "Choose an older backup (b), or the incident commander overrides by name."


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the chosen restore point goes. `moment` is None where it is not a time."""

    until: Until
    moment: datetime | None
    words: str

    def holds(self, at: datetime) -> bool | None:
        """May something that was written at `at` be in what comes back? None: that can't be told."""
        if self.moment is None:
            return None
        # A replay stops before what happened at its time; a copy may hold what was written while it was made.
        return self.moment > at if self.until.replays else self.moment >= at


def before(state: SessionState) -> Iterator[Check]:
    """Asked before anything is destroyed. Nothing is asked of a restore point that is not chosen yet."""
    incident = incident_of(state)
    target = target_of(state)
    if incident is not None and incident.target.app_path is not None:
        yield _application(incident.target.app_path, target.application)
    reach = _reach(state)
    if reach is None:
        return
    if (limit := _limit(incident, target)) is not None and reach.moment is not None:
        yield data_loss(state, reach.moment, *limit)
    if incident is None:
        return
    if incident.about.started_at is not None:
        yield _bad_write(reach, incident.about.started_at, asked=bool(incident.must_not_contain))
    if incident.objective.restore_point != "latest":
        yield _point(reach, moment(incident.objective.restore_point), target.every * 2)
    if incident.objective.stop_before is not None:
        yield _stop(reach, incident.objective.stop_before)


def not_asked(incident: Incident | None, application: Application) -> tuple[Check, ...]:
    """One check for each thing that the report expects and that no step asks: somebody answers for it by name."""
    if incident is None:
        return ()
    hint = "Find it out by hand; then the incident commander overrides by name, with what was found."
    return tuple(
        checks.unknown(f"incident report: {what}", f"not asked by this version: {what}", hint, Panel.VALIDATION)
        for what in _unasked(incident, application)
    )


def check_again(name: str, state: SessionState) -> Check | None:
    """One of `before` or `not_asked`, asked once more; None where it is none of them."""
    incident = incident_of(state)
    every = (*before(state), *not_asked(incident, target_of(state).application))
    return next((check for check in every if check.name == name), None)


def target_of(state: SessionState) -> Target:
    """The target as it was configured when the session began."""
    return from_table(state.begun.target if state.begun else {})


def data_loss(state: SessionState, since: datetime, limit: timedelta, whose: str) -> Check:
    """Is what no restore brings back, from `since` on, within what may be lost?"""
    loss = lost(state, since)
    words = (
        f"{span(loss.seconds)} of writes, from {clock(parse_stamp(loss.start))} to {clock(parse_stamp(loss.end))}; "
        f"{whose} is {span(limit.total_seconds())}"
    )
    if loss.seconds <= limit.total_seconds():
        return checks.ok(LOSS, words)
    return checks.fail(
        LOSS, words, "Choose a newer backup (b), or the incident commander overrides: who accepts the loss, and why."
    )


def _limit(incident: Incident | None, target: Target) -> tuple[timedelta, str] | None:
    """How much may be lost, and who says so: what was accepted goes before the objective."""
    if incident is not None and incident.objective.max_loss_accepted is not None:
        return incident.objective.max_loss_accepted, f"the loss accepted by {drawable(incident.objective.accepted_by)}"
    if incident is not None and incident.objective.rpo is not None:
        return incident.objective.rpo, "the report's RPO"
    return (target.rpo, "the target's RPO") if target.rpo is not None else None


def _reach(state: SessionState) -> Reach | None:
    if "taken_at" not in state.backup:
        return None
    until = from_backup(state.backup)
    match until.kind:
        case Kind.DUMP:
            taken = parse_stamp(str(state.backup["taken_at"]))
            return Reach(until, taken, f"the backup was taken {clock(taken)}")
        case Kind.TIME:
            return Reach(until, moment(until.value), f"the logs are replayed {told(until)}")
        case Kind.END:
            return Reach(until, utc_now(), f"the logs are replayed {told(until)}")
        case _:
            return Reach(until, None, f"the logs are replayed {told(until)}")


def _bad_write(reach: Reach, started: datetime, *, asked: bool) -> Check:
    words = f"{reach.words}, the first bad write was {clock(started)}"
    match reach.holds(started):
        case False:
            return checks.ok(BAD_WRITE, words)
        case None:
            return checks.warn(BAD_WRITE, words, "The two can't be compared: a must_not_contain query can tell.")
        case _ if asked or reach.until.exclude:
            return checks.warn(
                BAD_WRITE, f"{words}: it may be in it", "The must_not_contain queries tell whether it is."
            )
        case _:
            return checks.fail(BAD_WRITE, f"{words}: it may be in it", _LATE)


def _point(reach: Reach, wanted: datetime, near: timedelta) -> Check:
    words = f"{reach.words}, the report says {clock(wanted)}"
    if reach.moment is None:
        return checks.unknown(POINT, words, "The two can't be compared: look at the logs, then override by name.")
    if reach.moment > wanted:
        return checks.fail(POINT, f"{words}: that is after it", _LATE)
    if wanted - reach.moment > (timedelta() if reach.until.replays else near):
        return checks.warn(POINT, f"{words}: that is before it", "Is there a restore point nearer to it?")
    return checks.ok(POINT, words)


def _stop(reach: Reach, wanted: str) -> Check:
    words = f"{reach.words}, the report says: stop before {drawable(wanted)}"
    compare = "The two can't be compared: look at the logs, then override by name."
    try:
        stop = parse_until(wanted)
    except UsageError:
        return checks.unknown(STOP, words, "That is neither a time, nor FILE:POSITION, nor a GTID: correct the report.")
    if (stop.kind, stop.value) == (reach.until.kind, reach.until.value):
        return checks.ok(STOP, words)
    if reach.until.kind is Kind.END:
        return checks.fail(STOP, f"{words}: that is after it", "Choose the restore point again, with that stop (b).")
    if stop.kind is not Kind.TIME or reach.moment is None:
        return checks.unknown(STOP, words, compare)
    if reach.holds(moment(stop.value)):
        return checks.fail(STOP, f"{words}: that is after it", _LATE)
    if reach.until.replays:
        return checks.warn(STOP, f"{words}: that is before it", "Was the earlier stop meant?")
    return checks.ok(STOP, f"{words}; nothing is replayed")


def _application(wanted: os.PathLike[str], application: Application) -> Check:
    said = drawable(os.fspath(wanted))
    if application.path == type(application.path)():
        hint = "Configure the target's application, or take app_path out of the report."
        return checks.warn(APPLICATION, f"the report says {said}, no application is configured", hint)
    if os.path.realpath(wanted) == os.path.realpath(application.path):
        return checks.ok(APPLICATION, said)
    return checks.fail(
        APPLICATION,
        f"the report says {said}, the target's is {drawable(str(application.path))}",
        "Choose the target that the report names.",
    )


def _unasked(incident: Incident, application: Application) -> Iterator[str]:
    for table in incident.tables:
        if table.checksum is not None:
            yield f"table {drawable(table.name)}: checksum"
    if incident.schema.app_key_probe is not None:
        yield "[schema] app_key_probe"
    logs = incident.logs
    if not application.logs and not logs.paths and (logs.window or logs.deny or logs.allow or logs.max_matches):
        yield "[logs]: no log is configured"
