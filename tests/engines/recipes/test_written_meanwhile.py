"""Somebody writes although everything was stopped: nothing that was committed is lost without a word."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from engines.backups.verify import verify
from engines.incident import read_incident
from engines.recipes import points, sessions
from engines.recipes.sqlite import replacing
from engines.session import commands as c
from engines.session import store
from engines.session.client import Client
from engines.session.events import Ending
from engines.session.journal import replace_file
from engines.session.moves import Ask, AskKind, Wait, next_move, overriding
from engines.session.state import SessionState, Status
from engines.sqlite import files, snapshot
from engines.sqlite.inspect import look
from engines.text import utc_now
from tests.engines.recipes.world import (
    BACKUP,
    NEW_ROWS,
    OLD_ROWS,
    World,
    answering,
    build,
    new_session,
    say_yes,
    start_runner,
)

LATE = "an order that was paid meanwhile"


def write(database: Path, name: str = LATE) -> None:
    with closing(sqlite3.connect(database)) as db:
        db.execute("CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        db.execute("INSERT INTO users (name) VALUES (?)", (name,))
        db.commit()


def kept_in(world: World, name: str = LATE) -> list[str]:
    """The snapshots that hold the row."""
    found = []
    for path in (world.folder / "state" / "snapshots").rglob("*.sqlite"):
        if ".raw" in str(path):
            continue
        with closing(sqlite3.connect(path)) as db:
            if db.execute("SELECT 1 FROM users WHERE name = ?", (name,)).fetchone():
                found.append(path.name)
    return found


def ask_of(client: Client) -> Ask | None:
    move = next_move(client.state, utc_now())
    return move.ask if isinstance(move, Wait) else None


def run(world: World, folder: Path, meet: Callable[[Client], Awaitable[bool]]) -> SessionState:
    """The whole session, answered by `meet`; its state at the end."""
    asyncio.run(answering(folder, start_runner(folder), meet))
    return store.open_session(folder).state


def accepting(client: Client, ask: Ask) -> Awaitable[object]:
    return client.do(overriding(client.state, ask.checks[0], "ivo", "the test accepts what can't be seen"))


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_rows_written_after_the_snapshot_stop_the_replacement_and_are_kept_before_it_goes_on(
    tmp_path: Path, mode: str
) -> None:
    world = build(tmp_path, mode)
    refusals: list[str] = []
    written = False

    async def meet(client: Client) -> bool:
        nonlocal written
        ask = ask_of(client)
        if ask is None:
            return False
        if ask.kind is AskKind.CHECKS:
            await accepting(client, ask)
            return True
        if ask.kind is AskKind.TYPED and not written:
            written = True
            write(world.live)
        if ask.kind is AskKind.DECIDE:
            refusals.append(ask.text)
            assert LATE in world.rows()
        return await say_yes(client)

    state = run(world, new_session(world), meet)
    assert state.ended is not None
    assert state.ended.how is Ending.SIGNED_OFF
    assert len(refusals) == 1
    assert "was written to after it was kept" in refusals[0]
    assert "Trying again (r) keeps it" in refusals[0]
    assert world.rows() == NEW_ROWS
    assert len(kept_in(world)) == 1


def test_rows_written_before_the_way_back_are_kept_before_it_goes_on(tmp_path: Path) -> None:
    world = build(tmp_path, "wal")
    written = False

    async def meet(client: Client) -> bool:
        nonlocal written
        ask = ask_of(client)
        if ask is None:
            return False
        if ask.kind is AskKind.CHECKS:
            await accepting(client, ask)
            return True
        if client.state.undo_asked is None and ask.step == "4.1":
            await client.do(c.Undo("the wrong backup"))
            return True
        if ask.step == "6.7" and ask.kind is AskKind.TYPED and not written:
            written = True
            write(world.live)
        return await say_yes(client)

    state = run(world, new_session(world), meet)
    assert state.ended is not None
    assert state.ended.how is Ending.UNDONE
    assert world.rows() == OLD_ROWS
    assert len(kept_in(world)) == 1


def test_an_empty_file_that_becomes_a_database_meanwhile_is_kept_before_it_is_replaced(tmp_path: Path) -> None:
    world = build(tmp_path, "delete")
    world.live.unlink()
    world.live.touch(0o640)
    written = False

    async def meet(client: Client) -> bool:
        nonlocal written
        ask = ask_of(client)
        if ask is None:
            return False
        if ask.kind is AskKind.CHECKS:
            await accepting(client, ask)
            return True
        if ask.kind is AskKind.TYPED and not written:
            written = True
            write(world.live)
        return await say_yes(client)

    state = run(world, new_session(world), meet)
    assert state.ended is not None
    assert state.ended.how is Ending.SIGNED_OFF
    assert world.rows() == NEW_ROWS
    assert len(kept_in(world)) == 1


def test_an_undo_says_what_was_written_while_the_runner_was_dead(tmp_path: Path) -> None:
    world = build(tmp_path, "delete")
    folder = new_session(world)
    told: list[str] = []

    async def until_live(client: Client) -> bool:
        ask = ask_of(client)
        if ask is not None and ask.kind is AskKind.CHECKS:
            await accepting(client, ask)
            return True
        return await say_yes(client)

    points_file = tmp_path / "points"
    died = start_runner(folder, "0", str(points_file), module="tests.engines.recipes.killing")
    asyncio.run(answering(folder, died, until_live))
    fatal = points_file.read_text().split("\n").index("swap.rename.after") + 1
    world = build(tmp_path / "again", "delete")
    folder = new_session(world)
    died = start_runner(folder, str(fatal), str(tmp_path / "more"), module="tests.engines.recipes.killing")
    asyncio.run(answering(folder, died, until_live))
    assert len(world.rows()) == len(NEW_ROWS)
    write(world.live)

    async def meet(client: Client) -> bool:
        ask, state = ask_of(client), client.state
        if ask is None:
            return False
        if ask.kind is AskKind.CHECKS:
            await accepting(client, ask)
            return True
        if state.undo_asked is None and ask.step == "4.1":
            await client.do(c.Undo("look at what it would discard"))
            return True
        if state.undo_asked is not None and not told:
            told.extend(next(known.step.shows for known in state.steps if known.step.action == "keep-present"))
        return await say_yes(client)

    run(world, folder, meet)
    assert any("DISCARDED" in line for line in told), told
    assert any(f"users: {len(NEW_ROWS)} rows → {len(NEW_ROWS) + 1} rows" in line for line in told), told


def test_a_replaced_file_that_somebody_still_writes_to_is_not_removed_at_the_end(tmp_path: Path) -> None:
    world = build(tmp_path, "delete")
    kept = Path()

    async def meet(client: Client) -> bool:
        nonlocal kept
        ask = ask_of(client)
        if ask is None:
            return False
        if ask.kind is AskKind.CHECKS:
            await accepting(client, ask)
            return True
        if ask.step == "5.2":
            (kept,) = world.live.parent.glob("*.kept")
            write(kept)
        return await say_yes(client)

    state = run(world, new_session(world), meet)
    assert state.ended is not None
    assert kept.exists()
    assert str(kept) in state.checks["The replaced file"].check.evidence


def test_an_override_is_for_the_bytes_that_were_found_and_for_no_others(tmp_path: Path) -> None:
    world = build(tmp_path, "delete")
    config, backup = world.config(), world.folder / "backups" / BACKUP
    target = config.targets["box"]
    listed = verify(points.find(points.restore_points(target), BACKUP), lambda _done, _total: None, lambda: False)
    folder = store.new_folder(config.state, "local", utc_now())
    incident = read_incident(world.folder / "incident.toml", privileged=False)
    begun = sessions.beginning(config, target, listed, incident, "ana", folder.name)
    replace_file(folder / store.BEGIN, msgspec.json.encode(begun))
    write(backup, "tampered with")
    overrides = 0

    async def meet(client: Client) -> bool:
        nonlocal overrides
        ask = ask_of(client)
        if ask is None:
            return False
        if ask.kind is AskKind.CHECKS:
            await accepting(client, ask)
            return True
        if ask.kind is AskKind.CHOOSE and "backup checksum" in client.state.checks and overrides < 2:
            known = client.state.checks["backup checksum"]
            assert known.override is None, "an override outlives the bytes that it was given for"
            overrides += 1
            await client.do(overriding(client.state, "backup checksum", "ivo", "we know this file"))
            if overrides == 1:
                write(backup, "tampered with once more")
            await client.do(c.Retry(ask.step))
            return True
        if ask.kind is AskKind.APPROVE:
            await client.do(c.Abandon("seen enough"))
            return True
        return await say_yes(client)

    state = run(world, folder, meet)
    assert overrides == 2
    assert state.plan is not None
    assert state.plan.backup is not None
    assert state.plan.backup.status == "MISMATCH"
    staged = state.facts("stage")["staged"]
    assert isinstance(staged, dict)
    assert state.plan.backup.sha256 == staged["sha256"] == state.facts("stage")["found"]
    assert next(known for known in state.steps if known.step.action == "stage").status is Status.DONE


class _FullDisk:
    """As much of a step's work as keeping a snapshot uses, on a disk that is full when the copy is made."""

    class state:
        id = "session-7f3a"

    def progress(self, *_told: object, **_more: object) -> None: ...

    def stopped(self) -> bool:
        return False

    def say(self, _line: str) -> None: ...

    def at(self, point: str) -> None:
        if point == "snapshot.copy.after":
            raise OSError(28, "No space left on device")


def test_a_snapshot_that_fails_leaves_no_raw_copy_that_nothing_lists(tmp_path: Path) -> None:
    world = build(tmp_path, "delete")
    target = world.config().targets["box"]
    live = look(str(world.live))
    with pytest.raises(Exception, match="could not be taken"):
        replacing.keep(_FullDisk(), target, live, "before-restore")  # type: ignore[arg-type]  # what it uses of Work
    assert not list(Path(target.snapshots).iterdir())
    assert not snapshot.listed(str(target.snapshots)).snapshots
    assert files.key(str(world.live)) is not None
