"""A disk that fills up: refused or survived, nothing lost, the record still written. On real, small file systems."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.session import commands as c
from engines.session import store
from engines.session.client import Client
from engines.session.events import Ending
from engines.session.moves import AskKind, Wait, next_move
from engines.session.state import Status
from engines.session.verify import verify
from engines.text import utc_now
from tests.engines.recipes.world import NEW_ROWS, OLD_ROWS, World, answering, build, new_session, say_yes, start_runner

SMALL = "64m"  # the reserve that Readiness wants left over is half of it


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of 64 MB."""
    assert os.geteuid() == 0, "mounting a small file system needs root"
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL},mode=0700", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(place: Path, free: int = 0) -> Path:
    """Leave `free` bytes free."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        piece = 1 << 20
        while piece:
            try:
                file.write(b"\0" * piece)
            except OSError:
                piece //= 2
        file.truncate(file.tell() - free)
    return filler


def a_world(folder: Path, *, link: str, to: Path) -> World:
    """A world with one of its folders on the small file system."""
    (folder / "world").mkdir()
    (folder / "world" / link).symlink_to(to)
    return build(folder / "world")


def step_asked(client: Client) -> str:
    move = next_move(client.state, utc_now())
    known = client.state.step(move.ask.step) if isinstance(move, Wait) else None
    return known.step.action if known is not None else ""


def failed(client: Client, action: str) -> bool:
    return any(known.step.action == action and known.status is Status.FAILED for known in client.state.steps)


def run(session: Path, meet: object) -> None:
    process = start_runner(session)
    asyncio.run(answering(session, process, meet))  # type: ignore[arg-type]  # a coroutine function, as its name says
    assert process.returncode == 0, (session / "runner.log").read_text()


def signed_off(world: World, session: Path) -> None:
    state = store.open_session(session).state
    assert state.ended is not None
    assert state.ended.how is Ending.SIGNED_OFF
    assert world.rows() == NEW_ROWS
    assert verify(session).wrong == ""


def test_no_room_for_staging_is_refused_by_name_and_nothing_is_staged(tmp_path: Path, small: Path) -> None:
    world = a_world(tmp_path, link="db", to=small)
    filler = fill(small)  # not even room for the lock
    session = new_session(world)
    process = start_runner(session)
    assert process.wait(20) == 3
    assert "can't be locked" in (session / "runner.log").read_text()
    filler.unlink()
    fill(small, free=64 * 1024)

    async def meet(client: Client) -> bool:
        move = next_move(client.state, utc_now())
        if isinstance(move, Wait) and move.ask.kind in (AskKind.CHOOSE, AskKind.CHECKS):
            assert "not enough room" in move.ask.text
            assert client.state.checks["Staged copy"].blocks
            await client.do(c.Abandon("no room"))
            return True
        return await say_yes(client)

    run(session, meet)
    assert world.rows() == OLD_ROWS
    assert not [name for name in world.beside() if name.endswith("staged")]
    assert "no room" in (session / "session.toml").read_text()
    assert verify(session).wrong == ""


def test_a_disk_that_fills_up_at_the_snapshot_stops_before_anything_is_replaced(tmp_path: Path, small: Path) -> None:
    world = a_world(tmp_path, link="snapshots", to=small)
    configuration = world.folder / "reinstate.toml"
    named = f'journal_mode = "keep"\nsnapshots = "{world.folder}/snapshots/kept"\n[target.box.application]'
    configuration.write_text(configuration.read_text().replace("[target.box.application]", named))
    session, filler = new_session(world), small / "filler"

    async def meet(client: Client) -> bool:
        if failed(client, "snapshot") and filler.exists():
            known = client.state.next_step
            assert known is not None
            assert "Nothing was changed" in known.message
            assert world.rows() == OLD_ROWS
            filler.unlink()
        elif step_asked(client) == "snapshot" and not client.state.did("snapshot"):
            fill(small)
        return await say_yes(client)

    run(session, meet)
    signed_off(world, session)
    state = store.open_session(session).state
    assert next(known for known in state.steps if known.step.action == "snapshot").attempt == 2


def test_a_full_disk_under_the_record_is_survived_on_the_reserve(tmp_path: Path, small: Path) -> None:
    world = a_world(tmp_path, link="state", to=small)
    session = new_session(world)

    async def meet(client: Client) -> bool:
        # From the replacement on there is no space for the record but what was set aside at the beginning.
        if step_asked(client) == "replace" and not (small / "filler").exists():
            fill(small)
        return await say_yes(client)

    run(session, meet)
    signed_off(world, session)
    assert (session / "session.toml").stat().st_size > 0
    assert not (session / "reserve").exists()
