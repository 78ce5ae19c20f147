"""Proves that binary logs follow one another without a gap, from where a dump was taken to where they end.

Numbers that count on are not enough: each log has to name the next, to be of the same server, and to continue the
GTIDs. What can't be proven bounds the chain, with file and byte. Which transaction to stop at is `moments`' work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from engines.mysql.binlogs import decoding
from engines.mysql.binlogs.events import BadLog, Fault, malformed, opened
from engines.mysql.binlogs.grouping import Grouping
from engines.mysql.binlogs.gtids import GtidSet, MariaPosition
from engines.mysql.binlogs.logs import Closed, Flaw, LogFile, flaw_of, stopped
from engines.text import count, drawable

_GAP_HINT: Final = "Fetch what is missing, from the server or the bucket; else restore up to here, or use a later dump."
_START_HINT: Final = "Use a dump whose logs are there, or fetch the missing ones. Without them nothing can be replayed."
_SECOND: Final = timedelta(seconds=1)  # a log's beginning is written in whole seconds


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Where in the binary logs a dump was taken: by file and position, by GTIDs, or both."""

    file: str | None = None
    position: int | None = None  # byte offset of the next event in `file`
    gtid_set: str | None = None  # MySQL: all that the dump has; MariaDB: the last of each domain


@dataclass(frozen=True, slots=True)
class Link:
    """One log of a chain, and the part of it that belongs to it."""

    log: LogFile
    begin: int  # byte
    end: int  # byte: no transaction is torn here
    transactions: int  # between the two


@dataclass(frozen=True, slots=True)
class Chain:
    """What can be replayed after a dump. Without links: nothing, and `problems` says why."""

    links: tuple[Link, ...] = ()
    problems: tuple[Flaw, ...] = ()  # what ends the chain before the last log, or before the last log's end
    notes: tuple[str, ...] = ()  # worth knowing; nothing is missing because of it
    already: GtidSet | MariaPosition | None = None  # in the dump: not to be replayed even where the logs have them
    reach: datetime | None = None  # commit time of the last transaction; None: there is none

    @property
    def transactions(self) -> int:
        """In the links, those in `already` among them."""
        return sum(link.transactions for link in self.links)

    @property
    def statements(self) -> bool:
        """Are changes logged as statements, so that replaying them elsewhere may reach the live schema?"""
        return any(link.log.statements for link in self.links)

    @property
    def compressed(self) -> bool:
        return any(link.log.compressed for link in self.links)

    @property
    def precise(self) -> bool:
        """Are commit times those of the server's clock, in microseconds?"""
        return all(link.log.precise for link in self.links)

    @property
    def size(self) -> int:
        """Bytes to replay."""
        return sum(link.end - link.begin for link in self.links)

    @property
    def end(self) -> tuple[str, int] | None:
        """File and position up to which everything is proven."""
        return (self.links[-1].log.name, self.links[-1].end) if self.links else None


def chain(
    logs: Iterable[LogFile],
    start: Coordinates,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> Chain:
    """The chain from `start` as far as these logs prove it; they may come in any order and have too much.

    Reads the first log up to `start` once more. Never raises for what is wrong with the logs; RestoreError for
    coordinates that can't be read, or when `stop` says so.
    """
    candidates = _candidates(logs, start)
    if isinstance(candidates, Flaw):
        return Chain(problems=(candidates,))
    begin = _first(candidates, start)
    if isinstance(begin, Flaw):
        return Chain(problems=(begin,))
    index, already = begin
    found = _start(candidates[index], start, already, progress, stop)
    if isinstance(found, Flaw):
        return Chain(problems=(found,), already=already)
    position, before = found
    first = candidates[index]
    links = [Link(first, position, max(position, first.whole), first.transactions - before)]
    notes: list[str] = []
    problem: Flaw | None = None
    for log in candidates[index + 1 :]:
        problem = _joint(links[-1].log, log, notes)
        if problem is not None:
            break
        links.append(Link(log, log.first, log.whole, log.transactions))
    else:
        problem = _ending(links[-1].log, notes)
    used = [link.log for link in links if link.transactions]
    return Chain(
        links=tuple(links),
        problems=(problem,) if problem else (),
        notes=tuple(notes),
        already=already,
        reach=used[-1].last_at if used else None,
    )


def _candidates(logs: Iterable[LogFile], start: Coordinates) -> list[LogFile] | Flaw:
    """The logs of one server by number, each once."""
    by_name: dict[str, LogFile] = {}
    for log in logs:
        if log.name in by_name and by_name[log.name] != replace(log, path=by_name[log.name].path):
            return _flaw(log.name, 0, "there are two different logs of this name", "Keep those of the right server.")
        by_name[log.name] = log
    if inside := next((log.flaw for log in by_name.values() if log.name.endswith(".ibb") and log.flaw), None):
        return inside  # and the others are of before that, or of another server
    bases = {log.base for log in by_name.values()}
    if start.file is not None:
        bases = {start.file.rpartition(".")[0]}
    if len(bases) > 1:
        names = ", ".join(sorted(drawable(base) for base in bases))
        return _flaw(names, 0, "these are logs of several servers", "Keep those of the right server in the folder.")
    found = sorted((log for log in by_name.values() if log.base in bases), key=lambda log: log.number)
    return found or _flaw(start.file or "no log", 0, "there are no binary logs of this name", _START_HINT)


def _first(logs: Sequence[LogFile], start: Coordinates) -> tuple[int, GtidSet | MariaPosition | None] | Flaw:
    """Which log the replay begins in, and what the dump has already."""
    version = next((log.version for log in logs if log.version), None)
    already: GtidSet | MariaPosition | None = None
    if start.gtid_set is not None:
        mysql = version is None or not any(log.previous_list is not None for log in logs)
        already = GtidSet.parse(start.gtid_set) if mysql else MariaPosition.parse(start.gtid_set)
    if start.file is not None:
        for index, log in enumerate(logs):
            if log.name == start.file:
                if already is not None and (log.previous or log.previous_list) and not _behind(log, already):
                    message = "it follows transactions that the dump does not have: another server's file"
                    return _flaw(log.name, 0, message, "Look for the log of the right server.")
                # The position is the truth: mysqldump may ask for the GTIDs a moment after its snapshot.
                return index, None
        return _flaw(
            start.file,
            0,
            f"the dump begins in this log, which is not here; there are {_names(logs)}",
            _START_HINT,
        )
    if already is None:
        return _flaw("no log", 0, "the dump has neither position nor GTIDs", "Take dumps with --source-data=2.")
    for index in range(len(logs) - 1, -1, -1):
        if _behind(logs[index], already):
            return index, already
    oldest = logs[0]
    missing = f", among them {oldest.previous - already}" if isinstance(already, GtidSet) and oldest.previous else ""
    return _flaw(
        oldest.name,
        0,
        f"the logs begin after the dump: transactions between them are in neither{missing[:300]}",
        _START_HINT,
    )


def _behind(log: LogFile, already: GtidSet | MariaPosition) -> bool:
    """Did the dump have everything that came before this log?"""
    if isinstance(already, GtidSet):
        return log.previous is not None and log.previous <= already
    return log.previous_list is not None and all(already.has(gtid) for gtid in log.previous_list)


def _start(
    log: LogFile,
    start: Coordinates,
    already: GtidSet | MariaPosition | None,
    progress: Callable[[int, int], None],
    stop: Callable[[], bool],
) -> tuple[int, int] | Flaw:
    """The byte at which replay begins in its first log, and how many transactions lie before it."""
    if log.version is None:
        return log.flaw or _flaw(log.name, 0, "it can't be read", _START_HINT)
    grouping, before, seen = Grouping(), 0, 0
    try:
        with opened(log.path, log.name) as reading:
            position = reading.format.end
            wanted = start.position if start.file is not None else None
            if wanted is not None and wanted > log.whole:
                return _flaw(log.name, log.whole, f"the dump begins at byte {wanted}, behind its end", _GAP_HINT)
            for event in reading.events(verify=False):
                if wanted is not None and position >= wanted and not grouping.open:
                    break
                try:
                    ended = grouping.take(event)
                except decoding.ERRORS:
                    raise malformed(log.name, event.position, f"an event of kind {event.kind}") from None
                if wanted is None and not ended and grouping.open and _new(grouping, already):
                    break
                before += ended
                if not grouping.open:
                    position = event.end
                seen += 1
                if not seen % 20_000:
                    progress(event.end, log.size)
                    if stop():
                        raise stopped(f"{log.name} was read")
    except BadLog as bad:
        return flaw_of(bad)
    if wanted is not None and wanted > 4 and position != max(wanted, log.first):
        message = f"the dump's position {wanted} is inside a transaction, not between two"
        return _flaw(log.name, wanted, message, "This is not the log that the dump was taken from.")
    return position, before


def _new(grouping: Grouping, already: GtidSet | MariaPosition | None) -> bool:
    """Is the transaction that has begun not in the dump?"""
    match already, grouping.gtid:
        case GtidSet(), decoding.MysqlGtid(source=source, number=number) if source is not None:
            return not already.has(source, number)
        case MariaPosition(), gtid if gtid is not None and not isinstance(gtid, decoding.MysqlGtid):
            return not already.has(gtid)
        case _:
            return True


def _joint(one: LogFile, two: LogFile, notes: list[str]) -> Flaw | None:
    """Does `two` continue `one`? What can't be proven is a flaw; what is only odd goes to `notes`."""
    if one.flaw is not None:
        return one.flaw
    if two.number != one.number + 1:
        return _flaw(two.name, 0, f"{_between(one, two)} missing before it", _GAP_HINT)
    if two.version is None or one.version is None:
        return two.flaw or _flaw(two.name, 0, "it can't be read", _GAP_HINT)
    if one.closed_by is Closed.ROTATE and one.next_name != two.name:
        message = f"{one.name} names {drawable(one.next_name or '')} as the next log"
        return _flaw(two.name, 0, message, _GAP_HINT)
    proven = _continues(one, two)
    if isinstance(proven, Flaw):
        return proven
    odd = _oddities(one, two)
    if odd and not proven:
        return _flaw(two.name, 0, f"{odd[0]}, and no GTIDs prove that it is the same server's", _GAP_HINT)
    notes.extend(f"{two.name}: {what}; GTIDs prove that nothing is missing" for what in odd)
    if one.version.numbers != two.version.numbers:
        notes.append(f"{two.name}: the server was {one.version} before and is {two.version} from here on")
    return None


def _continues(one: LogFile, two: LogFile) -> bool | Flaw:
    """True: GTIDs prove it. False: there are none to prove it with."""
    if one.previous is not None and two.previous is not None:
        expected = one.previous | one.gtids
        if lost := expected - two.previous:
            message = f"it does not know {count(len(lost))} transactions of {one.name}: another server's file"
            return _flaw(two.name, 0, message, "Look for the log of the right server.")
        if more := two.previous - expected:
            message = f"{count(len(more))} transactions before it are in no log: {str(more)[:200]}"
            return _flaw(two.name, 0, message, _GAP_HINT)
        return bool(expected) and not one.anonymous
    if one.previous_list is not None and two.previous_list is not None:
        before = {(gtid.domain, gtid.server): gtid.sequence for gtid in one.last_list}
        after = {(gtid.domain, gtid.server): gtid.sequence for gtid in two.previous_list}
        # FLUSH BINARY LOGS DELETE_DOMAIN_ID takes whole domains out of the list.
        kept = {domain for domain, _ in after}
        if {key: value for key, value in before.items() if key[0] in kept} != after:
            message = f"its GTID list does not continue {one.name}: another server's file, or transactions are missing"
            return _flaw(two.name, 0, message, "Look for the log of the right server.")
        return bool(after)
    if (one.previous is None, one.previous_list is None) != (two.previous is None, two.previous_list is None):
        return _flaw(two.name, 0, f"it is of another kind of server than {one.name}", "Look for the right log.")
    return False


def _oddities(one: LogFile, two: LogFile) -> list[str]:
    """What a crash, a clock or a changed configuration explains, and another server's file does too."""
    found = []
    if one.closed_by is Closed.OPEN:
        found.append(f"{one.name} was never closed, as after a crash")
    if one.server_id != two.server_id:
        found.append(f"its server has the id {two.server_id}, that of {one.name} {one.server_id}")
    if one.began and two.began and two.began < one.began:
        found.append(f"it was begun before {one.name}")
    elif one.precise and one.latest and two.began and two.began + _SECOND < one.latest:
        found.append(f"it was begun before {one.name} was ended")
    return found


def _ending(last: LogFile, notes: list[str]) -> Flaw | None:
    """How the last log ends, which bounds what can be reached."""
    if last.flaw is not None:
        if last.flaw.fault is Fault.CUT and last.in_use and last.closed_by is Closed.OPEN:
            torn = last.size - last.whole
            notes.append(f"{last.name} was copied while the server wrote it; {count(torn)} bytes at its end are torn")
            return None
        return last.flaw
    match last.closed_by:
        case Closed.ROTATE:
            notes.append(f"the server went on in {drawable(last.next_name or '')}, which is not here")
        case Closed.STOP:
            notes.append(f"the server was shut down at the end of {last.name}")
        case Closed.OPEN if last.in_use:
            notes.append(f"{last.name} is still open on its server; what was written later is not in it")
        case Closed.OPEN:
            message = "it ends without having been closed, though it is not in use: more may be missing"
            return _flaw(last.name, last.whole, message, _GAP_HINT)
    return None


@dataclass(frozen=True, slots=True)
class Coverage:
    """A stretch of time for which the logs have everything, for a picture."""

    first: str  # name of its first log
    last: str
    start: datetime
    end: datetime
    broken: str = ""  # why it ends there, where the logs do not simply end


def coverage(logs: Iterable[LogFile]) -> tuple[Coverage, ...]:
    """Runs of logs that continue one another, by base and number. Between two of them is a gap."""
    result: list[Coverage] = []
    run: list[LogFile] = []

    def close(broken: str) -> None:
        times = [at for log in run for at in (log.began, log.last_at) if at is not None]
        if times:
            result.append(Coverage(run[0].name, run[-1].name, min(times), max(times), broken))
        run.clear()

    for log in sorted(logs, key=lambda log: (log.base, log.number)):
        if run:
            problem = run[-1].base != log.base or _joint(run[-1], log, [])
            if problem:
                close(str(problem) if isinstance(problem, Flaw) else "")
        run.append(log)
    if run:
        problem = _ending(run[-1], [])
        close(str(problem) if problem else "")
    return tuple(result)


def _between(one: LogFile, two: LogFile) -> str:
    def name(number: int) -> str:
        return f"{one.base}.{number:06}"

    lost = two.number - one.number - 1
    if lost < 1:
        return f"{name(two.number)} comes twice, and a log is"
    if lost == 1:
        return f"{name(one.number + 1)} is"
    return f"{name(one.number + 1)} to {name(two.number - 1)} are"


def _names(logs: Sequence[LogFile]) -> str:
    return logs[0].name if len(logs) == 1 else f"{logs[0].name} to {logs[-1].name}"


def _flaw(file: str, position: int, message: str, hint: str) -> Flaw:
    return Flaw(drawable(file), position, None, message, hint)
