"""How fast a replay is, of late: what both ways tell of their progress."""

from __future__ import annotations

import time
from collections import deque
from datetime import datetime
from typing import Final

from engines.mysql.replay.plan import ReplayPlan
from engines.mysql.replay.ways import ReplayProgress

EVERY: Final = 0.5  # seconds between two words about progress
_RATE: Final = 15.0  # seconds over which the rate is measured


class Pace:
    """Begins to measure when it is made."""

    def __init__(self, plan: ReplayPlan) -> None:
        self._plan = plan
        self._samples: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    def at(self, done: int, transactions: int, committed: datetime | None) -> ReplayProgress:
        """`done`: bytes of log by now; `committed`: the last transaction's time."""
        now, total = time.monotonic(), self._plan.size
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[0][0] > _RATE:
            self._samples.popleft()
        since, before = self._samples[0]
        rate = (done - before) / (now - since) if now > since else 0.0
        eta = (total - done) / rate if rate > 0 else None
        return ReplayProgress(done, total, transactions, self._plan.transactions, committed, rate, eta)
