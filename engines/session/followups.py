"""What is still to be done once the session is over: each with an owner and a date. Pure.

It comes from notes that begin with `todo:`, from credentials that were exposed or used, and from the runbook itself:
the review, and the security checklist where nobody has edited it yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

from engines.business_days import business_days_after
from engines.checklist import Line
from engines.errors import Refused
from engines.session.credentials import credentials

if TYPE_CHECKING:
    from engines.session.state import SessionState

REVIEW_DAYS = 3
_TODO = re.compile(r"\s*todo\b[:\s]*(?P<task>\S.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class FollowUp:
    key: str  # names it in a session, as todo-1
    kind: str  # remediation, credential, review or checklist
    task: str
    owner: str = ""
    due: str = ""  # a date, as 2026-11-27
    ticket: str = ""  # its number or address, once there is one


def follow_ups(state: SessionState) -> tuple[FollowUp, ...]:
    """All of them, with what was said of each."""
    return tuple(_as_told(state, one) for one in (*_noted(state), *_added(state), *_due(state)))


def _as_told(state: SessionState, one: FollowUp) -> FollowUp:
    """A ticket that somebody typed goes before the one that was filed."""
    told, filed = state.follow_ups.get(one.key), state.tickets.get(one.key)
    address = filed.address if filed else ""
    if told is None:
        return replace(one, ticket=address)
    return FollowUp(one.key, one.kind, told.task, told.owner, told.due, told.ticket or address)


def task_of(note: str) -> str:
    """What a note that begins with `todo:` says is to be done; empty for any other note."""
    found = _TODO.fullmatch(note)
    return found["task"].strip() if found else ""


def new_key(state: SessionState) -> str:
    return f"added-{sum(key.startswith('added-') for key in state.follow_ups) + 1}"


def _noted(state: SessionState) -> Iterator[FollowUp]:
    tasks = (task for note in state.notes if (task := task_of(note.text)))
    return (FollowUp(f"todo-{number}", "remediation", task) for number, task in enumerate(tasks, start=1))


def _added(state: SessionState) -> Iterator[FollowUp]:
    return (FollowUp(key, "remediation", "") for key in state.follow_ups if key.startswith("added-"))


def _due(state: SessionState) -> Iterator[FollowUp]:
    if state.begun is not None and state.begun.drill:
        return  # a rehearsal exposes nothing and is no incident to review; a line for its checklist is configured
    for one in credentials(state):
        where = f" ({one.where})" if one.where else ""
        yield FollowUp(one.key, "credential", f"Rotate {one.name}{where}: {one.why}", one.owner)
    if checklist_path(state) and state.checklist is None:
        yield FollowUp("checklist", "checklist", f"Enter this restore in {checklist_path(state)}")
    day = review_due(state)
    if day is not None:
        yield FollowUp("review", "review", "Blameless review of the incident and this restore", due=day.isoformat())


def review_due(state: SessionState) -> date | None:
    """The last day for the review: so many business days after the session's end, or after now while it goes on."""
    at = state.ended_at or state.last_at
    if at is None or state.begun is None:
        return None
    days = state.begun.review.get("business_days", REVIEW_DAYS)
    return business_days_after(at.date(), days if isinstance(days, int) else REVIEW_DAYS, _holidays(state))


def _holidays(state: SessionState) -> frozenset[date]:
    told = state.begun.review.get("holidays", ()) if state.begun else ()
    days = map(_day, told) if isinstance(told, (list, tuple)) else ()
    return frozenset(day for day in days if day is not None)


def _day(written: object) -> date | None:
    try:
        return date.fromisoformat(str(written))
    except ValueError:
        return None


def checklist_path(state: SessionState) -> str:
    """The security checklist's path; empty where none is configured."""
    application = state.begun.target.get("application") if state.begun else None
    return str(application.get("security_checklist") or "") if isinstance(application, Mapping) else ""


def checklist_line(state: SessionState) -> Line:
    """What is entered there about this session."""
    begun, at = state.begun, state.begun_at
    if begun is None or at is None:
        raise Refused("The session has not begun. Nothing was written.", "Wait until it has.")
    what = f"{'restore drill' if begun.drill else 'restore'} of {begun.target.get('name')} ({begun.environment})"
    incident = f", {begun.incident_id}" if begun.incident_id else ""
    return Line(at.date(), f"{what}{incident}", begun.operator.name, begun.session)
