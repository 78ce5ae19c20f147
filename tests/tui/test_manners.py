"""How the console behaves at its edges: haste, refusals, hostile text, many rows, a slow line."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from textual.geometry import Region
from textual.widget import Widget

from engines.backups.catalogue import Backup, Catalogue, Status
from engines.errors import Refused
from engines.recipes.sqlite.plans import undo_plan
from engines.session import commands as c
from engines.session.client import Gone, Trouble
from engines.session.events import Approved, BackupChosen, Ending, NoteAdded, Result, SessionEnded, StepEnded, UndoAsked
from engines.session.plan import PlanKind
from tests.tui.driving import at_the_console
from tests.tui.outsides import FakeRunner, World, joined
from tests.tui.story import ANA, BLOCKING, CONFIG, RESTORE, SHOP, Story, backup, many
from tui.app import Opening
from tui.view import Page, Shelf
from tui.widgets.backups import backup_line
from tui.widgets.cells import Line


async def test_an_enter_that_comes_before_the_question_can_be_read_confirms_nothing() -> None:
    world = joined(Story().ready().approved())
    async with at_the_console(world, read_first=60) as operator:
        await operator.sees("Next: 3.2 Maintenance mode")
        await operator.press("enter", "enter")
        await operator.sees("That Enter came too soon to be an answer to step 3.2.")
        assert world.asked == []


async def test_a_refusal_to_begin_is_shown_and_the_backups_stay() -> None:
    world = World(refusal=Refused("Session 7f3a of shop is unfinished. Nothing was changed.", "reinstate attach 7f3a"))
    async with at_the_console(world) as operator:
        await operator.press("enter")
        await operator.sees("Enter chooses this backup")
        await operator.press("enter", "enter")
        await operator.sees("Session 7f3a of shop is unfinished. Nothing was changed. reinstate attach 7f3a")
        assert operator.console.page is Page.BACKUPS


@pytest.mark.parametrize("size", [(80, 24), (60, 20)])
async def test_the_handover_says_that_more_follows_and_shows_it(size: tuple[int, int]) -> None:
    told = Story().handed_over()
    told.tell(*(NoteAdded(ANA, f"note {number}: the owner of the shop was told by telephone") for number in range(9)))
    async with at_the_console(joined(told), size=size) as operator:
        await operator.sees("Sign-offs")
        await operator.until(lambda: "↓" in operator.screen.splitlines()[2], "it says how much follows")
        assert "note 8" not in operator.screen
        await operator.press("end")
        await operator.sees("note 8")
        assert "↑" in operator.screen.splitlines()[2]


async def test_ten_thousand_backups_are_drawn_a_screenful_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def counting(backup: Backup, shelf: Shelf, now: datetime, width: int) -> Line:
        drawn.append(width)
        return backup_line(backup, shelf, now, width)

    monkeypatch.setattr("screens.backups.backup_line", counting)
    world = World(catalogue=Catalogue("/srv/backups", tuple(many(10_000)), ()))
    async with at_the_console(world) as operator:
        await operator.press("enter")
        await operator.sees("10 000 to check")
        drawn.clear()
        await operator.press("end")
        await operator.sees("↑9 9")
        assert 0 < len(drawn) < 200


async def test_the_filter_narrows_the_list_and_esc_takes_it_away() -> None:
    async with at_the_console(World()) as operator:
        await operator.press("enter")
        await operator.sees("2 of 7 VERIFIED")
        await operator.press("slash", *"mismatch")
        await operator.sees("filter: 1")
        await operator.press("enter")
        await operator.sees("MISMATCH: sha256 is")
        await operator.press("escape")
        await operator.sees("2 of 7 VERIFIED, 1 to check")


async def test_on_the_smallest_screen_the_first_hint_leaves_the_list_in_sight() -> None:
    opening = Opening(config=CONFIG, name="ana", hints=True)
    async with at_the_console(World(), opening=opening, size=(60, 20)) as operator:
        await operator.press("enter")
        await operator.sees("Choose a VERIFIED copy")
        await operator.sees("> 2026-11-22 19:00")
        await operator.press("h")
        await operator.until(lambda: "Choose a VERIFIED" not in operator.screen, "the hint is gone")
        await operator.sees("> 2026-11-22 19:00")
        await operator.sees("2026-11-22 16:00")
        assert "V verified" not in operator.screen, "the picture would leave two rows of the list"


async def test_while_the_filter_is_typed_no_key_of_the_page_is_offered() -> None:
    async with at_the_console(World()) as operator:
        await operator.press("enter")
        await operator.sees("? help")
        await operator.press("slash")
        await operator.sees("Type letters of a name, a status or a time.")
        await operator.until(lambda: "? help" not in operator.screen, "the keys are gone")
        await operator.press("enter")
        await operator.sees("? help")


async def test_enter_on_no_backup_says_why() -> None:
    async with at_the_console(World()) as operator:
        await operator.press("enter")
        await operator.sees("2 of 7 VERIFIED")
        await operator.press("slash", *"nothing", "enter", "enter")
        await operator.sees("No backup is selected: none matches the filter. Esc takes it away.")
        await operator.press("v")
        await operator.sees("No backup is selected")
    async with at_the_console(World(catalogue=Catalogue("/srv/backups", (), ()))) as operator:
        await operator.press("enter")
        await operator.sees("is empty")
        await operator.press("enter")
        await operator.sees("There is no backup to choose: /srv/backups is empty.")


async def test_a_digit_says_that_there_is_no_session_yet() -> None:
    async with at_the_console(World()) as operator:
        await operator.sees("shop-staging")
        await operator.press("3")
        await operator.sees("There is no session yet. Choose a backup first (Enter).")
        assert operator.console.page is Page.START


async def test_a_key_that_is_no_answer_says_so_in_the_dialogue() -> None:
    world = World()
    async with at_the_console(world) as operator:
        await operator.press("enter")
        await operator.sees("MISMATCH")
        await operator.press("down", "enter")
        await operator.sees("prepare it all the same")
        await operator.press("enter")
        await operator.sees("Enter does nothing here. y, Esc.")
        assert world.begun == []


async def test_a_backup_from_after_the_incident_needs_another_key_than_enter() -> None:
    told = Story().begun().planned().ran("2.1")
    assert told.state.begun is not None
    report = {"incident": {"id": "INC-2041", "started_at": "2026-11-22T18:40:00Z"}}
    told.state = replace(told.state, begun=replace(told.state.begun, incident=report))
    world = joined(told)
    world.catalogue = Catalogue("/srv/backups", (backup(0, Status.VERIFIED), backup(4, Status.VERIFIED)), ())
    async with at_the_console(world) as operator:
        await operator.press("1")
        await operator.sees("2 VERIFIED")
        await operator.press("home", "enter")
        await operator.sees("AFTER the incident began")
        await operator.sees("y prepare it all the same")
        await operator.press("escape", "down", "enter")
        await operator.sees("Enter prepare it")


async def test_one_backup_is_verified_again_on_request() -> None:
    world = World(verified=lambda backup: replace(backup, status=Status.MISMATCH, evidence="read just now"))
    world.catalogue = Catalogue("/srv/backups", (backup(1, Status.VERIFIED),), ())
    async with at_the_console(world) as operator:
        await operator.press("enter")
        await operator.sees("1 VERIFIED")
        await operator.press("v")
        await operator.sees("MISMATCH: read just now")
        await operator.sees("shop-2026-11-22T19-00-00Z.sqlite was read just now: MISMATCH.")


async def test_a_session_that_is_over_can_only_be_read() -> None:
    told = Story().handed_over().ran("5.1", "5.2").tell(SessionEnded(Ending.SIGNED_OFF))
    world = World(told=told)
    async with at_the_console(world) as operator:
        await operator.sees("The session is over: signed off.")
        await operator.press("u")
        await operator.sees("The session is over. Its record is on page 5.")
        await operator.press("escape")
        await operator.sees("choose what to restore")


async def test_what_was_counted_before_an_undo_is_not_shown_as_what_is_live() -> None:
    told = Story().compared().tell(UndoAsked(ANA, "the wrong backup"))
    plan = undo_plan(told.state, SHOP, {}, (), "the wrong backup")
    told.planned(PlanKind.UNDO, plan.steps)
    world = joined(told)
    async with at_the_console(world) as operator:
        await operator.press("4")
        await operator.sees("Validation of the live database")
        assert "before the undo" not in operator.screen
        told.given("6.7").started("6.7")
        world.happens(StepEnded(step="6.7", result=Result.DONE))
        await operator.sees("Validation of the live database, before the undo")
        await operator.press("5")
        await operator.sees("Validation before the undo")


async def test_an_overriding_name_and_reason_reach_the_runner() -> None:
    world = joined(Story().ready().checked(BLOCKING))
    async with at_the_console(world) as operator:
        await operator.sees("1 check blocks: write access")
        await operator.press("enter")
        await operator.sees("the incident commander overrides it")
        await operator.press("o")
        await operator.sees("Name of the incident commander (ines)")
        await operator.types("ines")
        await operator.press("enter")
        await operator.types("remounted")
        await operator.press("enter")
        await operator.until(lambda: bool(world.asked), "the runner is asked")
        assert world.asked == [c.Override("write access", "ines", "remounted", BLOCKING.sha256)]


async def test_both_zones_are_shown_where_the_operators_own_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Paris")
    time.tzset()
    async with at_the_console(World()) as operator:
        await operator.press("enter")
        await operator.sees("taken 2026-11-22 19:00 UTC (20:00 CET)")
    monkeypatch.undo()
    time.tzset()


async def test_a_second_that_passes_redraws_the_clock_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    world = joined(Story().stopped())
    redrawn: set[str] = set()

    async with at_the_console(world) as operator:
        await operator.sees("T+0:01:20")
        await operator.at(80, 24)  # everything that opening it has asked for is drawn

        def refresh(widget: Widget, *regions: Region, **how: bool) -> Widget:
            redrawn.add(type(widget).__name__)
            return whole(widget, *regions, **how)

        whole = Widget.refresh
        monkeypatch.setattr(Widget, "refresh", refresh)
        world.told.now += timedelta(seconds=1)
        await operator.sees("T+0:01:21")
        assert redrawn == {"Header"}


async def test_an_incident_report_that_cannot_be_used_is_shown_before_anything_else() -> None:
    opening = Opening(config=CONFIG, incident=Path("/nowhere/incident.toml"), name="ana")
    async with at_the_console(World(), opening=opening) as operator:
        await operator.sees("The incident report can't be used")
        await operator.press("escape")
        await operator.sees("No incident report is loaded")


async def test_another_backup_can_be_chosen_until_the_restore_has_begun() -> None:
    world = joined(Story().ready())
    async with at_the_console(world) as operator:
        await operator.sees("Enter shows the plan")
        await operator.press("1")
        await operator.sees("<< chosen")
        await operator.press("down", "down", "down")
        await operator.sees("Enter chooses the selected one instead.")
        await operator.press("enter")
        await operator.sees("Restore this backup instead?")
        await operator.press("enter")
        await operator.until(lambda: bool(world.asked), "the runner is asked")
        assert isinstance(world.asked[0], c.Choose)
        assert world.asked[0].backup["name"] == "shop-2026-11-22T16-00-00Z.sqlite"


async def test_once_another_backup_is_chosen_the_console_goes_to_where_it_is_prepared() -> None:
    told = Story().ready()
    world = joined(told)
    assert world.runner is not None
    world.runner.answers = lambda command: (
        told.tell(BackupChosen(command.backup)).planned() if isinstance(command, c.Choose) else None
    )
    async with at_the_console(world) as operator:
        await operator.sees("Enter shows the plan")
        await operator.press("1")
        await operator.sees("<< chosen")
        await operator.press("down", "down", "down")
        await operator.sees("Enter chooses the selected one instead.")
        await operator.press("enter")
        await operator.sees("Restore this backup instead?")
        await operator.press("enter")
        await operator.sees("[2 Readiness")


async def test_a_line_that_is_cut_while_the_runner_lives_is_taken_up_again() -> None:
    world = joined(Story().stopped())
    async with at_the_console(world) as operator:
        await operator.sees("Next: 3.7")
        cut = world.runner
        assert cut is not None
        world.runner = FakeRunner(world.told)
        cut.say(Gone())
        await operator.until(lambda: cut.closed, "the cut line is closed")
        await operator.press("n")
        await operator.types("still here")
        await operator.press("enter")
        await operator.until(lambda: world.asked == [c.Note("still here")], "the other line is used")


async def test_how_the_line_broke_is_told_only_while_the_session_goes_on() -> None:
    world = joined(Story().stopped())
    async with at_the_console(world) as operator:
        await operator.sees("Next: 3.7")
        assert world.runner is not None
        world.runner.say(Trouble("The line to the runner broke: [Errno 32] Broken pipe"))
        await operator.sees("Broken pipe")
    world = joined(Story().stopped())
    async with at_the_console(world) as operator:
        await operator.sees("Next: 3.7")
        world.happens(SessionEnded(Ending.UNDONE))
        assert world.runner is not None
        world.runner.say(Trouble("The line to the runner broke: [Errno 32] Broken pipe"))
        world.runner.say(Gone())
        await operator.sees("The session is over: undone.")
        await operator.until(lambda: world.runner is not None and world.runner.closed, "the line is closed")
        assert "Broken pipe" not in operator.screen


@pytest.mark.parametrize("size", [(80, 24), (60, 20)])
async def test_what_is_asked_stays_on_the_screen_however_much_there_is_to_read(size: tuple[int, int]) -> None:
    long = tuple(f"do thing {number} to /a/path/that/is/long/enough/to/need/more/than/one/line" for number in range(30))
    steps = (replace(next(step for step in RESTORE if step.id == "3.7"), shows=long),)
    told = Story().prepared().planned(PlanKind.RESTORE, steps)
    told.tell(Approved(digest=told.state.plan_digest, actor=ANA, until="2026-11-23T00:00:00.000Z"))
    async with at_the_console(joined(told), size=size) as operator:
        await operator.sees("Next: 3.7")
        await operator.press("enter")
        await operator.sees("The target's name Enter runs it Esc back ↑ ↓ PgUp PgDn read")
        await operator.press(*["pagedown"] * 12)
        await operator.sees("do thing 29")
        await operator.press("enter")
        await operator.sees("type it first. Nothing was changed. Enter runs it Esc back")
        await operator.press("escape", "x")
        await operator.sees("Why it is abandoned Enter ends the session")
