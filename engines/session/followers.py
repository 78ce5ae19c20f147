"""Threads that follow a session's state and do what becomes due, one thing after the other: nothing waits for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from engines.errors import RestoreError
from engines.session.events import Event

T = TypeVar("T")
_LEAVING = 2.0  # seconds beyond its own time that a leaving runner waits for one


class Follower(Generic[T]):
    """One such thread, started at once. `wake` is called whenever the state may have changed.

    `due` says what is to be done next, None for nothing; `attempt` does it and says what became of it, which is
    journalled. `seconds`: the longest that an attempt may take.
    """

    def __init__(
        self,
        name: str,
        due: Callable[[], T | None],
        attempt: Callable[[T], Event],
        record: Callable[[Event], None],
        seconds: float,
    ) -> None:
        self.seconds = seconds
        self._due, self._attempt, self._record = due, attempt, record
        self._changed = threading.Condition()
        self._closing = False  # end once nothing is due any more,
        self._gone = False  # and at once
        self._thread = threading.Thread(target=self._follow, name=name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def end(self, *, at_once: bool) -> None:
        with self._changed:
            self._closing, self._gone = True, at_once
            self._changed.notify_all()

    def leave(self, seconds: float) -> None:
        """Wait for its end so long; what it has not done by then is not journalled."""
        self._thread.join(seconds)
        self._gone = True

    def _follow(self) -> None:
        while True:
            with self._changed:
                one = None if self._gone else self._due()
                if one is None:
                    if self._closing:
                        return
                    self._changed.wait()
                    continue
            told = self._attempt(one)
            if self._gone:
                return  # the journal is closed: whoever takes the session up finds it undone, or not known
            try:
                self._record(told)
            except RestoreError:
                return  # the journal can't be written: the runner itself says so


def close(followers: Sequence[Follower[object]], *, wait: bool) -> None:
    """End them; where `wait` says so what is due is done first, no longer than the slowest attempt may take."""
    for one in followers:
        one.end(at_once=not wait)
    longest = max((one.seconds for one in followers), default=0.0) + _LEAVING
    until = time.monotonic() + (longest if wait else 0.0)
    for one in followers:
        one.leave(max(until - time.monotonic(), 0.0))
