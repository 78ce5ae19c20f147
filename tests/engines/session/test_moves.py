"""Every refusal refuses, says why and what to do; and what comes next is what the rules say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from engines.checks import Panel, Verdict, unknown
from engines.errors import Refused
from engines.people import Role
from engines.session import commands as c
from engines.session.answers import functional_check
from engines.session.authority import role_for, roles_of
from engines.session.events import (
    Actor,
    Approved,
    BackupChosen,
    CheckAnswered,
    CheckDone,
    CheckOverridden,
    Ending,
    Event,
    GateGiven,
    How,
    KeyboardTaken,
    PlanRefused,
    Result,
    SessionBegun,
    SessionEnded,
    StepEnded,
    StepRetried,
    StepStarted,
    UndoAsked,
)
from engines.session.moves import (
    AskKind,
    End,
    MakePlan,
    PassOver,
    Start,
    Wait,
    approval_wanted,
    check_command,
    left_behind,
    next_move,
    overriding,
    still_stopped,
)
from engines.session.plan import GateKind, PlanKind, Step
from engines.session.state import SessionState
from engines.text import stamp
from tests.engines.session.examples import (
    ACCEPT,
    ANA,
    CONFIRM,
    NOON,
    PEOPLE,
    SIGN_OFF,
    TYPED,
    begun,
    check_done,
    plan_made,
    runner_started,
    state_of,
    step,
)

LATER = NOON + timedelta(minutes=10)
BOB = Actor("bob", "bob", console="b1")
SEEN = check_done("space").check.sha256
BEGUN: tuple[Event, ...] = (begun(), runner_started(), KeyboardTaken(ANA, "the first console"))
RESTORE = plan_made(
    PlanKind.RESTORE,
    step("3.1", gates=(CONFIRM,), optional=True),
    step("3.2", gates=(TYPED,), destructive=True, undo="the old file"),
    step("5.1", gates=(SIGN_OFF,), role=Role.OWNER),
    approval=True,
)
UNTIL = stamp(NOON + timedelta(hours=1))
APPROVED = Approved(digest=RESTORE.digest, actor=Actor("Ines Cruz", "ines"), until=UNTIL)
PLANNED = (*BEGUN, RESTORE)
READY = (*PLANNED, APPROVED)


def given(step_id: str, gate: GateKind, role: Role = Role.OPERATOR) -> GateGiven:
    return GateGiven(step_id, gate, role, ANA)


def ended(step_id: str, result: Result = Result.DONE) -> tuple[Event, ...]:
    return (StepStarted(step_id, 1), StepEnded(step=step_id, result=result, message="so it went"))


def allowed(state: SessionState, command: c.Command, actor: Actor = ANA) -> bool:
    check_command(state, command, actor, LATER)
    return True


def refusal(state: SessionState, command: c.Command, actor: Actor = ANA) -> Refused:
    with pytest.raises(Refused) as refused:
        check_command(state, command, actor, LATER)
    assert refused.value.exit_code == 3
    assert refused.value.message
    assert refused.value.hint
    return refused.value


def ask(state: SessionState) -> AskKind:
    move = next_move(state, LATER)
    assert isinstance(move, Wait), move
    return move.ask.kind


APPROVE = c.Approve(RESTORE.digest, "Ines Cruz")
CONFIRM_31 = c.Give("3.1", GateKind.CONFIRM, Role.OPERATOR)
TYPED_32 = c.Give("3.2", GateKind.TYPED, Role.OPERATOR, text="shop")
AT_32 = (*READY, given("3.1", GateKind.CONFIRM), *ended("3.1"))
AT_51 = (*AT_32, given("3.2", GateKind.TYPED), *ended("3.2"))
RUNNING = (*READY, given("3.1", GateKind.CONFIRM), StepStarted("3.1", 1))
FAILED_32 = (*AT_32, given("3.2", GateKind.TYPED), *ended("3.2", Result.FAILED))
FAILED_31 = (*READY, given("3.1", GateKind.CONFIRM), *ended("3.1", Result.FAILED))
OVER = (*AT_51, SessionEnded(Ending.ABANDONED, "enough"))
BLOCKED = (*PLANNED, check_done("space"))
SELF = plan_made(PlanKind.RESTORE, step(), approval=True)


def self_approving(name: str, *, break_glass: str = "", **configured: object) -> tuple[SessionState, c.Approve]:
    """An operator who is commander too, at the approval of a plan."""
    first = begun(
        people=({"name": "Ana Ruiz", "login": "ana", "roles": ["incident commander", "database operator"]},),
        operator=Actor("Ana Ruiz", "ana", console="a1"),
        **configured,
    )
    return state_of(first, runner_started(), SELF), c.Approve(SELF.digest, name, break_glass)


TRIED = CheckDone(functional_check("payment flow"))
REFUSALS: Mapping[str, tuple[tuple[Event, ...], c.Command, str, str]] = {
    # what is tried: (what happened before, the command, a part of the message, a part of the hint)
    "answering what nobody is asked": (
        AT_51,
        c.Answer("functional: dashboard", passed=True, name="omar"),
        "is not among what the application owner is asked",
        "once everything runs again",
    ),
    "answering a machine's check": (
        BLOCKED,
        c.Answer("space", passed=True, name="omar"),
        "is not among what",
        "Choose one of those",
    ),
    "answering as somebody who is no owner": (
        (*AT_51, TRIED),
        c.Answer("functional: payment flow", passed=True, name="Ines Cruz"),
        "is not configured as application owner",
        "omar",
    ),
    "a failure without a word": (
        (*AT_51, TRIED),
        c.Answer("functional: payment flow", passed=False, name="omar"),
        "What failed needs a note",
        "what was seen",
    ),
    "asking a machine what only the owner can say": (
        (*AT_51, TRIED),
        c.Recheck("functional: payment flow"),
        "payment flow is tried by hand",
        "Answer it",
    ),
    "a follow-up that is not there": (AT_51, c.FollowUp("todo-9", "x"), "no follow-up 'todo-9'", "Choose one"),
    "a follow-up that says nothing": (AT_51, c.FollowUp("", "  "), "what is to be done", "Type it"),
    "a follow-up on no day": (AT_51, c.FollowUp("", "x", due="Friday"), "'Friday' is no date", "2026-11-27"),
    "a checklist where there is none": (
        AT_51,
        c.Checklist("", ""),
        "No security checklist is configured",
        "`security_checklist`",
    ),
    "filing where no repository is": (AT_51, c.FileTickets(), "No repository for tickets", "[tickets]"),
    "sending again what is not unsent": (AT_51, c.SendAgain(), "Nothing is unsent", "page 5"),
    "a key after the end": (OVER, CONFIRM_31, "The session is over (abandoned)", "reinstate restore"),
    "an undo after the end": (OVER, c.Undo("sorry"), "The session is over", "reinstate restore"),
    "an approval after the end": (OVER, APPROVE, "The session is over", "reinstate restore"),
    "taking the keyboard after the end": (OVER, c.TakeKeyboard("bob", "sleep"), "is over", "reinstate restore"),
    "confirming a step that does not wait": (PLANNED, CONFIRM_31, "does not wait for this now", "moved on"),
    "confirming a later step": (READY, TYPED_32, "Step 3.2 does not wait", "moved on"),
    "confirming an earlier step": (AT_32, CONFIRM_31, "Step 3.1 does not wait", "moved on"),
    "confirming what has to be typed": (
        AT_32,
        c.Give("3.2", GateKind.CONFIRM, Role.OPERATOR),
        "does not wait for this now",
        "moved on",
    ),
    "confirming a step under way": (RUNNING, CONFIRM_31, "does not wait for this now", "moved on"),
    "an unknown step": (READY, c.Give("9.9", GateKind.CONFIRM, Role.OPERATOR), "Step 9.9 does not", "moved on"),
    "no step at all": (READY, c.Give("", GateKind.CONFIRM, Role.OPERATOR), "does not wait", "moved on"),
    "confirming as somebody else": (
        READY,
        c.Give("3.1", GateKind.CONFIRM, Role.OWNER),
        "for the database operator to say",
        "Ask them",
    ),
    "signing off as another role": (
        AT_51,
        c.Give("5.1", GateKind.SIGN_OFF, Role.COMMANDER, "Ines Cruz"),
        "for the application owner",
        "Ask them",
    ),
    "signing off without a name": (
        AT_51,
        c.Give("5.1", GateKind.SIGN_OFF, Role.OWNER, "  "),
        "The application owner is named",
        "Type the name",
    ),
    "signing off by a name that is not configured": (
        AT_51,
        c.Give("5.1", GateKind.SIGN_OFF, Role.OWNER, "Ines Cruz"),
        "not configured as application owner",
        "omar",
    ),
    "approving without a plan": (BEGUN, APPROVE, "no plan that needs an approval", "Wait"),
    "approving another plan": (PLANNED, c.Approve("0" * 64, "Ines Cruz"), "names plan 000000000000", "in force"),
    "approving with half a digest": (PLANNED, c.Approve(RESTORE.digest[:12], "Ines Cruz"), "in force is", "in force"),
    "approving twice": (READY, APPROVE, "approved already", "Go on"),
    "approving while a check fails": (BLOCKED, APPROVE, "These checks block: space", "override"),
    "approving while a check is unknown": (
        (*PLANNED, check_done("holders", Verdict.UNKNOWN)),
        APPROVE,
        "These checks block: holders",
        "override",
    ),
    "approving without a name": (PLANNED, c.Approve(RESTORE.digest, ""), "incident commander is named", "Type"),
    "approving by a name that is not configured": (
        PLANNED,
        c.Approve(RESTORE.digest, "Mallory"),
        "not configured as incident commander",
        "Ines Cruz",
    ),
    "approving by somebody of another role": (
        PLANNED,
        c.Approve(RESTORE.digest, "omar"),
        "omar is not configured as incident commander",
        "Ines Cruz",
    ),
    "overriding a check that is fine": (
        (*PLANNED, check_done("space", Verdict.WARN)),
        c.Override("space", "Ines Cruz", "no time", SEEN),
        "does not block anything",
        "FAIL or UNKNOWN",
    ),
    "overriding a check that there is not": (
        PLANNED,
        c.Override("luck", "Ines Cruz", "no time"),
        "'luck' does not block",
        "FAIL or UNKNOWN",
    ),
    "overriding twice": (
        (*BLOCKED, CheckOverridden("space", "FAIL", ANA, "no time")),
        c.Override("space", "Ines Cruz", "no time", SEEN),
        "does not block",
        "FAIL or UNKNOWN",
    ),
    "overriding without a reason": (
        BLOCKED,
        c.Override("space", "Ines Cruz", "  ", SEEN),
        "needs a reason",
        "in a few words",
    ),
    "overriding with hardly a reason": (
        BLOCKED,
        c.Override("space", "Ines Cruz", "x ", SEEN),
        "needs a reason",
        "few words",
    ),
    "overriding what the check said before it was asked again": (
        (*BLOCKED, CheckDone(unknown("space", "the disk does not answer", "Mend it."))),
        c.Override("space", "Ines Cruz", "no time", SEEN),
        "does not say any more what was read. It says now UNKNOWN: the disk does not answer. Nothing was changed.",
        "Read that",
    ),
    "overriding without having read it": (
        BLOCKED,
        c.Override("space", "Ines Cruz", "no time"),
        "does not say any more what was read",
        "Read that",
    ),
    "overriding by somebody of another role": (
        BLOCKED,
        c.Override("space", "omar", "no time", SEEN),
        "not configured as incident commander",
        "Ines Cruz",
    ),
    "asking a check again under way": ((*RUNNING, check_done("space")), c.Recheck("space"), "is under way", "once it"),
    "asking a check that there is not": (PLANNED, c.Recheck("luck"), "no check 'luck'", "listed"),
    "trying again what has not failed": (READY, c.Retry("3.1"), "has not failed", "Go on"),
    "trying again what is not next": (FAILED_32, c.Retry("3.1"), "not the one that waits", "moved on"),
    "trying again what there is not": (FAILED_32, c.Retry("9.9"), "not the one that waits", "moved on"),
    "trying again what runs": (RUNNING, c.Retry("3.1"), "has not failed", "Go on"),
    "skipping what can't be skipped": (FAILED_32, c.Skip("3.2", "no time"), "can't be skipped", "undo, or abandon"),
    "skipping without a reason": (FAILED_31, c.Skip("3.1", ""), "Skipping a step needs a reason", "few words"),
    "skipping what runs": (RUNNING, c.Skip("3.1", "no time"), "is under way", "Stop it first"),
    "skipping a later step": (READY, c.Skip("3.2", "no time"), "not the one that waits", "moved on"),
    "stopping when nothing runs": (READY, c.Stop("3.1"), "nothing to stop", "Look at the steps"),
    "stopping another step": (RUNNING, c.Stop("3.2"), "nothing to stop", "Look at the steps"),
    "another backup under way": (RUNNING, c.Choose({}), "is under way", "once it has ended"),
    "another backup after the restore began": (AT_32, c.Choose({}), "keeps its backup", "Undo this restore first"),
    "leaving something out without a reason": (
        BEGUN,
        c.Choose({"name": "c", "deviations": ["transaction 0-1-7 is left out"]}),
        "needs a reason",
        "few words",
    ),
    "an undo under way": (RUNNING, c.Undo("wrong one"), "is under way", "Stop it first"),
    "an undo without a reason": (AT_32, c.Undo(" "), "An undo needs a reason", "few words"),
    "an undo of the undo": (
        (*AT_32, UndoAsked(ANA, "wrong one"), plan_made(PlanKind.UNDO, step("6.1", gates=(CONFIRM,)), revision=2)),
        c.Undo("again"),
        "already under way",
        "next step",
    ),
    "an undo of what is signed off": (
        (*BEGUN, plan_made(PlanKind.RESTORE, step("5.4", final=True)), *ended("5.4", Result.FAILED)),
        c.Undo("wrong one"),
        "signed off",
        "reinstate backups",
    ),
    "abandoning under way": (RUNNING, c.Abandon("enough"), "is under way", "Stop it first"),
    "abandoning without a reason": (READY, c.Abandon(""), "Abandoning needs a reason", "few words"),
    "an empty note": (READY, c.Note(" \n"), "note is empty", "post-mortem"),
    "taking the keyboard without a name": (READY, c.TakeKeyboard(" ", "sleep"), "gives a name", "Type your name"),
    "taking the keyboard without a reason": (READY, c.TakeKeyboard("bob", ""), "needs a reason", "few words"),
}


@pytest.mark.parametrize("tried", REFUSALS)
def test_it_is_refused_with_the_reason_and_what_to_do(tried: str) -> None:
    before, command, message, hint = REFUSALS[tried]
    refused = refusal(state_of(*before), command)
    assert message in refused.message
    assert hint in refused.hint


@pytest.mark.parametrize(
    "typed", ["", "Shop", "SHOP", "shop ", " shop", "shop\n", "shpo", "sho", "shopp", "*", "sh\u043ep", "s\u200bhop"]
)
def test_a_name_typed_almost_right_is_not_the_name(typed: str) -> None:
    refused = refusal(state_of(*AT_32), replace(TYPED_32, text=typed))
    assert "not the target's name" in refused.message
    assert refused.hint == "Type shop exactly."


@pytest.mark.parametrize(
    "command",
    [
        CONFIRM_31,
        c.Choose({}),
        c.Recheck("space"),
        c.Retry("3.1"),
        c.Skip("3.1", "no time"),
        c.Stop("3.1"),
        c.Undo("wrong one"),
        c.Abandon("enough"),
    ],
)
def test_only_the_console_that_holds_the_keyboard_steers(command: c.Command) -> None:
    for stranger in (BOB, replace(ANA, console="a2"), replace(ANA, login="root")):
        refused = refusal(state_of(*READY, check_done("space")), command, stranger)
        assert refused.message == "ana holds the keyboard. Nothing was changed."
        assert "(k)" in refused.hint


def test_notes_approvals_overrides_and_sign_offs_come_from_any_console() -> None:
    assert allowed(state_of(*PLANNED), APPROVE, BOB)
    assert allowed(state_of(*BLOCKED), c.Override("space", "ines", "no time", SEEN), BOB)
    assert allowed(state_of(*AT_51), c.Give("5.1", GateKind.SIGN_OFF, Role.OWNER, "omar"), BOB)
    assert allowed(state_of(*READY), c.Note("the channel asks for an estimate"), BOB)
    assert allowed(state_of(*READY), c.TakeKeyboard("bob", "ana sleeps"), BOB)
    assert allowed(state_of(*OVER), c.Note("what I forgot"), BOB)


def test_whoever_takes_the_keyboard_has_it_and_the_other_does_not() -> None:
    state = state_of(*READY, KeyboardTaken(BOB, "ana sleeps"))
    assert allowed(state, CONFIRM_31, BOB)
    assert refusal(state, CONFIRM_31, ANA).message.startswith("bob holds the keyboard")


@pytest.mark.parametrize("name", ["Ana Ruiz", "ana ruiz", " ANA RUIZ ", "ana", "Ana"])
def test_in_production_nobody_approves_their_own_plan_under_any_of_their_names(name: str) -> None:
    state, approve = self_approving(name)
    refused = refusal(state, approve)
    assert "In production the operator does not approve their own plan" in refused.message
    assert "break_glass" in refused.hint


def test_break_glass_needs_to_be_configured_and_needs_a_reason() -> None:
    configured = {"self_approval": [], "break_glass": True}
    refused = refusal(*self_approving("ana", approval=configured))
    assert "only as break-glass, and it needs a reason" in refused.message
    assert "no incident commander could be reached" in refused.hint
    refusal(*self_approving("ana", break_glass=" x ", approval=configured))
    refusal(*self_approving("ana", break_glass="nobody answers"))
    assert allowed(*self_approving("ana", break_glass="nobody answers", approval=configured))


def test_where_the_configuration_allows_it_the_operator_approves_alone() -> None:
    assert allowed(*self_approving("ana", environment="local"))
    odd: object
    for odd in ("production", None, 7, {"production": True}):
        refusal(*self_approving("ana", approval={"self_approval": odd}))


def test_the_one_who_holds_the_keyboard_now_does_not_approve_either() -> None:
    state = state_of(*PLANNED, KeyboardTaken(Actor("Ines Cruz", "ines"), "ana sleeps"))
    assert "does not approve their own plan" in refusal(state, APPROVE).message
    assert "does not approve their own plan" in refusal(state, c.Approve(RESTORE.digest, "INES")).message


def both_roles(environment: str = "production", **configured: object) -> SessionBegun:
    """Ana is operator and commander in one; Ines is a commander beside her."""
    people = (
        {"name": "ana", "login": "ana", "roles": ["incident commander", "database operator"]},
        {"name": "Ines Cruz", "login": "ines", "roles": ["incident commander"]},
    )
    return begun(people=people, environment=environment, **configured)


GLASS = {"self_approval": ["local"], "break_glass": True}
OVERRIDE = c.Override("space", "ana", "the disk is known to be slow", SEEN)
ACCEPTING = plan_made(PlanKind.RESTORE, step("3.1", gates=(ACCEPT,), destructive=True))


def test_an_operator_does_not_override_a_check_of_their_own_restore() -> None:
    planned = (runner_started(), RESTORE, check_done("space"))
    refused = refusal(state_of(both_roles(), *planned), OVERRIDE)
    assert refused.message == (
        "In production the operator does not override a check of their own restore. Nothing was changed."
    )
    assert allowed(state_of(both_roles(), *planned), replace(OVERRIDE, name="ines"))
    assert allowed(state_of(both_roles("local"), *planned), OVERRIDE)
    assert allowed(state_of(both_roles(approval=GLASS), *planned), OVERRIDE), "its own reason is the one that is kept"


def test_an_operator_does_not_accept_a_risk_of_their_own_restore() -> None:
    accept = c.Give("3.1", GateKind.ACCEPT, Role.COMMANDER, "ana")
    planned = (runner_started(), ACCEPTING)
    assert "does not accept a risk" in refusal(state_of(both_roles(), *planned), accept).message
    assert allowed(state_of(both_roles(), *planned), replace(accept, name="Ines Cruz"))
    assert allowed(state_of(both_roles("local"), *planned), accept)
    glass = state_of(both_roles(approval=GLASS), *planned)
    assert "it needs a reason" in refusal(glass, accept).message
    assert allowed(glass, replace(accept, break_glass="nobody answers"))


def test_whoever_held_the_keyboard_before_does_not_approve() -> None:
    people = tuple({"name": name, "login": name, "roles": ["incident commander"]} for name in ("bo", "cy", "di"))
    taken = (KeyboardTaken(Actor("bo", "bo"), "shift"), KeyboardTaken(Actor("cy", "cy"), "shift"))
    state = state_of(begun(people=people), runner_started(), RESTORE, *taken)
    for operator in ("bo", "cy"):
        refused = refusal(state, c.Approve(RESTORE.digest, operator), Actor("cy", "cy"))
        assert "does not approve their own plan" in refused.message
    assert allowed(state, c.Approve(RESTORE.digest, "di"), Actor("cy", "cy"))


@pytest.mark.parametrize(
    ("before", "command"),
    [
        (PLANNED, APPROVE),
        (BLOCKED, c.Override("space", "Ines Cruz", "no time", SEEN)),
        ((*BEGUN, ACCEPTING), c.Give("3.1", GateKind.ACCEPT, Role.COMMANDER, "Ines Cruz")),
        (AT_51, c.Give("5.1", GateKind.SIGN_OFF, Role.OWNER, "omar")),
        ((*AT_51, TRIED), c.Answer("functional: payment flow", passed=True, name="omar")),
    ],
)
def test_where_a_typed_name_is_not_enough_it_is_refused(before: tuple[Event, ...], command: c.Command) -> None:
    first = begun(approval={"self_approval": ["local"], "window_seconds": 3600, "asserted": False})
    state = state_of(first, *before[1:])
    assert "asserted = false" in refusal(state, command).message
    login = "omar" if role_for(command) is Role.OWNER else "ines"
    person = Actor({"omar": "omar", "ines": "Ines Cruz"}[login], login, How.PEER, "p1")
    assert allowed(state, command, person)
    assert allowed(state, command, replace(person, how=How.SIGNED, login="ana"))
    assert allowed(state_of(*before), command)


REFUSING = {"self_approval": [], "window_seconds": 3600, "asserted": False, "break_glass": True}


def test_where_typed_names_do_not_count_breaking_the_glass_still_does_with_ones_own_name_and_a_reason() -> None:
    both = tuple(
        {**person, "roles": ["database operator", "incident commander"]} if person["name"] == "ana" else person
        for person in PEOPLE
    )
    first = begun(approval=REFUSING, people=both)
    state = state_of(first, runner_started(), SELF)
    assert allowed(state, c.Approve(SELF.digest, "ana", "nobody answers the phone"))
    assert "asserted = false" in refusal(state, c.Approve(SELF.digest, "ana")).message
    assert "asserted = false" in refusal(state, c.Approve(SELF.digest, "Ines Cruz", "she is asleep")).message


def test_a_sign_off_is_no_glass_to_break() -> None:
    both = tuple(
        {**person, "roles": ["database operator", "application owner"]} if person["name"] == "ana" else person
        for person in PEOPLE
    )
    state = state_of(begun(approval=REFUSING, people=both), *AT_51[1:])
    typed = c.Give("5.1", GateKind.SIGN_OFF, Role.OWNER, "ana", "", "nobody answers the phone")
    assert "asserted = false" in refusal(state, typed).message


def test_a_login_has_the_roles_of_its_own_person_and_not_of_somebody_with_that_name() -> None:
    people = (
        {"name": "ana", "login": "ana-op", "roles": ["database operator"]},
        {"name": "mallory", "login": "ines", "roles": ["incident commander"]},
    )
    state = state_of(begun(people=people), runner_started(), SELF)
    approve = c.Approve(SELF.digest, "")
    assert allowed(state, approve, Actor("mallory", "ines", How.PEER))
    assert "may only watch" in refusal(state, approve, Actor("mallory", "mallory", How.PEER)).message


def test_who_is_known_by_a_login_speaks_under_no_other_name() -> None:
    state = state_of(*PLANNED)
    ines = Actor("Ines Cruz", "ines", How.PEER)
    for name in ("", "Ines Cruz", "ines", " INES "):
        assert allowed(state, c.Approve(RESTORE.digest, name), ines)
    assert "names Omar" in refusal(state, c.Approve(RESTORE.digest, "Omar"), ines).message


def test_the_operator_behind_sudo_does_not_approve_their_own_plan_from_another_login() -> None:
    people = ({"name": "Ines Cruz", "login": "ines", "roles": ["incident commander", "database operator"]},)
    approve = c.Approve(SELF.digest, "")
    ines = Actor("Ines Cruz", "ines", How.PEER)
    strict: dict[str, object] = {"self_approval": []}
    asked = begun(people=people, approval=strict, operator=Actor("root", "root", sudo="ines"))
    assert "their own plan" in refusal(state_of(asked, runner_started(), SELF), approve, ines).message
    other = begun(people=people, approval=strict, operator=Actor("root", "root", sudo="bo"))
    assert allowed(state_of(other, runner_started(), SELF), approve, ines)


def test_after_an_attempt_that_failed_the_window_still_ends_and_the_name_is_typed_again() -> None:
    late = NOON + timedelta(days=3)
    assert "window has ended" in approval_wanted(state_of(*FAILED_32), late)
    again = (*FAILED_32, StepRetried("3.2", ANA))
    waiting = next_move(state_of(*again), LATER)
    assert isinstance(waiting, Wait)
    assert waiting.ask.kind is AskKind.TYPED, "the key that tries again does not type the name"
    waiting = next_move(state_of(*again), late)
    assert isinstance(waiting, Wait)
    assert waiting.ask.kind is AskKind.APPROVE


def test_trying_a_harmless_step_again_is_confirmed_by_the_key_that_does_it() -> None:
    assert isinstance(next_move(state_of(*FAILED_31, StepRetried("3.1", ANA)), LATER), Start)


CLOSING = (*BEGUN, plan_made(PlanKind.RESTORE, step("5.2", final=True)))


def test_a_closing_that_was_refused_before_it_removed_anything_can_still_be_undone() -> None:
    refused = StepEnded(step="5.2", result=Result.FAILED, message="Half done. Nothing was removed.", refused=True)
    state = state_of(*CLOSING, StepStarted("5.2", 1), refused)
    assert allowed(state, c.Undo("the data is wrong"))
    again = (*CLOSING, StepStarted("5.2", 1), refused, StepStarted("5.2", 2))
    for result in (Result.DONE, Result.FAILED, Result.UNKNOWN):
        cleared = state_of(*again, StepEnded(step="5.2", result=result))
        assert "signed off" in refusal(cleared, c.Undo("the data is wrong")).message


def test_what_was_stopped_again_after_it_was_started_is_left_behind() -> None:
    def stop(id_: str) -> Step:
        return step(id_, action="stop-it", undo="start it")

    def start(id_: str) -> Step:
        return step(id_, action="start-it", params={"puts_right": "stop-it"})

    first = (*BEGUN, plan_made(PlanKind.RESTORE, stop("3.1"), start("4.1"), step("4.2")))
    up = (*first, *ended("3.1"), *ended("4.1"))
    assert still_stopped(state_of(*first)) == ()
    assert still_stopped(state_of(*first, *ended("3.1"))) == ("3.1 Step 3.1: start it",)
    assert left_behind(state_of(*up)) == ()
    down_again = (*up, UndoAsked(ANA, "no"), plan_made(PlanKind.UNDO, stop("6.1"), start("7.1"), revision=2))
    assert left_behind(state_of(*down_again, *ended("6.1"))) == ("6.1 Step 6.1: start it",)
    assert left_behind(state_of(*down_again, *ended("6.1"), *ended("7.1"))) == ()


def test_where_nobody_is_configured_any_name_but_the_operators_will_do() -> None:
    planned = (begun(people=()), runner_started(), RESTORE)
    assert allowed(state_of(*planned), c.Approve(RESTORE.digest, "whoever"))
    assert "own plan" in refusal(state_of(*planned), c.Approve(RESTORE.digest, " ANA ")).message


def test_a_changed_plan_voids_the_approval() -> None:
    again = plan_made(PlanKind.RESTORE, *RESTORE.plan.steps, revision=2, approval=True, nonce="other")
    state = state_of(*READY, again)
    assert ask(state) is AskKind.APPROVE
    assert "has changed since it was approved" in approval_wanted(state, LATER)
    assert "does not wait" in refusal(state, c.Give("3.1", GateKind.CONFIRM, Role.OPERATOR)).message
    assert "names plan" in refusal(state, APPROVE).message


def test_another_backup_voids_the_approval_and_what_was_found() -> None:
    state = state_of(*READY, check_done("space"), BackupChosen({"name": "c"}))
    assert not state.approved
    assert not state.checks
    assert next_move(state, LATER) == MakePlan(PlanKind.PREPARE)


def test_outside_its_window_an_approval_does_not_hold() -> None:
    state = state_of(*READY)
    late = NOON + timedelta(hours=1)
    assert approval_wanted(state, late - timedelta(milliseconds=1)) == ""
    move = next_move(state, late)
    assert isinstance(move, Wait)
    assert move.ask.kind is AskKind.APPROVE
    assert "window has ended" in move.ask.text
    with pytest.raises(Refused, match="does not wait for this now"):
        check_command(state, CONFIRM_31, ANA, late)
    check_command(state, APPROVE, ANA, late)


def test_a_clock_that_was_set_back_does_not_open_the_window_again() -> None:
    short = replace(APPROVED, until=stamp(NOON + timedelta(seconds=3)))
    state = state_of(*PLANNED, short, check_done("space", Verdict.OK))
    assert "window has ended" in approval_wanted(state, NOON - timedelta(days=1))


def test_a_window_that_can_not_be_read_is_over() -> None:
    for odd in ("", "soon", "2026-11-22", "0001-01-01T00:00:00+23:59"):
        assert "window has ended" in approval_wanted(state_of(*PLANNED, replace(APPROVED, until=odd)), LATER)


def test_once_something_was_replaced_the_end_of_the_window_does_not_stop_the_way_on() -> None:
    late = NOON + timedelta(days=1)
    assert approval_wanted(state_of(*AT_51), late) == ""


def test_a_failing_check_holds_everything_destructive_and_an_override_by_name_lets_it_go() -> None:
    failing = (*AT_32, given("3.2", GateKind.TYPED), check_done("rows", panel=Panel.VALIDATION))
    assert ask(state_of(*failing)) is AskKind.CHECKS
    override = CheckOverridden("rows", "FAIL", ANA, "known and accepted")
    assert isinstance(next_move(state_of(*failing, override), LATER), Start)
    assert ask(state_of(*failing, override, check_done("rows", panel=Panel.VALIDATION))) is AskKind.CHECKS


def test_what_can_not_go_live_is_decided_before_anything_is_taken_out_of_service() -> None:
    plan = plan_made(PlanKind.RESTORE, step("3.1"), step("3.2", halts=True, gates=(CONFIRM,)), step("3.3"))
    at_32 = (*BEGUN, plan, *ended("3.1"))
    assert ask(state_of(*at_32)) is AskKind.CONFIRM
    mismatch = (*at_32, check_done("rows", panel=Panel.VALIDATION))
    assert ask(state_of(*mismatch)) is AskKind.CHECKS
    assert (
        "1 check blocks: rows" in refusal(state_of(*mismatch), c.Give("3.2", GateKind.CONFIRM, Role.OPERATOR)).message
    )
    override = CheckOverridden("rows", "FAIL", ANA, "known and accepted")
    assert ask(state_of(*mismatch, override)) is AskKind.CONFIRM
    # What the stopping itself is there to mend does not hold it: whoever has the database open, for one.
    assert ask(state_of(*at_32, check_done("holders", panel=Panel.PREREQUISITES))) is AskKind.CONFIRM
    # A way back is never barred.
    undo = plan_made(PlanKind.UNDO, step("6.1", halts=True, gates=(CONFIRM,)), revision=2)
    undoing = (*mismatch, UndoAsked(ANA, "the wrong one"), undo)
    assert ask(state_of(*undoing)) is AskKind.CONFIRM


def test_a_failing_check_holds_the_sign_off() -> None:
    assert ask(state_of(*AT_51, check_done("rows", panel=Panel.VALIDATION))) is AskKind.CHECKS


def test_two_gates_of_one_kind_need_two_answers() -> None:
    second = replace(ACCEPT, text="the raw files are kept where they can be reached")
    planned = (*BEGUN, plan_made(PlanKind.RESTORE, step("3.1", gates=(ACCEPT, second))))
    first = given("3.1", GateKind.ACCEPT, Role.COMMANDER)
    waiting = next_move(state_of(*planned, first), LATER)
    assert isinstance(waiting, Wait)
    assert waiting.ask.text == second.text
    assert isinstance(next_move(state_of(*planned, first, first), LATER), Start)


def test_a_key_pressed_before_the_runner_died_starts_nothing_after_it() -> None:
    pressed = (*AT_32, given("3.2", GateKind.TYPED))
    assert isinstance(next_move(state_of(*pressed), LATER), Start)
    assert ask(state_of(*pressed, runner_started("resume"))) is AskKind.TYPED


def test_a_roles_word_stays_given_when_the_runner_dies() -> None:
    planned = (*BEGUN, plan_made(PlanKind.RESTORE, step("3.1", gates=(ACCEPT, CONFIRM))))
    said = (*planned, given("3.1", GateKind.ACCEPT, Role.COMMANDER), given("3.1", GateKind.CONFIRM))
    assert ask(state_of(*said, runner_started("resume"))) is AskKind.CONFIRM


def test_a_step_that_failed_waits_and_never_goes_on_by_itself() -> None:
    for result in (Result.FAILED, Result.UNKNOWN):
        state = state_of(*AT_32, given("3.2", GateKind.TYPED), *ended("3.2", result))
        assert ask(state) is AskKind.DECIDE
        assert allowed(state, c.Retry("3.2"))
        assert allowed(state, c.Undo("wrong one"))
        assert allowed(state, c.Abandon("enough"))


def test_what_failed_while_preparing_lets_another_backup_be_chosen() -> None:
    failed = (*BEGUN, plan_made(PlanKind.PREPARE, step("2.1")), *ended("2.1", Result.FAILED))
    assert ask(state_of(*failed)) is AskKind.CHOOSE
    assert allowed(state_of(*failed), c.Choose({"name": "c"}))
    again = next_move(state_of(*failed, StepRetried("2.1", ANA)), LATER)
    assert isinstance(again, Start)
    assert again.attempt == 2


def test_after_another_backup_the_old_plans_failed_step_is_not_waited_for() -> None:
    failed = (*BEGUN, plan_made(PlanKind.PREPARE, step("2.1")), *ended("2.1", Result.FAILED))
    anew = (*failed, BackupChosen({"name": "c"}), plan_made(PlanKind.PREPARE, step("2.1"), revision=2))
    move = next_move(state_of(*anew), LATER)
    assert isinstance(move, Start)
    assert move.step.id == "2.1/r2"


def test_plans_follow_one_another() -> None:
    prepared = (*BEGUN, plan_made(PlanKind.PREPARE, step("2.1")))
    assert next_move(state_of(*BEGUN), LATER) == MakePlan(PlanKind.PREPARE)
    assert isinstance(next_move(state_of(*prepared), LATER), Start)
    assert next_move(state_of(*prepared, *ended("2.1")), LATER) == MakePlan(PlanKind.RESTORE)
    signed = (*AT_51, given("5.1", GateKind.SIGN_OFF, Role.OWNER), *ended("5.1"))
    assert next_move(state_of(*signed), LATER) == End(Ending.SIGNED_OFF)
    assert next_move(state_of(*AT_32, UndoAsked(ANA, "wrong one")), LATER) == MakePlan(PlanKind.UNDO)
    undo = plan_made(PlanKind.UNDO, step("6.1"), revision=2)
    assert next_move(state_of(*AT_32, UndoAsked(ANA, "no"), undo, *ended("6.1")), LATER) == End(Ending.UNDONE)


def test_what_is_not_configured_is_passed_over_and_not_dropped() -> None:
    planned = (*BEGUN, plan_made(PlanKind.RESTORE, step("3.1", configured=False)))
    assert isinstance(next_move(state_of(*planned), LATER), PassOver)


def test_a_refused_plan_waits_for_another_backup_and_a_refused_undo_can_be_asked_again() -> None:
    refused = state_of(*BEGUN, PlanRefused(PlanKind.PREPARE, "No.", "Choose."))
    assert ask(refused) is AskKind.CHOOSE
    assert allowed(refused, c.Choose({"name": "c"}))
    undo = (*AT_32, UndoAsked(ANA, "wrong one"), PlanRefused(PlanKind.UNDO, "The disk is full.", "Free some."))
    assert ask(state_of(*undo)) is AskKind.DECIDE
    assert allowed(state_of(*undo), c.Undo("space was freed"))
    assert next_move(state_of(*undo, UndoAsked(ANA, "space was freed")), LATER) == MakePlan(PlanKind.UNDO)


def test_an_undo_is_not_barred_by_checks_but_waits_for_its_own_approval() -> None:
    undo = plan_made(PlanKind.UNDO, step("6.1", destructive=True), revision=2, approval=True)
    asked = (*AT_51, check_done("rows", panel=Panel.VALIDATION), UndoAsked(ANA, "wrong one"), undo)
    move = next_move(state_of(*asked), LATER)
    assert isinstance(move, Wait)
    assert move.ask.kind is AskKind.APPROVE
    assert "what it discards" in move.ask.text
    assert allowed(state_of(*asked), c.Approve(undo.digest, "Ines Cruz"))


def test_people_that_are_not_as_expected_have_no_role() -> None:
    odd: tuple[Mapping[str, object], ...] = (
        {},
        {"name": 7},
        {"roles": "incident commander"},
        {"name": "x", "roles": 7},
    )
    state = state_of(begun(people=odd), runner_started(), RESTORE)
    assert roles_of(state, "x") == ()
    assert roles_of(state, "") == ()
    assert allowed(state, APPROVE)


def test_every_refusal_in_the_code_has_its_test_here() -> None:
    tried = {type(command) for _, command, _, _ in REFUSALS.values()}
    assert tried == set(c.NAMES.values())


PAYMENT = "functional: payment flow"
OMAR = Actor("omar", "omar")


def test_what_the_owner_has_not_answered_bars_the_sign_off() -> None:
    state = state_of(*AT_51, TRIED)
    waiting = next_move(state, LATER)
    assert isinstance(waiting, Wait)
    assert (waiting.ask.kind, waiting.ask.role) == (AskKind.CHECKS, Role.OWNER)
    assert "payment flow" in waiting.ask.text
    assert "does not wait for this now" in refusal(state, c.Give("5.1", GateKind.SIGN_OFF, Role.OWNER, "omar")).message
    assert allowed(state, c.Answer(PAYMENT, passed=True, name="omar"), BOB), "from a console of the owner's own"
    assert ask(state_of(*AT_51, TRIED, CheckAnswered(PAYMENT, True, "", OMAR))) is AskKind.SIGN_OFF


def test_what_failed_bars_the_sign_off_until_it_passes_or_the_commander_lets_it_pass() -> None:
    failed = (*AT_51, TRIED, CheckAnswered(PAYMENT, False, "the card is refused", OMAR))
    assert ask(state_of(*failed)) is AskKind.CHECKS
    assert "the card is refused" in state_of(*failed).checks[PAYMENT].check.evidence
    assert ask(state_of(*failed, CheckAnswered(PAYMENT, True, "mended", OMAR))) is AskKind.SIGN_OFF
    override = overriding(state_of(*failed), PAYMENT, "Ines Cruz", "the provider is down, not we")
    assert allowed(state_of(*failed), override)
    passed = state_of(*failed, CheckOverridden(PAYMENT, "FAIL", Actor("Ines Cruz", "ines"), override.reason))
    assert ask(passed) is AskKind.SIGN_OFF
    assert passed.deviations[-1].what.startswith(f"check overridden: {PAYMENT} was FAIL")
    assert passed.deviations[-1].reason == override.reason
    answered_since = state_of(*failed, CheckAnswered(PAYMENT, False, "still", OMAR))
    assert answered_since.checks[PAYMENT].blocks, "an override is for what was known then"
