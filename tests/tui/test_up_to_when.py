"""How far to go beyond a dump: asked after Enter on it, with a reason for everything that can't be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engines.incident import Objective
from engines.recipes.mysql.until import Kind, Until, just_before, stops_before, told, typed
from engines.session import commands as c
from tests.tui import story
from tests.tui.driving import at_the_console
from tests.tui.mysql_story import BAD, BEGAN, CONFIG, INCIDENT, NOW, ServerStory, catalogue, dump
from tests.tui.outsides import World, joined
from tests.tui.story import ANA, FOLDER
from tui.app import Opening
from tui.blocked import blocked
from tui.stops import echo, offered, unreachable
from tui.view import Line, Shelf, View
from tui.widgets.timeline import legend, picture

OPENING = Opening(config=CONFIG, incident=Path("incident.toml"), name="ana")
JOINED = Opening(config=CONFIG, folder=FOLDER, name="ana")
NAME = dump(10).name


@pytest.fixture
def in_paris(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Paris")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def before_the_session() -> World:
    world = World(catalogue=catalogue(), incident=INCIDENT, told=ServerStory())
    return world


def in_the_session(until: Until) -> World:
    world = joined(ServerStory(None, until).ready())
    world.catalogue = catalogue()
    return world


def shelf(**changed: object) -> Shelf:
    return Shelf(engine="mysql", incident=replace(INCIDENT, **changed))  # type: ignore[arg-type]  # fields of Incident


# -- what is offered ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_paris")
async def test_the_incidents_own_moments_are_offered_first_in_both_zones() -> None:
    world = before_the_session()
    async with at_the_console(world, opening=OPENING) as operator:
        await operator.sees("shop@db1:3306")
        await operator.press("enter")
        await operator.sees("Enter chooses this dump and asks up to when.")
        await operator.press("enter")
        await operator.sees("just before the incident began, 2026-11-23 12:00:30 UTC (13:00:30 CET)")
        await operator.sees("before 2026-11-23 12:00:25 UTC (13:00:25 CET), the report's stop_before")
        assert world.begun == []
        await operator.press("i")
        await operator.until(lambda: bool(world.begun), "the session has begun")
        assert world.begun == [f"shop from {NAME} to just before 2026-11-23T12:00:30Z"]


@pytest.mark.parametrize(("key", "words"), [("d", "no further than the dump"), ("e", "to the end of the logs")])
async def test_the_dump_alone_and_the_end_of_the_logs_are_one_key_each(key: str, words: str) -> None:
    world = before_the_session()
    async with at_the_console(world, opening=OPENING) as operator:
        await operator.press("enter")
        await operator.sees("asks up to when")
        await operator.press("enter")
        await operator.sees("Up to when?")
        await operator.press("enter")  # no answer is a matter of course
        assert world.begun == []
        await operator.press(key)
        await operator.until(lambda: bool(world.begun), "the session has begun")
        assert world.begun == [f"shop from {NAME} {words}"]


async def test_what_the_command_line_says_is_offered_too() -> None:
    world = before_the_session()
    opening = replace(OPENING, until=typed(BAD))
    async with at_the_console(world, opening=opening) as operator:
        await operator.press("enter")
        await operator.sees("asks up to when")
        await operator.press("enter")
        await operator.sees(f"as --until says, to just before {BAD}")
        await operator.press("u")
        await operator.until(lambda: bool(world.begun), "the session has begun")


async def test_a_dump_from_after_the_incident_says_why_its_moments_can_not_be_reached() -> None:
    late = replace(dump(0), taken_at=BEGAN + timedelta(minutes=5))
    world = before_the_session()
    world.catalogue = replace(catalogue(), backups=(late,))
    async with at_the_console(world, opening=OPENING) as operator:
        await operator.press("enter")
        await operator.sees("asks up to when")
        await operator.press("enter")
        await operator.sees("(not now: the dump was taken later (2026-11-23 12:05 UTC)")
        await operator.press("i")
        assert world.begun == []
        await operator.sees("Up to when?")


def test_a_moment_of_the_report_that_means_nothing_is_listed_with_the_reason() -> None:
    report = Objective(stop_before="soon", restore_point="2026-11-23T12:00:00+01:00")
    ways = {one.key: one for one in offered(shelf(objective=report), dump(10), NOW, None)}
    assert "no moment to restore to" in ways["r"].blocked
    assert ways["m"].until == just_before(datetime(2026, 11, 23, 11, tzinfo=UTC))
    assert list(ways) == ["i", "r", "m", "d", "e"]


def test_what_has_not_come_yet_can_not_be_reached() -> None:
    assert "has not come yet" in unreachable(just_before(NOW + timedelta(hours=1)), dump(10), NOW)
    assert unreachable(typed(BAD), dump(10), NOW) == ""
    assert unreachable(Until(), dump(10), NOW) == ""


# -- what is typed -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_paris")
async def test_a_typed_time_is_told_in_both_zones_as_it_is_typed_and_refused_without_one() -> None:
    world = before_the_session()
    async with at_the_console(world, opening=OPENING) as operator:
        await operator.press("enter")
        await operator.sees("asks up to when")
        await operator.press("enter")
        await operator.sees("Up to when?")
        await operator.press("t")
        await operator.sees("Just before what?")
        await operator.types("2026-11-23T12:00:30")
        await operator.sees("Add Z for 2026-11-23 12:00:30 UTC (13:00:30 CET)")
        await operator.sees("or +01:00 for 2026-11-23 11:00:30 UTC (12:00:30 CET)")
        await operator.press("enter")
        await operator.sees("A time without a zone means another moment on every machine.")
        assert world.begun == []
        await operator.types("Z")
        await operator.sees("= before 2026-11-23 12:00:30 UTC (13:00:30 CET)")
        await operator.press("enter")
        await operator.until(lambda: bool(world.begun), "the session has begun")
        assert world.begun == [f"shop from {NAME} to just before 2026-11-23T12:00:30Z"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "type it first. Nothing was changed."),
        ("yesterday", "no moment to restore to"),
        ("2020-01-01T00:00:00Z", "the dump was taken later"),
        ("2030-01-01T00:00:00Z", "has not come yet"),
        ("[/x][red]", "no moment to restore to"),
    ],
)
async def test_what_can_not_be_meant_is_refused_in_the_dialogue_with_the_reason(text: str, words: str) -> None:
    world = before_the_session()
    async with at_the_console(world, opening=OPENING) as operator:
        await operator.press("enter")
        await operator.sees("asks up to when")
        await operator.press("enter", "t")
        await operator.sees("Just before what?")
        operator.console.screen.query_one("#field-until").value = text  # type: ignore[attr-defined]  # an Input
        await operator.press("enter")
        await operator.sees(words)
        assert world.begun == []


def test_the_echo_says_what_each_kind_means() -> None:
    assert echo("", dump(10), NOW) == ""
    assert echo(BAD, dump(10), NOW) == f"= before the transaction at {BAD}"
    # A date that is not whole yet could be a GTID of MariaDB's.
    assert echo("2026-11-2", dump(10), NOW) == "= before the transaction of the GTID 2026-11-2"
    assert echo("end", dump(10), NOW) == "= to the end of the logs"
    assert "Write dump, end" in echo("2026-11", dump(10), NOW)
    assert "the dump was taken later" in echo("2026-11-22T00:00Z", dump(10), NOW)


def test_just_before_a_moment_is_told_as_that_moment() -> None:
    until = typed("2026-11-23T13:00:30+01:00")
    assert until == Until(Kind.TIME, "2026-11-23T12:00:29.999999Z")
    assert stops_before(until) == BEGAN
    assert told(until) == "to just before 2026-11-23T12:00:30Z"
    assert told(Until(Kind.TIME, "2026-11-23T12:00:30Z")) == "up to 2026-11-23T12:00:30Z"
    assert stops_before(typed(BAD)) is None


# -- in a session ------------------------------------------------------------------------------------------------


async def test_the_same_dump_is_chosen_again_with_another_moment() -> None:
    world = in_the_session(Until(Kind.END))
    async with at_the_console(world, opening=JOINED) as operator:
        await operator.sees("Enter shows the plan")
        await operator.press("1")
        await operator.sees("Restored to the end of the logs.")
        await operator.press("t")
        await operator.sees("So far: to the end of the logs.")
        await operator.press("i")
        await operator.until(lambda: bool(world.asked), "the runner is asked")
        (asked,) = world.asked
        assert isinstance(asked, c.Choose)
        assert asked.backup["name"] == NAME
        assert asked.backup["until"] == {"kind": "time", "value": "2026-11-23T12:00:29.999999Z", "exclude": ()}


async def test_once_the_restore_has_begun_the_moment_stays_and_the_reason_is_said() -> None:
    told_story = ServerStory(None).ready()
    told_story.approved().ran("3.1")
    world = joined(told_story)
    world.catalogue = catalogue()
    async with at_the_console(world, opening=JOINED) as operator:
        await operator.sees("Next: 3.2")
        await operator.press("1", "t")
        await operator.sees("The restore has begun, so this session keeps its backup.")
        assert world.asked == []


def test_the_key_for_another_moment_says_why_it_does_nothing() -> None:
    assert "Enter on a dump" in blocked("until", View(), "")
    state = ServerStory(None, Until()).ready().state
    view = View(state=state, now=NOW, me=ANA, line=Line.ALIVE)
    assert blocked("until", view, "") == ""
    assert "The dump alone is restored" in blocked("explore", view, "")
    assert "no logs after it" not in blocked("explore", view, "")


def test_the_legend_says_what_is_drawn_as_far_as_there_is_room() -> None:
    assert legend("V!S= x", 80) == "V verified  ! incident  S stop  = logs  x bad"
    assert legend("V!S=", 29) == "V verified  ! incident"
    assert legend("   ", 80) == ""


@pytest.mark.parametrize("width", [58, 78])
def test_the_time_of_now_gives_way_to_what_the_letters_mean(width: int) -> None:
    shelf = Shelf(catalogue=story.catalogue())
    (text, _), *_ = picture(shelf, story.NIGHT, None, width)[2]
    assert "? unlisted" in text
    assert text.endswith(" now")
    (text, _), *_ = picture(shelf, story.NIGHT, None, 118)[2]
    assert text.endswith(" now 20:04 UTC")
