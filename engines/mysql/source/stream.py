"""The events that a replication source sends: what the plan wants of the verified logs, and nothing else.

The sieve decides, as it does for the client pipeline. An event keeps its bytes but for what has to differ: the server
id, since a server leaves out events that carry its own; the checksum; its position; and the GTID, since a server
leaves out transactions that it has executed, without a word (MySQL: sent without one; MariaDB: in a domain of its own).

Positions are counted as if each log held only what is sent: a receiver adds up the lengths of what it gets, and asks
from there after a cut line. Sources: MySQL source code documentation, "Binary Log Event"; MariaDB documentation,
"Replication Protocol"; MySQL source, Gtid_log_event; MariaDB source, Gtid_log_event.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

from engines.errors import RestoreError
from engines.mysql.binlogs import decoding
from engines.mysql.binlogs.events import ARTIFICIAL, HEADER, IN_USE, START, Event, Kind, OpenLog, malformed, opened
from engines.mysql.binlogs.logs import moment
from engines.mysql.replay.plan import Gtids, ReplayPlan, wanted
from engines.mysql.replay.sieve import Fate, Sent, Sieve
from engines.mysql.source.anonymous import untold, untold_tagged
from engines.text import drawable

Position = tuple[int, int]  # which part of the plan, and the byte in it as it is sent
Mark = tuple[int, int, int, int]  # at a transaction's end: bytes of log done, transactions, micros, byte in its log

_TAIL: Final = 4  # bytes of a checksum
_PASSED: Final = 20_000  # events, or pages of them, after which the receiver is thought of: less than a second
_PAGE: Final = 4096  # bytes
_SPACING: Final = 64 << 10  # bytes of log between two marks
_GTID: Final = int(Kind.GTID)
_TAGGED: Final = int(Kind.GTID_TAGGED)
_ANONYMOUS: Final = int(Kind.ANONYMOUS_GTID)
_MARIA_GTID: Final = int(Kind.MARIA_GTID)
_header: Final = Struct("<IBIIIH")
_numbered: Final = Struct("<QI").pack


@dataclass(frozen=True, slots=True)
class Reached:
    """How far something has come, in the logs' own terms."""

    done: int  # bytes of log
    transactions: int
    at: datetime | None  # commit time of the last one
    end: tuple[str, int]  # file and byte at which that one ends


@dataclass(frozen=True, slots=True)
class Transaction:
    """One of the replay, for whoever has to find it in the logs."""

    name: str  # GTID, else FILE:POSITION
    file: str
    begin: int  # byte


class Stream:
    """What is sent. Iterated by the source's thread; its numbers may be looked at by others.

    `server_id`: nobody else's. `domain`: MariaDB's, of these transactions alone.
    """

    def __init__(self, plan: ReplayPlan, server_id: int, domain: int) -> None:
        self.plan = plan
        self.finished = False  # everything was given at least once
        self.sent: Position = (0, plan.parts[0].begin)  # where the last event that was given ends
        self._server_id = server_id
        self._domain = domain
        self._number = {part.name: number for number, part in enumerate(plan.parts)}
        self._keys: list[Position] = []
        self._marks: list[Mark] = []

    def position(self, file: str, byte: int) -> Position | None:
        """A place as a server tells it; None where it is in no log of the plan."""
        number = self._number.get(file)
        return None if number is None else (number, byte)

    def reached(self, position: Position) -> Reached:
        """How far whoever has executed everything up to there has come."""
        index = bisect_right(self._keys, position) - 1
        if index < 0:
            return Reached(0, 0, None, self.plan.start)
        done, transactions, micros, byte = self._marks[index]
        name = self.plan.parts[self._keys[index][0]].name
        return Reached(done, transactions, moment(micros) if micros else None, (name, byte))

    def transaction_at(self, position: Position) -> Transaction | None:
        """The one that has this place, found by going through the logs once more; None where none has."""
        for number, _, begin, event, sieve in self._events():
            if event and (number, begin + len(event)) >= position:
                done = sieve.grouping
                file = self.plan.parts[number].name
                return Transaction(done.gtid_text or f"{file}:{done.begin}", file, done.begin)
        return None

    def __call__(self, file: str, byte: int) -> Iterator[bytes]:
        """The stream from a place on. Raises RestoreError where it is none of this replay, BadLog for a changed log."""
        start = self.position(file, byte)
        if start is None:
            raise RestoreError(
                f"The target asks for {drawable(file)}, which is not replayed. Nothing more was sent.",
                "Somebody has changed the channel on the target: try again (r).",
            )
        part = self.plan.parts[start[0]]
        with opened(Path(part.path), part.name) as log:
            yield from self._beginning(log, byte)
        current = start[0]
        for number, log, begin, event, _ in self._events():
            if not event:
                yield event
                continue
            if (number, begin) < start:
                continue
            if number != current:
                current = number
                yield from self._beginning(log, START)
            if (number, begin + len(event)) > self.sent:
                self.sent = (number, begin + len(event))
            yield event
        self.finished = True

    def _events(self) -> Iterator[tuple[int, OpenLog, int, bytes, Sieve]]:
        """Each event that is sent: its part, that part's log, where it begins as it is sent, and itself.

        Between them, now and then, an empty one: where much is passed over, the receiver must hear of us.
        """
        sieve = Sieve(wanted(replace(self.plan, gtids=Gtids.KEPT)))
        before = transactions = passed = 0
        for number, part in enumerate(self.plan.parts):
            with opened(Path(part.path), part.name) as log:
                sieve.begin_log(log)
                at = part.begin if number == 0 else START + len(self._format(log, middle=False))
                for event in log.events(part.begin, part.end):
                    try:
                        ended, sent = sieve.take(event)
                    except decoding.ERRORS:
                        raise malformed(log.name, event.position, f"an event of kind {event.kind}") from None
                    passed += 1 + (event.end - event.position) // _PAGE
                    if passed > _PASSED:
                        passed = 0
                        yield number, log, at, b"", sieve
                    for one in sent:
                        made = self._made(log, one, at, transactions + 1)
                        yield number, log, at, made, sieve
                        at += len(made)
                    if ended and sieve.fate in (Fate.REPLAYED, Fate.PART):
                        transactions += 1
                        last = transactions == self.plan.transactions
                        done = before + event.end - part.begin
                        self._mark((number, at), (done, transactions, sieve.grouping.micros, event.end), last=last)
            before += part.end - part.begin

    def _mark(self, key: Position, mark: Mark, *, last: bool) -> None:
        """Memory stays flat: one for each stretch of log, and one for the end."""
        if self._keys and (key <= self._keys[-1] or (mark[0] - self._marks[-1][0] < _SPACING and not last)):
            return
        self._keys.append(key)
        self._marks.append(mark)

    # -- events ---------------------------------------------------------------------------------------------

    def _made(self, log: OpenLog, sent: Sent, at: int, number: int) -> bytes:
        if isinstance(sent, Event):
            time, kind, flags, body = sent.time, sent.kind, sent.flags, sent.body
            if not sent.whole:
                body = memoryview(b"".join(log.pieces(sent.position, sent.end)))[HEADER : _end(log)]
        else:
            time, kind, _, _, _, flags = _header.unpack_from(sent)
            body = memoryview(sent)[HEADER : _end(log)]
        if kind == _GTID:
            kind, body = _ANONYMOUS, memoryview(untold(body))
        elif kind == _TAGGED:
            kind, body = _ANONYMOUS, memoryview(untold_tagged(body))
        elif kind == _MARIA_GTID:
            body = memoryview(_numbered(number, self._domain) + bytes(body[12:]))
        return self._event(time, kind, at, flags, body)

    def _event(self, time: int, kind: int, at: int | None, flags: int, body: bytes | memoryview) -> bytes:
        """`at`: where it begins; None for one that is in no log."""
        length = HEADER + len(body) + _TAIL
        end = 0 if at is None else (at + length) & 0xFFFFFFFF
        plain = _header.pack(time, kind, self._server_id, length, end, flags) + body
        return plain + crc32(plain).to_bytes(_TAIL, "little")

    def _beginning(self, log: OpenLog, byte: int) -> Iterator[bytes]:
        """What comes before a log's events: where they are, and how they are to be read."""
        where = byte.to_bytes(8, "little") + log.name.encode()
        yield self._event(0, Kind.ROTATE, None, ARTIFICIAL, where)
        yield self._format(log, middle=byte != START)

    def _format(self, log: OpenLog, *, middle: bool) -> bytes:
        """The log's own format description; in the middle of a log it must not look like a server's start."""
        raw = b"".join(log.pieces(START, log.format.end))
        time, kind, _, _, _, flags = _header.unpack_from(raw)
        body = bytearray(raw[HEADER:-_TAIL])  # its checksum is there even where events have none
        body[-1] = 1  # CRC-32
        if middle:
            body[52:56] = bytes(4)  # when the server was started: else temporary tables would be dropped
        return self._event(time, kind, None if middle else START, flags & ~IN_USE, bytes(body))


def _end(log: OpenLog) -> int | None:
    return -_TAIL if log.format.checksums else None
