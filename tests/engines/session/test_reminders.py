"""Reminders: of a yes that is waited for while the application is down, and of a keyboard held for a whole shift."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from engines.session import commands as c
from engines.session.events import (
    Actor,
    Entry,
    Event,
    KeyboardTaken,
    NoteAdded,
    Reminded,
    Reminder,
    Result,
    StepEnded,
    StepStarted,
)
from engines.session.plan import PlanKind
from engines.session.record import record
from engines.session.reminders import due, held_for, seconds_to_next
from engines.session.state import SessionState, after
from tests.engines.session.examples import ANA, CONFIRM, SIGN_OFF, begun, plan_made, runner_started, state_of, step
from tests.engines.session.toy_session import ToySession, sees, work_through

STOPPING = step("3.1", action="stop-maintenance", halts=True, undo="php artisan up")
WORK = step("3.2", gates=(CONFIRM,))
STARTING = step("4.8", action="start-maintenance", params={"puts_right": "stop-maintenance"})
LAST = step("5.1", gates=(SIGN_OFF,))
SETTINGS = {"self_approval": ["local"], "remind_seconds": 600, "shift_seconds": 8 * 3600}
DOWN: tuple[Event, ...] = (
    begun(approval=SETTINGS),
    runner_started(),
    plan_made(PlanKind.RESTORE, STOPPING, WORK, STARTING, LAST),
    StepStarted("3.1", 1),
    StepEnded(step="3.1", result=Result.DONE),
)


def at_last(state: SessionState) -> datetime:
    assert state.last_at is not None
    return state.last_at


def happens(state: SessionState, event: Event, at: datetime) -> SessionState:
    return after(state, Entry(state.last_seq + 1, at, "runner", event, ""))


def test_a_yes_that_is_waited_for_while_the_application_is_down_is_reminded_of_at_the_interval_and_no_oftener() -> None:
    state = state_of(*DOWN)
    began = at_last(state)
    assert due(state, began + timedelta(seconds=599)) is None
    assert seconds_to_next(state, began + timedelta(seconds=590)) == 10
    reminded = due(state, began + timedelta(seconds=601))
    assert reminded is not None
    assert reminded.about is Reminder.WAITING
    assert "has waited for the database operator for 10" in reminded.text
    assert "run it" in reminded.text
    state = happens(state, reminded, began + timedelta(seconds=601))
    assert due(state, began + timedelta(seconds=1200)) is None, "one for each interval"
    assert due(state, began + timedelta(seconds=1202)) is not None


def test_a_runner_that_was_away_for_a_night_reminds_once() -> None:
    state = state_of(*DOWN)
    later = at_last(state) + timedelta(hours=7)
    reminded = due(state, later)
    assert reminded is not None
    assert reminded.seconds == 7 * 3600
    assert due(happens(state, reminded, later), later) is None


def test_a_note_does_not_put_a_reminder_off_and_a_step_does() -> None:
    state = state_of(*DOWN)
    began = at_last(state)
    noted = happens(state, NoteAdded(ANA, "still looking"), began + timedelta(seconds=500))
    assert due(noted, began + timedelta(seconds=601)) is not None
    working = happens(state, StepStarted("3.2", 1), began + timedelta(seconds=500))
    assert due(working, began + timedelta(seconds=601)) is None, "nobody is waited for"
    done = happens(working, StepEnded(step="3.2", result=Result.FAILED, message="no"), began + timedelta(seconds=900))
    assert due(done, began + timedelta(seconds=1400)) is None
    reminded = due(done, began + timedelta(seconds=1501))
    assert reminded is not None
    assert reminded.seconds == 601


def test_nobody_is_reminded_while_everything_serves() -> None:
    state = state_of(*DOWN[:3])
    assert due(state, at_last(state) + timedelta(hours=2)) is None
    up = state_of(
        *DOWN,
        StepStarted("3.2", 1),
        StepEnded(step="3.2", result=Result.DONE),
        StepStarted("4.8", 1),
        StepEnded(step="4.8", result=Result.DONE),
    )
    assert due(up, at_last(up) + timedelta(hours=2)) is None


def test_a_keyboard_held_for_a_whole_shift_is_said_and_a_handover_begins_a_new_one() -> None:
    state = state_of(*DOWN[:3])
    assert state.begun_at is not None
    began = state.begun_at
    assert due(state, began + timedelta(hours=7, minutes=59)) is None
    reminded = due(state, began + timedelta(hours=8, seconds=1))
    assert reminded is not None
    assert reminded.about is Reminder.KEYBOARD
    assert "ana has held the keyboard for 8" in reminded.text
    told = happens(state, reminded, began + timedelta(hours=8, seconds=1))
    rows = record(told)["reminder"]
    assert isinstance(rows, list)
    assert [row["about"] for row in rows] == ["keyboard"]
    own = happens(told, KeyboardTaken(replace(ANA, console="a2"), "the console that held it is gone"), at_last(told))
    assert held_for(own, began + timedelta(hours=9)) == 9 * 3600, "another console of the same person is no rest"
    taken = happens(told, KeyboardTaken(Actor("bo", "bo", console="b1"), "ana sleeps"), began + timedelta(hours=9))
    assert held_for(taken, began + timedelta(hours=10)) == 3600
    assert due(taken, began + timedelta(hours=16, minutes=30)) is None
    assert due(taken, began + timedelta(hours=17, seconds=1)) is not None


@pytest.mark.parametrize("given", [None, 0, -5, "soon"])
def test_without_a_setting_that_makes_sense_there_is_a_default(given: object) -> None:
    state = state_of(begun(approval={"remind_seconds": given, "shift_seconds": given}), *DOWN[1:])
    assert seconds_to_next(state, at_last(state)) == 600


async def test_the_runner_reminds_by_itself_and_the_consoles_are_told(session: ToySession) -> None:
    session.begin(approval={"self_approval": ["local"], "shift_seconds": 0.3})
    console = await session.console()
    await sees(console, lambda state: len(state.reminders) >= 2)
    await work_through(console)
    assert all(isinstance(one, Reminded) for _, one in session.state.reminders)
    await console.close()


def test_a_reminder_is_no_command() -> None:
    assert "Reminded" not in c.NAMES
