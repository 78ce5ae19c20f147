"""Turns "up to 14:05" or "just before this transaction" into the exact byte at which a replay ends.

A stop lies between two transactions, always. Times are those of commits, and where a log has only seconds that a
session can set (MariaDB, MySQL before 8.0), what does not fit together is said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Final

from engines.errors import Refused, RestoreError
from engines.mysql.binlogs.chain import Chain, Link
from engines.mysql.binlogs.gtids import GtidSet, MariaGtid, MariaPosition, gtid_text, parse_gtid
from engines.mysql.binlogs.logs import name_parts
from engines.mysql.binlogs.transactions import Touched, Transaction, transactions
from engines.text import count, drawable, stamp

_LOOKED_AHEAD: Final = 20  # transactions after one whose time can't be true
_FEWEST: Final = 3  # of them are enough near the end of the logs
_BEYOND_DOUBT: Final = timedelta(minutes=1)
_SECOND: Final = timedelta(seconds=1)


class StopKind(StrEnum):
    END = "end"  # everything that the logs prove
    TIME = "time"  # everything committed at or before it
    POSITION = "position"
    GTID = "gtid"  # everything before this transaction


@dataclass(frozen=True, slots=True)
class StopPoint:
    """How far to replay, and which transactions to leave out on the way."""

    kind: StopKind
    moment: datetime | None = None
    file: str = ""
    position: int = 0  # byte in `file`
    gtid: str = ""
    exclude: tuple[str, ...] = ()  # FILE:POSITION of a transaction's first byte, or its GTID


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A transaction that is left out although later ones are replayed."""

    transaction: Transaction
    later: int  # transactions after it that touch the same tables
    first_later: Transaction | None


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where exactly a replay ends."""

    file: str
    position: int  # byte: the replay ends before the event that begins here
    kept: Transaction | None  # the last one replayed; None: nothing is
    left_out: Transaction | None  # the first one that is not; None: the logs have no more
    transactions: int  # replayed, exclusions not counted
    excluded: tuple[Exclusion, ...] = ()
    notes: tuple[str, ...] = ()  # what the operator has to know about this stop
    complete: bool = True  # False: it can't be proven that nothing before the stop is missing

    @property
    def at(self) -> datetime | None:
        """Commit time of the last transaction that is replayed."""
        return self.kept.at if self.kept else None


def stop_point(kind: str, value: str = "", exclude: Sequence[str] = ()) -> StopPoint:
    """From words: end; time and an ISO time with its zone; position and FILE:POSITION; gtid and a GTID. Refuses."""
    excluded = tuple(exclude)
    try:
        match StopKind(kind):
            case StopKind.END:
                return StopPoint(StopKind.END, exclude=excluded)
            case StopKind.TIME:
                return StopPoint(StopKind.TIME, _aware(datetime.fromisoformat(value)), exclude=excluded)
            case StopKind.POSITION:
                file, position = _place(value)
                return StopPoint(StopKind.POSITION, file=file, position=position, exclude=excluded)
            case StopKind.GTID:
                parse_gtid(value)
                return StopPoint(StopKind.GTID, gtid=value.strip(), exclude=excluded)
    except ValueError:
        raise Refused(
            f"{drawable(value)!r} is no {drawable(kind)} to stop at. Nothing was changed.",
            "Write a time as 2026-11-22T20:04:11Z, a position as binlog.000123:4567.",
        ) from None


def resolve(
    chain: Chain,
    until: StopPoint,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> Resolved:
    """The exact stop. Refuses a time without zone, a position inside a transaction, and what the chain has not."""
    if not chain.links:
        why = str(chain.problems[0]) if chain.problems else "there are no logs"
        hint = chain.problems[0].hint if chain.problems else "Fetch the logs."
        raise Refused(f"Nothing can be replayed: {why}. Nothing was changed.", hint)
    reading = _Reading(chain, progress, stop)
    match until.kind:
        case StopKind.END:
            found = _end(chain, reading)
        case StopKind.TIME:
            if until.moment is None:
                raise ValueError("a stop at a time needs the time")
            found = _time(chain, reading, _aware(until.moment))
        case StopKind.POSITION:
            found = _position(chain, reading, until.file, until.position)
        case StopKind.GTID:
            found = _before_gtid(chain, reading, until.gtid)
    if until.exclude:
        found = _excluded(chain, reading, found, until.exclude)
    if found.kept is None:
        found = _noted(found, "no transaction is replayed: the dump has everything up to this stop, or is later")
    if not found.complete and chain.problems:
        found = _noted(found, f"what follows can't be proven: {chain.problems[0]}")
    return found


@dataclass(frozen=True, slots=True)
class _Reading:
    """The chain's transactions, from any link on, without what the dump has already."""

    chain: Chain
    progress: Callable[[int, int], None]
    stop: Callable[[], bool]

    def of(self, links: Iterable[Link]) -> Iterator[Transaction]:
        for one in transactions(links, progress=self.progress, stop=self.stop):
            if not self.has_already(one):
                yield one

    def has_already(self, one: Transaction) -> bool:
        already = self.chain.already
        if already is None or one.gtid is None:
            return False
        gtid = parse_gtid(one.gtid)
        match already, gtid:
            case MariaPosition(), MariaGtid():
                return already.has(gtid)
            case GtidSet(), (source, number):
                return already.has(source, number)
        return False

    def last(self, links: Sequence[Link]) -> Transaction | None:
        """The last transaction of these links, looked for from behind."""
        for link in reversed(links):
            if link.transactions:
                newest = deque(self.of((link,)), maxlen=1)
                if newest:
                    return newest[0]
        return None

    def count(self, links: Sequence[Link]) -> int:
        """How many there are to replay. Only where the dump has some already does it take reading."""
        if not self.chain.already:
            return sum(link.transactions for link in links)
        return sum(1 for _ in self.of(links))


def _end(chain: Chain, reading: _Reading) -> Resolved:
    last = chain.links[-1]
    return Resolved(
        last.log.name,
        last.end,
        reading.last(chain.links),
        None,
        reading.count(chain.links),
        complete=not chain.problems,
    )


def _time(chain: Chain, reading: _Reading, moment: datetime) -> Resolved:
    first = 0
    while first < len(chain.links) - 1 and _all_by(chain.links[first], moment):
        first += 1
    skipped = chain.links[:first]
    kept: Transaction | None = None
    left_out: Transaction | None = None
    number = 0
    highest = max((link.log.last_at for link in skipped if link.log.last_at), default=None)
    ahead: list[Transaction] = []
    stream = _Peeking(reading.of(chain.links[first:]))
    for one in stream:
        if one.at > moment:
            if not _impossible(one, highest, stream.next(_LOOKED_AHEAD)):
                left_out = one
                break
            ahead.append(one)
        elif highest is None or one.at > highest:
            highest = one.at
        kept, number = one, number + 1
    kept = kept or reading.last(skipped)
    number += reading.count(skipped)
    notes = [_ahead_note(ahead)] if ahead else []
    if left_out is None:
        last = chain.links[-1]
        reach = f"the last transaction in the logs was committed at {stamp(kept.at)}" if kept else "they are empty"
        notes.append(f"the logs do not go as far as {stamp(moment)}: {reach}")
        # A log that was closed later proves that nothing else was committed up to then.
        proven = last.log.closed_at is not None and last.log.closed_at >= moment and not chain.problems
        return Resolved(last.log.name, last.end, kept, None, number, notes=tuple(notes), complete=proven)
    notes.extend(_behind(chain, stream, left_out, moment))
    if kept and not kept.precise and kept.at + _SECOND > moment:
        notes.append("this log has whole seconds only: everything of the stop's second is replayed")
    return Resolved(left_out.file, left_out.begin, kept, left_out, number, notes=tuple(notes))


def _all_by(link: Link, moment: datetime) -> bool:
    return link.log.latest is None or link.log.latest <= moment


class _Peeking:
    """An iterator that lets look at what comes next."""

    def __init__(self, source: Iterator[Transaction]) -> None:
        self._source = source
        self._seen: deque[Transaction] = deque()

    def __iter__(self) -> Iterator[Transaction]:
        return self

    def __next__(self) -> Transaction:
        return self._seen.popleft() if self._seen else next(self._source)

    def next(self, number: int) -> tuple[Transaction, ...]:
        self._seen.extend(islice(self._source, max(0, number - len(self._seen))))
        return tuple(islice(self._seen, number))


def _impossible(one: Transaction, highest: datetime | None, following: Sequence[Transaction]) -> bool:
    """Can't its time be true? Then its session had set it, and it is no reason to stop.

    Only where there is no doubt: the log goes on after it as before it, and all of that is at least a minute
    earlier. A wrong yes would replay what was to be left out; a wrong no stops too early, and is said.
    """
    if one.precise or len(following) < _FEWEST:
        return False
    times = [later.at for later in following]
    return max(times) <= one.at - _BEYOND_DOUBT and (highest is None or min(times) >= highest - _BEYOND_DOUBT)


def _ahead_note(ahead: Sequence[Transaction]) -> str:
    return (
        f"{count(len(ahead))} replayed transactions carry a time after the stop that their sessions had set "
        f"(SET TIMESTAMP): the first is {ahead[0].name}"
    )


def _behind(chain: Chain, rest: Iterator[Transaction], left_out: Transaction, moment: datetime) -> Iterator[str]:
    """What comes after the stop and carries a time before it."""
    names = [link.log.name for link in chain.links]
    if all(
        link.log.earliest is None or link.log.earliest > moment for link in chain.links[names.index(left_out.file) :]
    ):
        return
    earlier = 0
    last: Transaction | None = None
    for one in rest:
        if one.at <= moment:
            earlier, last = earlier + 1, one
    if last is not None:
        yield (
            f"{count(earlier)} transactions after the stop carry a time at or before it, the last one at "
            f"{last.file}:{last.begin}: clocks or SET TIMESTAMP. They are not replayed; to have them, stop by position"
        )


def _position(chain: Chain, reading: _Reading, file: str, position: int) -> Resolved:
    index = _link_of(chain, file)
    link = chain.links[index]
    if index == 0 and position < link.begin and position > 4:
        raise Refused(
            f"{drawable(file)}:{position} lies before the dump, which begins at {link.begin}. Nothing was changed.",
            "Choose a later stop, or an older dump.",
        )
    if position > link.end:
        raise Refused(
            f"{drawable(file)} is proven up to byte {link.end}, not to {position}. Nothing was changed.",
            str(chain.problems[0].hint) if chain.problems else "Fetch the log again.",
        )
    kept: Transaction | None = None
    left_out: Transaction | None = None
    number = 0
    for one in reading.of((link,)):
        if one.begin >= position:
            left_out = one
            break
        if one.end > position:
            raise Refused(
                f"{drawable(file)}:{position} is inside a transaction. Nothing was changed.",
                f"Stop before it, at {one.file}:{one.begin}, or after it, at {one.file}:{one.end}.",
            )
        kept, number = one, number + 1
    earlier = chain.links[:index]
    at = max(link.begin, position)
    return Resolved(
        link.log.name,
        at if left_out is None else min(at, left_out.begin),
        kept or reading.last(earlier),
        left_out or _first(reading, chain.links[index + 1 :]),
        number + reading.count(earlier),
    )


def _before_gtid(chain: Chain, reading: _Reading, gtid: str) -> Resolved:
    index, one = _find(chain, reading, gtid)
    return _position(chain, reading, chain.links[index].log.name, one.begin)


def _find(chain: Chain, reading: _Reading, name: str) -> tuple[int, Transaction]:
    """The transaction of this GTID or FILE:POSITION, and its link. Refuses."""
    if name_parts(name.rpartition(":")[0]):
        file, position = _place(name)
        index = _link_of(chain, file)
        for one in reading.of((chain.links[index],)):
            if one.begin == position:
                return index, one
        raise Refused(
            f"No transaction begins at {drawable(name)}. Nothing was changed.",
            "Take the position from the list of transactions.",
        )
    gtid = parse_gtid(name)
    written = str(gtid) if isinstance(gtid, MariaGtid) else gtid_text(*gtid)
    for index, link in enumerate(chain.links):
        if not isinstance(gtid, MariaGtid) and not link.log.gtids.has(*gtid):
            continue
        if isinstance(gtid, MariaGtid) and not _may_hold(link, gtid):
            continue
        for one in reading.of((link,)):
            if one.gtid == written:
                return index, one
    raise Refused(
        f"The logs after the dump have no transaction {drawable(written)}. Nothing was changed.",
        "Take the GTID from the list of transactions; it may be in the dump already.",
    )


def _may_hold(link: Link, gtid: MariaGtid) -> bool:
    before = {(one.domain, one.server): one.sequence for one in link.log.previous_list or ()}
    after = {(one.domain, one.server): one.sequence for one in link.log.last_list}
    key = (gtid.domain, gtid.server)
    return before.get(key, 0) < gtid.sequence <= after.get(key, 0)


def _excluded(chain: Chain, reading: _Reading, found: Resolved, names: Sequence[str]) -> Resolved:
    """The same stop without these transactions, each with what comes after it on the same tables."""
    wanted = {(one.file, one.begin): one for _, one in (_find(chain, reading, name) for name in names)}
    last = _link_of(chain, found.file)
    first = min(_link_of(chain, file) for file, _ in wanted)
    order = {link.log.name: index for index, link in enumerate(chain.links)}
    end = (order[found.file], found.position)
    for one in wanted.values():
        if (order[one.file], one.begin) >= end:
            raise Refused(
                f"{drawable(one.name)} lies after the stop: it is not replayed anyway. Nothing was changed.",
                "Take it off the list of exclusions, or choose a later stop.",
            )
    left: dict[tuple[str, int], Exclusion] = {}
    for one in reading.of(chain.links[first : last + 1]):
        if (order[one.file], one.begin) >= end:
            break
        if (one.file, one.begin) in wanted:
            left[one.file, one.begin] = Exclusion(one, 0, None)
            continue
        for place, exclusion in left.items():
            if _share(exclusion.transaction.tables, one.tables):
                first_later = exclusion.first_later or one
                left[place] = Exclusion(exclusion.transaction, exclusion.later + 1, first_later)
    excluded = tuple(left.values())
    kept = found.kept
    notes = [*found.notes]
    for exclusion in excluded:
        if exclusion.first_later is not None:
            notes.append(
                f"{count(exclusion.later)} later transactions touch the same tables as {exclusion.transaction.name}, "
                f"which is left out; the first is {exclusion.first_later.name}. They may fail, or do something else"
            )
        if not exclusion.transaction.tables:
            notes.append(f"the log does not tell which tables {exclusion.transaction.name} touches")
    return replace(
        found, kept=kept, transactions=found.transactions - len(excluded), excluded=excluded, notes=tuple(notes)
    )


def _share(one: Sequence[Touched], two: Sequence[Touched]) -> bool:
    """Do these touch a table, or a schema with one, in common?"""
    return any(
        mine.schema == other.schema and (mine.table == other.table or not mine.table or not other.table)
        for mine in one
        for other in two
    )


def _link_of(chain: Chain, file: str) -> int:
    for index, link in enumerate(chain.links):
        if link.log.name == file:
            return index
    first, last = chain.links[0].log.name, chain.links[-1].log.name
    raise Refused(
        f"{drawable(file)} is not among the logs that follow the dump, {first} to {last}. Nothing was changed.",
        chain.problems[0].hint if chain.problems else "Choose a stop inside them, or another dump.",
    )


def _first(reading: _Reading, links: Sequence[Link]) -> Transaction | None:
    return next((one for link in links if link.transactions for one in reading.of((link,))), None)


def _place(value: str) -> tuple[str, int]:
    file, _, position = value.strip().rpartition(":")
    if not file or not position.isascii() or not position.isdigit():
        raise RestoreError(
            f"{drawable(value)!r} is no FILE:POSITION. Nothing was changed.", "As in binlog.000123:4567."
        )
    return file, int(position)


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise Refused(
            "A time without a zone means another moment on every machine. Nothing was changed.",
            "Write it with Z for UTC, or with its offset, as in 2026-11-22T21:04:11+01:00.",
        )
    return moment.astimezone(UTC)


def _noted(found: Resolved, note: str) -> Resolved:
    return replace(found, notes=(*found.notes, note))
