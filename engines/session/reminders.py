"""When the session reminds somebody, and of what. Pure: derived from the journal, so a restart repeats nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

from engines.session.events import Reminded, Reminder
from engines.session.moves import AskKind, Wait, next_move, out_of_service_since
from engines.session.state import SessionState
from engines.text import duration

REMIND = 600.0  # seconds, unless the configuration says otherwise
SHIFT = 8 * 3600.0
_WAITING = frozenset(AskKind) - {AskKind.WORKING, AskKind.ENDED}


def due(state: SessionState, now: datetime) -> Reminded | None:
    """What somebody has to be reminded of now."""
    for when, reminded in _coming(state, now):
        if when <= now:
            return reminded
    return None


def seconds_to_next(state: SessionState, now: datetime) -> float | None:
    """How long until something may be due; None where nothing is going to be."""
    coming = [(when - now).total_seconds() for when, _ in _coming(state, now)]
    return max(min(coming), 0.0) if coming else None


def held_for(state: SessionState, now: datetime) -> float:
    """Seconds for which the same person has held the keyboard."""
    if state.keyboard_since is None:
        return 0.0
    return max(((state.ended_at or now) - state.keyboard_since).total_seconds(), 0.0)


def shift_of(state: SessionState) -> float:
    """Seconds after which a handover is due."""
    return _setting(state, "shift_seconds", SHIFT)


def _coming(state: SessionState, now: datetime) -> list[tuple[datetime, Reminded]]:
    """Each reminder that is foreseen, and when."""
    if state.ended is not None:
        return []
    found = []
    move = next_move(state, now)
    down = out_of_service_since(state)
    if isinstance(move, Wait) and move.ask.kind in _WAITING and down is not None and state.stirred_at is not None:
        since = max(down, state.stirred_at)
        waited = (now - since).total_seconds()
        text = (
            f"The application has been down for {duration((now - down).total_seconds())}, and the session has waited "
            f"for the {move.ask.role} for {duration(waited)}: {move.ask.text}"
        )
        when = _next(state, Reminder.WAITING, since, _setting(state, "remind_seconds", REMIND))
        found.append((when, Reminded(Reminder.WAITING, text, round(waited, 3))))
    if state.keyboard is not None and state.keyboard_since is not None:
        held = held_for(state, now)
        text = f"{state.keyboard.name} has held the keyboard for {duration(held)}. Can somebody take it over (k)?"
        when = _next(state, Reminder.KEYBOARD, state.keyboard_since, shift_of(state))
        found.append((when, Reminded(Reminder.KEYBOARD, text, round(held, 3))))
    return found


def _next(state: SessionState, about: Reminder, since: datetime, every: float) -> datetime:
    """An interval after the later of the beginning and the last reminder of it: however long nobody ran, one is due."""
    last = max((at for at, one in state.reminders if one.about is about), default=since)
    return max(since, last) + timedelta(seconds=every)


def _setting(state: SessionState, key: str, default: float) -> float:
    given = state.begun.approval.get(key) if state.begun else None
    return float(given) if isinstance(given, (int, float)) and given > 0 else default
