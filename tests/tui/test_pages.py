"""Where the next key is, and what comes next in one sentence."""

from __future__ import annotations

import pytest

from engines.session import events as e
from engines.session.plan import PlanKind
from screens.readiness import prepared
from tests.tui.story import ANA, BLOCKING, GRID, RESTORE, Story
from tui.blocked import blocked
from tui.hints import hint
from tui.narration import sentences
from tui.pages import marks, outcome, page_for, upcoming
from tui.theme import BOLD
from tui.view import Line, Page, View
from tui.widgets.told import Told


def seen(told: Story, line: Line = Line.ALIVE) -> View:
    return View(state=told.state, now=told.now, me=ANA, line=line)


@pytest.mark.parametrize(
    ("told", "page"),
    [
        (Story().begun(), Page.READINESS),
        (Story().begun().planned().ran("2.1").started("2.2"), Page.READINESS),
        (Story().ready(), Page.READINESS),
        (Story().ready().checked(BLOCKING), Page.READINESS),
        (Story().ready().approved(), Page.RESTORE),
        (Story().stopped().checked(BLOCKING), Page.READINESS),
        (Story().compared(GRID), Page.RESTORE),
        (Story().handed_over(), Page.HANDOVER),
        (Story().handed_over().given("5.1").started("5.1"), Page.HANDOVER),
        (Story().replaced().tell(e.UndoAsked(ANA, "why")).planned(PlanKind.UNDO, RESTORE[:2]), Page.RESTORE),
        (Story().ready().tell(e.SessionEnded(e.Ending.ABANDONED)), Page.HANDOVER),
    ],
)
def test_the_next_key_is_on(told: Story, page: Page) -> None:
    view = seen(told)
    assert page_for(told.state, view.ask) is page
    if told.state.ended is None:
        assert marks(view)[page] == "▶"


def test_what_is_confirmed_is_named() -> None:
    coming = upcoming(seen(Story().ready().approved()), Page.RESTORE)
    assert coming.text == "Next: 3.2 Maintenance mode on. Enter runs it."
    assert coming.enter == "run it"


def test_elsewhere_the_page_of_the_next_key_is_named() -> None:
    coming = upcoming(seen(Story().handed_over()), Page.BACKUPS)
    assert coming.text.startswith("The next key is on page 5, Handover: application owner: ")


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (Story().ready(), "page 2, Readiness: The incident commander reads the plan and approves it."),
        (Story().compared(), "page 3, Restore: 4.2 Try to write as the application."),
        (Story().stopped(), "page 3, Restore: 3.7 Replace the database."),
        (Story().not_staged(), "page 2, Readiness: 2.4 Stage the backup failed. The backup shop-"),
    ],
)
def test_elsewhere_is_said_once_who_and_what_is_waited_for(told: Story, says: str) -> None:
    coming = upcoming(seen(told), Page.VALIDATION)
    assert coming.text.startswith(f"The next key is on {says}")
    assert coming.text.count("incident commander") <= 1
    assert coming.enter == "go there"


def test_while_a_step_runs_enter_does_nothing() -> None:
    assert upcoming(seen(Story().begun().planned().started("2.1")), Page.READINESS).enter == ""


def test_a_step_that_is_asked_to_stop_says_so() -> None:
    told = Story().begun().planned().started("2.1").tell(e.StopAsked("2.1", ANA))
    assert "asked to stop" in upcoming(seen(told), Page.READINESS).text


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("stop", "nothing to stop"),
        ("approve", "This plan is approved already."),
        ("again", "Nothing has failed here"),
        ("skip", "3.7 Replace the database can't be skipped."),
        ("override", "does not block anything"),
        ("resume", "The runner is alive"),
        ("grid", "only one grid so far"),
        ("log", "has not begun"),
        ("choose", "The restore has begun, so this session keeps its backup."),
        ("undo", ""),
        ("abandon", ""),
        ("note", ""),
        ("plan", ""),
        ("command", ""),
    ],
)
def test_the_reason_why_a_key_does_nothing_comes_from_the_session(key: str, reason: str) -> None:
    found = blocked(key, seen(Story().stopped()), "3.7")
    assert reason in found if reason else found == ""


@pytest.mark.parametrize("line", [Line.GONE, Line.OVER, Line.READ_ONLY, Line.NONE])
def test_without_a_runner_to_ask_nothing_can_be_asked(line: Line) -> None:
    view = seen(Story().stopped(), line)
    assert all(blocked(key, view, "3.7") for key in ("undo", "abandon", "note", "again", "approve"))


def test_the_keys_of_somebody_elses_keyboard_are_blocked_with_their_name() -> None:
    told = Story().ready().approved().tell(e.KeyboardTaken(e.Actor("bob", "bob", console="c9"), "relief"))
    assert "bob holds the keyboard" in blocked("undo", seen(told), "")
    assert blocked("note", seen(told), "") == ""


def test_the_hints_say_that_nothing_is_changed_only_while_that_is_so() -> None:
    waiting = (Story(), Story().begun(), Story().ready())
    assert all("Nothing is changed yet" in hint(Page.READINESS, told.state) for told in waiting)
    over = Story().handed_over().ran("5.1", "5.2").tell(e.SessionEnded(e.Ending.SIGNED_OFF))
    later = (Story().ready().approved(), Story().stopped(), Story().replaced(), over)
    assert not any("Nothing is changed yet" in hint(Page.READINESS, told.state) for told in later)
    assert hint(Page.HANDOVER, over.state) == hint(Page.BACKUPS, over.state) == ""


def test_a_failure_names_the_key_before_the_reason() -> None:
    coming = upcoming(seen(Story().not_staged()), Page.READINESS)
    assert coming.text.startswith("2.4 Stage the backup failed. Enter: what can be done. The backup shop-")


def test_a_failure_whose_check_was_let_pass_is_tried_again() -> None:
    told = Story().not_staged()
    told.tell(e.CheckOverridden("backup checksum", "FAIL", ANA, "it is the only one"))
    coming = upcoming(seen(told), Page.READINESS)
    assert coming.text.startswith("2.4 Stage the backup failed. Let pass since: backup checksum. r does it again;")
    told.checked(BLOCKING)
    assert upcoming(seen(told), Page.READINESS).text.startswith("2.4 Stage the backup failed. Enter: what can be done.")


def test_preparation_is_that_of_the_backup_which_is_chosen() -> None:
    told = Story().ready()
    told.tell(e.BackupChosen({"name": "another"}))
    assert prepared(told.state) == ()
    told.planned()
    again = [f"2.{n}/r3" for n in range(1, 8)]
    assert [known.id for known in prepared(told.state)] == again
    told.ran(*again).planned(PlanKind.RESTORE, RESTORE)
    assert [known.id for known in prepared(told.state)] == again


RESUMED = e.RunnerStarted(pid=4812, started=2, reason="resume", versions={}, survives="tmux")


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (Story().ready().approved().ran("3.2"), "nothing was under way; the old database is live."),
        (Story().replaced(), "nothing was under way; the restored database is live."),
        (
            Story().stopped().given("3.7").started("3.7").ended("3.7", e.Result.FAILED),
            "nothing was under way; 3.7 Replace the database is failed: reinstate check says what is live.",
        ),
    ],
)
def test_a_runner_that_takes_over_says_what_is_true_until_it_has_ended_a_step(told: Story, says: str) -> None:
    told.tell(RESUMED)
    assert outcome(told.state) == f"Runner 4812 took over; {says}"
    assert list(sentences(told.entries[-1], told.state)) == [f"Runner 4812 took over; {says}"]


def test_a_step_that_is_carried_out_after_a_takeover_is_told_again() -> None:
    told = Story().ready().approved().ran("3.2").tell(RESUMED).ran("3.3")
    assert outcome(told.state) == "Done: 3.3 Stop the queue workers."


def test_what_was_cut_off_is_named_where_everything_is_told() -> None:
    told = Story().ready().approved().given("3.2").started("3.2").tell(RESUMED)
    says = "Runner 4812 took over; 3.2 Maintenance mode on was under way; the old database is live."
    assert list(sentences(told.entries[-1], told.state)) == [says]


def test_a_text_that_has_no_place_yet_is_not_broken_into_letters() -> None:
    """It is shown before its page is laid out; what was drawn for no width at all stood there for a moment."""
    told = Told("Handover", id="told")
    told.show([("Sign-offs", BOLD)])
    ((text, _style),) = told.line(1)
    assert not text.strip()
