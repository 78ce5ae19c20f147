"""Waits for a fact, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import psutil
import pytest

_POLL = 0.02  # seconds between two looks


def until(fact: Callable[[], bool], what: str, timeout: float = 20.0, every: float = _POLL) -> None:
    """Returns as soon as `fact` holds, which is asked `every` so many seconds; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not fact():
        if time.monotonic() > deadline:
            pytest.fail(f"after {timeout:g} s still not so: {what}")
        time.sleep(every)


def gone(process: psutil.Process) -> bool:
    """Whether a process has ended. A zombie has: it only waits for its parent, which in a container may never ask."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def end(processes: Iterable[psutil.Process], grace: float = 0.0) -> None:
    """Kills what has not ended by itself after `grace` seconds, and returns when all are gone."""
    all_of_them = tuple(processes)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and not all(map(gone, all_of_them)):
        time.sleep(_POLL)
    for process in all_of_them:
        if not gone(process):
            process.kill()
    until(lambda: all(map(gone, all_of_them)), "the processes are gone")
