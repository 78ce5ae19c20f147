"""The bytes that a replay gives to mysqlbinlog: one log that holds what the plan wants, and nothing else.

What is left out never gets to a program or the server. Bytes are those of the verified logs, checked once more as
they go; an event is made anew only where part of its transaction is left out, or gets a new GTID.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from engines.mysql.binlogs import decoding
from engines.mysql.binlogs.events import IN_USE, START, Event, OpenLog, malformed, opened
from engines.mysql.binlogs.logs import moment
from engines.mysql.replay.plan import ReplayPlan, wanted
from engines.mysql.replay.sieve import Fate, Sieve

_MAGIC: Final = b"\xfebin"
_FLAGS: Final = 17  # where an event's header has its flags
_PIECE: Final = 256 << 10  # bytes that are sent at a time, at least
_REMEMBERED: Final = 50_000  # transactions whose place in what was sent is known


@dataclass(frozen=True, slots=True)
class Begun:
    """A transaction in what was sent."""

    offset: int  # in the stream
    name: str  # GTID, else FILE:POSITION
    file: str
    position: int  # byte in `file`


class Feed:
    """What is sent, and how far it is. Read by one thread; its numbers may be looked at by others."""

    def __init__(self, plan: ReplayPlan, stop: Callable[[], bool] = lambda: False) -> None:
        self._plan = plan
        self._stop = stop
        self.transactions = 0  # whole ones
        self.done = 0  # bytes of log
        self.micros = 0  # commit time of the last one
        self.end = plan.start  # where it ends
        self.stopped = False  # on request, between two transactions
        self.finished = False  # everything was given
        self._begun: deque[Begun] = deque(maxlen=_REMEMBERED)
        self._sent = 0

    @property
    def at(self) -> datetime | None:
        return moment(self.micros) if self.micros else None

    def transaction_at(self, offset: int) -> Begun | None:
        """The transaction that has this byte of the stream, if it is still remembered."""
        begun = list(self._begun)
        index = bisect_right([one.offset for one in begun], offset)
        return begun[index - 1] if index else None

    def pieces(self) -> Iterator[bytes]:
        """Raises BadLog where a log is no longer what was verified."""
        sieve = Sieve(wanted(self._plan))
        self._sent = START
        yield _MAGIC
        before = 0
        for part in self._plan.parts:
            with opened(Path(part.path), part.name) as log:
                yield from self._part(log, sieve, part.begin, part.end, before)
            before += part.end - part.begin
            self.done = before
            if self.stopped:
                return
        self.finished = True

    def _part(self, log: OpenLog, sieve: Sieve, begin: int, end: int, before: int) -> Iterator[bytes]:
        sieve.begin_log(log)
        head = bytearray(b"".join(log.pieces(START, log.format.end)))
        head[_FLAGS] &= ~IN_USE  # else a cut would be taken for its end
        made: list[bytes] = [bytes(head)]
        self._sent += len(head)
        run = run_end = size = 0  # events that lie one behind the other are read in one go
        fresh = True
        for event in log.events(begin, end):
            try:
                ended, sent = sieve.take(event)
            except decoding.ERRORS:
                raise malformed(log.name, event.position, f"an event of kind {event.kind}") from None
            for one in sent:
                if fresh:
                    self._remember(sieve, log.name)
                    fresh = False
                if isinstance(one, Event):
                    if one.position != run_end:
                        made.extend(log.pieces(run, run_end))
                        run = one.position
                    run_end = one.end
                    length = one.end - one.position
                else:
                    made.extend(log.pieces(run, run_end))
                    run = run_end = 0
                    made.append(one)
                    length = len(one)
                self._sent += length
                size += length
            if size >= _PIECE:
                made.extend(log.pieces(run, run_end))
                run = run_end = size = 0
                yield from made
                made.clear()
            if ended:
                fresh = True
                self._ended(sieve, log.name)
                self.done = before + event.end - begin
                if self._stop():
                    self.stopped = True
                    break
        made.extend(log.pieces(run, run_end))
        yield from made

    def _remember(self, sieve: Sieve, file: str) -> None:
        done = sieve.grouping
        name = done.gtid_text or f"{file}:{done.begin}"
        self._begun.append(Begun(self._sent, name, file, done.begin))

    def _ended(self, sieve: Sieve, file: str) -> None:
        if sieve.fate in (Fate.REPLAYED, Fate.PART):
            self.transactions += 1
            self.micros = sieve.grouping.micros
            self.end = (file, sieve.grouping.end)
