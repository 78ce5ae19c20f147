"""A session in which every text from outside means harm: names, command output, what people type, what servers say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engines.checks import Check as Checked
from engines.checks import Panel, Verdict, fail, ok
from engines.incident import About, Incident
from engines.session import events as e
from engines.session.plan import PlanKind, log_name
from engines.session.store import Known
from engines.session.work import Progress
from tests.tui.outsides import World, joined
from tests.tui.story import ANA, FOLDER, RESTORE, Story, hostile_catalogue

HARM = (
    "[/x][red]\x1b[2J\x1b]52;c;b3duZWQ=\x07\x1b]8;;https://owned.example\x1b\\\x9d0;owned\x9c\u202eabc"
    "\u200b\n\r\x00\udcff[@click=app.quit]y[/]"
)
LONG = "x" * 5_000
NAME = "ana" + HARM[:28]
MINE = replace(ANA, name=NAME)  # the console's own, whatever it is called


def hostile_story() -> Story:
    """Prepared and planned; one check passes, one blocks, and the backup was overridden before."""
    told = Story()
    told.begun()
    begun = told.state.begun
    assert begun is not None
    told.state = replace(told.state, begun=replace(begun, incident_id=HARM, address=f"/srv/{HARM}"), keyboard=MINE)
    told.planned().ran("2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7", message=HARM)
    told.checked(ok(HARM, HARM), Checked(HARM + "2", Panel.SPACE, Verdict.WARN, HARM, HARM, 1, 2))
    told.tell(e.NoteAdded(MINE, HARM), e.NoteAdded(MINE, f"todo: {HARM}"), e.NoteAdded(MINE, LONG))
    steps = tuple(
        replace(step, title=f"{step.title} {HARM}", shows=(HARM, LONG), undo=HARM, note=HARM) for step in RESTORE
    )
    return told.planned(PlanKind.RESTORE, steps)


def hostile_blocked() -> World:
    return joined(hostile_story().checked(fail(HARM + "3", HARM + LONG, HARM)))


def hostile_running() -> World:
    told = hostile_story().approved().ran("3.2", message=HARM).given("3.3").started("3.3")
    world = joined(told)
    step = told.state.step("3.3")
    assert step is not None
    assert world.runner is not None
    world.runner.logs[log_name(step.step)] = f"{HARM}\n{LONG}\n\tafter\n" * 3
    world.runner.say(Progress("3.3", 1, 2, HARM, 1.0, 1.0, HARM))
    return world


def hostile_failed() -> World:
    told = hostile_story().approved().given("3.2").started("3.2")
    return joined(told.ended("3.2", e.Result.FAILED, HARM + LONG, HARM))


def hostile_compared() -> World:
    told = hostile_story().approved().ran("3.2", "3.3", "3.5", "3.6", "3.7", "3.8", "4.1")
    rows = (
        e.GridRow(HARM, 1, HARM, 2, 1, "MISMATCH", HARM),
        e.GridRow(LONG, 1, LONG, 2, 1, "MATCH", LONG),
    )
    told.tell(e.GridMade(HARM, rows))
    return joined(told.checked(Checked(HARM, Panel.VALIDATION, Verdict.FAIL, HARM, HARM)))


def hostile_over() -> World:
    told = hostile_story().approved().ran("3.2").tell(e.SessionEnded(e.Ending.ABANDONED, HARM, (HARM,)))
    return World(told=told)


def hostile_start() -> World:
    known = (
        Known(FOLDER, hostile_story().state, alive=True),
        Known(Path(f"/srv/{HARM}"), hostile_story().state, alive=False),
        Known(Path("/srv/0bad"), Story().state, alive=False, error=HARM),
    )
    return World(sessions=known, catalogue=hostile_catalogue(), incident=Incident(About(HARM, HARM)))
