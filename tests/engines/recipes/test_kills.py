"""The runner is killed at every journal entry and at every step of the swap; then it is resumed, and separately undone.

Never mixed: after every kill the database holds exactly the old rows or exactly the new ones.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engines.session import store
from engines.session.client import Client
from engines.session.events import Ending
from engines.session.verify import verify
from tests.engines.recipes.world import (
    NEW_ROWS,
    OLD_ROWS,
    World,
    answering,
    build,
    new_session,
    say_yes,
    start_runner,
    undo_at_once,
)

# Between the entry before one of these and itself nothing is done, so "after" the former is the same instant.
_NOTHING_HAPPENS_BEFORE = (
    "RunnerStarted",
    "KeyboardTaken",
    "PlanMade",
    "CheckDone",
    "GridMade",
    "Approved",
    "GateGiven",
    "StepStarted",
)
KILLING = "tests.engines.recipes.killing"
Meet = Callable[[Client], Awaitable[bool]]


def points_of(folder: Path, mode: str) -> list[str]:
    """Every point that an undisturbed session passes, by running one."""
    world = build(folder / "recording", mode)
    session, points = new_session(world), folder / "recorded"
    process = start_runner(session, "0", str(points), module=KILLING)
    asyncio.run(answering(session, process, say_yes))
    assert process.returncode == 0, (session / "runner.log").read_text()
    assert world.rows() == NEW_ROWS
    return points.read_text().splitlines()


def worth_a_kill(points: list[str]) -> list[int]:
    """Every point, numbered from 1, but those that find the disk as the point before them left it."""
    harmless = {f"before {name}" for name in _NOTHING_HAPPENS_BEFORE}
    return [number for number, name in enumerate(points, 1) if name not in harmless or number == 1]


def live_rows(world: World) -> str:
    rows = world.rows()
    assert rows in (OLD_ROWS, NEW_ROWS), f"mixed: {len(rows)} rows"
    return "old" if rows == OLD_ROWS else "new"


def killed_at(folder: Path, mode: str, number: int) -> tuple[World, Path, str]:
    world = build(folder, mode)
    session = new_session(world)
    process = start_runner(session, str(number), str(folder / "points"), module=KILLING)
    asyncio.run(answering(session, process, say_yes))
    assert process.returncode == -signal.SIGKILL, (session / "runner.log").read_text()
    return world, session, live_rows(world)


def go_on(session: Path, meet: Meet) -> None:
    process = start_runner(session)
    asyncio.run(answering(session, process, meet))
    assert process.returncode == 0, (session / "runner.log").read_text()


def tidied(session: Path) -> None:
    """Resuming a session that is over is refused, and puts right what the kill left undone."""
    assert start_runner(session).wait(60) == 3
    assert not list((session / "private").iterdir())


def resumed(folder: Path, mode: str, number: int) -> str:
    """Killed, resumed, carried to its end: the new database is live."""
    world, session, then = killed_at(folder, mode, number)
    if _over(session):
        tidied(session)
    else:
        go_on(session, say_yes)
    state = store.open_session(session).state
    assert state.ended is not None
    assert state.ended.how is Ending.SIGNED_OFF
    assert world.rows() == NEW_ROWS
    _as_it_should_be(world, session)
    return f"{then} after the kill, new after resume"


def undone(folder: Path, mode: str, number: int) -> str:
    """Killed, undone: the old database is live, to its last row."""
    world, session, then = killed_at(folder, mode, number)
    if _over(session):
        tidied(session)
        assert world.rows() == NEW_ROWS
        _as_it_should_be(world, session)
        return "signed off before the kill"
    go_on(session, undo_at_once)
    state = store.open_session(session).state
    assert state.ended is not None
    if state.ended.how is Ending.SIGNED_OFF:  # nothing was left to be asked before it ended by itself
        assert world.rows() == NEW_ROWS
        return f"{then} after the kill, signed off before the undo"
    assert state.ended.how is Ending.UNDONE
    assert world.rows() == OLD_ROWS
    _as_it_should_be(world, session)
    return f"{then} after the kill, old after undo"


def _over(session: Path) -> bool:
    return store.open_session(session).state.ended is not None


def _as_it_should_be(world: World, session: Path) -> None:
    assert world.journal_mode() == world.mode
    assert world.live.stat().st_mode & 0o777 == 0o640
    assert world.beside() == set()
    assert not world.down.exists()
    assert not world.workers_off.exists()
    assert verify(session).wrong == ""


def enumerate_kills(
    folder: Path, mode: str, outcome: Callable[[Path, str, int], str], numbers: Iterable[int], points: list[str]
) -> Counter[str]:
    def one(number: int) -> str:
        try:
            return outcome(folder / f"at-{number}", mode, number)
        except Exception as error:
            error.add_note(f"killed at point {number}, {points[number - 1]!r}, {mode}")
            raise

    with ThreadPoolExecutor(3) as pool:
        return Counter(pool.map(one, numbers))


@pytest.mark.torture
@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("outcome", [resumed, undone])
def test_killed_anywhere_it_is_the_old_or_the_new_and_never_mixed(
    tmp_path: Path, mode: str, outcome: Callable[[Path, str, int], str]
) -> None:
    points = points_of(tmp_path, mode)
    numbers = worth_a_kill(points)
    outcomes = enumerate_kills(tmp_path, mode, outcome, numbers, points)
    told = "".join(f"  {count:>4}  {text}\n" for text, count in sorted(outcomes.items()))
    os.write(2, f"\n{mode}, {outcome.__name__}: {len(numbers)} kill points\n{told}".encode())
    assert sum(outcomes.values()) == len(numbers)


@pytest.mark.parametrize("outcome", [resumed, undone])
def test_a_sample_of_kill_points_in_wal_mode(tmp_path: Path, outcome: Callable[[Path, str, int], str]) -> None:
    points = points_of(tmp_path, "wal")
    swapping = [number for number, name in enumerate(points, 1) if name in ("swap.link.after", "swap.rename.after")]
    assert len(swapping) == 2
    sample = sorted({*swapping, *range(3, len(points) + 1, len(points) // 4)})
    outcomes = enumerate_kills(tmp_path, "wal", outcome, sample, points)
    assert sum(outcomes.values()) == len(sample)
