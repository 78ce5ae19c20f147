"""The fold is pure and total: any journal that can be read can be folded, asked what is next, and written as a record.

A journal is trusted only as far as verify goes, so events may come in any order and name what there is not.
"""

from __future__ import annotations

import copy
import tomllib
from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from engines.checks import Panel, Verdict
from engines.errors import Refused
from engines.people import Role
from engines.session import commands as c
from engines.session import events as e
from engines.session.journal import parse
from engines.session.moves import check_command, left_behind, next_move
from engines.session.plan import GateKind, PlanKind
from engines.session.record import plan_text, render
from engines.session.state import Status, after, fold
from tests.engines.session.examples import (
    ACCEPT,
    ANA,
    CONFIRM,
    NOON,
    SIGN_OFF,
    TYPED,
    begun,
    check_done,
    content,
    lines,
    plan_made,
    runner_started,
    state_of,
    step,
)

STEPS = some.sampled_from(["2.1", "3.1", "3.1/r2", "3.2", "9.9", "", "no step at all"])
TEXTS = some.text(max_size=20)
CHECKS = some.sampled_from(["space", "holders", "never asked"])
ACTORS = some.builds(e.Actor, TEXTS, TEXTS, some.sampled_from(e.How), TEXTS, TEXTS)
FACTS = some.dictionaries(TEXTS, some.none() | some.booleans() | some.integers() | some.floats() | TEXTS, max_size=3)
GATES = some.lists(some.sampled_from([CONFIRM, TYPED, ACCEPT, SIGN_OFF]), max_size=3).map(tuple)
STEP = some.builds(
    step, STEPS, gates=GATES, destructive=some.booleans(), configured=some.booleans(), optional=some.booleans()
)
LOGS = some.none() | some.builds(e.StepLog, TEXTS, some.integers(), TEXTS)
SIGNED = some.none() | some.builds(e.Signed, TEXTS, TEXTS, TEXTS, TEXTS)
KEYS = some.sampled_from(("todo-1", "review", "credential-aaaaaa")) | TEXTS
ANYTHING: dict[type[e.Event], some.SearchStrategy[e.Event]] = {
    e.SessionBegun: some.builds(
        begun,
        target=FACTS,
        people=some.lists(FACTS | some.just({"name": "x", "roles": ["incident commander"]}), max_size=2).map(tuple),
        approval=FACTS,
        operator=ACTORS,
    ),
    e.RunnerStarted: some.builds(runner_started, TEXTS | some.just("resume")),
    e.BackupChosen: some.builds(e.BackupChosen, FACTS),
    e.KeyboardTaken: some.builds(e.KeyboardTaken, ACTORS, TEXTS),
    e.PlanMade: some.builds(
        lambda kind, steps, revision, approval, nonce: plan_made(
            kind, *steps, revision=revision, approval=approval, nonce=nonce
        ),
        some.sampled_from(PlanKind),
        some.lists(STEP, max_size=3),
        some.integers(0, 3),
        some.booleans(),
        TEXTS,
    ),
    e.PlanRefused: some.builds(e.PlanRefused, some.sampled_from(PlanKind), TEXTS, TEXTS),
    e.CheckDone: some.builds(check_done, CHECKS, some.sampled_from(Verdict), some.sampled_from(Panel)),
    e.CheckOverridden: some.builds(e.CheckOverridden, CHECKS, TEXTS, ACTORS, TEXTS, TEXTS, SIGNED),
    e.Approved: some.builds(e.Approved, digest=TEXTS, actor=ACTORS, until=TEXTS, break_glass=TEXTS, signed=SIGNED),
    e.GateGiven: some.builds(
        e.GateGiven, STEPS, some.sampled_from(GateKind), some.sampled_from(Role), ACTORS, TEXTS, TEXTS, SIGNED
    ),
    e.Rejected: some.builds(e.Rejected, TEXTS, ACTORS, TEXTS, TEXTS),
    e.Reminded: some.builds(e.Reminded, some.sampled_from(e.Reminder), TEXTS, some.floats(0, 1e300)),
    e.StepStarted: some.builds(e.StepStarted, STEPS, some.integers()),
    e.ChildStarted: some.builds(e.ChildStarted, STEPS, some.integers(1, 3), some.integers(), TEXTS),
    e.ChildEnded: some.builds(e.ChildEnded, STEPS, some.integers(1, 3), some.none() | some.integers(), some.just(0.5)),
    e.FactFound: some.builds(e.FactFound, STEPS, FACTS),
    e.StepEnded: some.builds(
        e.StepEnded,
        step=STEPS,
        result=some.sampled_from(e.Result),
        message=TEXTS,
        hint=TEXTS,
        facts=FACTS,
        log=LOGS,
        seconds=some.floats(0, 1e300),
    ),
    e.StepSkipped: some.builds(e.StepSkipped, STEPS, ACTORS, TEXTS),
    e.StepRetried: some.builds(e.StepRetried, STEPS, ACTORS),
    e.StopAsked: some.builds(e.StopAsked, STEPS, ACTORS),
    e.GridMade: some.builds(
        e.GridMade, TEXTS, some.lists(some.builds(e.GridRow), max_size=2).map(tuple) | some.just(())
    ),
    e.NoteAdded: some.builds(e.NoteAdded, ACTORS, TEXTS),
    e.CheckAnswered: some.builds(e.CheckAnswered, CHECKS, some.booleans(), TEXTS, ACTORS),
    e.FollowUpSet: some.builds(e.FollowUpSet, TEXTS | some.just("review"), TEXTS, TEXTS, TEXTS, TEXTS, ACTORS),
    e.ChecklistEdited: some.builds(e.ChecklistEdited, TEXTS, TEXTS, TEXTS, TEXTS, ACTORS),
    e.NoticeSent: some.builds(e.NoticeSent, some.integers(1, 12), TEXTS, TEXTS, some.booleans(), TEXTS, TEXTS),
    e.SendingAsked: some.builds(e.SendingAsked, ACTORS),
    e.TicketsAsked: some.builds(e.TicketsAsked, some.lists(KEYS, max_size=2).map(tuple), ACTORS),
    e.TicketTried: some.builds(
        e.TicketTried,
        key=KEYS,
        result=some.sampled_from(e.Filing),
        number=some.integers(0, 99),
        address=TEXTS,
        found=some.booleans(),
        reason=TEXTS,
        hint=TEXTS,
        sent=some.booleans(),
    ),
    e.UndoAsked: some.builds(e.UndoAsked, ACTORS, TEXTS),
    e.SessionEnded: some.builds(e.SessionEnded, some.sampled_from(e.Ending), TEXTS, some.just(("a",))),
}
COMMANDS = some.one_of(*(some.from_type(command) for command in c.NAMES.values() if command is not c.Choose))


def test_every_kind_of_event_is_tried() -> None:
    assert set(ANYTHING) == set(e.KINDS.values())


@given(some.lists(some.one_of(*ANYTHING.values()), max_size=12))
@settings(max_examples=300, deadline=None)
def test_any_journal_folds_to_a_state_that_can_be_asked_and_written(events: list[e.Event]) -> None:
    journal = parse(content(lines(*events)))
    state = fold(journal.entries)
    next_move(state, NOON)
    left_behind(state)
    record = render(journal)
    assert render(parse(content(lines(*events)))) == record
    assert tomllib.loads(record.decode())["chain_head"]["entries"] == len(events)
    if state.plan is not None:
        tomllib.loads(plan_text(state).decode())


@given(some.lists(some.one_of(*ANYTHING.values()), max_size=8), COMMANDS, ACTORS)
@settings(max_examples=200, deadline=None)
def test_any_command_is_allowed_or_refused_whatever_the_journal_says(
    events: list[e.Event], command: c.Command, actor: e.Actor
) -> None:
    state = state_of(*events)
    for somebody in (actor, state.keyboard or actor):
        with suppress(Refused):
            check_command(state, command, somebody, NOON)


@given(some.lists(some.one_of(*ANYTHING.values()), max_size=8))
@settings(max_examples=100, deadline=None)
def test_folding_changes_nothing_and_is_the_same_piece_by_piece(events: list[e.Event]) -> None:
    entries = parse(content(lines(*events))).entries
    before = copy.deepcopy(entries)
    state = fold(entries[: len(entries) // 2])
    half = state
    for entry in entries[len(entries) // 2 :]:
        state = after(state, entry)
    assert state == fold(entries)
    assert fold(entries[: len(entries) // 2]) == half
    assert entries == before


@pytest.mark.parametrize("moment", [datetime.min.replace(tzinfo=NOON.tzinfo), NOON + timedelta(days=2_000_000)])
def test_times_far_away_do_not_upset_it(moment: datetime) -> None:
    entry = e.Entry(1, moment, "ana", begun(), "0" * 64)
    assert e.decode(e.encode(entry)) == entry
    next_move(fold([entry]), NOON)


def test_steps_that_were_begun_stay_when_a_new_plan_repeats_them() -> None:
    first = plan_made(PlanKind.PREPARE, step("2.1"), step("2.2"))
    again = plan_made(PlanKind.PREPARE, step("2.1"), step("2.2"), revision=2)
    done = e.StepEnded(step="2.1", result=e.Result.DONE)
    state = state_of(begun(), first, e.StepStarted("2.1", 1), done, e.BackupChosen({"name": "c"}), again)
    assert [known.id for known in state.steps] == ["2.1", "2.1/r2", "2.2"]
    assert [known.id for known in state.current] == ["2.1/r2", "2.2"]
    assert state.latest_revision == 2


def test_an_answer_to_a_check_asked_again_ends_its_override() -> None:
    overridden = e.CheckOverridden("space", "FAIL", ANA, "no time")
    assert not state_of(check_done("space"), overridden).checks["space"].blocks
    assert state_of(check_done("space"), overridden, check_done("space")).checks["space"].blocks


def test_an_override_of_a_check_that_there_is_not_is_kept_as_a_deviation_only() -> None:
    state = state_of(e.CheckOverridden("luck", "FAIL", ANA, "no time"))
    assert not state.checks
    assert state.deviations[0].reason == "no time"


def test_a_stop_asked_for_one_step_does_not_stop_the_next() -> None:
    started = (begun(), plan_made(PlanKind.PREPARE, step("2.1"), step("2.2")), e.StepStarted("2.1", 1))
    asked = (*started, e.StopAsked("2.1", ANA))
    assert state_of(*asked).stop_asked == "2.1"
    ended = (*asked, e.StepEnded(step="2.1", result=e.Result.FAILED))
    assert state_of(*ended).stop_asked == ""
    assert state_of(*asked, runner_started("resume")).stop_asked == ""


def test_people_are_waited_for_whenever_no_step_runs() -> None:
    """Each event is a second after the one before it; steps run from their start to their end."""
    first, second = step("3.1", configured=False), step("3.2", gates=(CONFIRM,))
    plan = plan_made(PlanKind.RESTORE, first, second, approval=True)
    state = state_of(
        begun(),
        runner_started(),
        plan,  # 2 s so far
        e.NoteAdded(ANA, "where is she?"),  # waiting for the approval
        e.Approved(digest=plan.digest, actor=ANA, until="2026-11-22T20:00:00.000Z"),
        e.StepEnded(step="3.1", result=e.Result.SKIPPED, message="not configured"),  # 3 s of the approval's
        e.GateGiven("3.2", GateKind.CONFIRM, Role.OPERATOR, ANA),
        e.StepStarted("3.2", 1),  # 2 s
        e.StepEnded(step="3.2", result=e.Result.FAILED),
        e.NoteAdded(ANA, "why?"),
        e.StepRetried("3.2", ANA),
        e.StepStarted("3.2", 2),  # 3 s of thinking after the failure
        e.NoteAdded(ANA, "it runs"),
        e.StepEnded(step="3.2", result=e.Result.DONE),
    )
    assert [known.waited for known in state.steps] == [3.0, 5.0]
    assert state.waited == 2 + 3 + 5


def test_facts_are_those_of_the_latest_attempt_and_survive_its_end() -> None:
    begun_step = (begun(), plan_made(PlanKind.PREPARE, step("2.1")), e.StepStarted("2.1", 1))
    found = e.FactFound("2.1", {"staged": "/a", "size": 1})
    state = state_of(*begun_step, found, e.StepEnded(step="2.1", result=e.Result.DONE, facts={"size": 2}))
    assert state.facts("do-2.1") == {"staged": "/a", "size": 2}
    assert state.facts("do-9.9") == {}
    assert [known.status for known in state.steps] == [Status.DONE]


def test_what_a_restore_point_leaves_out_is_a_deviation_until_another_is_chosen() -> None:
    one = {"name": "c", "deviations": ["0-1-7 is left out"], "reason": "it was the clean-up"}
    both = {"name": "c", "deviations": ["0-1-7 is left out", "0-1-9 is left out"], "reason": "and its repeat"}
    state = state_of(begun(backup=one), e.BackupChosen(both))
    assert [(known.what, known.by, known.reason) for known in state.deviations] == [
        ("0-1-7 is left out", "ana", "it was the clean-up"),
        ("0-1-9 is left out", "ana", "and its repeat"),
    ]
    overridden = e.CheckOverridden("space", "FAIL", ANA, "made room")
    back = state_of(begun(backup=one), check_done("space"), overridden, e.BackupChosen({"name": "c"}))
    assert [known.what for known in back.deviations] == ["check overridden: space was FAIL (backup c)"]
