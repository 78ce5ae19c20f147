"""Says whether anything was written to a database since a moment: what an undo would throw away."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from engines.hooks import Stop, never
from engines.sqlite.elsewhere import first_bytes
from engines.sqlite.file_facts import live_header
from engines.sqlite.files import key
from engines.sqlite.proof import TableCount, count_tables
from engines.text import count, drawable

_WAL_HEADER = 32  # bytes; sqlite.org/fileformat2.html#walformat


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A database as it was at one moment. Equal fingerprints: no transaction was committed in between."""

    device: int
    inode: int
    size: int  # bytes
    mtime_ns: int
    change_counter: int  # of the header: one more for each transaction, in WAL mode for each checkpoint that wrote
    schema_cookie: int
    wal_size: int  # bytes
    wal_start: str  # the log's header with its salts, hexadecimal
    wal_mtime_ns: int
    counts: tuple[TableCount, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """`changed` False: untouched. True: written to, though perhaps without effect; `evidence` says what shows it."""

    changed: bool
    evidence: tuple[str, ...]
    tables: tuple[tuple[str, int | None, int | None], ...]  # those whose counts differ: before, now


def fingerprint(path: str, *, stop: Stop = never) -> Fingerprint:
    """Takes the fingerprint of the database at `path`, live or not. Raises RestoreError when it can't be read."""
    real = os.path.realpath(path)
    counts = count_tables(real, stop=stop)  # before the rest: a connection may create and remove an empty log
    head = live_header(real)
    status = Path(real).lstat()
    log = Path(f"{real}-wal")
    size = log.stat().st_size if log.exists() else 0
    return Fingerprint(
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        0 if head is None else head.change_counter,
        0 if head is None else head.schema_cookie,
        size,
        first_bytes(str(log), _WAL_HEADER).hex() if size else "",
        log.stat().st_mtime_ns if size else 0,
        counts,
    )


def changed_since(path: str, then: Fingerprint, *, stop: Stop = never) -> Change:
    """What has happened to the database at `path` since `then`. Raises RestoreError when it can't be read."""
    if key(os.path.realpath(path)) != (then.device, then.inode):
        return Change(True, ("it is another file now",), ())
    now = fingerprint(path, stop=stop)
    evidence = []
    if now.change_counter != then.change_counter:
        evidence.append(f"change counter {then.change_counter} → {now.change_counter}")
    if now.schema_cookie != then.schema_cookie:
        evidence.append(f"schema cookie {then.schema_cookie} → {now.schema_cookie}")
    if now.size != then.size:
        evidence.append(f"size {then.size} → {now.size} bytes")
    elif now.mtime_ns != then.mtime_ns:
        evidence.append("the file was written to")
    if now.wal_size and (now.wal_start, now.wal_size, now.wal_mtime_ns) != (
        then.wal_start,
        then.wal_size,
        then.wal_mtime_ns,
    ):
        evidence.append(f"write-ahead log of {now.wal_size} bytes")
    before = {table.table: table.rows for table in then.counts}
    after = {table.table: table.rows for table in now.counts}
    tables = tuple(
        (name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name, -1) != after.get(name, -1)
    )
    evidence += [f"{drawable(name)}: {_rows(old)} → {_rows(new)}" for name, old, new in tables]
    return Change(bool(evidence), tuple(evidence), tables)


def _rows(number: int | None) -> str:
    return "none" if number is None else f"{count(number)} rows"
