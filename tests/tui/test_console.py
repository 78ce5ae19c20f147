"""The whole job by keys, on a session that is told event by event."""

from __future__ import annotations

from datetime import timedelta

from engines.errors import Refused
from engines.people import Role
from engines.session import commands as c
from engines.session.events import Actor, GateGiven, How, KeyboardTaken, Reminded, Reminder, Result, StepEnded
from engines.session.plan import GateKind
from tests.tui.driving import at_the_console
from tests.tui.outsides import World, joined
from tests.tui.story import ANA, FOLDER, PEOPLE, Story
from tui.view import Page


async def test_a_target_opens_its_backups_and_a_verified_one_begins_a_session() -> None:
    world = World()
    async with at_the_console(world) as operator:
        await operator.sees("shop-staging")
        await operator.press("enter")
        await operator.sees("CHECKING 62 %")
        await operator.press("enter")
        await operator.sees("Prepare a restore from this backup?")
        await operator.press("enter")
        await operator.sees("Look at the live database")
        assert world.begun == ["shop from shop-2026-11-22T19-00-00Z.sqlite"]
        assert operator.console.page is Page.READINESS


async def test_a_backup_that_does_not_match_needs_another_key_than_enter() -> None:
    world = World()
    async with at_the_console(world) as operator:
        await operator.press("enter")
        await operator.sees("MISMATCH")
        await operator.press("down", "enter")
        await operator.sees("CAN'T BE RESTORED unless the incident commander overrides")
        await operator.press("enter")
        assert world.begun == []
        await operator.press("y")
        await operator.until(lambda: bool(world.begun), "the session has begun")


async def test_enter_confirms_the_step_that_is_shown_and_nothing_else() -> None:
    world = joined(Story().ready().approved())
    async with at_the_console(world) as operator:
        await operator.sees("Next: 3.2 Maintenance mode")
        await operator.press("enter")
        await operator.until(lambda: bool(world.asked), "the runner is asked")
        assert [type(command).__name__ for command in world.asked] == ["Give"]
        assert world.asked[0] == c.Give("3.2", GateKind.CONFIRM, Role.OPERATOR)


async def test_the_wrong_target_name_is_refused_in_the_dialogue_and_what_was_typed_stays() -> None:
    world = joined(Story().stopped())
    assert world.runner is not None
    world.runner.refusal = Refused("That is not the target's name. Nothing was changed.", "Type shop exactly.")
    async with at_the_console(world) as operator:
        await operator.sees("Next: 3.7 Replace the database")
        await operator.press("enter")
        await operator.sees("The target's name")
        await operator.types("shopp")
        await operator.press("enter")
        await operator.sees("That is not the target's name. Nothing was changed. Type shop exactly.")
        assert "shopp" in operator.screen
        world.runner.refusal = None
        await operator.press("backspace", "enter")
        await operator.until(lambda: operator.console.dialogue is None, "the dialogue is gone")
        assert world.asked[-1] == c.Give("3.7", GateKind.TYPED, Role.OPERATOR, "ana", "shop")


async def test_a_key_that_is_blocked_says_why_and_asks_nobody() -> None:
    world = joined(Story().stopped())
    async with at_the_console(world) as operator:
        await operator.sees("Next: 3.7")
        await operator.press("s")
        await operator.sees("No such step is under way, so there is nothing to stop.")
        assert world.asked == []


async def test_a_failed_step_offers_what_can_be_done() -> None:
    told = Story().ready().approved().given("3.2").started("3.2")
    told.ended("3.2", Result.FAILED, "php artisan down exited with 1.", "Look at the log.")
    world = joined(told)
    async with at_the_console(world) as operator:
        await operator.sees("3.2 Maintenance mode on failed. Enter: what can be done. php artisan down exited with 1.")
        await operator.press("enter")
        await operator.sees("try the step again from its start")
        await operator.press("r")
        await operator.until(lambda: world.asked == [c.Retry("3.2")], "it is tried again")


async def test_the_console_follows_the_next_key_from_page_to_page() -> None:
    world = joined(Story().ready())
    async with at_the_console(world) as operator:
        await operator.sees("[2 Readiness ▶]")
        world.told.approved()
        assert world.runner is not None
        world.runner.say(world.told.entries[-1])
        await operator.sees("[3 Restore ▶]")


async def test_a_page_opened_by_hand_stays_and_says_where_the_next_key_is() -> None:
    world = joined(Story().ready().approved())
    async with at_the_console(world) as operator:
        await operator.sees("[3 Restore ▶]")
        await operator.press("4")
        await operator.sees("[4 Validation]")
        world.told.ran("3.2")
        assert world.runner is not None
        world.runner.say(world.told.entries[-1])
        await operator.sees("The next key is on page 3, Restore")
        assert operator.console.page is Page.VALIDATION
        await operator.press("enter")
        await operator.sees("[3 Restore ▶]")
        assert world.asked == []


async def test_a_session_without_a_runner_is_shown_and_resumed_only_after_a_question() -> None:
    world = World(told=Story().ready().approved().given("3.2").started("3.2"))
    async with at_the_console(world) as operator:
        await operator.sees("The runner is gone.")
        await operator.press("u")
        await operator.sees("nothing can be asked of it. R resumes it.")
        await operator.press("R")
        await operator.sees("that outcome is not known yet")
        assert world.resumed == []
        await operator.press("enter")
        await operator.until(lambda: world.resumed == [FOLDER], "it is resumed")


async def test_ctrl_c_asks_first_whatever_is_on_the_screen() -> None:
    world = joined(Story().ready().approved().given("3.2").started("3.2"))
    async with at_the_console(world) as operator:
        await operator.sees("3.2 Maintenance mode on is under way")
        await operator.press("n")
        await operator.sees("A note for the post-mortem")
        await operator.press("ctrl+c")
        await operator.sees("Nothing was interrupted.")
        await operator.press("ctrl+c", "s")
        await operator.until(lambda: world.asked == [c.Stop("3.2")], "it is asked to stop")


async def test_before_a_step_is_stopped_it_is_said_what_that_leaves_behind() -> None:
    world = joined(Story().ready().approved().ran("3.2", "3.3").given("3.5").started("3.5"))
    async with at_the_console(world) as operator:
        await operator.sees("s stops it safely")
        await operator.press("s")
        await operator.sees("3.2 Maintenance mode on: take the application out of maintenance mode")
        await operator.sees("The live database was not touched.")
        assert operator.screen.startswith(" PRODUCTION  shop")
        await operator.press("s")
        await operator.sees("s does nothing here. y, Esc.")
        assert world.asked == []
        world.happens(StepEnded(step="3.5", result=Result.DONE))
        await operator.press("y")
        await operator.until(lambda: world.asked == [c.Stop("3.5")], "the step that was asked about is named")


async def test_what_the_dialogue_asked_for_closes_it_when_it_has_happened() -> None:
    world = joined(Story().handed_over())
    assert world.runner is not None
    world.runner.answers = lambda _: world.told.tell(
        GateGiven("5.1", GateKind.SIGN_OFF, Role.OWNER, ANA, "the data is right")
    )
    async with at_the_console(world) as operator:
        await operator.sees("application owner: not yet (omar)")
        await operator.press("enter")
        await operator.sees("Name of the application owner (omar)")
        await operator.types("omar")
        await operator.press("enter")
        await operator.sees("✔ application owner")


async def test_a_backup_with_other_bytes_can_be_let_pass_where_it_failed() -> None:
    world = joined(Story().not_staged())
    async with at_the_console(world) as operator:
        await operator.sees("2.4 Stage the backup failed.")
        await operator.press("enter")
        await operator.sees("the incident commander overrides backup checksum; then r")
        await operator.press("o")
        await operator.sees("Name of the incident commander (ines)")
        await operator.types("ines")
        await operator.press("enter")
        await operator.types("it is the only one")
        await operator.press("enter")
        await operator.until(lambda: bool(world.asked), "the runner is asked")
        seen = world.told.state.checks["backup checksum"].check.sha256
        assert world.asked == [c.Override("backup checksum", "ines", "it is the only one", seen)]


async def test_another_backup_is_one_key_away_until_the_restore_has_begun() -> None:
    async with at_the_console(joined(Story().ready())) as operator:
        await operator.sees("[2 Readiness ▶]")
        await operator.press("b")
        await operator.sees("[1 Backup ✔]")
    async with at_the_console(joined(Story().stopped())) as operator:
        await operator.sees("[3 Restore ▶]")
        await operator.press("b")
        await operator.sees("The restore has begun, so this session keeps its backup.")


async def test_a_reminder_is_said_and_a_keyboard_held_for_a_whole_shift_stands_in_the_header() -> None:
    world = joined(Story().stopped())
    async with at_the_console(world) as operator:
        await operator.sees("ana approved")
        world.happens(Reminded(Reminder.WAITING, "The application has been down for 10 min.", 600.0))
        await operator.sees("REMINDER: The application has been down for 10 min.")
        world.told.now += timedelta(hours=9)
        world.happens(Reminded(Reminder.KEYBOARD, "ana has held the keyboard for 9 h.", 9 * 3600.0))
        await operator.sees("ana FOR 9 H")


async def test_somebody_known_by_a_login_signs_off_without_a_name_and_typing_the_target() -> None:
    world = joined(Story().handed_over())
    assert world.runner is not None
    olga = next(person for person in PEOPLE if Role.OWNER in person.roles)
    world.runner.me = Actor(olga.name, olga.login, How.PEER, "c1")
    async with at_the_console(world) as operator:
        await operator.press("enter")
        await operator.sees(f"As {olga.name}, by your login. Type the target's name (shop)")
        await operator.types("shop")
        await operator.press("enter")
        await operator.until(lambda: bool(world.asked), "the runner is asked")
    assert world.asked[-1] == c.Give("5.1", GateKind.SIGN_OFF, Role.OWNER, olga.name)


async def test_what_is_copied_is_the_exact_command_and_the_file_that_has_it_is_named() -> None:
    async with at_the_console(joined(Story().ready().approved())) as operator:
        await operator.sees("Next: 3.2")
        await operator.press("y")
        await operator.sees("What 3.2 does: in ")
        await operator.sees("plan.toml. Copied, if tmux and the terminal pass it on.")
        assert operator.console.clipboard.startswith("php artisan down --render=errors::503-maintenance")
        await operator.press("5", "y")
        await operator.sees("The record's path: /var")
        assert operator.console.clipboard == str(FOLDER / "session.toml")
    async with at_the_console(World()) as operator:
        await operator.press("enter")
        await operator.sees("2 of 7 VERIFIED")
        await operator.press("y")
        await operator.sees("The backup's path: /srv")
        assert operator.console.clipboard.endswith("/shop-2026-11-22T19-00-00Z.sqlite")


async def test_while_somebody_else_has_the_keyboard_enter_says_so_before_a_name_is_typed_in_vain() -> None:
    told = Story().stopped().tell(KeyboardTaken(Actor("eva", "eva", console="c9"), "ana sleeps"))
    async with at_the_console(joined(told)) as operator:
        await operator.sees("eva has the keyboard; k takes it over.")
        await operator.press("enter")
        await operator.sees("eva holds the keyboard. Nothing was changed.")
        assert operator.console.dialogue is None
