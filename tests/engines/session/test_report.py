"""The report: whatever was said it is text and not markup, it says what happened, and names can be left out of it."""

from __future__ import annotations

import re

import msgspec
import pytest

from engines.checks import Panel
from engines.people import Role
from engines.session import events as e
from engines.session.plan import GateKind, PlanKind
from engines.session.record import record
from engines.session.report import report, timeline, without_names
from engines.session.state import SessionState
from tests.engines.session.examples import (
    ANA,
    CONFIRM,
    SIGN_OFF,
    TYPED,
    begun,
    check_done,
    plan_made,
    runner_started,
    state_of,
    step,
)
from tests.engines.session.test_record import ODD, whole_session

IVO = e.Actor("Ivo Kant", "ivo")
OLU = e.Actor("Olu", "olu")
INCIDENT = {
    "incident": {
        "id": "INC-7",
        "title": "Payments deleted",
        "started_at": "2026-11-22T11:30:00Z",
        "commander": "Ivo Kant",
        "app_owner": "Olu",
    }
}


def told() -> SessionState:
    """A restore from its beginning to its end."""
    plan = plan_made(
        PlanKind.RESTORE,
        step("3.1", title="Stop the workers", gates=(CONFIRM,), optional=True),
        step("3.2", title="Replace the database", gates=(TYPED,), destructive=True, undo="the old file"),
        step("5.1", title="Sign off", gates=(SIGN_OFF,), role=Role.OWNER),
        approval=True,
    )
    return state_of(
        begun(operator=ANA, incident=INCIDENT, target={"name": "shop"}),
        runner_started(),
        e.KeyboardTaken(ANA, "the first console"),
        plan,
        check_done("rows of users", panel=Panel.VALIDATION),
        e.CheckOverridden("rows of users", "FAIL", IVO, "Ivo Kant knows of them"),
        e.Approved(digest=plan.digest, actor=IVO, until="2026-11-22T16:00:00Z"),
        e.StepSkipped("3.1", ANA, "no workers tonight"),
        e.GateGiven("3.2", GateKind.TYPED, Role.OPERATOR, ANA, "shop"),
        e.StepStarted("3.2", 1),
        e.StepEnded(step="3.2", result=e.Result.DONE, message="2 | 3 rows", seconds=93.0),
        e.GridMade("live database", (e.GridRow("users", 40, "1 256", 1255, -1, "MISMATCH", "the dashboard"),)),
        e.NoteAdded(ANA, "the alert came late; Olu was called by phone"),
        e.GateGiven("5.1", GateKind.SIGN_OFF, Role.OWNER, OLU),
        e.StepStarted("5.1", 1),
        e.StepEnded(step="5.1", result=e.Result.DONE),
        e.SessionEnded(e.Ending.SIGNED_OFF),
    )


def test_it_says_what_happened_in_order() -> None:
    text = report(told())
    headings = re.findall(r"(?m)^#+ (.*)$", text)
    assert headings[0] == "Restore of shop (PRODUCTION)"
    assert headings.index("Deviations") < headings.index("People") < headings.index("Steps")
    assert "INC\\-7" not in text
    assert "INC-7 Payments deleted" in text
    assert "| Outcome | signed off |" in text
    assert "| users | 40 | 1 256 | 1 255 | -1 | MISMATCH | the dashboard |" in text
    assert "overridden by Ivo Kant: Ivo Kant knows of them" in text
    assert "no workers tonight" in text
    assert "| 3.2 Replace the database | done | 1:33 |" in text
    lines = [one.what for one in timeline(told())]
    assert lines[0] == "the incident began (by the incident report)"
    assert lines[-1] == "the session ended, signed off"
    approved = next(number for number, line in enumerate(lines) if line.startswith("Ivo Kant approved plan "))
    assert approved < lines.index("3.2 Replace the database done: 2 | 3 rows")
    assert [one.at for one in timeline(told())] == sorted(one.at for one in timeline(told()))


def test_roles_stand_for_names_wherever_they_are() -> None:
    text = report(told(), roles=True)
    for name in ("Ivo", "Kant", "Olu", ANA.name):
        assert not re.search(rf"\b{re.escape(name)}\b", text), name
    assert "the alert came late; application owner was called by phone" in text
    by_override = state_of(
        begun(operator=ANA), runner_started(), check_done("rows"), e.CheckOverridden("rows", "FAIL", IVO, "we know")
    )
    assert "Ivo" not in report(by_override, roles=True)
    assert "| incident commander | Ivo Kant |" in report(by_override)
    assert "overridden by incident commander: incident commander knows of them" in text
    facts = without_names(msgspec.to_builtins(record(told()), enc_hook=str), told())
    packed = msgspec.json.encode(facts).decode()
    assert not re.search(rf'Ivo Kant|Olu|\b{re.escape(ANA.name)}\b|"login"', packed)


def undone() -> SessionState:
    """What `told` restored is put back after the live database was counted."""
    plan = plan_made(PlanKind.RESTORE, step("3.2", title="Replace", destructive=True, undo="the old file"))
    back = plan_made(PlanKind.UNDO, step("6.7", title="Put back", destructive=True), revision=2)
    return state_of(
        begun(operator=ANA, environment="\x1b]52;c;x\x07lo|cal\n# forged"),
        runner_started(),
        plan,
        e.StepStarted("3.2", 1),
        e.StepEnded(step="3.2", result=e.Result.FAILED, message="disk full"),
        e.StepRetried("3.2", ANA),
        e.StepStarted("3.2", 2),
        e.StepEnded(step="3.2", result=e.Result.DONE),
        e.GridMade("live database", (e.GridRow("users", 40, "40", 40, 0, "MATCH", ""),)),
        e.UndoAsked(IVO, "the wrong one"),
        back,
        e.StepStarted("6.7", 1),
        e.StepEnded(step="6.7", result=e.Result.DONE),
        e.SessionEnded(e.Ending.UNDONE),
    )


def test_an_undone_session_does_not_read_like_a_restore() -> None:
    text = report(undone())
    assert "| Restored after | not known |" in text
    assert record(undone())["measures"]["until_restored_seconds"] is None  # type: ignore[index]
    assert "## Validation: live database, before the undo" in text
    assert "What was restored" not in text
    assert "Objective" not in text
    assert "| 3.2 Replace | done at attempt 2 |" in text
    assert "undo" in text[text.index("## Deviations") :]
    assert "\x1b" not in text
    assert "\n# forged" not in text.lower()


def test_a_plan_that_nobody_approved_is_not_said_to_be_approved() -> None:
    plan = plan_made(PlanKind.RESTORE, step("3.1"), approval=True)
    assert "Plan, not approved" in report(state_of(begun(), runner_started(), plan))
    assert "The backup that was chosen" in report(state_of(begun(), runner_started(), plan))


def test_two_people_of_one_role_are_told_apart() -> None:
    bob = e.Actor("Bob", "bob", console="b1")
    state = state_of(
        begun(operator=ANA), runner_started(), e.KeyboardTaken(ANA, "the first"), e.KeyboardTaken(bob, "asleep")
    )
    assert "database operator 2 took the keyboard: asleep" in report(state, roles=True)


@pytest.mark.parametrize("text", ODD, ids=lambda text: repr(text)[:20])
def test_whatever_is_said_is_text_and_no_markup(text: str) -> None:
    for roles in (False, True):
        made = report(state_of(*whole_session(text)), roles=roles)
        made.encode()
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", made)
        assert not re.search(r"(?m)^\[\[step\]\]", made)
        assert "[bold]" not in made
        for line in made.splitlines():
            if line.startswith("| "):
                assert re.match(r"\|(?: (?:[^|\\]|\\.)*\|)+$", line), line


def test_of_a_session_that_has_not_begun_there_is_little_to_say() -> None:
    assert report(SessionState()).startswith("# A session that has not begun")
