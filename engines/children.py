"""Knows whether a started process is still there, and ends it with everything it started.

Works for the children of this process and for those of a runner that died: a number alone is never
trusted, only a number together with the moment the process was started. Starting is `engines.process`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARK = "REINSTATE_CHILD"  # in a command's environment: tells its orphans from strangers once it is gone itself
GRACE = 10.0  # seconds between asking a command to end (TERM) and ending it (KILL)

_KILL_WAIT = 10.0  # seconds; a process in uninterruptible sleep outlives even KILL and must not hang the runner


@dataclass(frozen=True, slots=True)
class Child:
    """One process, and no later one that was given the same number."""

    pid: int
    started: int  # clock ticks since boot; source: /proc/PID/stat, field 22


def identified(pid: int) -> Child:
    """The process that has this number now. Raises OSError when there is none."""
    return Child(pid, _stat(pid).started)


def alive(child: Child) -> bool:
    """Is the child, or anything it started in its own session, still running? Zombies are not."""
    return bool(_running(child))


def end(child: Child, grace: float = GRACE) -> tuple[int, ...]:
    """End the child and everything of its session: TERM, and after `grace` seconds KILL.

    Touches nothing when the number belongs to another process by now. Returns the pids that could not
    be ended, so nothing is left when it is empty.
    """
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, _KILL_WAIT)):
        until = time.monotonic() + patience
        told: set[int] = set()
        while running := _running(child):
            # New ones each time round: a process may have been forked since the last look.
            for process in running:
                if process.pid not in told:
                    _tell(process, number)
                    told.add(process.pid)
            if time.monotonic() >= until:
                break
            time.sleep(0.01)
        if not running:
            return ()
    return tuple(sorted(process.pid for process in _running(child)))


@dataclass(frozen=True, slots=True)
class _Stat:
    """Source: /proc/PID/stat, proc(5)."""

    pid: int
    state: str
    session: int
    started: int


def _stat(pid: int) -> _Stat:
    text = Path(f"/proc/{pid}/stat").read_bytes()
    fields = text[text.rindex(b")") + 2 :].split()  # the name before it may hold blanks and brackets
    return _Stat(pid, fields[0].decode(), int(fields[3]), int(fields[19]))


def _processes() -> Iterator[_Stat]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it ended meanwhile
                yield _stat(int(entry.name))


def _running(child: Child) -> tuple[_Stat, ...]:
    """The child and what it started, as far as it stayed in the child's own session."""
    try:
        leader = _stat(child.pid)
    except OSError:
        leader = None
    if leader and leader.started != child.started:
        return ()  # Linux gives a number away again only when no group or session has it any more
    members = tuple(p for p in _processes() if p.session == child.pid and p.state not in "ZX")
    if leader:
        return members
    # Without its leader a session may be another daemon's, started after the number was used again.
    return tuple(p for p in members if p.started >= child.started and _marked(p.pid))


def _marked(pid: int) -> bool:
    try:
        return f"{MARK}=1".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _tell(process: _Stat, number: signal.Signals) -> None:
    """Signal this very process, never a later one with its number."""
    with contextlib.suppress(OSError):  # gone, or another user's: the caller looks again
        pidfd = os.pidfd_open(process.pid)
        try:
            if _stat(process.pid).started == process.started:
                signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)
