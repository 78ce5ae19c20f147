"""Arithmetic on global transaction ids: MySQL's sets with tags, MariaDB's positions by domain.

Text to value and back, and what is in, over or missing. Reading them out of events is `decoding`'s work.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from engines.errors import RestoreError
from engines.text import drawable

Source = tuple[str, str]  # UUID in lower case with dashes, and tag ("" where there is none)
Interval = tuple[int, int]  # first and last, both inside

LARGEST = (1 << 63) - 2  # Source: MySQL manual, "GTID Format and Storage"
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")
_TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}")
_INTERVAL = re.compile(r"([0-9]{1,19})(?:-([0-9]{1,19}))?")
_MARIADB = re.compile(r"([0-9]{1,10})-([0-9]{1,10})-([0-9]{1,20})")


@dataclass(frozen=True, slots=True)
class GtidSet:
    """Transactions by source UUID and tag, as MySQL counts them.

    The intervals of a source are in order and neither overlap nor touch; no source is without one. Made by
    `parse` or `of`, which see to that. Source: MySQL manual, "GTID Sets".
    """

    sources: Mapping[Source, tuple[Interval, ...]] = field(default_factory=dict)

    @staticmethod
    def of(runs: Iterable[tuple[Source, int, int]]) -> GtidSet:
        """The set of these runs (source, first, last), in any order; they may overlap."""
        found: dict[Source, list[Interval]] = {}
        for source, first, last in runs:
            found.setdefault(source, []).append((first, last))
        return GtidSet({source: _merged(found[source]) for source in sorted(found)})

    @staticmethod
    def parse(text: str) -> GtidSet:
        """The set that this text names, as @@gtid_executed or a dump has it. Raises RestoreError."""
        return GtidSet.of(_runs(text))

    def runs(self) -> Iterator[tuple[Source, int, int]]:
        for source, intervals in self.sources.items():
            for first, last in intervals:
                yield source, first, last

    def __or__(self, other: GtidSet) -> GtidSet:
        if not other.sources:
            return self
        return GtidSet.of((*self.runs(), *other.runs()))

    def __sub__(self, other: GtidSet) -> GtidSet:
        left = {source: _without(mine, other.sources.get(source, ())) for source, mine in self.sources.items()}
        return GtidSet({source: intervals for source, intervals in left.items() if intervals})

    def __and__(self, other: GtidSet) -> GtidSet:
        return self - (self - other)

    def __le__(self, other: GtidSet) -> bool:
        """Is everything of this set in the other one?"""
        return not (self - other).sources

    def __bool__(self) -> bool:
        return bool(self.sources)

    def __len__(self) -> int:
        """Transactions in it."""
        return sum(last - first + 1 for _, first, last in self.runs())

    def __hash__(self) -> int:
        return hash(tuple(self.sources.items()))

    def has(self, source: Source, number: int) -> bool:
        """Is this transaction in the set? Cheap enough to ask for every transaction of a log."""
        intervals = self.sources.get(source)
        return intervals is not None and any(first <= number <= last for first, last in intervals)

    def __str__(self) -> str:
        """As the server writes it: `uuid:1-5:7:tag:1-3,uuid2:1`."""
        by_uuid: dict[str, list[str]] = {}
        for (uuid, tag), intervals in sorted(self.sources.items()):
            parts = by_uuid.setdefault(uuid, [uuid])
            parts.extend([tag] if tag else [])
            parts.extend(str(first) if first == last else f"{first}-{last}" for first, last in intervals)
        return ",".join(":".join(parts) for parts in by_uuid.values())


@dataclass(frozen=True, slots=True)
class MariaGtid:
    """One transaction as MariaDB names it. Source: MariaDB documentation, "Global Transaction ID"."""

    domain: int
    server: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.domain}-{self.server}-{self.sequence}"


@dataclass(frozen=True, slots=True)
class MariaPosition:
    """The last transaction of each domain: gtid_slave_pos, or what a log's GTID list comes to."""

    domains: Mapping[int, MariaGtid] = field(default_factory=dict)

    @staticmethod
    def parse(text: str) -> MariaPosition:
        """The position in `0-11-16,1-2-5`. Raises RestoreError."""
        found: dict[int, MariaGtid] = {}
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            numbers = _MARIADB.fullmatch(part)
            if numbers is None or int(numbers[1]) in found:
                raise _unreadable(text, "MariaDB writes them as 0-11-16, one for each domain.")
            gtid = MariaGtid(*map(int, numbers.groups()))
            found[gtid.domain] = gtid
        return MariaPosition(dict(sorted(found.items())))

    def has(self, gtid: MariaGtid) -> bool:
        """Was this transaction committed at or before the position? Sequence numbers count within a domain."""
        last = self.domains.get(gtid.domain)
        return last is not None and gtid.sequence <= last.sequence

    def __hash__(self) -> int:
        return hash(tuple(self.domains.items()))

    def __bool__(self) -> bool:
        return bool(self.domains)

    def __str__(self) -> str:
        return ",".join(map(str, self.domains.values()))


def parse_gtid(text: str) -> tuple[Source, int] | MariaGtid:
    """One transaction's id, MySQL's or MariaDB's. Raises RestoreError."""
    stripped = text.strip()
    if numbers := _MARIADB.fullmatch(stripped):
        return MariaGtid(*map(int, numbers.groups()))
    runs = list(_runs(stripped))
    if len(runs) != 1 or runs[0][1] != runs[0][2]:
        raise _unreadable(text, "One transaction is uuid:number on MySQL, domain-server-sequence on MariaDB.")
    return runs[0][0], runs[0][1]


def gtid_text(source: Source, number: int) -> str:
    uuid, tag = source
    return f"{uuid}:{tag}:{number}" if tag else f"{uuid}:{number}"


def _runs(text: str) -> Iterator[tuple[Source, int, int]]:
    hint = "MySQL writes a set as uuid:1-5:7,uuid:tag:1-3."
    for part in filter(None, (piece.strip() for piece in text.lower().split(","))):
        uuid, *rest = (piece.strip() for piece in part.split(":"))
        if not _UUID.fullmatch(uuid) or not rest:
            raise _unreadable(text, hint)
        digits, tag, counted = uuid.replace("-", ""), "", False
        source = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        for piece in rest:
            if numbers := _INTERVAL.fullmatch(piece):
                first = int(numbers[1])
                last = int(numbers[2] or first)
                if not 1 <= first <= LARGEST or last > LARGEST:
                    raise _unreadable(text, hint)
                counted = True
                if first <= last:  # the server takes 5-3 for nothing
                    yield (source, tag), first, last
            elif _TAG.fullmatch(piece):
                tag, counted = piece, False
            else:
                raise _unreadable(text, hint)
        if not counted:
            raise _unreadable(text, hint)


def _merged(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    result: list[Interval] = []
    for first, last in sorted(intervals):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return tuple(result)


def _without(mine: tuple[Interval, ...], theirs: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """What of `mine` is not in `theirs`; both in order, so that one pass is enough."""
    result: list[Interval] = []
    index = 0
    for first, last in mine:
        begin = first
        while index < len(theirs) and theirs[index][1] < begin:
            index += 1
        at = index
        while at < len(theirs) and theirs[at][0] <= last:
            if theirs[at][0] > begin:
                result.append((begin, theirs[at][0] - 1))
            begin = max(begin, theirs[at][1] + 1)
            at += 1
        if begin <= last:
            result.append((begin, last))
    return tuple(result)


def _unreadable(text: str, hint: str) -> RestoreError:
    shown = drawable(text if len(text) <= 200 else f"{text[:200]}…")
    return RestoreError(f"{shown!r} can't be read as GTIDs. Nothing was changed.", hint)
