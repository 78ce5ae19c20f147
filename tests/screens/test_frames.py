"""Each page in its important states, as text, at three sizes. `make frames` draws them anew; then look at them.

A frame that changed is shown as a difference: would a tired operator still find the next key?
"""

from __future__ import annotations

import difflib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from engines.backups.catalogue import Catalogue, Status
from engines.checks import Check, Panel, Verdict
from engines.errors import RestoreError
from engines.recipes.drills.outcome import Outcome
from engines.recipes.mysql.exploring import Span, staged
from engines.recipes.mysql.until import Kind, Until
from engines.recipes.sqlite.plans import undo_plan
from engines.session import events as e
from engines.session.plan import PlanKind, log_name
from engines.session.store import Known
from engines.session.work import Progress
from engines.text import stamp
from tests.engines.recipes.drills_of import drill_of
from tests.tui import hostile, mysql_story, story
from tests.tui.driving import at_the_console
from tests.tui.mysql_story import ServerStory
from tests.tui.outsides import FakeRunner, World, joined
from tests.tui.story import ANA, BLOCKING, CONFIG, FOLDER, GRID, NIGHT, UNSURE, Story
from tui.app import Opening

FRAMES = Path(__file__).parent / "frames"
SIZES = ((80, 24), (60, 20), (120, 40))
WRITE = os.environ.get("REINSTATE_FRAMES") == "write"


@dataclass(frozen=True)
class Scene:
    """How to get somewhere, and the words that say that it is drawn."""

    world: Callable[[], World]
    sees: str
    keys: tuple[str, ...] = ()
    first: str = ""  # words to wait for before the keys
    hints: bool = False
    server: bool = False  # the target is a schema on a server


def several_sessions() -> World:
    def known(told: Story, *, alive: bool, ending: str = "7f3a", error: str = "") -> Known:
        return Known(FOLDER.with_name(FOLDER.name[:-4] + ending), told.state, alive, error)

    over = Story().handed_over().ran("5.1", "5.2").tell(e.SessionEnded(e.Ending.SIGNED_OFF))
    return World(
        sessions=(
            known(Story().stopped(), alive=True),
            known(Story().ready().approved().given("3.2").started("3.2"), alive=False, ending="11d0"),
            known(over, alive=False, ending="9b2c"),
            known(Story(), alive=False, ending="0bad", error="Journal line 3: it does not follow from line 2"),
        )
    )


def running() -> World:
    told = Story().ready().approved().ran("3.2", "3.3", "3.5").given("3.6").started("3.6")
    told.now += timedelta(seconds=69)
    world = joined(told)
    assert world.runner is not None
    step = told.state.step("3.6")
    assert step is not None
    lines = [f"20:05:{second:02} copied {second * 9} MB of 812 MB" for second in range(10, 58)]
    world.runner.logs[log_name(step.step)] = "\n".join(lines) + "\n"
    world.runner.say(Progress("3.6", 503_000_000, 812_000_000, "B", 7_200_000.0, 42.0))
    return world


def failed() -> Story:
    told = Story().ready().approved().ran("3.2").given("3.3").started("3.3")
    return told.ended("3.3", e.Result.FAILED, "Stopping the workers failed: exit 1.", "Look at supervisorctl status.")


def undoing() -> Story:
    told = Story().replaced()
    told.tell(e.UndoAsked(ANA, "the wrong backup"))
    written = ("nothing was written since it went live: nothing is discarded",)
    plan = undo_plan(told.state, story.SHOP, {}, written, "the wrong backup")
    return told.planned(PlanKind.UNDO, plan.steps)


def abandoned() -> Story:
    told = Story().replaced().tell(e.NoteAdded(ANA, "The owner can't be reached."))
    left = ("3.7 Replace the database: the old file is kept",)
    return told.tell(e.SessionEnded(e.Ending.ABANDONED, "going on by hand.", left))


def overridden() -> Story:
    told = Story().ready().checked(BLOCKING)
    ines = e.Actor("ines", "ana")
    return told.tell(e.CheckOverridden("write access", "FAIL", ines, "the folder is remounted by hand"))


def with_incident(catalogue: Catalogue) -> World:
    told = Story().begun().planned()
    world = joined(told)
    begun = told.state.begun
    assert begun is not None
    report = {"incident": {"id": "INC-2041", "started_at": stamp(NIGHT - timedelta(minutes=84))}}
    told.state = replace(told.state, begun=replace(begun, incident=report))
    world.catalogue = catalogue
    return world


def drilled() -> World:
    """Four nights of drills; the backup under the cursor restored in the last but one."""
    name = story.backup(1, Status.VERIFIED).name
    seconds = (250.0, 190.0, 170.0)
    proven = (
        drill_of(night, target="shop", at=NIGHT - timedelta(days=night), backup=name, seconds=took)
        for night, took in enumerate(seconds, 1)
    )
    failed = drill_of(0, Outcome.NOT_PROVEN, target="shop", at=NIGHT - timedelta(hours=7), backup="other")
    return World(drills=(failed, *proven))


def unreadable() -> World:
    return World(catalogue=RestoreError("The folder /srv does not exist. Nothing was changed.", "Is it mounted?"))


def hostile_shelf() -> World:
    return World(catalogue=story.hostile_catalogue())


def slow() -> World:
    return World(slow=threading.Event())


def watched() -> World:
    """Somebody else has the keyboard, and reminders have come."""
    told = Story().stopped()
    told.state = replace(told.state, keyboard=e.Actor("eva", "eva", console="c9"))
    return joined(told)


def wrong() -> World:
    """Live, and two of its answers are not as they should be."""
    told = Story().compared(GRID)
    smoke = Check("Smoke tests", Panel.VALIDATION, Verdict.FAIL, "exit 1: 3 of 41 failed", "Look at the step's log.")
    log = Check(
        "application's log", Panel.VALIDATION, Verdict.WARN, "2 new errors in 10 min: QueryException", "Read them."
    )
    return joined(told.ran("4.2", "4.3").checked(smoke, log))


def right() -> World:
    told = Story().compared().ran("4.2", "4.3", "4.6", "4.7")
    names = ("staged copy: counts", "migrations", "Health check", "application's log, last 10 min")
    return joined(told.checked(*(Check(name, Panel.VALIDATION, Verdict.OK, "as expected") for name in names)))


def signed() -> World:
    told = Story().handed_over().tell(e.NoteAdded(ANA, "todo: file a ticket for the missing index"))
    return World(told=told.ran("5.1", "5.2").tell(e.SessionEnded(e.Ending.SIGNED_OFF)))


LOGS = Path()  # where a test's binary logs are
HOSTILE = (
    "DELETE /* [/x][red] \x1b[2J\x1b]0;owned\x07 \u202eabc */ FROM users WHERE closed = 0" + " OR closed IS NULL" * 30
)


def server(until: Until = mysql_story.BEFORE, statement: str = "DELETE FROM users WHERE closed = 0") -> World:
    """A session on a server, its logs staged; the picture's stretches of time are as long as a night's."""
    told = ServerStory(mysql_story.logs(LOGS, statement), until).ready()
    logs = told.opened()
    began = mysql_story.BEGAN
    spans = (
        Span(began - timedelta(hours=60), began - timedelta(hours=30)),
        Span(began - timedelta(hours=22), told.now),
    )
    found = staged(told.state)
    assert found is not None
    facts = {"logs": msgspec.to_builtins(replace(found, spans=spans, reaches=began))}
    told.tell(e.FactFound("2.5", facts))
    return World(told=told, runner=FakeRunner(told), catalogue=mysql_story.catalogue(), logs=logs)


def server_before() -> World:
    return World(told=ServerStory(), catalogue=mysql_story.catalogue(), incident=mysql_story.INCIDENT)


def nowhere() -> World:
    return server(Until(Kind.POSITION, "binlog.000002:2773"))


SCENES = {
    "start": Scene(World, "none yet"),
    "start-hints": Scene(World, "h hides this", hints=True),
    "start-sessions": Scene(several_sessions, "UNREADABLE"),
    "start-loading": Scene(slow, "reading …"),
    "start-drills": Scene(drilled, "RTO", first="none yet"),
    "start-hostile": Scene(hostile.hostile_start, "UNREADABLE: [/x][red]"),
    "backups-loading": Scene(slow, "The list of backups is being read", ("enter",), "shop-staging"),
    "backups-empty": Scene(
        lambda: World(catalogue=Catalogue("/srv/backups", (), ())),
        "There is no backup to choose",
        ("enter",),
        "shop-staging",
    ),
    "backups-filter": Scene(World, "filter: 2", ("enter", "slash", *"verified", "enter"), "shop-staging"),
    "backups": Scene(World, "CHECKING 62 %", ("enter",), "shop-staging"),
    "backups-drilled": Scene(drilled, "restored in a drill", ("enter",), "shop-staging"),
    "backups-incident": Scene(lambda: with_incident(story.catalogue()), "AFTER the", ("1", "up"), "2 Readiness ▶"),
    "backups-hostile": Scene(hostile_shelf, "NOT LISTED", ("enter",), "shop-staging"),
    "backups-unreadable": Scene(unreadable, "Is it mounted?", ("enter",), "shop-staging"),
    "backups-choose": Scene(World, "CAN'T BE RESTORED", ("enter", "down", "enter"), "shop-staging"),
    "readiness-preparing": Scene(
        lambda: joined(Story().begun().planned().ran("2.1", "2.2").started("2.3")),
        "2.3 Check prerequisites is",
    ),
    "readiness-not-staged": Scene(lambda: joined(Story().not_staged()), "Enter: what can be done"),
    "readiness-decide": Scene(lambda: joined(Story().not_staged()), "try the step", ("enter",), "Enter: what can"),
    "readiness-ready": Scene(lambda: joined(Story().ready()), "Enter shows the plan"),
    "readiness-blocked": Scene(lambda: joined(Story().ready().checked(BLOCKING, UNSURE)), "2 checks block"),
    "readiness-check": Scene(
        lambda: joined(Story().ready().checked(BLOCKING, UNSURE)), "it is mended", ("enter",), "2 checks block"
    ),
    "readiness-overridden": Scene(lambda: joined(overridden()), "1 overridden"),
    "readiness-empty": Scene(lambda: joined(Story().begun()), "The plan to prepare is being made"),
    "readiness-hostile": Scene(hostile.hostile_blocked, "1 check blocks"),
    "readiness-approve": Scene(lambda: joined(Story().ready()), "approves exactly", ("enter",), "Enter shows the plan"),
    "restore-confirm": Scene(lambda: joined(Story().ready().approved()), "Next: 3.2"),
    "restore-running": Scene(running, "ETA 0:42"),
    "restore-failed": Scene(lambda: joined(failed()), "3.3 Stop the queue workers failed."),
    "restore-decide": Scene(lambda: joined(failed()), "try the step", ("enter",), "3.3 Stop the queue"),
    "restore-typed": Scene(lambda: joined(Story().stopped()), "Enter runs it", ("enter",), "Next: 3.7"),
    "restore-undo": Scene(lambda: joined(undoing()), "Steps of the undo"),
    "restore-gone": Scene(lambda: World(told=Story().ready().approved().given("3.2").started("3.2")), "is gone"),
    "restore-empty": Scene(lambda: joined(Story().begun().planned()), "The plan is not made yet", ("3",)),
    "restore-watched": Scene(watched, "eva holds the keyboard", ("enter",), "k takes it over"),
    "restore-hostile": Scene(hostile.hostile_running, "50 %"),
    "restore-log": Scene(running, "End follows", ("l",), "ETA 0:42"),
    "restore-stop": Scene(running, "stop it at the next safe place", ("s",), "ETA 0:42"),
    "restore-abandon": Scene(lambda: joined(Story().replaced()), "Why it is abandoned", ("x",), "Next: 4.1"),
    "restore-interrupt": Scene(running, "Nothing was interrupted", ("ctrl+c",), "ETA 0:42"),
    "validation": Scene(lambda: joined(Story().compared(GRID)), "MISMATCH, expected", ("4",), "Next: 4.2"),
    "validation-empty": Scene(lambda: joined(Story().begun().planned()), "Nothing has been counted yet", ("4",)),
    "validation-wrong": Scene(wrong, "3 of 41 failed", ("4", "tab"), "Next: 4.6"),
    "validation-right": Scene(right, "Health check", ("4", "tab"), "Next: 4.9"),
    "validation-hostile": Scene(hostile.hostile_compared, "1 MISMATCH, 1 MATCH", ("4",), "Next: 4.2"),
    "handover-empty": Scene(lambda: joined(Story().begun().planned()), "Sign-offs", ("5",)),
    "handover-sign": Scene(lambda: joined(Story().handed_over()), "Enter signs off", ("enter",), "not yet (omar)"),
    "handover-signed": Scene(signed, "signed off"),
    "handover-hostile": Scene(hostile.hostile_over, "The session is over"),
    "handover": Scene(lambda: joined(Story().handed_over()), "not yet (omar)"),
    "handover-abandoned": Scene(lambda: World(told=abandoned()), "going on by hand"),
    "server-backups": Scene(server_before, "asks up to when", ("enter",), "shop@db1", server=True),
    "server-until": Scene(server_before, "Up to when?", ("enter", "enter"), "shop@db1", server=True),
    "server-typed": Scene(
        server_before, "Which zone?", ("enter", "enter", "t", *"2026-11-23T12:00:30"), "shop@db1", server=True
    ),
    "server-refused": Scene(
        server_before,
        "was taken later",
        ("enter", "enter", "t", *"2026-11-22T00:00Z", "enter"),
        "shop@db1",
        server=True,
    ),
    "server-session": Scene(server, "Restored to just", ("1",), "Enter shows the plan", server=True),
    "server-readiness": Scene(server, "e explore", (), "Enter shows the plan", server=True),
    "explorer": Scene(server, "around the stop", ("e",), "Enter shows the plan", server=True),
    "explorer-hostile": Scene(
        lambda: server(statement=HOSTILE), "around the stop", ("e",), "Enter shows the plan", server=True
    ),
    "explorer-whole": Scene(
        lambda: server(statement=HOSTILE), "Transaction binlog", ("e", "c"), "Enter shows the plan", server=True
    ),
    "explorer-nowhere": Scene(nowhere, "inside a transaction", ("e",), "Enter shows the plan", server=True),
    "explorer-search": Scene(server, "DROP or", ("e", "slash", "enter"), "Enter shows the plan", server=True),
    "explorer-stop": Scene(server, "Stop just before", ("e", "up", "enter"), "Enter shows the plan", server=True),
    "explorer-leave-out": Scene(server, "Why it is left", ("e", "up", "x"), "Enter shows the plan", server=True),
    "help": Scene(lambda: joined(Story().ready()), "Keys on this page", ("question_mark",), "Enter shows the plan"),
}


@pytest.fixture(autouse=True)
def the_operator_is_in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def the_logs_are_the_tests_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(globals(), "LOGS", tmp_path)


@pytest.mark.parametrize("name", SCENES)
async def test_the_page_looks_as_it_was_looked_at(name: str) -> None:
    scene = SCENES[name]
    world = scene.world()
    folder = FOLDER if world.told.state.begun else None
    config = mysql_story.CONFIG if scene.server else CONFIG
    incident = Path("incident.toml") if world.incident is not None else None
    opening = Opening(config=config, folder=folder, incident=incident, name="ana", hints=scene.hints)
    different: list[str] = []
    async with at_the_console(world, opening=opening) as operator:
        if scene.first:
            await operator.sees(scene.first)
        for key in scene.keys:
            await operator.press(key)
            await operator.until(lambda: not operator.console.exploring.busy, "nothing is being read")
        await operator.sees(scene.sees)
        for width, height in SIZES:
            drawn = await operator.at(width, height)
            different += difference(FRAMES / f"{name}-{width}x{height}.txt", drawn)
    assert not different, "\n".join(["Drawn anew by `make frames`:", *different])


def difference(path: Path, drawn: str) -> list[str]:
    if WRITE:
        path.write_text(drawn)
        return []
    known = path.read_text() if path.exists() else ""
    return list(difflib.unified_diff(known.splitlines(), drawn.splitlines(), path.name, "now", lineterm=""))


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("size", [(80, 24), (60, 20)])
def test_help_and_the_way_out_are_on_the_screen(name: str, size: tuple[int, int]) -> None:
    drawn = (FRAMES / f"{name}-{size[0]}x{size[1]}.txt").read_text()
    lines = drawn.splitlines()
    assert all(len(line) <= size[0] for line in lines)
    assert len(lines) <= size[1]
    dialogue = "Esc" in drawn and "? help" not in drawn
    assert dialogue or ("? help" in lines[-1] and "q leave" in lines[-1])
