"""The order in which names and bytes become durable, as the kernel saw it (strace).

This is what is claimed about a power cut, and no more: the order of the calls, not what a disk does with them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.engines.sqlite.ground import ROOT, make_ground

CALLS = "openat,close,pwrite64,write,fsync,fdatasync,link,linkat,rename,renameat,renameat2,unlink,unlinkat,fchmod,chmod"


def traced(state: str, tmp_path: Path) -> tuple[list[str], str, str, str]:
    """Names of what happened to which of our files, in order: `fsync staged`, `rename staged live`, …"""
    ground = make_ground(tmp_path, state)
    plan = ground.plan()
    written = tmp_path / "swap.json"
    written.write_bytes(msgspec.json.encode(plan))
    trace = tmp_path / "trace"
    ended = subprocess.run(
        [
            *("strace", "-f", "-y", "-s", "4096", "-o", str(trace), "-e", f"trace={CALLS}"),
            *(sys.executable, "-m", "tests.engines.sqlite.killed", "replace", str(written), "0"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    short = {plan.staged: "staged", plan.kept: "kept", plan.live: "live", str(ground.folder): "folder"}
    events = []
    for line in trace.read_text(errors="replace").splitlines():
        call = re.search(r"^\d+\s+(\w+)\((.*)\) = (\d)", line)
        if call is None:
            continue
        paths = re.findall(r'"([^"]*)"|<(/[^>]*)>', call[2])
        names = [short[first or second] for first, second in paths if (first or second) in short]
        if names:
            events.append(" ".join([call[1], *names]))
    return events, plan.live, plan.staged, plan.kept


@pytest.mark.parametrize("state", ["delete", "wal with rows only in the log"])
def test_write_then_sync_then_rename_then_sync_of_the_folder(state: str, tmp_path: Path) -> None:
    events, *_ = traced(state, tmp_path)
    assert "rename staged live" in events, events
    renamed = events.index("rename staged live")
    linked = next(number for number, event in enumerate(events) if event.startswith("link") and "kept" in event)
    writes = [
        n for n, event in enumerate(events) if event.startswith(("write staged", "pwrite64 staged", "chmod staged"))
    ]
    synced = max(number for number, event in enumerate(events[:renamed]) if event == "fsync staged")
    assert max(writes) < synced < linked < renamed
    assert "fsync folder" in events[synced:linked]  # the staged name itself
    assert "fsync folder" in events[linked:renamed]  # the second name of the old file
    assert "fsync folder" in events[renamed:]
    assert [event for event in events[renamed:] if event.startswith(("write", "pwrite64"))] == []


@pytest.mark.parametrize("state", ["delete", "wal with rows only in the log"])
def test_the_live_file_is_never_opened_or_closed_while_its_lock_is_held(state: str, tmp_path: Path) -> None:
    """From the second name to the rename, this process opens only the folder: closing the file would drop the lock."""
    events, *_ = traced(state, tmp_path)
    linked = next(number for number, event in enumerate(events) if event.startswith("link") and "kept" in event)
    renamed = events.index("rename staged live")
    calls = {event.split(" ", 1)[0] for event in events[linked + 1 : renamed]}
    files = {name for event in events[linked + 1 : renamed] for name in event.split(" ")[1:]}
    assert calls == {"openat", "fsync", "close"}
    assert files == {"folder"}
