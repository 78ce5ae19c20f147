"""What long work is given by its caller: where to say what it does, and how it is told to stop."""

from __future__ import annotations

from collections.abc import Callable

At = Callable[[str], None]  # told a point's name just before and just after each effect: kill points of the tests
Say = Callable[[str], None]  # writes one line to the step's log
Progress = Callable[[int, int], None]  # done, in all; bytes unless said otherwise
Stop = Callable[[], bool]  # True when the operator asked for a safe stop


def nowhere(_point: str) -> None:
    """The default hook: does nothing."""


def silent(_line: str) -> None:
    """The default log: keeps nothing."""


def unmeasured(_done: int, _total: int) -> None:
    """The default progress: shows nothing."""


def never() -> bool:
    """The default stop: goes on."""
    return False
