"""Looking into the logs by keys: the bad transaction is found, and what is done about it reaches the runner."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from engines.errors import Refused
from engines.mysql.binlogs.chain import Coordinates
from engines.mysql.binlogs.logs import logs_in, read_logs
from engines.recipes import points
from engines.recipes.mysql.exploring import Opened, Staged, around, facts_of, open_logs
from engines.recipes.mysql.until import Kind, Until
from engines.session import commands as c
from engines.session.events import BackupChosen, FactFound, Result
from tests.engines.mysql.binlogs.forge import Forge
from tests.tui.driving import Operator, at_the_console
from tests.tui.mysql_story import BAD, BEFORE, CONFIG, PREPARE, ServerStory, catalogue, logs
from tests.tui.outsides import World, joined
from tests.tui.story import FOLDER
from tui.app import Opening
from tui.exploring import PAGE

JOINED = Opening(config=CONFIG, folder=FOLDER, name="ana")
HOSTILE = "DELETE /* [/x][red] \x1b[2J\x1b]0;owned\x07 \u202eabc [@click=app.quit]y[/] */ FROM users"


def ready(folder: Path, until: Until = BEFORE) -> World:
    told = ServerStory(folder, until).ready()
    world = joined(told)
    world.catalogue = catalogue()
    world.logs = told.opened()
    return world


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return logs(tmp_path)


async def explore(operator: Operator) -> None:
    await operator.sees("Enter shows the plan")
    await operator.press("e")
    await operator.sees("around the stop")


async def test_the_explorer_begins_at_the_first_transaction_that_is_not_replayed(folder: Path) -> None:
    async with at_the_console(ready(folder), opening=JOINED) as operator:
        await explore(operator)
        await operator.sees("> - 23 12:00:30.123 shop.users -9 000 DELETE FROM users")
        await operator.sees(f"{BAD} {Forge().uuid}:31")
        await operator.sees("committed 2026-11-23 12:00:30.123456 UTC")
        await operator.sees("shop.users: 9 000 deleted")
        await operator.press("up")
        await operator.sees("> 23 12:00:29.000 shop.users +3")


async def test_enter_stops_just_before_the_selected_one_after_a_question(folder: Path) -> None:
    world = ready(folder, Until(Kind.END))
    async with at_the_console(world, opening=JOINED) as operator:
        await explore(operator)
        await operator.press("slash")
        await operator.sees("Words, any of them")
        await operator.press("enter")
        await operator.sees("DROP or TRUNCATE or DELETE")
        await operator.press("home", "enter")
        await operator.sees("Stop just before this one?")
        await operator.sees("it needs a new approval")
        assert world.asked == []
        await operator.press("enter")
        await operator.until(lambda: bool(world.asked), "the runner is asked")
        (asked,) = world.asked
        assert isinstance(asked, c.Choose)
        assert asked.backup == points.going_to(world.told.state.backup, BEFORE)
        assert "DELETE" not in str(asked.backup)


async def test_the_explorer_closes_when_another_stop_was_chosen(folder: Path) -> None:
    world = ready(folder)
    async with at_the_console(world, opening=JOINED) as operator:
        await explore(operator)
        world.happens(BackupChosen(points.going_to(world.told.state.backup, Until(Kind.END))))
        await operator.sees("[2 Readiness ▶]")


async def test_one_transaction_is_left_out_with_a_reason_as_a_deviation(folder: Path) -> None:
    world = ready(folder, Until(Kind.END))
    assert world.runner is not None

    def answers(command: c.Command) -> None:
        assert isinstance(command, c.Choose)
        world.told.tell(BackupChosen(command.backup))

    world.runner.answers = answers
    async with at_the_console(world, opening=JOINED) as operator:
        await explore(operator)
        await operator.press("t")
        await operator.types(BAD)
        await operator.press("enter")
        await operator.sees(f"around {BAD}")
        await operator.press("x")
        await operator.sees("Why it is left out")
        await operator.press("enter")
        await operator.sees("type it first. Nothing was changed.")
        await operator.types("the clean-up")
        await operator.press("enter")
        await operator.sees("[2 Readiness ▶]")
        (asked,) = world.asked
        assert isinstance(asked, c.Choose)
        assert asked.backup["until"] == {"kind": "end", "value": "", "exclude": (BAD,)}
        (deviation,) = world.told.state.deviations
        assert (deviation.what, deviation.reason) == (f"transaction {BAD} is left out of the replay", "the clean-up")


async def test_what_is_left_out_can_be_taken_back_in(folder: Path) -> None:
    world = ready(folder, Until(Kind.END, "", (BAD,)))
    async with at_the_console(world, opening=JOINED) as operator:
        await explore(operator)
        await operator.press("slash")
        await operator.sees("Words, any of them")
        await operator.press("enter")
        await operator.sees("x 23 12:00:30.123")
        await operator.press("home", "x")
        await operator.sees("Replay this one after all?")
        await operator.press("y")
        await operator.until(lambda: bool(world.asked), "the runner is asked")
        (asked,) = world.asked
        assert isinstance(asked, c.Choose)
        assert asked.backup["until"] == {"kind": "end", "value": "", "exclude": ()}
        assert "deviations" not in asked.backup


async def test_a_stop_takes_exclusions_behind_it_off_and_keeps_those_before(folder: Path) -> None:
    first, late = "binlog.000001:172", "binlog.000003:1226"
    world = ready(folder, Until(Kind.END))
    rows = around(world.logs, first, 0, 1) if isinstance(world.logs, Opened) else ()
    first = rows[0].place
    world = ready(folder, Until(Kind.END, "", (first, late)))
    async with at_the_console(world, opening=JOINED) as operator:
        await explore(operator)
        await operator.press("t")
        await operator.types(BAD)
        await operator.press("enter")
        await operator.sees(f"around {BAD}")
        await operator.press("enter")
        await operator.sees(f"Not left out any more, since they come later: {late}.")
        await operator.press("enter")
        await operator.until(lambda: bool(world.asked), "the runner is asked")
        (asked,) = world.asked
        assert isinstance(asked, c.Choose)
        assert asked.backup["until"] == {"kind": "position", "value": BAD, "exclude": (first,)}


async def test_what_would_change_nothing_is_refused_with_the_reason(folder: Path) -> None:
    world = ready(folder)
    async with at_the_console(world, opening=JOINED) as operator:
        await explore(operator)
        await operator.press("enter")
        await operator.sees("It stops just before this one already.")
        await operator.press("x")
        await operator.sees("It comes after the stop, so it is not replayed anyway.")
        assert world.asked == []


async def test_once_the_restore_has_begun_the_logs_can_only_be_looked_at(folder: Path) -> None:
    told = ServerStory(folder).ready()
    told.approved().ran("3.1")
    world = joined(told)
    world.catalogue, world.logs = catalogue(), told.opened()
    async with at_the_console(world, opening=JOINED) as operator:
        await operator.sees("Next: 3.2")
        await operator.press("2", "e")
        await operator.sees("around the stop")
        await operator.press("up", "enter")
        await operator.sees("The restore has begun, so this session keeps its backup.")
        assert world.asked == []


async def test_a_refusal_of_the_runner_is_shown_where_the_operator_looks(folder: Path) -> None:
    world = ready(folder)
    assert world.runner is not None
    world.runner.refusal = Refused("bob holds the keyboard. Nothing was changed.", "Watch, or take it over (k).")
    async with at_the_console(world, opening=JOINED) as operator:
        await explore(operator)
        await operator.press("up", "enter")
        await operator.sees("Stop just before this one?")
        await operator.press("enter")
        await operator.sees("bob holds the keyboard. Nothing was changed.")
        await operator.sees("around the stop")


async def test_moving_against_an_end_reads_on(tmp_path: Path) -> None:
    log = Forge(in_use=True).previous()
    for number in range(1, 4 * PAGE + 1):
        log.transaction(number)
    log.save(tmp_path / "binlog.000001")
    middle = open_logs(Staged(str(tmp_path), Coordinates("binlog.000001", 4)), Until(Kind.END))
    place = around(middle, f"{Forge().uuid}:{2 * PAGE + 1}", 0, 1)[0].place
    world = ready(tmp_path, Until(Kind.POSITION, place))
    async with at_the_console(world, opening=JOINED) as operator:
        await explore(operator)
        assert len(operator.console.exploring.seen.rows) == 2 * PAGE
        await operator.press("home", "pageup")
        await operator.until(lambda: len(operator.console.exploring.seen.rows) == 3 * PAGE, "earlier ones are read")
        await operator.sees(f":{PAGE + 1}")
        await operator.press("end", "pagedown")
        await operator.until(lambda: len(operator.console.exploring.seen.rows) == 4 * PAGE, "later ones are read")
        await operator.press("home", "up", "end", "down")
        await operator.until(lambda: operator.console.exploring.seen.last, "the end is known")
        numbers = [int(row.gtid.rpartition(":")[2]) for row in operator.console.exploring.seen.rows]
        assert numbers == list(range(1, 4 * PAGE + 1))


async def test_a_search_narrows_by_table_and_esc_comes_back_to_the_list(folder: Path) -> None:
    async with at_the_console(ready(folder), opening=JOINED) as operator:
        await explore(operator)
        await operator.press("slash")
        await operator.sees("Words, any of them")
        await operator.types("audit_logs")
        await operator.press("enter")
        await operator.sees("DROP or TRUNCATE or DELETE on audit_logs")
        await operator.sees("DROP TABLE")
        assert len(operator.console.exploring.seen.rows) == 1
        await operator.press("escape")
        await operator.sees("around the stop")
        await operator.press("escape")
        await operator.sees("[2 Readiness ▶]")


async def test_a_search_without_a_result_says_so(folder: Path) -> None:
    async with at_the_console(ready(folder), opening=JOINED) as operator:
        await explore(operator)
        await operator.press("slash")
        await operator.sees("Words, any of them")
        await operator.types("nowhere")
        await operator.press("enter")
        await operator.sees("none found")
        await operator.press("enter", "x", "c")
        await operator.sees("none found")


async def test_what_takes_long_can_be_stopped(folder: Path) -> None:
    world = ready(folder)
    begun, asked = threading.Event(), threading.Event()
    outside = world.open_logs

    def slow(staged: object, until: object, progress: object, stop: object) -> Opened:
        begun.set()
        while not stop():  # type: ignore[operator]  # the console's own stop
            asked.wait(0.01)
        raise Refused("Stopped while binlog.000001 was read.", "")

    world.open_logs = slow  # type: ignore[method-assign,assignment]  # it stands in
    async with at_the_console(world, opening=JOINED) as operator:
        await operator.sees("Enter shows the plan")
        await operator.press("e")
        await operator.sees("The logs are read … Esc stops it")
        assert begun.is_set()
        await operator.press("escape")
        await operator.sees("Stopped.")
        await operator.press("escape")
        await operator.sees("[2 Readiness ▶]")
        world.open_logs = outside  # type: ignore[method-assign]  # it goes back


async def test_logs_that_are_gone_are_said_and_nothing_else_happens(folder: Path) -> None:
    world = ready(folder)
    world.logs = Refused("There is nothing to look into: no log. Nothing was changed.", "Prepare the restore again.")
    async with at_the_console(world, opening=JOINED) as operator:
        await operator.sees("Enter shows the plan")
        await operator.press("e")
        await operator.sees("There is nothing to look into: no log. Nothing was changed. Prepare the restore again.")
        await operator.press("enter", "slash", "escape")


async def test_a_stop_that_the_logs_do_not_have_leads_into_the_explorer(folder: Path) -> None:
    told = ServerStory(None, Until(Kind.POSITION, "binlog.000002:2773")).begun()
    told.planned(steps=PREPARE).ran("2.1", "2.2", "2.3", "2.4").started("2.5")
    told.tell(FactFound("2.5", facts_of(folder, Coordinates("binlog.000001", 4), read_logs(logs_in(folder)))))
    told.ended("2.5", Result.FAILED, "binlog.000002:2773 is inside a transaction.", "Stop before it, or after it.")
    world = joined(told)
    world.catalogue, world.logs = catalogue(), told.opened()
    async with at_the_console(world, opening=JOINED) as operator:
        await operator.sees("Enter: what can be done.")
        await operator.press("enter")
        await operator.sees("look at the transactions in the logs, and choose another stop")
        await operator.press("e")
        await operator.sees("around the stop")
        await operator.sees("is inside a transaction")
        await operator.press("t")
        await operator.sees("Look around which moment?")
        await operator.types(BAD)
        await operator.press("enter")
        await operator.sees("> ? 23 12:00:30.123")
        await operator.press("enter")
        await operator.sees("Stop just before this one?")
        await operator.press("enter")
        await operator.until(lambda: bool(world.asked), "the runner is asked")
        assert world.asked == [c.Choose(points.going_to(told.state.backup, BEFORE))]


async def test_text_from_the_logs_is_only_ever_text(tmp_path: Path) -> None:
    world = ready(logs(tmp_path, HOSTILE + " WHERE " + "closed = 0 AND " * 60 + "1"))
    async with at_the_console(world, opening=JOINED) as operator:
        await explore(operator)
        await operator.sees("DELETE /* [/x][red]")
        assert "\x1b" not in operator.screen
        assert "owned" not in operator.screen
        assert "\u202e" not in operator.screen
        await operator.sees("(c: the whole text)")
        await operator.press("c")
        await operator.sees(f"Transaction {BAD}")
        await operator.sees("[@click=app.quit]y[/]")
        await operator.press("end", "escape", "up", "down", "t")
        await operator.sees("Look around which moment?")
        await operator.press("escape", "x", "escape")
        for size in ((60, 20), (120, 40)):
            assert "\x1b" not in await operator.at(*size)
