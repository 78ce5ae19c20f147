"""The runner of a MySQL or MariaDB session is killed at every point; then it is resumed, and separately undone.

Afterwards the schema is exactly the new one or exactly the old one, by comparing dumps, and nothing else is left.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import pytest

from engines.mysql.flavour import Flavour
from engines.session import commands as c
from engines.session import store
from engines.session.client import Client
from engines.session.events import Ending
from engines.session.moves import Wait, next_move
from engines.session.state import SessionState
from engines.text import utc_now
from tests.engines.recipes.mysql_ground import BEGUN, PREPARED, Ground, prepared
from tests.engines.recipes.mysql_world import programs_of
from tests.engines.recipes.world import answering, say_yes, start_runner, undo_at_once
from tests.servers.databases import FLAVOURS, Build, running

KILLING = "tests.engines.recipes.killing"
METHODS = ("staged", "in-place")
# What a replica applies is in the binary log of a MariaDB server only where it is started so.
PULLED = {Flavour.MYSQL: (), Flavour.MARIADB: ("--log-slave-updates",)}
WORKERS = 2  # each with a server of its own
# One point of so many, each case beginning at another one: together they come by each. All: REINSTATE_KILLS_EVERY=1.
EVERY = int(os.environ.get("REINSTATE_KILLS_EVERY", "6"))
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
    "StepEnded",
)


@dataclass(frozen=True, slots=True)
class Case:
    """From where a run begins, how it is answered until it is killed, and what is asked of the next runner."""

    name: str
    stage: str  # what it begins from: Ground.save
    until_killed: Callable[[Client], object]
    undo: bool


async def undo_when_live(client: Client) -> bool:
    """Says yes until the restored schema is live, and takes it back then."""
    move = next_move(client.state, utc_now())
    if isinstance(move, Wait) and client.state.undo_asked is None and move.ask.step == "4.1":
        await client.do(c.Undo("the wrong dump"))
        return True
    return await say_yes(client)


CASES = (
    Case("killed while preparing, resumed", BEGUN, say_yes, undo=False),
    Case("killed while restoring, resumed", PREPARED, say_yes, undo=False),
    Case("killed while restoring, undone", PREPARED, say_yes, undo=True),
    Case("killed while undoing, resumed", PREPARED, undo_when_live, undo=True),
)


def recorded(ground: Ground, case: Case) -> list[str]:
    """The points of a run that is not disturbed."""
    ground.reset(case.stage)
    points = ground.world.folder / f"recorded-{case.name}"
    process = start_runner(ground.session, "0", str(points), module=KILLING)
    asyncio.run(answering(ground.session, process, case.until_killed))  # type: ignore[arg-type]
    assert process.returncode == 0, runner_log(ground)
    return points.read_text().splitlines()


def runner_log(ground: Ground) -> str:
    return (ground.session / "runner.log").read_text()[-3000:]


def worth_a_kill(case: Case, points: Sequence[str]) -> list[int]:
    """Every point of the case's own part, from 1, but those that find everything as the point before left it."""
    first, last = 0, len(points)
    if case.stage == BEGUN:
        last = next(n for n, name in enumerate(points) if name == "after Approved")
    if case.until_killed is undo_when_live:
        first = next(n for n, name in enumerate(points) if name == "after UndoAsked")
    harmless = {f"before {name}" for name in _NOTHING_HAPPENS_BEFORE}
    return [n for n in range(first + 1, last + 1) if points[n - 1] not in harmless]


def killed(ground: Ground, case: Case, number: int) -> str:
    """Run to the point, die there, go on: what was live after the kill, and in the end."""
    ground.reset(case.stage)
    points = ground.world.folder / "points"
    process = start_runner(ground.session, str(number), str(points), module=KILLING)
    asyncio.run(answering(ground.session, process, case.until_killed))  # type: ignore[arg-type]
    assert process.returncode == -signal.SIGKILL, runner_log(ground)
    then = ground.live()
    state = go_on(ground, undo_at_once if case.undo else say_yes)
    assert state.ended is not None, runner_log(ground)
    how = state.ended.how
    assert ground.live() == ("new" if how is Ending.SIGNED_OFF else "old")
    ground.as_it_should_be()
    if how is Ending.SIGNED_OFF and case.undo:  # nothing was left to be asked before it ended by itself
        assert then == "new"
        return "new after the kill, signed off before the undo"
    assert how is (Ending.UNDONE if case.undo else Ending.SIGNED_OFF)
    return f"{then} after the kill, {'old after undo' if case.undo else 'new after resume'}"


def go_on(ground: Ground, meet: Callable[[Client], object]) -> SessionState:
    over = store.open_session(ground.session).state.ended is not None
    process = start_runner(ground.session)
    asyncio.run(answering(ground.session, process, meet))  # type: ignore[arg-type]
    assert process.returncode == (3 if over else 0), runner_log(ground)
    return store.open_session(ground.session).state


def enumerate_kills(
    grounds: Sequence[Ground], case: Case, numbers: Sequence[int], points: Sequence[str]
) -> Counter[str]:
    free: SimpleQueue[Ground] = SimpleQueue()
    for ground in grounds:
        free.put(ground)

    failures: list[Exception] = []  # all of them are wanted: the next run is an hour away

    def one(number: int) -> str:
        ground = free.get()
        try:
            return killed(ground, case, number)
        except Exception as error:  # noqa: BLE001 - raised below, together
            kept = shutil.copytree(ground.session, ground.world.folder / f"failed-{case.name}-{number}")
            error.add_note(f"{case.name}, at point {number}, {points[number - 1]!r}; {kept}")
            failures.append(error)
            return f"WRONG at {points[number - 1]}"
        finally:
            free.put(ground)

    with ThreadPoolExecutor(len(grounds)) as pool:
        outcomes = Counter(pool.map(one, numbers))
    if failures:
        raise ExceptionGroup(f"{case.name}: {dict(outcomes)}", failures)
    return outcomes


def whole(ground: Ground) -> None:
    """One run that nothing disturbs."""
    ground.reset(PREPARED)
    process = start_runner(ground.session)
    asyncio.run(answering(ground.session, process, say_yes))
    assert process.returncode == 0, runner_log(ground)
    assert ground.live() == "new"
    ground.as_it_should_be()


@contextmanager
def grounds_on(build: Build, folder: Path, method: str, number: int, replay: str = "client") -> Iterator[list[Ground]]:
    with ExitStack() as stack, ThreadPoolExecutor(number) as pool:
        options = ("--local-infile=0", *PULLED[build.flavour])
        servers = [stack.enter_context(running(build, *options)) for _ in range(number)]
        stack.enter_context(programs_of(servers[0]))
        made = [
            pool.submit(prepared, folder / f"ground-{n}", server, method, replay=replay)
            for n, server in enumerate(servers)
        ]
        grounds = [one.result() for one in made]
        list(pool.map(whole, grounds))
        yield grounds


@pytest.mark.torture
@pytest.mark.parametrize("replay", ["client", "auto"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("build", FLAVOURS, ids=lambda build: build.name)
def test_killed_anywhere_it_ends_in_the_old_or_the_new_schema_and_leaves_nothing(
    tmp_path: Path, build: Build, method: str, replay: str
) -> None:
    begun = time.monotonic()
    with grounds_on(build, tmp_path, method, WORKERS, replay) as grounds:
        for offset, case in enumerate(CASES, FLAVOURS.index(build) + METHODS.index(method)):
            points = recorded(grounds[0], case)
            numbers = worth_a_kill(case, points)
            chosen = numbers[offset % EVERY :: EVERY]
            outcomes = enumerate_kills(grounds, case, chosen, points)
            said = f"{build.name}, {method}, replay {replay}, {case.name}: {len(chosen)} of {len(numbers)} kill points"
            told = "".join(f"  {count:>4}  {text}\n" for text, count in sorted(outcomes.items()))
            # A worker's own standard output is not seen.
            os.write(2, f"\n{said} ({time.monotonic() - begun:.0f} s)\n{told}".encode())
            assert sum(outcomes.values()) == len(chosen)
