"""The transactions of a chain of logs, one after another: to look around a moment, and to search for the bad one.

Statements are what operators recognise; callers keep them out of journals and records. Memory stays flat whatever
a transaction's size. Where to stop is `moments`' work.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from engines.mysql.binlogs import decoding
from engines.mysql.binlogs.chain import Chain, Link
from engines.mysql.binlogs.content import Content, Touched
from engines.mysql.binlogs.events import malformed, opened
from engines.mysql.binlogs.grouping import Grouping, Nature
from engines.mysql.binlogs.logs import moment, stopped

__all__ = ["Nature", "Touched", "Transaction", "around", "detailed", "search", "transactions"]

DANGEROUS: Final = ("DROP", "TRUNCATE", "DELETE")
_ASKED_EVERY: Final = 10_000  # events
_FIRST_WORD: Final = re.compile(r"(?:\s+|/\*(?!M?!).*?\*/|/\*M?!\d*|--\s[^\n]*\n|#[^\n]*\n|\()*([A-Za-z]+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction, from its GTID event to its last one."""

    file: str
    begin: int  # byte: stopping here leaves it out
    end: int  # byte: stopping here keeps it
    gtid: str | None  # None: anonymous
    at: datetime  # of its commit, UTC
    precise: bool  # in microseconds by the server's clock; else in seconds that the session can set
    server_id: int
    nature: Nature
    tables: tuple[Touched, ...]
    statements: tuple[str, ...]  # where the log has them: DDL, statement format, annotated rows
    more: int = 0  # statements that are not among them
    compressed: bool = False
    unclear: str = ""  # why something of it could not be read

    @property
    def size(self) -> int:
        """Bytes of log."""
        return self.end - self.begin

    @property
    def name(self) -> str:
        """What it is called where one transaction has to be named."""
        return self.gtid or f"{self.file}:{self.begin}"


def transactions(
    links: Iterable[Link],
    *,
    count_rows: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Transaction]:
    """Each transaction of these links, in order. `progress`: bytes of log done, bytes in all.

    Events are not verified again: the chain's logs were. Raises BadLog where a log has changed since, RestoreError
    when `stop` says so.
    """
    parts = tuple(links)
    total = sum(link.end - link.begin for link in parts)
    done = 0
    for link in parts:
        before = done

        def told(position: int, before: int = before, begin: int = link.begin) -> None:
            progress(before + position - begin, total)

        yield from _of(link, count_rows, told, stop)
        done += link.end - link.begin
        progress(done, total)


def _of(
    link: Link, count_rows: bool, progress: Callable[[int], None], stop: Callable[[], bool]
) -> Iterator[Transaction]:
    grouping = Grouping()
    seen = 0
    with opened(link.log.path, link.log.name) as log:
        content = Content(log, count_rows=count_rows)
        for event in log.events(link.begin, link.end, verify=False):
            try:
                ended = grouping.take(event)
            except decoding.ERRORS:
                raise malformed(log.name, event.position, f"an event of kind {event.kind}") from None
            content.take(event)
            if ended:
                yield _made(link.log.name, grouping, content)
                content.clear()
            seen += 1
            if not seen % _ASKED_EVERY:
                progress(event.end)
                if stop():
                    raise stopped(f"{log.name} was read")


def _made(file: str, grouping: Grouping, content: Content) -> Transaction:
    return Transaction(
        file=file,
        begin=grouping.begin,
        end=grouping.end,
        gtid=grouping.gtid_text,
        at=moment(grouping.micros),
        precise=grouping.precise,
        server_id=grouping.server_id,
        nature=grouping.nature,
        tables=content.tables,
        statements=tuple(content.statements),
        more=content.more,
        compressed=grouping.compressed,
        unclear=content.unclear,
    )


def detailed(chain: Chain, transaction: Transaction) -> Transaction:
    """The same transaction with its rows counted."""
    link = next(link for link in chain.links if link.log.name == transaction.file)
    part = Link(link.log, transaction.begin, transaction.end, 1)
    return next(transactions((part,), count_rows=True))


def around(
    chain: Chain,
    centre: datetime | tuple[str, int],
    before: int = 50,
    after: int = 50,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Transaction, ...]:
    """Transactions around a moment, or around a file and position, in the logs' order, their rows counted.

    The first of those `after` is the first one that was committed later than the moment.
    """
    index = _holding(chain, centre)
    first = index
    ahead = 0
    while first > 0 and ahead < before:
        first -= 1
        ahead += chain.links[first].transactions
    order = {link.log.name: number for number, link in enumerate(chain.links)}

    def later(one: Transaction) -> bool:
        if isinstance(centre, datetime):
            return one.at > centre
        return (order[one.file], one.begin) >= (order.get(centre[0], index), centre[1])

    stream = transactions(chain.links[first:], progress=progress, stop=stop)
    kept: deque[Transaction] = deque(maxlen=max(before, 1))
    found: list[Transaction] = []
    for one in stream:
        if later(one):
            found = [one, *islice(stream, max(after - 1, 0))]
            break
        kept.append(one)
    shown = [*(kept if before else ()), *found[:after]]
    return tuple(detailed(chain, one) for one in shown)


def _holding(chain: Chain, centre: datetime | tuple[str, int]) -> int:
    """The link in which the centre lies, or the last one."""
    for index, link in enumerate(chain.links):
        if isinstance(centre, datetime):
            if link.log.latest is not None and link.log.latest > centre:
                return index
        elif link.log.name == centre[0]:
            return index
    return max(0, len(chain.links) - 1)


def search(
    chain: Chain,
    words: Iterable[str] = DANGEROUS,
    table: str | None = None,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Transaction]:
    """Transactions that do one of these things, to this table (`t` or `schema.t`) where one is named.

    DELETE, UPDATE and INSERT find rows as well as statements that begin so; other words are looked for anywhere
    in data definition, so that DROP finds ALTER TABLE … DROP COLUMN too. The rows of what is found are counted.
    """
    wanted = tuple(word.upper() for word in words)
    for one in transactions(chain.links, progress=progress, stop=stop):
        if any(_does(one, word, table) for word in wanted):
            yield detailed(chain, one)


def _does(one: Transaction, word: str, table: str | None) -> bool:
    touched = [found for found in one.tables if table is None or _is(found, table)]
    if table is not None and not touched and one.nature is not Nature.STATEMENT:
        return False
    verb = {"DELETE": "deleted", "UPDATE": "updated", "INSERT": "inserted"}.get(word)
    if verb is not None and any(getattr(found, verb) != 0 for found in touched):
        return True
    if verb is not None and one.nature is Nature.ROWS and not one.unclear:
        return False  # the rows tell; its statements may be about its other tables
    named = None if table is None else table.rpartition(".")[2].lower()
    for statement in one.statements:
        # A statement names its tables in its text alone; what looks like one is shown rather than left out.
        if one.nature is Nature.STATEMENT and named is not None and named not in statement.lower():
            continue
        if one.nature is Nature.DDL:
            if re.search(rf"\b{re.escape(word)}\b", statement, re.IGNORECASE):
                return True
        elif (first := _FIRST_WORD.match(statement)) and first[1].upper() == word:
            return True
    return False


def _is(found: Touched, table: str) -> bool:
    schema, _, name = table.rpartition(".")
    # Dropping a schema drops its tables.
    return found.table in (name, "") and (not schema or found.schema == schema)
