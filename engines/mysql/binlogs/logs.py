"""Reads one binary log to its end and says what it is: the facts that a chain is proven with.

Every event is verified. A log that is cut or damaged is described up to there, with its flaw; nothing is raised
for what is wrong with a file. Whether files belong together is `chain`'s work.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from engines.errors import RestoreError
from engines.mysql.binlogs import decoding
from engines.mysql.binlogs.decoding import MysqlGtid
from engines.mysql.binlogs.events import BadLog, Event, Fault, Kind, OpenLog, cut, encrypted, malformed, opened
from engines.mysql.binlogs.grouping import Grouping
from engines.mysql.binlogs.gtids import GtidSet, MariaGtid, Source
from engines.mysql.flavour import Version
from engines.text import drawable

_NAME: Final = re.compile(r"(.+)\.([0-9]{6,})")
_IN_INNODB: Final = re.compile(r"(.+?)[-.]([0-9]{6,})\.ibb")  # MariaDB 12.3, binlog_storage_engine
_ASKED_EVERY: Final = 20_000  # events between two looks at the stop request
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Closed(StrEnum):
    """How a log ends."""

    ROTATE = "rotate"  # it names the next one
    STOP = "stop"  # the server was shut down
    OPEN = "open"  # neither: in use, crashed, or cut


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a log, and from which byte on it can't be used."""

    file: str
    position: int
    fault: Fault | None  # None: the file is sound, but does not continue the chain
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.file}, byte {self.position}: {self.message}"


@dataclass(frozen=True, slots=True)
class LogFile:
    """One binary log, read up to its end or its flaw. Times are commit times in UTC."""

    path: Path
    name: str  # binlog.000012
    base: str  # binlog
    number: int  # 12
    size: int  # bytes
    version: Version | None = None  # None: its beginning could not be read
    began: datetime | None = None
    server_id: int = 0  # of the server that wrote it; a replica's log holds transactions of others
    server_ids: frozenset[int] = frozenset()  # of its transactions
    checksums: bool = False
    in_use: bool = False
    closed_by: Closed = Closed.OPEN
    closed_at: datetime | None = None
    next_name: str | None = None
    previous: GtidSet | None = None  # MySQL: what came before this log
    gtids: GtidSet = field(default_factory=GtidSet)  # MySQL: what it holds
    previous_list: tuple[MariaGtid, ...] | None = None  # MariaDB: the same, by domain and server
    last_list: tuple[MariaGtid, ...] = ()  # MariaDB: as the next log has to begin
    events: int = 0
    transactions: int = 0
    anonymous: int = 0  # transactions without a GTID
    statements: bool = False  # changes of rows logged as statements
    compressed: bool = False
    precise: bool = True  # commit times by the server's clock, in microseconds; else seconds that a session can set
    first: int = 0  # byte at which the first event after the format description begins
    whole: int = 0  # byte up to which it is sound and no transaction is torn
    first_at: datetime | None = None  # of the first transaction
    last_at: datetime | None = None  # of the last whole one
    earliest: datetime | None = None  # of any: commits are not always in order of time
    latest: datetime | None = None
    flaw: Flaw | None = None


def moment(micros: int) -> datetime:
    """Microseconds since 1970, as a time in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def stopped(what: str) -> RestoreError:
    return RestoreError(f"Stopped while {what} on request; nothing was changed.", "Start the step again when ready.")


def name_parts(name: str) -> tuple[str, int] | None:
    """Base and number in a binary log's name; None: it has neither."""
    found = _NAME.fullmatch(name)
    return (found[1], int(found[2])) if found else None


def read_log(
    path: Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> LogFile:
    """The log in `path`, read and verified to its end. `progress`: bytes done, bytes in all.

    Raises RestoreError only when `stop` says so.
    """
    base, number = name_parts(path.name) or (path.name, 0)
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    facts = LogFile(path, path.name, base, number, size)
    try:
        with opened(path) as log:
            return _read(log, facts, progress, stop)
    except BadLog as bad:
        return replace(facts, flaw=flaw_of(bad))


def logs_in(folder: Path) -> tuple[Path, ...]:
    """The files in a folder that are named as binary logs are, by base and number. Raises RestoreError.

    Those inside InnoDB are among them, so that reading them says why they can't be used.
    """
    try:
        with os.scandir(folder) as entries:
            named = [
                (parts, Path(entry.path))
                for entry in entries
                if (parts := name_parts(entry.name) or _in_innodb(entry.name))
            ]
    except OSError as error:
        raise RestoreError(
            f"The folder {drawable(str(folder))} can't be read: {error.strerror or error}. Nothing was changed.",
            "Correct where the binary logs are in the configuration, or look at its permissions.",
        ) from error
    return tuple(path for _, path in sorted(named))


def _in_innodb(name: str) -> tuple[str, int] | None:
    found = _IN_INNODB.fullmatch(name)
    return (found[1], int(found[2])) if found else None


def read_logs(
    paths: Sequence[Path],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[LogFile, ...]:
    """Each of these logs, read and verified; `progress` counts the bytes of all of them."""
    sizes = [path.stat().st_size if path.is_file() else 0 for path in paths]
    total, before = sum(sizes), 0
    found = []
    for path, size in zip(paths, sizes, strict=True):

        def told(done: int, _: int, before: int = before) -> None:
            progress(min(before + done, total), total)

        found.append(read_log(path, progress=told, stop=stop))
        before += size
    return tuple(found)


def flaw_of(bad: BadLog) -> Flaw:
    return Flaw(bad.file, bad.position, bad.fault, bad.plain, bad.hint)


class _Tally:
    """What the events of one log add up to."""

    def __init__(self, first: int) -> None:
        self.grouping = Grouping()
        self.events = self.transactions = self.anonymous = 0
        self.whole = first
        self.closed_by = Closed.OPEN
        self.closed_micros: int | None = None
        self.next_name: str | None = None
        self.previous: GtidSet | None = None
        self.previous_list: tuple[MariaGtid, ...] | None = None
        self.runs: list[tuple[Source, int, int]] = []
        self.running: dict[Source, tuple[int, int]] = {}
        self.last_list: dict[tuple[int, int], int] = {}
        self.servers: set[int] = set()
        self.statements = self.compressed = False
        self.precise = True
        self.first_micros = self.last_micros = self.latest = 0
        self.earliest: int | None = None

    def take(self, event: Event) -> None:
        self.events += 1
        if self.grouping.take(event):
            self._transaction()
        elif event.kind in _CONTROL:
            self._control(event)
        if not self.grouping.open:
            self.whole = event.end

    def _transaction(self) -> None:
        done = self.grouping
        self.transactions += 1
        self.statements |= done.statement
        self.compressed |= done.compressed
        self.precise &= done.precise
        self.servers.add(done.server_id)
        self.last_micros = done.micros
        if self.earliest is None:
            self.first_micros = self.earliest = done.micros
        self.earliest = min(self.earliest, done.micros)
        self.latest = max(self.latest, done.micros)
        match done.gtid:
            case None:
                self.anonymous += 1
            case MysqlGtid(source=source, number=number) if source is not None:
                run = self.running.get(source)
                if run is not None and number == run[1] + 1:
                    self.running[source] = (run[0], number)
                else:
                    if run is not None:
                        self.runs.append((source, *run))
                    self.running[source] = (number, number)
            case MariaGtid(domain=domain, server=server, sequence=sequence):
                self.last_list.pop((domain, server), None)  # the newest of a domain comes last
                self.last_list[domain, server] = sequence

    def _control(self, event: Event) -> None:
        match event.kind:
            case Kind.PREVIOUS_GTIDS:
                self.previous = decoding.previous_gtids(event.body)
            case Kind.GTID_LIST:
                self.previous_list = decoding.gtid_list(event.body)
                self.last_list = {(one.domain, one.server): one.sequence for one in self.previous_list}
            case Kind.ROTATE:
                self.closed_by, self.next_name = Closed.ROTATE, decoding.rotate(event.body)[0]
                self.closed_micros = event.time * 1_000_000
            case Kind.STOP:
                self.closed_by = Closed.STOP
                self.closed_micros = event.time * 1_000_000

    @property
    def gtids(self) -> GtidSet:
        return GtidSet.of((*self.runs, *((source, *run) for source, run in self.running.items())))


_CONTROL: Final = frozenset((Kind.PREVIOUS_GTIDS, Kind.GTID_LIST, Kind.ROTATE, Kind.STOP))
_OUT_OF_PLACE: Final = frozenset((Kind.START_ENCRYPTION, Kind.FORMAT, Kind.INCIDENT))


def _read(log: OpenLog, facts: LogFile, progress: Callable[[int, int], None], stop: Callable[[], bool]) -> LogFile:
    tally = _Tally(log.format.end)
    flaw = None
    open_ = Closed.OPEN
    try:
        for event in log.events():
            if event.kind in _OUT_OF_PLACE or tally.closed_by is not open_:
                _refuse(log.name, event)
            try:
                tally.take(event)
            except decoding.ERRORS:
                raise malformed(log.name, event.position, f"an event of kind {event.kind}") from None
            if not tally.events % _ASKED_EVERY:
                progress(event.end, log.size)
                if stop():
                    raise stopped(f"{log.name} was read")
    except BadLog as bad:
        flaw = flaw_of(bad)
    else:
        if tally.grouping.open:
            flaw = flaw_of(cut(log.name, tally.grouping.begin, "it ends inside a transaction"))
    progress(log.size, log.size)
    return replace(
        facts,
        size=log.size,
        version=log.format.version,
        began=moment(log.format.time * 1_000_000),
        server_id=log.format.server_id,
        server_ids=frozenset(tally.servers),
        checksums=log.format.checksums,
        in_use=log.format.in_use,
        closed_by=tally.closed_by,
        closed_at=None if tally.closed_micros is None else moment(tally.closed_micros),
        next_name=tally.next_name,
        previous=tally.previous,
        gtids=tally.gtids,
        previous_list=tally.previous_list,
        last_list=tuple(MariaGtid(*key, sequence) for key, sequence in tally.last_list.items()),
        events=tally.events,
        transactions=tally.transactions,
        anonymous=tally.anonymous,
        statements=tally.statements,
        compressed=tally.compressed,
        precise=tally.precise,
        first=log.format.end,
        whole=tally.whole,
        first_at=moment(tally.first_micros) if tally.transactions else None,
        last_at=moment(tally.last_micros) if tally.transactions else None,
        earliest=moment(tally.earliest) if tally.earliest is not None else None,
        latest=moment(tally.latest) if tally.transactions else None,
        flaw=flaw,
    )


def _refuse(name: str, event: Event) -> None:
    """Events that no sound log has at this place."""
    match event.kind:
        case Kind.START_ENCRYPTION:
            raise encrypted(name, event.position, "MariaDB")
        case Kind.FORMAT:
            raise malformed(name, event.position, "a second format description (a relay log, or two files in one)")
        case Kind.INCIDENT:
            why = decoding.incident(event.body)
            raise BadLog(
                Fault.DAMAGED,
                name,
                event.position,
                f"the server noted that events are missing here (incident {why})",
                "What follows does not fit the data before it. Restore up to here, or use a later dump.",
            )
    raise malformed(name, event.position, "an event after the log was closed")
