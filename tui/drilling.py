"""`drill`, which asks nobody anything, and `drills`, which says what came of those that were made."""

from __future__ import annotations

import argparse
import asyncio
import time
from contextlib import suppress
from datetime import UTC
from itertools import groupby
from pathlib import Path

from engines.drilling import Expect
from engines.errors import RestoreError
from engines.recipes import sessions
from engines.recipes.drills import begin, known, metrics
from engines.recipes.drills.outcome import EXIT_CODES, Drilled, Outcome
from engines.recipes.drills.place import ENVIRONMENT
from engines.session import store
from engines.session.client import connect
from engines.session.events import Entry
from engines.session.journal import read
from engines.session.state import SessionState, after
from engines.text import drawable, duration, size, span, stamp
from tui.drilled import aged, chart, met, outcome
from tui.narration import sentences
from tui.output import json, out, table, tell
from tui.steering import configuration, incident_of, operator_name

LEAVES_WITHIN = 10.0  # seconds that a runner has to be gone after its session has ended
_LOOK = 0.02


class NotProvenError(RestoreError):
    """A drill was carried out, and did not show that its backup restores."""

    exit_code = EXIT_CODES[Outcome.NOT_PROVEN]


def drill(arguments: argparse.Namespace) -> int:
    config, _path = configuration(arguments)
    target = sessions.target_named(config, arguments.target)
    wanted = begin.Wanted(
        backup=arguments.backup or "",
        random=arguments.random,
        incident=incident_of(arguments),
        expect=Expect(arguments.expect) if arguments.expect else None,
    )
    try:
        for folder in begin.take_up_dead(config, target):
            _wait_until_gone(folder)
            tell(f"Drill {folder.name} was cut off; it is ended, and its scratch place is removed.")
        folder = begin.begin(config, target, wanted, operator_name(arguments))
        _follow(folder, operator_name(arguments))
        if store.open_session(folder).unfinished:
            tell("The runner is gone. What it left is removed now.")
            with suppress(RestoreError):  # it ends as soon as it has looked
                sessions.resume(folder)
            _wait_until_gone(folder)
        done = known.outcome_of(folder)
    finally:
        # Also where a drill was refused: an age that grows alarms, and so does a file that says what was last.
        found = known.all_drilled(config, target.name)
        trouble = _metrics(target.drill.metrics, found)
    if arguments.json:
        json({**_row(done), "exit_code": EXIT_CODES[done.outcome], "record": str(folder / "session.toml")})
    else:
        _tell_done(done, folder)
    if trouble is not None:
        tell(drawable(f"{trouble.message} {trouble.hint}"))
    _raise_for(done, folder)
    return EXIT_CODES[done.outcome]


def _metrics(path: Path | None, found: tuple[Drilled, ...]) -> RestoreError | None:
    """What kept the metrics from being written: it changes nothing about the drill."""
    if path is None or not found:
        return None
    try:
        metrics.write(path, found)
    except RestoreError as error:
        return error
    return None


def _tell_done(done: Drilled, folder: Path) -> None:
    out(drawable(f"{outcome(done)}: {done.backup} of {done.target}, {size(done.size)}"))
    if done.seconds is not None:
        out(f"  restored and proven in {met(done.seconds, done.rto)}")
    if done.age is not None:
        out(f"  the backup was {aged(done.age, done.rpo)} old")
    out(drawable(f"  compared with {done.expectations}"))
    out(f"Record: {folder / 'session.toml'}")


def _raise_for(done: Drilled, folder: Path) -> None:
    if done.outcome is Outcome.PROVEN:
        return
    kind = NotProvenError if done.outcome is Outcome.NOT_PROVEN else RestoreError
    what = "is not proven" if done.outcome is Outcome.NOT_PROVEN else f"was not drilled ({done.outcome})"
    reason = f"{(done.reason or 'it did not end').rstrip('.')}."
    error = kind(
        f"{drawable(done.backup)} of {done.target} {what}: {reason} The live target was not touched.",
        f"Read it: reinstate report {folder.name}.",
    )
    error.exit_code = EXIT_CODES[done.outcome]
    raise error


def _follow(folder: Path, name: str) -> None:
    """Say what happens until the runner is gone."""
    asyncio.run(_narrate(folder, name))
    _wait_until_gone(folder)


async def _narrate(folder: Path, name: str) -> None:
    """A short drill may be over before there is a line to its runner: what was not heard is read."""
    state = SessionState()
    with suppress(RestoreError):
        socket = store.living_socket(folder)
        client = await connect(socket, name) if socket else None
        if client is not None:
            try:
                state = _tell_since(folder, state)
                async for item in client.said():
                    if isinstance(item, Entry):
                        state = _tell(state, item)
            finally:
                await client.close()
    _tell_since(folder, state)


def _tell_since(folder: Path, state: SessionState) -> SessionState:
    for entry in read(folder / store.JOURNAL).entries:
        state = _tell(state, entry)
    return state


def _tell(state: SessionState, entry: Entry) -> SessionState:
    if entry.seq <= state.last_seq:
        return state
    state = after(state, entry)
    for line in sentences(entry, state):
        tell(f"{entry.at:%H:%M:%S} {line}")
    return state


def _wait_until_gone(folder: Path) -> None:
    until = time.monotonic() + LEAVES_WITHIN
    while store.runner_mark(folder) is not None and time.monotonic() < until:
        time.sleep(_LOOK)


def drills(arguments: argparse.Namespace) -> int:
    config, _path = configuration(arguments)
    if arguments.target:
        sessions.target_named(config, arguments.target)
    found = known.all_drilled(config, arguments.target or "")
    if arguments.json:
        json([_row(one) for one in found])
        return 0
    if not found:
        out("No drills yet. Begin one: reinstate drill TARGET")
        return 0
    by_target = sorted(found, key=lambda one: one.target)  # each newest first, still
    for name, group in groupby(by_target, key=lambda one: one.target):
        own = tuple(group)
        out(drawable(name))
        for line in chart(own):
            out(f"  {line}")
        out(table([tuple(map(drawable, _cells(one))) for one in own], _HEADS))
    return 0


_HEADS = ("BEGAN (UTC)", "OUTCOME", "TOOK", "OLD", "DRILL", "BACKUP")


def _cells(one: Drilled) -> tuple[str, ...]:
    """The drill by the end of its name, which `show` takes."""
    took = duration(one.seconds) if one.seconds is not None else ""
    age = span(one.age) if one.age is not None else ""
    ending = one.session[one.session.index(ENVIRONMENT) :] if ENVIRONMENT in one.session else one.session
    return f"{one.at.astimezone(UTC):%Y-%m-%d %H:%M}", outcome(one), took, age, ending, one.backup


def _row(one: Drilled) -> dict[str, object]:
    return {
        "session": one.session,
        "target": one.target,
        "began": stamp(one.at),
        "outcome": str(one.outcome),
        "reason": one.reason or None,
        "backup": one.backup,
        "sha256": one.sha256 or None,
        "size": one.size,
        "seconds": one.seconds,
        "backup_age_seconds": one.age,
        "rto_seconds": one.rto,
        "rto_met": one.seconds <= one.rto if one.seconds is not None and one.rto is not None else None,
        "rpo_seconds": one.rpo,
        "rpo_met": one.age <= one.rpo if one.age is not None and one.rpo is not None else None,
        "expectations": one.expectations,
    }


COMMANDS = {"drill": drill, "drills": drills}
