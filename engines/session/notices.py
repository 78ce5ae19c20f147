"""What people outside are told, when, and what became of it. Pure: `messenger` sends, the fold keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from engines.notify import About
from engines.people import Role
from engines.session.events import (
    Approved,
    CheckOverridden,
    Entry,
    GateGiven,
    Result,
    SessionEnded,
    StepEnded,
    StepSkipped,
    StepStarted,
)
from engines.session.plan import PlanKind
from engines.text import clock, drawable, duration, parse_stamp, span

if TYPE_CHECKING:
    from engines.session.state import SessionState

_LONGEST = 400  # characters of what somebody or some step said


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to tell one channel."""

    at: datetime
    line: int  # of the journal
    ok: bool
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people are told of."""

    number: int  # of the journal line that caused it
    about: About
    at: datetime
    what: str  # in a sentence
    attempts: Mapping[str, Attempt] = field(default_factory=dict)  # the latest for each channel


def due(before: SessionState, state: SessionState, entry: Entry) -> Notice | None:
    """What `entry` gives people to know; `state` has it folded in already."""
    found = _due(before, state, entry)
    return Notice(entry.seq, found[0], entry.at, found[1]) if found else None


def _due(before: SessionState, state: SessionState, entry: Entry) -> tuple[About, str] | None:
    kind = state.plan.kind if state.plan else PlanKind.PREPARE
    word = "undo of the restore" if kind is PlanKind.UNDO else "restore"
    match entry.event:
        case Approved(actor=actor, until=until, break_glass=why):
            who = f"The {word} is authorised by {actor.name}, to start before {_moment(until)}"
            return (About.BREAK_GLASS, f"{who}, ALONE: {why}") if why else (About.AUTHORISED, f"{who}.")
        case CheckOverridden(name=name, verdict=verdict, actor=actor, break_glass=why) if why:
            return About.BREAK_GLASS, f"{actor.name} ALONE let the check {name!r} pass, which says {verdict}: {why}"
        case GateGiven(step=step, actor=actor, break_glass=why) if why:
            return About.BREAK_GLASS, f"{actor.name} ALONE accepted the risk of step {step}: {why}"
        case StepStarted() if kind is not PlanKind.PREPARE and not _begun(before, kind):
            return About.STARTED, f"The {word} has started."
        case StepEnded(step=step, result=result, message=message) if result in (Result.FAILED, Result.UNKNOWN):
            known = state.step(step)
            if known is None or known.plan is PlanKind.PREPARE:
                return None  # nothing has been touched: another backup is chosen
            verb = "failed" if result is Result.FAILED else "has an outcome that is not known"
            return About.FAILED, f"Step {step} {known.step.title} {verb}: {message}"
        case StepEnded() | StepSkipped() if kind is PlanKind.RESTORE and _worked(state) and not _worked(before):
            return About.DONE, "The database is restored and the steps are done. It waits for the sign-offs."
        case SessionEnded(how=how, reason=reason):
            return About.CLOSED, f"The session is closed: {how}{f', {reason}' if reason else ''}."
        case _:
            return None


def _begun(state: SessionState, kind: PlanKind) -> bool:
    return any(known.plan is kind and known.attempt for known in state.steps)


def _worked(state: SessionState) -> bool:
    """Is everything done that the operator does?"""
    mine = [known for known in state.current if known.step.role is Role.OPERATOR]
    return bool(mine) and all(known.status.settled for known in mine)


def text_of(state: SessionState, notice: Notice) -> str:
    """The message: what, why, when, how long it takes, what is lost. One line each, nothing secret in it."""
    return "\n".join(drawable(line)[:_LONGEST] for line in _lines(state, notice))


def _lines(state: SessionState, notice: Notice) -> Iterator[str]:
    begun, plan = state.begun, state.plan
    if begun is None:
        return
    drill = "DRILL: " if begun.drill else ""
    word = "BREAK-GLASS" if notice.about is About.BREAK_GLASS else str(notice.about)
    yield f"{drill}[{begun.environment.upper()} {begun.target.get('name', '')}] {begun.incident_id} {word}".replace(
        "  ", " "
    )
    yield notice.what
    about = begun.incident.get("incident")
    title = about.get("title") if isinstance(about, Mapping) else ""
    if title:
        yield f"Why: {title}"
    yield f"When: {clock(notice.at)}"
    if plan is not None and plan.backup is not None and plan.kind is PlanKind.RESTORE:
        yield f"From: {plan.backup.name}, {plan.backup.status}, taken {_moment(plan.backup.taken_at)}"
    if plan is not None and plan.estimate is not None and notice.about is not About.CLOSED:
        yield f"Expected duration: {duration(plan.estimate)} of work, people's waiting apart"
    if plan is not None and plan.loss is not None and not state.puts_back:
        until = f"from {_moment(plan.loss.start)} to {_moment(plan.loss.end)}"
        yield f"Data loss: {span(plan.loss.seconds)} of writes, {until}"
    yield f"Session: {begun.session}"


def _moment(written: str) -> str:
    """What the journal holds is folded whatever it is."""
    try:
        return clock(parse_stamp(written))
    except (ValueError, OverflowError):
        return written


def channels(state: SessionState) -> Mapping[str, tuple[str, ...]]:
    """The channels of the session, each with what it is told of."""
    told = state.begun.notify if state.begun else ()
    found = {}
    for channel in told:
        on = channel.get("on", ())
        found[str(channel.get("name"))] = tuple(map(str, on)) if isinstance(on, (list, tuple)) else ()
    return found


def wanted(state: SessionState) -> Iterator[tuple[Notice, str]]:
    """Each notice with each channel that is told of it, in order."""
    for notice in state.notices:
        for channel, on in channels(state).items():
            if notice.about is About.BREAK_GLASS or str(notice.about) in on:
                yield notice, channel


def waiting(state: SessionState) -> Iterator[tuple[Notice, str]]:
    """What is still to be tried, for the first time or since somebody asked for it again."""
    return (
        (notice, channel)
        for notice, channel in wanted(state)
        if channel not in notice.attempts or _asked_since(state, notice.attempts[channel])
    )


def _asked_since(state: SessionState, attempt: Attempt) -> bool:
    return not attempt.ok and state.sending_asked > attempt.line


def unsent(state: SessionState) -> tuple[tuple[Notice, str, str], ...]:
    """What did not arrive: the notice, the channel, and why."""
    return tuple(
        (notice, channel, notice.attempts[channel].reason if channel in notice.attempts else "not tried yet")
        for notice, channel in wanted(state)
        if channel not in notice.attempts or not notice.attempts[channel].ok
    )
