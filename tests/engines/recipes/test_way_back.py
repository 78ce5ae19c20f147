"""The undo's plan: who decides about it, and what is stopped before the old data is put back. For both engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engines.recipes.application import STOPPING
from engines.recipes.mysql import plans as mysql
from engines.recipes.sqlite import plans as sqlite
from engines.recipes.sqlite import undoing
from engines.recipes.steps import NOTHING_DISCARDED, start_step, stop_step
from engines.session.events import Event, Result, StepEnded, StepSkipped, StepStarted
from engines.session.plan import Plan, PlanKind, Step
from engines.session.state import SessionState
from engines.sqlite import swap
from engines.targets import Application, Environment, Framework, MysqlTarget, SqliteTarget, Target
from tests.engines.session.examples import ANA, begun, plan_made, runner_started, state_of, step

APPLICATION = Application(
    Path("/srv/app"),
    Framework.NONE,
    maintenance_on=("a",),
    maintenance_off=("b",),
    workers_stop=("c",),
    workers_start=("d",),
    scheduler_stop=("e",),
    scheduler_start=("f",),
)
NONE = Application(Path("/srv/app"), Framework.NONE)
SQLITE = SqliteTarget(
    "shop", "sqlite", Environment.PRODUCTION, Path("/srv/db.sqlite"), Path("/b"), application=APPLICATION
)
MYSQL = MysqlTarget(
    "shop", "mysql", Environment.PRODUCTION, "shop", Path("/etc/shop.cnf"), "/b", application=APPLICATION
)
CLEAN = ("nothing was written since it went live: nothing is discarded",)
DIRTY = ("DISCARDED, though kept in the snapshot: orders 10 → 500",)
UNKNOWN = ("what was written since is not known: all of it is discarded (a snapshot is kept)",)
Undo = Callable[..., tuple[Plan, list[str]]]


def done(*ids: str) -> tuple[Event, ...]:
    return tuple(event for id_ in ids for event in (StepStarted(id_, 1), StepEnded(step=id_, result=Result.DONE)))


def went_live(target: Target, action: str, *events: Event) -> SessionState:
    plan = plan_made(
        PlanKind.RESTORE,
        *(stop_step(kind, target) for kind in STOPPING),
        step("3.7", action=action, destructive=True),
        *(start_step(kind, target) for kind in reversed(STOPPING)),
    )
    return state_of(begun(), runner_started(), plan, *events)


@pytest.fixture(params=["sqlite", "mysql in place", "mysql swapped"])
def undo(request: pytest.FixtureRequest) -> Undo:
    def of_sqlite(*events: Event, written: tuple[str, ...] = CLEAN, application: Application = APPLICATION) -> Plan:
        target = replace(SQLITE, application=application)
        return sqlite.undo_plan(went_live(target, "replace", *events), target, {}, written, "r")

    def of_mysql(*events: Event, written: tuple[str, ...] = CLEAN, application: Application = APPLICATION) -> Plan:
        target = replace(MYSQL, application=application)
        action = "swap" if request.param.endswith("swapped") else "load"
        return mysql.undo_plan(went_live(target, action, *events), target, {}, written, "r")

    made = of_sqlite if request.param == "sqlite" else of_mysql

    def told(*events: Event, **changed: object) -> tuple[Plan, list[str]]:
        plan = made(*events, **changed)  # type: ignore[arg-type]  # written or application
        return plan, [one.action for one in plan.steps]

    return told


STOPPED = done("3.2", "3.3", "3.4", "3.7")


def test_what_nobody_can_have_written_to_is_put_back_without_a_commander(undo: Undo) -> None:
    plan, actions = undo(*STOPPED)
    assert not plan.needs_approval
    assert not [action for action in actions if action.startswith("stop-")]
    assert [action for action in actions if action.startswith("start-")] == [
        "start-scheduler",
        "start-workers",
        "start-maintenance",
    ]


@pytest.mark.parametrize("written", [DIRTY, UNKNOWN, ()])
def test_the_commander_decides_where_something_was_written_or_that_is_not_known(
    written: tuple[str, ...], undo: Undo
) -> None:
    plan, _ = undo(*STOPPED, written=written)
    assert plan.needs_approval


@pytest.mark.parametrize(
    ("events", "stops"),
    [
        (done("4.5", "4.6"), {"stop-workers", "stop-scheduler"}),
        ((StepSkipped("4.7", ANA, "I did php artisan up by hand"),), {"stop-maintenance"}),
        ((StepStarted("4.7", 1), StepEnded(step="4.7", result=Result.UNKNOWN)), {"stop-maintenance"}),
        ((StepStarted("4.6", 1), StepEnded(step="4.6", result=Result.FAILED)), {"stop-workers"}),
        (done("4.8"), {"stop-deploys"}),
    ],
)
def test_whatever_may_have_been_started_is_stopped_again_and_the_commander_decides(
    events: tuple[Event, ...], stops: set[str], undo: Undo
) -> None:
    plan, actions = undo(*STOPPED, *events)
    assert plan.needs_approval
    assert {action for action in actions if action.startswith("stop-")} == stops
    started = {action.replace("start-", "stop-") for action in actions if action.startswith("start-")}
    assert started >= stops, "and started once more"
    first_of_all = [action.startswith("stop-") for action in actions]
    assert first_of_all == sorted(first_of_all, reverse=True)


def test_what_was_said_to_be_stopped_by_hand_is_stopped_before_the_way_back(undo: Undo) -> None:
    by_hand = StepSkipped("3.2", ANA, "it is in maintenance mode already")
    plan, actions = undo(by_hand, *done("3.3", "3.4", "3.7"))
    assert plan.needs_approval
    assert "stop-maintenance" in actions
    assert "start-maintenance" in actions


def test_the_commander_decides_where_no_application_was_ever_stopped(undo: Undo) -> None:
    plan, _ = undo(*done("3.7"), application=NONE)
    assert plan.needs_approval


def test_an_undo_that_puts_nothing_back_needs_nobody(undo: Undo) -> None:
    plan, actions = undo(*done("3.2"), written=())
    assert not plan.needs_approval
    assert actions == ["start-maintenance", "clear-undone"]


def test_an_sqlite_database_says_in_these_words_that_nothing_is_discarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan goes by them."""
    planned = object()
    state = state_of(begun(), runner_started(), plan_made(PlanKind.RESTORE, _replaced()), *done("3.7"))

    def told(position: swap.Position) -> tuple[str, ...]:
        monkeypatch.setattr(swap, "where", lambda _swap: position)
        return undoing.written_since(state, planned)  # type: ignore[arg-type]  # where it stands is all that is asked

    assert NOTHING_DISCARDED in told(swap.Position.OLD)[0]
    assert NOTHING_DISCARDED not in told(swap.Position.NEW)[0], "there is no fingerprint: it is not known"
    source = Path(undoing.__file__).read_text()
    assert source.count(NOTHING_DISCARDED) == 2


def _replaced() -> Step:
    return step("3.7", action="replace", destructive=True)
