"""Killed at, and failed at, every system call by which a swap or its undo changes something.

Finer than `test_kill`: SQLite's own writes, syncs and deletions are among them. strace counts the calls of a
recording run, then kills the process on entering the n-th, or lets that call fail.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from engines.sqlite import swap
from engines.sqlite.positions import Position
from tests.engines.sqlite.ground import ROOT, Ground, make_ground, replace
from tests.engines.sqlite.test_kill import assert_nothing_left, remember, resume, undo

FAULTS = {
    "pwrite64": "ENOSPC",
    "write": "ENOSPC",
    "fsync": "EIO",
    "fdatasync": "EIO",
    "ftruncate": "EIO",
    "unlink": "EIO",
    "unlinkat": "EIO",
    "link": "EPERM",
    "linkat": "EPERM",
    "rename": "EIO",
    "chmod": "EPERM",
    "fchmod": "EPERM",
    "chown": "EPERM",
    "lchown": "EPERM",
    "fchown": "EPERM",
    "fchownat": "EPERM",
    "setxattr": "EPERM",
}


@dataclass(frozen=True, slots=True)
class Call:
    """The n-th call of one name."""

    name: str
    number: int


def deed_under_strace(
    deed: str, plan: swap.Swap, folder: Path, *options: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    written, trace = folder / "swap.json", folder / "trace"
    written.write_bytes(msgspec.json.encode(plan))
    ended = subprocess.run(
        [
            *("strace", "-f", "-y", "-s", "4096", "-o", str(trace)),
            *("-e", f"trace={','.join(FAULTS)}", "-e", "signal=none", *options),
            *(sys.executable, "-B", "-m", "tests.engines.sqlite.killed", deed, str(written), "0"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return ended, trace.read_text(errors="replace").splitlines()


def ready(deed: str, state: str, folder: Path) -> tuple[Ground, swap.Swap]:
    folder.mkdir()
    ground = make_ground(folder, state)
    remember(ground)
    plan = ground.plan()
    if deed == "put_back":
        swap.dress(plan)
        replace(plan)
    return ground, plan


def changing_calls(deed: str, state: str, folder: Path) -> list[Call]:
    """Those calls of the process itself that name something in the folder of the live database."""
    ground, plan = ready(deed, state, folder)
    ended, lines = deed_under_strace(deed, plan, folder)
    assert ended.returncode == 0, ended.stderr
    first = lines[0].split()[0]
    counts: Counter[str] = Counter()
    calls = []
    for line in lines:
        call = re.match(r"(\d+)\s+(\w+)\(", line)
        if call is None or call[1] != first:
            continue
        counts[call[2]] += 1
        if str(ground.folder) in line:
            calls.append(Call(call[2], counts[call[2]]))
    return calls


@pytest.mark.torture
@pytest.mark.parametrize("state", ["delete", "wal with rows only in the log", "hot journal", "garbage with sidecars"])
@pytest.mark.parametrize("deed", ["replace", "put_back"])
def test_killed_at_every_call_that_changes_something(deed: str, state: str, tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    calls = changing_calls(deed, state, tmp_path / "record")
    for at, call in enumerate(calls):
        for way in ("resume", "undo"):
            ground, plan = ready(deed, state, tmp_path / f"{at}-{way}")
            ended, lines = deed_under_strace(
                deed, plan, tmp_path / f"{at}-{way}", "-e", f"inject={call.name}:signal=KILL:when={call.number}"
            )
            assert ended.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), (call, ended.stderr, lines[-3:])
            outcomes[f"{way} → {after(ground, plan, way)}"] += 1
            assert_nothing_left(ground, plan)
    report("killed", deed, state, len(calls), outcomes)


@pytest.mark.torture
@pytest.mark.parametrize("state", ["delete", "wal with rows only in the log", "hot journal", "garbage with sidecars"])
@pytest.mark.parametrize("deed", ["replace", "put_back"])
def test_every_call_that_changes_something_fails_once(deed: str, state: str, tmp_path: Path) -> None:
    """A failure is said as one (exit 3), naming the database that is live, or it did not matter (exit 0)."""
    outcomes: Counter[str] = Counter()
    calls = changing_calls(deed, state, tmp_path / "record")
    for at, call in enumerate(calls):
        folder = tmp_path / str(at)
        ground, plan = ready(deed, state, folder)
        fault = f"inject={call.name}:error={FAULTS[call.name]}:when={call.number}"
        ended, _ = deed_under_strace(deed, plan, folder, "-e", fault)
        assert ended.returncode in (0, 3), (call, ended.stderr)
        said = re.search(r"The (old|new) database is live", ended.stderr)
        live_is_new = swap.where(plan) in (Position.NEW, Position.UNDOING)
        assert said is None or (said[1] == "new") == live_is_new, (call, ended.stderr)
        way = "resume" if at % 2 else "undo"
        outcomes[f"{'refused' if ended.returncode else 'did not matter'}, {way} → {after(ground, plan, way)}"] += 1
        assert_nothing_left(ground, plan)
    report("failed", deed, state, len(calls), outcomes)


def after(ground: Ground, plan: swap.Swap, way: str) -> str:
    return resume(ground, plan, swap.where(plan)) if way == "resume" else undo(ground, plan)


def report(what: str, deed: str, state: str, calls: int, outcomes: Counter[str]) -> None:
    counts = ", ".join(f"{outcome} {number}" for outcome, number in sorted(outcomes.items()))
    os.write(2, f"\n{deed}, {state}: {what} at {calls} calls; {counts}; mixed 0\n".encode())
