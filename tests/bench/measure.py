"""Times ours and what the operator would type, in turn and on the same data, and keeps the result."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from engines.text import stamp, utc_now

RESULTS = Path(__file__).resolve().parents[2] / "bench.json"


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours against the other, from the median times of both.

    Aim `<=`: our time as a share of the other's. Aim `>=`: how many times as fast as the other we are.
    """

    name: str
    value: float
    aim: float
    medians: Mapping[str, float]  # seconds, ours first; none where no time is measured
    rounds: int
    on: str  # what was measured
    more_is_better: bool = False

    @property
    def reached(self) -> bool:
        return self.value >= self.aim if self.more_is_better else self.value <= self.aim

    def __str__(self) -> str:
        times = ", ".join(f"{who} {seconds:.3f} s" for who, seconds in self.medians.items())
        how = f"median of {self.rounds}: {times}; " if times else ""
        aim = f"{'>=' if self.more_is_better else '<='} {self.aim:.2f}"
        return f"ratio {self.name} {self.value:.2f} (aim {aim})  {how}{self.on}"


def in_turn(
    contenders: Mapping[str, Callable[[], None]], rounds: int, *, before: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """The median seconds of each, taken in turn so that a busy moment of the machine meets both alike.

    One round before the clock runs brings files into the page cache for both. `before`: done each time, not timed.
    """
    times: dict[str, list[float]] = {who: [] for who in contenders}
    for number in range(rounds + 1):
        for who, act in contenders.items():
            before()
            began = perf_counter()
            act()
            if number > 0:
                times[who].append(perf_counter() - began)
    return {who: median(seconds) for who, seconds in times.items()}


def keep(ratio: Ratio, results: Path = RESULTS) -> None:
    """Appends to the list in `results`; a file that is no such list is an error, not overwritten."""
    earlier = json.loads(results.read_text()) if results.exists() else []
    if not isinstance(earlier, list):
        raise TypeError(f"{results} holds no list of results; move it away")
    machine = {"processors": os.cpu_count(), "python": platform.python_version(), "platform": sys.platform}
    earlier.append({"at": stamp(utc_now()), **asdict(ratio), "machine": machine})
    fresh = results.with_suffix(".json.new")
    fresh.write_text(json.dumps(earlier, indent=1) + "\n")
    fresh.replace(results)
