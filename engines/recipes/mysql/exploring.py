"""Looks into the binary logs that a session has staged and proven: around a moment, or for what did the damage.

What is found is drawn for whoever looks and kept nowhere: statements and names stay out of journal and record. Which
log and which byte they are is all that a restore point takes over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from engines.errors import Refused
from engines.hooks import Progress, Stop, never, unmeasured
from engines.mysql.binlogs import chain as chains
from engines.mysql.binlogs import moments, transactions
from engines.mysql.binlogs.chain import Chain, Coordinates, Link
from engines.mysql.binlogs.gtids import GtidSet, MariaGtid, MariaPosition, parse_gtid
from engines.mysql.binlogs.logs import LogFile, logs_in, name_parts, read_logs
from engines.mysql.binlogs.moments import Resolved
from engines.mysql.binlogs.transactions import DANGEROUS, Touched, Transaction
from engines.recipes.mysql.until import Until
from engines.session.plan import PlanKind
from engines.session.state import SessionState, Status
from engines.text import count, drawable

STAGED: Final = "stage-logs"  # the step that stages and proves the logs
MOST: Final = 1000  # transactions that are listed at once; of a search, half of them from before the stop
_EVERY: Final = MOST  # transactions between two marks

__all__ = [
    "DANGEROUS",
    "Coordinates",
    "Fate",
    "Opened",
    "Row",
    "Span",
    "Staged",
    "around",
    "centre_of",
    "facts_of",
    "staged",
]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time for which the logs have everything; between two of them is a gap."""

    start: datetime
    end: datetime
    broken: str = ""  # why it ends there, where the logs do not simply end


@dataclass(frozen=True, slots=True)
class Staged:
    """Where the session's logs are, as the step that staged them found out. In the journal under `logs`."""

    folder: str
    start: Coordinates  # of the dump
    spans: tuple[Span, ...] = ()
    reaches: datetime | None = None  # commit time of the last transaction that is replayed


def facts_of(
    folder: Path, start: Coordinates, logs: Iterable[LogFile], resolved: Resolved | None = None
) -> dict[str, object]:
    """What the step that stages the logs journals for whoever looks into them later; before it can fail."""
    spans = tuple(Span(one.start, one.end, one.broken) for one in chains.coverage(logs))
    found = Staged(str(folder), start, spans, resolved.at if resolved else None)
    return {"logs": msgspec.to_builtins(found)}


def staged(state: SessionState) -> Staged | None:
    """The logs that were staged for the backup that is chosen now; None while there are none."""
    prepared = [known for known in state.steps if known.plan is PlanKind.PREPARE]
    newest = max((known.revision for known in prepared), default=0)
    for known in reversed(prepared):
        if state.plan is None or known.revision != newest or known.step.action != STAGED:
            continue
        if known.status is not Status.RUNNING and "logs" in known.facts:
            return msgspec.convert(known.facts["logs"], Staged)
    return None


class Fate(StrEnum):
    """What becomes of a transaction in the restore as it is chosen now."""

    REPLAYED = "replayed"
    DUMPED = "in the dump"
    LEFT_OUT = "left out"
    AFTER = "after the stop"
    UNKNOWN = "not known"  # the stop was not found in the logs


@dataclass(frozen=True, slots=True)
class Row:
    """One transaction, as an operator recognises it."""

    place: str  # FILE:POSITION of its first byte: stopping there leaves it out
    end: str  # FILE:POSITION behind it
    gtid: str  # empty: anonymous
    at: datetime  # of its commit, UTC
    precise: bool  # in microseconds by the server's clock; else in seconds that the session can set
    tables: tuple[Touched, ...]
    statements: tuple[str, ...]  # where the log has them
    more: int  # statements that are not among them
    size: int  # bytes of log
    fate: Fate
    unclear: str = ""  # why something of it could not be read


@dataclass(frozen=True, slots=True)
class _Mark:
    begin: int  # byte
    highest: datetime | None  # latest commit time of all before it in its log


@dataclass(frozen=True, slots=True)
class Opened:
    """A session's logs, read and proven once more, and where the replay ends in them."""

    chain: Chain
    stop: tuple[str, int] | None  # file and byte; None: it could not be found
    excluded: frozenset[tuple[str, int]] = frozenset()
    trouble: str = ""  # why the stop could not be found, or what ends the logs
    # By log: every so many transactions where one begins, so that looking on need not read the log from its start.
    marks: dict[str, tuple[_Mark, ...]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def reach(self) -> datetime | None:
        """Commit time of the last transaction in the logs."""
        return self.chain.reach


def open_logs(found: Staged, until: Until, *, progress: Progress = unmeasured, stop: Stop = never) -> Opened:
    """Read the logs in their folder. Raises RestoreError where they are not there or follow no dump."""
    logs = read_logs(logs_in(Path(found.folder)), progress=progress, stop=stop)
    chain = chains.chain(logs, found.start, stop=stop)
    if not chain.links:
        problem = chain.problems[0] if chain.problems else None
        raise Refused(
            f"There is nothing to look into: {problem or 'the folder has no logs'}. Nothing was changed.",
            problem.hint if problem else "Prepare the restore again (choose the dump once more on page 1).",
        )
    trouble = str(chain.problems[0]) if chain.problems else ""
    wanted = moments.stop_point(until.kind, until.value, until.exclude)
    try:
        resolved = moments.resolve(chain, wanted, stop=stop)
    except Refused as error:
        return Opened(chain, None, trouble=error.message)
    places = frozenset((one.transaction.file, one.transaction.begin) for one in resolved.excluded)
    return Opened(chain, (resolved.file, resolved.position), places, trouble)


def around(
    opened: Opened,
    centre: datetime | str | None = None,
    before: int = 50,
    after: int = 50,
    *,
    progress: Progress = unmeasured,
    stop: Stop = never,
) -> tuple[Row, ...]:
    """Transactions around a moment, FILE:POSITION or GTID, in the logs' order; around the stop where none is named."""
    place = centre if isinstance(centre, datetime) else _place(opened, centre)
    chain = _from_near(opened, place, progress, stop)
    return _rows(opened, transactions.around(chain, place, before, after, progress=progress, stop=stop))


def _from_near(opened: Opened, place: datetime | tuple[str, int], progress: Progress, stop: Stop) -> Chain:
    """The chain from shortly before this place on: at least as many transactions before it as are ever shown."""
    links = opened.chain.links
    index = next((number for number, link in enumerate(links) if _holds(link, place)), len(links) - 1)
    link = links[index]
    marks = opened.marks.get(link.log.name)
    if marks is None:
        marks = opened.marks[link.log.name] = tuple(_marked(link, progress, stop))
    passed = [mark for mark in marks if _is_before(mark, place)]
    if len(passed) < 2:
        return opened.chain
    trimmed = replace(link, begin=passed[-2].begin, transactions=link.transactions - _EVERY * (len(passed) - 2))
    return replace(opened.chain, links=(trimmed, *links[index + 1 :]))


def _holds(link: Link, place: datetime | tuple[str, int]) -> bool:
    if isinstance(place, datetime):
        return link.log.latest is not None and link.log.latest > place
    return link.log.name == place[0]


def _is_before(mark: _Mark, place: datetime | tuple[str, int]) -> bool:
    if isinstance(place, datetime):
        return mark.highest is None or mark.highest <= place
    return mark.begin <= place[1]


def _marked(link: Link, progress: Progress, stop: Stop) -> Iterator[_Mark]:
    highest: datetime | None = None
    for number, one in enumerate(transactions.transactions((link,), progress=progress, stop=stop)):
        if not number % _EVERY:
            yield _Mark(one.begin, highest)
        highest = one.at if highest is None else max(highest, one.at)


def search(
    opened: Opened,
    words: Sequence[str] = DANGEROUS,
    table: str = "",
    *,
    progress: Progress = unmeasured,
    stop: Stop = never,
) -> tuple[tuple[Row, ...], bool]:
    """Transactions that do one of these things, to this table where one is named, and whether there are more.

    Where there are too many, those nearest to the stop are kept: MOST in all.
    """
    found = transactions.search(opened.chain, words or DANGEROUS, table or None, progress=progress, stop=stop)
    early: deque[Transaction] = deque(maxlen=MOST // 2)
    late: list[Transaction] = []
    dropped = False
    for one in found:
        if _after(opened, one):
            late = [one, *islice(found, MOST // 2)]
            break
        dropped |= len(early) == MOST // 2
        early.append(one)
    more = dropped or len(late) > MOST // 2
    return _rows(opened, (*early, *late[: MOST // 2])), more


def centre_of(rows: Sequence[Row], centre: datetime | str | None) -> str:
    """The place of the row that was asked for: the first that is not replayed, where nothing was named.

    The last one where all come before it; empty where there are none.
    """
    return next((row.place for row in rows if _reaches(row, centre)), rows[-1].place if rows else "")


def _reaches(row: Row, centre: datetime | str | None) -> bool:
    if centre is None:
        return row.fate is Fate.AFTER
    if isinstance(centre, datetime):
        return row.at > centre
    if row.gtid == centre or row.place == centre:
        return True
    (file, _, begin), (wanted, _, position) = row.place.rpartition(":"), centre.rpartition(":")
    return file == wanted and position.isdigit() and int(begin) >= int(position)


def immovable(row: Row) -> str:
    """Why a replay can neither stop before this one nor leave it out; empty where it can."""
    if row.fate is Fate.DUMPED:
        return "The dump has this transaction already, so it can't be left out. Choose an older dump."
    return ""


def did(row: Row) -> str:
    """What it did, in a few words: `shop.users -7, shop.log +1`."""
    told = ", ".join(f"{table} {_counted(table)}".strip() for table in row.tables[:4])
    more = f" and {len(row.tables) - 4} more" if len(row.tables) > 4 else ""
    return drawable(told + more) or ("unclear" if row.unclear else "")


def in_words(table: Touched) -> str:
    """`shop.users: 7 deleted, 1 inserted`."""
    named = (("inserted", table.inserted), ("updated", table.updated), ("deleted", table.deleted))
    told = [f"{'some' if number is None else count(number)} {verb}" for verb, number in named if number != 0]
    return drawable(f"{table}: {', '.join(told)}" if told else str(table))


def to_json(row: Row) -> Mapping[str, object]:
    """A row for other programs. Rows that were not or can't be counted are null."""
    return {
        "position": row.place,
        "end": row.end,
        "gtid": row.gtid or None,
        "at": row.at.isoformat().replace("+00:00", "Z"),
        "precise": row.precise,
        "fate": str(row.fate),
        "tables": [msgspec.to_builtins(table) for table in row.tables],
        "statements": list(row.statements),
        "more_statements": row.more,
        "size": row.size,
    }


def _counted(table: Touched) -> str:
    signs = (("+", table.inserted), ("~", table.updated), ("-", table.deleted))
    return " ".join(f"{sign}{'?' if number is None else count(number)}" for sign, number in signs if number != 0)


def _place(opened: Opened, name: str | None) -> tuple[str, int]:
    """File and byte of a name. Raises Refused for one that the logs do not have."""
    if name is None:
        end = opened.chain.end
        return opened.stop or end or ("", 0)
    file, _, position = name.rpartition(":")
    names = [link.log.name for link in opened.chain.links]
    if file in names and position.isascii() and position.isdigit():
        return file, int(position)
    if name_parts(file) is not None:
        hint = f"The logs are {names[0]} to {names[-1]}."
        raise Refused(f"{drawable(name)} is not among the logs after the dump. Nothing was changed.", hint)
    found = moments.resolve(opened.chain, moments.stop_point("gtid", name))
    return found.file, found.position


def _rows(opened: Opened, found: Iterable[Transaction]) -> tuple[Row, ...]:
    return tuple(_row(opened, one) for one in found)


def _row(opened: Opened, one: Transaction) -> Row:
    return Row(
        place=f"{one.file}:{one.begin}",
        end=f"{one.file}:{one.end}",
        gtid=one.gtid or "",
        at=one.at,
        precise=one.precise,
        tables=one.tables,
        statements=one.statements,
        more=one.more,
        size=one.size,
        fate=_fate(opened, one),
        unclear=one.unclear,
    )


def _fate(opened: Opened, one: Transaction) -> Fate:
    if _in_dump(opened.chain, one):
        return Fate.DUMPED
    if (one.file, one.begin) in opened.excluded:
        return Fate.LEFT_OUT
    if opened.stop is None:
        return Fate.UNKNOWN
    return Fate.AFTER if _after(opened, one) else Fate.REPLAYED


def _after(opened: Opened, one: Transaction) -> bool:
    """Does it lie behind the stop?"""
    if opened.stop is None:
        return False
    order = [link.log.name for link in opened.chain.links]
    return (order.index(one.file), one.begin) >= (order.index(opened.stop[0]), opened.stop[1])


def _in_dump(chain: Chain, one: Transaction) -> bool:
    if chain.already is None or one.gtid is None:
        return False
    match chain.already, parse_gtid(one.gtid):
        case MariaPosition() as position, MariaGtid() as gtid:
            return position.has(gtid)
        case GtidSet() as gtids, (source, number):
            return gtids.has(source, number)
    return False
