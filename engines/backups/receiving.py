"""Fetches the parts of a file over several connections and writes each to its place. Hashing is `staging`'s work."""

from __future__ import annotations

import os
import threading
from contextlib import closing
from queue import Empty, SimpleQueue
from time import perf_counter

from engines.backups.parts import State
from engines.backups.sources import Source, steadily
from engines.spent import Spent

_ASKED_EVERY = 0.1  # seconds that a part is waited for before the caller looks whether it should stop


class Receiving:
    """Threads that fetch parts, first ones first, and write them to their place."""

    def __init__(
        self, state: State, descriptor: int, found: Source, left: list[int], connections: int, spent: Spent
    ) -> None:
        self._state = state
        self._spent = spent  # on `download` and `disk`
        self._descriptor = descriptor
        self._found = found
        self._left: SimpleQueue[int] = SimpleQueue()
        for number in left:
            self._left.put(number)
        self._done: SimpleQueue[int | BaseException] = SimpleQueue()
        self._ended = threading.Event()
        count = max(1, min(connections, len(left)))
        self._bytes = [0] * count
        self._wrote = [0.0] * count  # seconds
        self._threads = [threading.Thread(target=self._work, args=(one,), name=f"stage-{one}") for one in range(count)]
        for thread in self._threads:
            thread.start()

    @property
    def received(self) -> int:
        """Bytes, also of parts that are not whole yet."""
        return sum(self._bytes)

    def next(self) -> int | None:
        """The number of a part that is whole now, or None after a moment. Raises what a thread raised."""
        try:
            got = self._done.get(timeout=_ASKED_EVERY)
        except Empty:
            return None
        if isinstance(got, BaseException):
            raise got
        return got

    def end(self) -> None:
        """Ends the threads; they notice within a piece, or when the dead line is given up."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def rest(self) -> set[int]:
        """Parts that became whole and nobody asked for."""
        found: set[int] = set()
        while not self._done.empty():
            if isinstance(got := self._done.get(), int):
                found.add(got)
        return found

    def _work(self, one: int) -> None:
        try:
            while not self._ended.is_set():
                number = self._left.get_nowait()
                if self._timed(one, number):
                    self._done.put(number)
        except Empty:
            return
        except BaseException as error:  # noqa: BLE001 - it is raised again where the parts are waited for
            self._ended.set()
            self._done.put(error)

    def _timed(self, one: int, number: int) -> bool:
        begun, wrote = perf_counter(), self._wrote[one]
        try:
            return self._fetch(one, number)
        finally:
            disk = self._wrote[one] - wrote
            self._spent.add("disk", disk, len(self._threads))
            self._spent.add("download", perf_counter() - begun - disk, len(self._threads))

    def _fetch(self, one: int, number: int) -> bool:
        position, end = self._state.bounds(number)
        with closing(steadily(self._found, position, end, self._ended.wait)) as pieces:
            for piece in pieces:
                view = memoryview(piece)
                begun = perf_counter()
                while view:
                    written = os.pwrite(self._descriptor, view, position)
                    view = view[written:]
                    position += written
                    self._bytes[one] += written
                self._wrote[one] += perf_counter() - begun
                if self._ended.is_set():
                    return position == end
        return position == end
