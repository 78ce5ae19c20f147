"""A drill asks nobody: where a restore would wait, it has failed. And what came of it, from its journal."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from engines.checks import Panel
from engines.errors import Refused
from engines.recipes.drills.outcome import EXIT_CODES, Outcome, drilled
from engines.session import commands as c
from engines.session.events import Ending, Event, PlanMade, Result, SessionEnded, StepEnded, StepStarted
from engines.session.moves import End, MakePlan, Start, check_command, next_move
from engines.session.plan import PlanKind
from engines.session.state import SessionState
from tests.engines.session.examples import ANA, begun, check_done, plan_made, state_of, step

NOW = datetime(2026, 11, 22, 20, 30, tzinfo=UTC)


def drill_after(*events: Event) -> SessionState:
    backup = {"name": "a.sqlite", "taken_at": "2026-11-22T11:00:00.000Z"}
    return state_of(begun(drill=True, decided={"rto_seconds": "60"}, backup=backup), *events)


def made(kind: PlanKind, *actions: str) -> PlanMade:
    phase = 2 if kind is PlanKind.PREPARE else 3
    steps = (step(f"{phase}.{number}", action=action) for number, action in enumerate(actions, 1))
    return plan_made(kind, *steps, revision=phase - 1)


def ran(id_: str, result: Result = Result.DONE, message: str = "") -> tuple[Event, Event]:
    return StepStarted(id_, 1), StepEnded(step=id_, result=result, message=message)


MISMATCH = check_done("counts", panel=Panel.VALIDATION)
NO_ROOM = check_done("room", panel=Panel.SPACE)
PREPARED = (made(PlanKind.PREPARE, "stage", "prove"), *ran("2.1"))


def test_preparing_is_carried_to_its_end_whatever_a_check_says() -> None:
    move = next_move(drill_after(*PREPARED, MISMATCH), NOW)
    assert isinstance(move, Start)
    assert move.step.action == "prove"


def test_then_a_check_that_blocks_ends_it() -> None:
    move = next_move(drill_after(*PREPARED, MISMATCH, *ran("2.2")), NOW)
    assert move == End(Ending.FAILED, "counts: evidence")
    assert next_move(drill_after(*PREPARED, *ran("2.2")), NOW) == MakePlan(PlanKind.RESTORE)


def test_a_check_that_blocks_after_the_restore_sends_no_heartbeat() -> None:
    restoring = (*PREPARED, *ran("2.2"), made(PlanKind.RESTORE, "replace", "heartbeat"), *ran("3.1"))
    assert isinstance(next_move(drill_after(*restoring), NOW), Start)
    assert next_move(drill_after(*restoring, MISMATCH), NOW) == End(Ending.FAILED, "counts: evidence")


def test_a_step_that_failed_ends_it_with_its_reason() -> None:
    failed = ran("2.1", Result.FAILED, "it is no database")
    move = next_move(drill_after(made(PlanKind.PREPARE, "stage"), *failed), NOW)
    assert move == End(Ending.FAILED, "Step 2.1: it is no database")


def test_a_drill_whose_steps_are_done_is_proven() -> None:
    done = drill_after(*PREPARED, *ran("2.2"), made(PlanKind.RESTORE))
    assert next_move(done, NOW) == End(Ending.PROVEN)


@pytest.mark.parametrize(
    "command", [c.Override("counts", "ivo", "it is known"), c.Skip("2.1", "no time"), c.Retry("2.1"), c.Undo("why not")]
)
def test_nobody_overrides_skips_repeats_or_undoes_anything_of_a_drill(command: c.Command) -> None:
    state = drill_after(*PREPARED, MISMATCH)
    with pytest.raises(Refused, match="A drill asks nobody"):
        check_command(state, command, ANA, NOW)
    check_command(state, c.Note("seen"), ANA, NOW)
    check_command(state, c.Abandon("the disk is needed"), ANA, NOW)


FAILED = SessionEnded(Ending.FAILED, "why")


@pytest.mark.parametrize(
    ("events", "outcome", "code"),
    [
        ((*PREPARED, *ran("2.2"), SessionEnded(Ending.PROVEN)), Outcome.PROVEN, 0),
        ((*PREPARED, MISMATCH, FAILED), Outcome.NOT_PROVEN, 4),
        ((made(PlanKind.PREPARE, "stage"), *ran("2.1", Result.FAILED), FAILED), Outcome.NOT_PROVEN, 4),
        ((made(PlanKind.PREPARE, "make-scratch"), *ran("2.1", Result.FAILED), FAILED), Outcome.REFUSED, 3),
        ((NO_ROOM, made(PlanKind.PREPARE, "stage"), *ran("2.1", Result.FAILED), FAILED), Outcome.REFUSED, 3),
        ((made(PlanKind.PREPARE, "stage"), *ran("2.1", Result.UNKNOWN), FAILED), Outcome.CUT_OFF, 1),
        ((*PREPARED, SessionEnded(Ending.ABANDONED, "why")), Outcome.CUT_OFF, 1),
        (PREPARED, Outcome.UNDER_WAY, 1),
    ],
)
def test_what_came_of_it_has_an_exit_code(events: tuple[Event, ...], outcome: Outcome, code: int) -> None:
    found = drilled(drill_after(*events))
    assert found is not None
    assert (found.outcome, EXIT_CODES[found.outcome]) == (outcome, code)
    assert found.rto == 60.0
    assert found.age is not None


def test_a_restore_is_no_drill() -> None:
    assert drilled(state_of(begun())) is None
