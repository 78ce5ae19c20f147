"""The plan of a replay: from where to where, without which transactions, into which schema, and how.

It is made of a proven chain by reading it once more; nothing is executed. What can't be replayed exactly is refused
here, with file and byte.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from engines.errors import Refused
from engines.hooks import Progress, Stop, never, unmeasured
from engines.mysql.binlogs import decoding
from engines.mysql.binlogs.chain import Chain, Link
from engines.mysql.binlogs.events import malformed, opened
from engines.mysql.binlogs.gtids import GtidSet, MariaPosition
from engines.mysql.binlogs.logs import moment, stopped
from engines.mysql.binlogs.moments import Exclusion, Resolved, StopKind, StopPoint, resolve
from engines.mysql.binlogs.transactions import Touched
from engines.mysql.flavour import Flavour
from engines.mysql.replay.sieve import Fate, Sieve, Wanted
from engines.text import count, drawable

_NAMED: Final = 20  # transactions that a plan names of each kind
_ASKED_EVERY: Final = 20_000  # events


class Gtids(StrEnum):
    """Under which ids the target executes the transactions."""

    FRESH = "fresh"  # its own: works on every server, also one that has executed these
    KEPT = "kept"  # the logs': the target's executed set then tells how far the replay came


class NotStaged(Refused):
    """These logs can be replayed in place, or on a throwaway server, but not beside the live schema."""


@dataclass(frozen=True, slots=True)
class Part:
    """The stretch of one log that is replayed."""

    path: str
    name: str
    begin: int  # byte
    end: int  # byte


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A transaction that is left out on request although later ones are replayed."""

    name: str  # GTID, else FILE:POSITION
    file: str
    begin: int  # byte
    end: int
    at: datetime
    tables: tuple[str, ...]
    later: int  # transactions after it that touch the same tables


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """Everything that a replay does, before it is done. Times are UTC, positions bytes."""

    flavour: Flavour  # of the server that wrote the logs
    parts: tuple[Part, ...]
    source: str  # the schema in the logs
    schema: str  # the schema that it goes to
    gtids: Gtids
    binary_log: bool  # does the target log what is replayed?
    excluded: tuple[LeftOut, ...] = ()
    others: tuple[str, ...] = ()  # other schemas, whose changes are left out
    already: str = ""  # GTIDs in the dump, which are left out
    transactions: int = 0  # replayed
    foreign: int = 0  # left out: of other schemas
    server: int = 0  # left out: accounts, rights
    crossing: int = 0  # replayed in part, since they change other schemas too
    crossing_names: tuple[str, ...] = ()  # the first of them
    definitions: int = 0
    code: int = 0  # of the definitions: triggers, routines, views, events
    statements: int = 0  # changes that are logged as statements
    temporary: bool = False  # do they use temporary tables?
    anonymous: int = 0  # transactions without a GTID
    compressed: bool = False
    size: int = 0  # bytes of log
    largest: int = 0  # bytes that the target must take in one packet
    gtid_set: str = ""  # MySQL: of the replayed transactions
    first_at: datetime | None = None  # commit time of the first one
    reaches: datetime | None = None  # of the last one
    last: str = ""  # its name
    notes: tuple[str, ...] = ()
    complete: bool = True  # False: it can't be proven that the logs have everything up to the stop

    @property
    def staged(self) -> bool:
        return self.schema != self.source

    @property
    def start(self) -> tuple[str, int]:
        return self.parts[0].name, self.parts[0].begin

    @property
    def stop(self) -> tuple[str, int]:
        """Where the last transaction that is replayed ends, or the log does."""
        return self.parts[-1].name, self.parts[-1].end


def plan_replay(
    chain: Chain,
    until: StopPoint,
    *,
    source: str,
    schema: str | None = None,
    others: Collection[str] = (),
    gtids: Gtids = Gtids.FRESH,
    executed: str = "",
    binary_log: bool = True,
    progress: Progress = unmeasured,
    stop: Stop = never,
) -> ReplayPlan:
    """How the chain is replayed up to `until`, as far as it is about the schema `source`.

    `schema`: where it goes, if not to the schema of that name. `others`: the other schemas on the target, which
    nothing may reach. `executed`: the target's @@gtid_executed, asked for where GTIDs are kept. Raises Refused,
    NotStaged where only the other schema's name is in the way.
    """
    resolved = resolve(chain, until, progress=progress, stop=stop)
    if until.kind is StopKind.TIME and resolved.left_out is None and chain.problems:
        problem = chain.problems[0]
        raise Refused(
            f"The logs are proven up to {drawable(resolved.file)}:{resolved.position}, which is before the moment "
            f"that was chosen: {problem}. Nothing was changed.",
            problem.hint,
        )
    already = str(chain.already) if chain.already else ""
    excluded = tuple(map(_left_out, resolved.excluded))
    plan = ReplayPlan(
        flavour=_flavour(chain),
        parts=_parts(chain.links, resolved),
        source=source,
        schema=schema or source,
        gtids=gtids,
        binary_log=binary_log,
        excluded=excluded,
        already=already,
        notes=resolved.notes,
        complete=resolved.complete,
    )
    names = frozenset(others) - {source}
    while True:
        tally = _read(replace(plan, others=tuple(sorted(names))), chain, progress, stop)
        late = (tally.schemas & tally.dotted) - names - {source}
        if not late:
            break
        names |= late  # a statement named a schema before the logs showed that there is one of this name
    if tally.problem is not None:
        raise _refused(plan, *tally.problem)
    found = tally.told(replace(plan, others=tuple(sorted((names | tally.schemas) - {source}))))
    if gtids is Gtids.KEPT:
        _may_keep(found, executed)
    return replace(found, notes=(*found.notes, *_notes(found)))


def wanted(plan: ReplayPlan) -> Wanted:
    """What the sieve is told. One function, so that the replay decides as the plan did."""
    already: GtidSet | MariaPosition | None = None
    if plan.already:
        already = MariaPosition.parse(plan.already) if plan.flavour is Flavour.MARIADB else GtidSet.parse(plan.already)
    return Wanted(
        source=plan.source,
        known=frozenset(plan.others),
        staged=plan.staged,
        fresh=plan.gtids is Gtids.FRESH,
        excluded=frozenset((one.file, one.begin) for one in plan.excluded),
        already=already,
    )


def _flavour(chain: Chain) -> Flavour:
    version = chain.links[0].log.version
    if version is None:  # never: `chain` has no link without
        raise Refused(f"{chain.links[0].log.name} has no version. Nothing was changed.", "Fetch the log again.")
    return version.flavour


def _parts(links: Sequence[Link], resolved: Resolved) -> tuple[Part, ...]:
    parts: list[Part] = []
    for link in links:
        last = link.log.name == resolved.file
        end = max(link.begin, resolved.position) if last else link.end
        parts.append(Part(str(link.log.path), link.log.name, link.begin, end))
        if last:
            break
    return tuple(parts)


def _left_out(exclusion: Exclusion) -> LeftOut:
    one = exclusion.transaction
    tables = tuple(_name(touched) for touched in one.tables[:_NAMED])
    return LeftOut(one.name, one.file, one.begin, one.end, one.at, tables, exclusion.later)


def _name(touched: Touched) -> str:
    return drawable(str(touched))


@dataclass(slots=True)
class _Tally:
    """What one reading of the logs comes to."""

    transactions: int = 0
    fates: dict[Fate, int] = field(default_factory=lambda: dict.fromkeys(Fate, 0))
    crossing: list[str] = field(default_factory=list)
    definitions: int = 0
    code: int = 0
    statements: int = 0
    temporary: bool = False
    anonymous: int = 0
    compressed: bool = False
    largest: int = 0
    runs: list[tuple[tuple[str, str], int, int]] = field(default_factory=list)
    first_micros: int | None = None
    last_micros: int = 0
    last: str = ""
    schemas: set[str] = field(default_factory=set)
    dotted: set[str] = field(default_factory=set)
    problem: tuple[str, int, str, str] | None = None  # file, byte, name, why

    def take(self, sieve: Sieve, file: str) -> None:
        """A transaction has ended."""
        self.fates[sieve.fate] += 1
        self.schemas |= sieve.schemas
        self.dotted |= sieve.dotted
        if sieve.fate in (Fate.EXCLUDED, Fate.ALREADY):
            return
        done = sieve.grouping
        name = done.gtid_text or f"{file}:{done.begin}"
        if sieve.problem and self.problem is None:
            self.problem = (file, done.begin, name, sieve.problem)
        if sieve.fate not in (Fate.REPLAYED, Fate.PART):
            return
        self.transactions += 1
        if sieve.fate is Fate.PART and len(self.crossing) < _NAMED:
            self.crossing.append(name)
        self.definitions += sieve.definitions
        self.code += sieve.code
        self.statements += sieve.statements
        self.temporary |= sieve.temporary
        self.compressed |= done.compressed
        self.largest = max(self.largest, sieve.largest)
        if self.first_micros is None:
            self.first_micros = done.micros
        self.last_micros, self.last = done.micros, name
        match done.gtid:
            case None:
                self.anonymous += 1
            case decoding.MysqlGtid(source=source, number=number) if source is not None:
                if self.runs and self.runs[-1][0] == source and self.runs[-1][2] + 1 == number:
                    self.runs[-1] = (source, self.runs[-1][1], number)
                else:
                    self.runs.append((source, number, number))

    def told(self, plan: ReplayPlan) -> ReplayPlan:
        return replace(
            plan,
            transactions=self.transactions,
            foreign=self.fates[Fate.FOREIGN],
            server=self.fates[Fate.SERVER],
            crossing=self.fates[Fate.PART],
            crossing_names=tuple(self.crossing),
            definitions=self.definitions,
            code=self.code,
            statements=self.statements,
            temporary=self.temporary,
            anonymous=self.anonymous,
            compressed=self.compressed,
            size=sum(part.end - part.begin for part in plan.parts),
            largest=(self.largest + 2) // 3 * 4 * 78 // 76,  # as base64 in lines of 76
            gtid_set=str(GtidSet.of(self.runs)),
            first_at=None if self.first_micros is None else moment(self.first_micros),
            reaches=None if self.first_micros is None else moment(self.last_micros),
            last=self.last,
        )


def _read(plan: ReplayPlan, chain: Chain, progress: Progress, stop: Stop) -> _Tally:
    tally = _Tally()
    sieve = Sieve(wanted(plan))
    total = sum(part.end - part.begin for part in plan.parts)
    before = seen = 0
    for part in plan.parts:
        with opened(Path(part.path), part.name) as log:
            sieve.begin_log(log)
            for event in log.events(part.begin, part.end, verify=False):
                try:
                    ended, _ = sieve.take(event)
                except decoding.ERRORS:
                    raise malformed(log.name, event.position, f"an event of kind {event.kind}") from None
                if ended:
                    tally.take(sieve, part.name)
                seen += 1
                if not seen % _ASKED_EVERY:
                    progress(before + event.end - part.begin, total)
                    if stop():
                        raise stopped(f"{log.name} was read")
        if sieve.grouping.open:  # never of a proven chain: its links end between transactions
            raise Refused(
                f"{drawable(part.name)}: byte {part.end} is inside a transaction. Nothing was changed.",
                "Choose another stop.",
            )
        before += part.end - part.begin
    return tally


def _refused(plan: ReplayPlan, file: str, position: int, name: str, why: str) -> Refused:
    told = f"{drawable(file)}, byte {position} ({drawable(name)}): {why}. Nothing was changed."
    if plan.staged:
        return NotStaged(
            told, "Restore in place, or on a throwaway server; or leave this transaction out, as a deviation."
        )
    return Refused(told, "Stop before it, or leave this transaction out, as a deviation.")


def _may_keep(plan: ReplayPlan, executed: str) -> None:
    """Keeping the GTIDs on a server that has executed some of them would leave those out, without a word."""
    if plan.flavour is Flavour.MARIADB or not plan.anonymous:
        both = GtidSet.parse(plan.gtid_set) & GtidSet.parse(executed) if plan.gtid_set and executed else GtidSet()
        if not both:
            return
        why = f"the target has executed {count(len(both))} of these transactions: it would leave them out silently"
    else:
        why = f"{count(plan.anonymous)} of these transactions have no GTID"
    raise Refused(f"The GTIDs can't be kept: {why}. Nothing was changed.", "Replay them with new GTIDs.")


def _notes(plan: ReplayPlan) -> Iterator[str]:
    if plan.foreign:
        yield f"{count(plan.foreign)} transactions of other schemas are left out"
    if plan.server:
        yield f"{count(plan.server)} statements about accounts or the server are left out: look at them by hand"
    if plan.crossing:
        more = "" if plan.crossing <= len(plan.crossing_names) else " …"
        names = ", ".join(map(drawable, plan.crossing_names[:3]))
        yield f"{count(plan.crossing)} transactions are replayed without what they do to other schemas: {names}{more}"
    if plan.statements:
        yield f"{count(plan.statements)} changes are logged as statements, whose effect depends on the data they meet"
