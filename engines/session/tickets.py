"""Follow-ups as issues: which are to be filed, what a ticket says, and what became of each. Pure: `filer` sends.

An outcome that is not known is UNKNOWN (rule 5): GitHub may still be making the issue, so for a while it is only looked
for, and always before anything is sent again.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from engines import tables
from engines.errors import Problem
from engines.session.events import Filing, SessionBegun, TicketsAsked, TicketTried
from engines.session.followups import FollowUp, follow_ups
from engines.surroundings import Tickets
from engines.text import drawable

if TYPE_CHECKING:
    from engines.session.state import SessionState

# GitHub ends a request that takes it longer than 10 s ("Troubleshooting the REST API", timeouts); six times that.
STILL_MAKING = timedelta(seconds=60)
_TITLE = 200  # characters; GitHub takes 256
_WIDTH = 100  # columns: what is longer would have to be scrolled


@dataclass(frozen=True, slots=True)
class Ticket:
    """What became of filing one follow-up. `result` is None while it is under way."""

    at: datetime  # of the latest that is known
    by: str
    result: Filing | None = None
    number: int = 0
    address: str = ""
    found: bool = False
    reason: str = ""
    hint: str = ""
    unsure_since: datetime | None = None  # since when one may be there that we do not know of

    @property
    def filed(self) -> bool:
        return self.result is Filing.FILED


# -- the fold -----------------------------------------------------------------------------------------------------

_DIED = "the runner died while it was being filed"
_LOOK = "File it again: it is looked for first."


def asked_for(known: Mapping[str, Ticket], asked: TicketsAsked, at: datetime) -> Mapping[str, Ticket]:
    return {**known, **{key: Ticket(at, asked.actor.name, unsure_since=_unsure(known.get(key))) for key in asked.keys}}


def _unsure(before: Ticket | None) -> datetime | None:
    """Asked for again while it is under way, it was under way in a runner that is no more."""
    if before is None:
        return None
    return before.at if before.result is None else before.unsure_since


def tried(known: Mapping[str, Ticket], event: TicketTried, at: datetime) -> Mapping[str, Ticket]:
    before = known.get(event.key) or Ticket(at, "")
    # From when on it may come true later: looking alone makes nothing.
    unsure = (at if event.sent else before.unsure_since or at) if event.result is Filing.UNKNOWN else None
    ticket = replace(
        before,
        at=at,
        result=event.result,
        number=event.number,
        address=event.address,
        found=event.found,
        reason=event.reason,
        hint=event.hint,
        unsure_since=unsure,
    )
    return {**known, event.key: ticket}


def cut_off(known: Mapping[str, Ticket], at: datetime) -> Mapping[str, Ticket]:
    """What was under way when a runner died: not known."""
    return {
        key: replace(one, at=at, result=Filing.UNKNOWN, reason=_DIED, hint=_LOOK, unsure_since=at)
        if one.result is None
        else one
        for key, one in known.items()
    }


# -- what is to be filed ------------------------------------------------------------------------------------------


def tickets_of(begun: SessionBegun | None) -> Tickets | None:
    """Where tickets are filed, as it was configured when the session began; None for nowhere."""
    if begun is None or not begun.tickets:
        return None
    problems: list[Problem] = []
    return tables.read(Tickets, begun.tickets, "journal", problems, internal=True)


def unfiled(state: SessionState) -> tuple[FollowUp, ...]:
    """Follow-ups without a ticket, those under way among them."""
    return tuple(one for one in follow_ups(state) if not one.ticket)


def fileable(state: SessionState) -> tuple[FollowUp, ...]:
    """Those that may be asked for now: a session that is over has nothing under way."""
    return tuple(one for one in unfiled(state) if state.ended is not None or not _under_way(state, one.key))


def to_be_filed(state: SessionState, keys: tuple[str, ...]) -> tuple[str, ...]:
    """Of those named, or of all, the ones that may be asked for now."""
    return tuple(one.key for one in fileable(state) if not keys or one.key in keys)


def _under_way(state: SessionState, key: str) -> bool:
    known = state.tickets.get(key)
    return known is not None and known.result is None


def due(state: SessionState) -> str | None:
    """The next follow-up that was asked for and is not tried yet."""
    return next((key for key, one in state.tickets.items() if one.result is None), None)


def only_looked_for(ticket: Ticket, now: datetime) -> timedelta | None:
    """For how long yet nothing is sent, since an earlier request may still come true; None where it may be sent."""
    if ticket.unsure_since is None:
        return None
    left = ticket.unsure_since + STILL_MAKING - now
    return left if timedelta() < left <= STILL_MAKING else None


def not_filed(state: SessionState) -> Iterator[tuple[FollowUp, Ticket]]:
    """What was asked for and has no ticket: the follow-up, and how far it has come."""
    return ((one, state.tickets[one.key]) for one in unfiled(state) if one.key in state.tickets)


def outcome(state: SessionState, ticket: Ticket) -> str:
    """How far filing has come, in a sentence without its end."""
    match ticket.result:
        case Filing.FILED:
            return f"filed as {ticket.address}{', where it was already' if ticket.found else ''}"
        case Filing.NOT_FILED:
            return f"NOT FILED: {ticket.reason}"
        case Filing.UNKNOWN:
            return f"NOT KNOWN to be filed: {ticket.reason}"
        case None:
            return "being filed" if state.ended is None else "NOT KNOWN to be filed: the session ended meanwhile"


# -- what a ticket says -------------------------------------------------------------------------------------------


def marker(state: SessionState, key: str) -> str:
    """What an issue is known again by."""
    return f"{state.id}-{key}"


def title_of(one: FollowUp) -> str:
    """On one line. GitHub draws a title as text, but for code between backticks."""
    line = " ".join(drawable(" ".join(one.task.split())).replace("`", "'").split())
    return textwrap.shorten(line, _TITLE, placeholder=" …") if len(line) > _TITLE else line


def body_of(state: SessionState, one: FollowUp) -> str:
    """In a block of code, where nothing is markup, a mention, a link or a reference: the words are anybody's."""
    lines = "\n".join(_lines(state, one))
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", lines)), default=0))
    return f"{fence}text\n{lines}\n{fence}\n\nFiled by Reinstate from the record of a restore."


def _what(begun: SessionBegun | None) -> str:
    if begun is None:
        return ""
    return f"{'drill, ' if begun.drill else ''}{begun.target.get('name')} ({begun.environment})"


def _lines(state: SessionState, one: FollowUp) -> Iterator[str]:
    for line in one.task.splitlines():
        yield from textwrap.wrap(drawable(line), _WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
    yield ""
    begun = state.begun
    about = begun.incident.get("incident") if begun is not None else None
    title = about.get("title") if isinstance(about, Mapping) else ""
    facts = {
        "Kind": one.kind,
        "Owner": one.owner or "nobody yet",
        "Due": one.due or "no date",
        "Incident": f"{begun.incident_id if begun else ''} {title or ''}".strip() or "none",
        "Restore": _what(begun),
        "Session": state.id,
    }
    yield from (f"{name + ':':<10}{drawable(value)}" for name, value in facts.items())
