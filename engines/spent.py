"""Where the time of long work went: seconds by what they were spent on, told as one line at its end.

Threads add what they measured around a piece of work, never around a row. Seconds of several that do the same side by
side are divided by their number, so that the largest share names what limits.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter


class Spent:
    """Seconds by what they went into. Usable from several threads."""

    def __init__(self, *kinds: str) -> None:
        self._seconds = dict.fromkeys(kinds, 0.0)
        self._lock = threading.Lock()

    def add(self, kind: str, seconds: float, side_by_side: int = 1) -> None:
        """`side_by_side`: how many do it at once. What two clocks make less than none is none."""
        with self._lock:
            self._seconds[kind] += max(seconds, 0.0) / max(side_by_side, 1)

    @contextmanager
    def on(self, kind: str) -> Iterator[None]:
        begun = perf_counter()
        try:
            yield
        finally:
            self.add(kind, perf_counter() - begun)

    @property
    def seconds(self) -> Mapping[str, float]:
        with self._lock:
            return dict(self._seconds)

    def __str__(self) -> str:
        return told(self.seconds)


def told(seconds: Mapping[str, float]) -> str:
    """`time: read 2 %, send 11 %, server 62 %, indexes 25 %`; what took no time at all is left out."""
    whole = sum(seconds.values())
    shares = [f"{kind} {_share(part / whole)}" for kind, part in seconds.items() if part > 0]
    return f"time: {', '.join(shares)}" if shares else "time: none to speak of"


def _share(part: float) -> str:
    return f"{part:.0%}".replace("%", " %") if part >= 0.005 else "under 1 %"
