"""How a replay is asked for, whatever way it takes: the one interface that each way has.

The client pipeline (`pipeline.replay`) is one; a second way is another function of this type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from engines.hooks import At, Say, Stop, never, nowhere, silent
from engines.mysql.connect import Login, Place
from engines.mysql.replay.plan import ReplayPlan
from engines.process import Child


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """What has been sent so far; the server may be a few transactions behind."""

    done: int  # bytes of log
    total: int
    transactions: int
    transactions_total: int
    at: datetime | None  # commit time of the last one
    rate: float  # bytes a second, of late
    eta: float | None  # seconds


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a replay tells, and asks, while it is under way."""

    say: Say = silent
    progress: Callable[[ReplayProgress], None] = lambda _progress: None
    stop: Stop = never
    at: At = nowhere
    opened: Callable[[int], None] = lambda _connection: None  # its connection's id, before anything is applied
    started: Callable[[Child], None] = lambda _child: None  # each program, before it does anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Into:
    """Where a replay goes."""

    place: Place
    login: Login
    private: Path  # a folder of ours alone: the login of client programs is written there, and removed


@dataclass(frozen=True, slots=True)
class Replayed:
    """A replay that came to its end. Anything else is an error."""

    transactions: int
    size: int  # bytes of log
    seconds: float
    reaches: datetime | None  # commit time of the last transaction
    end: tuple[str, int]  # file and byte at which it ends


Replay = Callable[[ReplayPlan, Into, Hooks], Replayed]
