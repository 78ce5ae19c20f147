"""Killed -9 at every point of a swap and of its undo; then resumed, and separately undone. Never a mixture.

The points are those that a recording run passes, so a new one is killed at without being listed here. Between two
points SQLite and the kernel work: `test_syscalls` kills there too, at every system call that changes something.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from engines.errors import Refused
from engines.sqlite import files, swap
from engines.sqlite.positions import Position
from tests.engines.sqlite.ground import (
    NEW_ROWS,
    ROOT,
    Ground,
    eras,
    journal_mode,
    make_ground,
    put_back,
    replace,
)

STATES = (
    "delete",
    "wal",
    "wal with rows only in the log",
    "hot journal",
    "persistent journal",
    "missing",
    "empty",
    "garbage with sidecars",
)


def start(deed: str, plan: swap.Swap, at_point: int, folder: Path) -> subprocess.CompletedProcess[str]:
    """One deed in a process of its own, killed at the given point."""
    written = folder / "swap.json"
    written.write_bytes(msgspec.json.encode(plan))
    return subprocess.run(
        [sys.executable, "-m", "tests.engines.sqlite.killed", deed, str(written), str(at_point)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def points(deed: str, state: str, folder: Path) -> list[str]:
    """The points that a run to the end passes."""
    folder.mkdir()
    ground = make_ground(folder, state)
    plan = ground.plan()
    if deed == "put_back":
        swap.dress(plan)
        replace(plan)
    ended = start(deed, plan, 0, folder)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def killed(deed: str, state: str, point: int, folder: Path) -> tuple[Ground, swap.Swap, Position]:
    """A swap whose process died at `point`, and where it stands."""
    folder.mkdir()
    ground = make_ground(folder, state)
    remember(ground)
    plan = ground.plan()
    if deed == "put_back":
        swap.dress(plan)
        replace(plan)
    ended = start(deed, plan, point, folder)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    position = swap.where(plan)
    assert position is not Position.FOREIGN
    assert position is not Position.SETTLED
    return ground, plan, position


def remember(ground: Ground) -> None:
    """Keeps, aside, every file of the folder as it was: what an undo has to bring back where nothing can be opened."""
    aside = ground.folder.parent / "before"
    aside.mkdir()
    for path in ground.folder.iterdir():
        (aside / path.name).write_bytes(path.read_bytes())


def assert_new(ground: Ground, plan: swap.Swap) -> None:
    assert_form(ground.live, plan.uid, plan.gid, plan.mode)
    assert eras(ground.live) == {"new": NEW_ROWS}
    assert journal_mode(ground.live) == plan.journal_mode
    assert files.present(files.sidecars(str(ground.live))) == ()


def assert_old(ground: Ground, plan: swap.Swap) -> None:
    if plan.before is None:
        assert not ground.live.exists()
    elif plan.lockable:
        assert_form(ground.live, plan.before.uid, plan.before.gid, plan.before.mode)
        assert files.key(str(ground.live)) == plan.old
        assert eras(ground.live) == ground.old
        assert journal_mode(ground.live) == plan.before_journal_mode
    else:
        before = {path.name: path.read_bytes() for path in (ground.folder.parent / "before").iterdir()}
        now = {path.name: path.read_bytes() for path in ground.folder.iterdir() if path.name in before}
        assert now == before
        assert_form(ground.live, plan.before.uid, plan.before.gid, plan.before.mode)


def assert_form(path: Path, uid: int, gid: int, mode: int) -> None:
    status = path.lstat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), status.st_nlink) == (uid, gid, mode, 1)


def assert_nothing_left(ground: Ground, plan: swap.Swap) -> None:
    """After clearing, only the database and what was there before it."""
    swap.clear(plan)
    assert [path.name for path in ground.folder.iterdir() if "reinstate" in path.name] == []


def resume(ground: Ground, plan: swap.Swap, position: Position) -> str:
    """Goes on, unless an undo had already brought the old database back: that is refused, and the old one stays."""
    if position is Position.BACK:
        with pytest.raises(Refused):
            replace(plan)
        put_back(plan)
        assert_old(ground, plan)
        return "old, undone"
    swap.dress(plan)
    assert replace(plan) is Position.NEW
    assert_new(ground, plan)
    return "new"


def undo(ground: Ground, plan: swap.Swap) -> str:
    assert put_back(plan) in (Position.OLD, Position.BACK)
    assert_old(ground, plan)
    return "old"


@pytest.mark.parametrize("state", ["wal with rows only in the log", "garbage with sidecars"])
def test_killed_at_any_point_the_swap_goes_on_or_back(state: str, tmp_path: Path) -> None:
    """The always-run sample: every point, going on from the even ones and back from the odd ones."""
    for number, point in enumerate(points("replace", state, tmp_path / "record"), start=1):
        ground, plan, position = killed("replace", state, number, tmp_path / str(number))
        outcome = resume(ground, plan, position) if number % 2 else undo(ground, plan)
        assert outcome in ("new", "old"), point


@pytest.mark.torture
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("deed", ["replace", "put_back"])
def test_every_kill_point_resumed_and_undone(deed: str, state: str, tmp_path: Path) -> None:
    outcomes: Counter[tuple[str, str]] = Counter()
    passed = points(deed, state, tmp_path / "record")
    for number in range(1, len(passed) + 1):
        for way in ("resume", "undo"):
            ground, plan, position = killed(deed, state, number, tmp_path / f"{number}-{way}")
            outcome = resume(ground, plan, position) if way == "resume" else undo(ground, plan)
            outcomes[way, outcome] += 1
            assert_nothing_left(ground, plan)
    os.write(2, f"\n{deed}, {state}: {len(passed)} points; {outcomes_text(outcomes)}; mixed 0\n".encode())


def outcomes_text(outcomes: Counter[tuple[str, str]]) -> str:
    return ", ".join(f"{way} → {outcome} {number}" for (way, outcome), number in sorted(outcomes.items()))
