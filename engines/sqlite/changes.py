"""Says whether anything was written to a database since a moment: what an undo would throw away."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from engines.errors import Refused, RestoreError
from engines.hooks import Stop, never
from engines.sqlite.elsewhere import first_bytes
from engines.sqlite.file_facts import live_header
from engines.sqlite.files import key
from engines.sqlite.proof import TableCount, count_tables
from engines.text import count, drawable

_WAL_HEADER = 32  # bytes; sqlite.org/fileformat2.html#walformat


@dataclass(frozen=True, slots=True)
class Mark:
    """A file, and its write-ahead log, at one moment. Equal marks: no transaction was committed in between."""

    device: int
    inode: int
    size: int  # bytes
    mtime_ns: int
    change_counter: int  # of the header: one more for each transaction, in WAL mode for each checkpoint that wrote
    schema_cookie: int
    wal_size: int  # bytes
    wal_start: str  # the log's header with its salts, hexadecimal
    wal_mtime_ns: int


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A database as it was at one moment, with what it held."""

    mark: Mark
    counts: tuple[TableCount, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """`changed` False: untouched. True: written to, though perhaps without effect; `evidence` says what shows it."""

    changed: bool
    evidence: tuple[str, ...]
    tables: tuple[tuple[str, int | None, int | None], ...]  # those whose counts differ: before, now


class Written(Refused):
    """Somebody wrote to a database after it was kept: replacing it now would lose that."""


def mark(path: str) -> Mark | None:
    """The mark of whatever file is at `path`, a database or not; None where nothing is. No connection is made."""
    real = os.path.realpath(path)
    try:
        status = Path(real).lstat()
        head = live_header(real) if stat.S_ISREG(status.st_mode) else None
    except FileNotFoundError:
        return None
    log = Path(f"{real}-wal")
    size = log.stat().st_size if log.exists() else 0
    return Mark(
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        0 if head is None else head.change_counter,
        0 if head is None else head.schema_cookie,
        size,
        first_bytes(str(log), _WAL_HEADER).hex() if size else "",
        log.stat().st_mtime_ns if size else 0,
    )


def fingerprint(path: str, *, stop: Stop = never) -> Fingerprint:
    """Takes the fingerprint of the database at `path`, live or not. Raises RestoreError when it can't be read."""
    counts = count_tables(os.path.realpath(path), stop=stop)  # first: a connection may create and remove an empty log
    found = mark(path)
    if found is None:
        raise RestoreError(f"{drawable(path)} is gone. Nothing was changed.", "Find out who removed it.")
    return Fingerprint(found, counts)


def differences(then: Mark, now: Mark | None) -> tuple[str, ...]:
    """What shows that a file was written to, or replaced; empty where nothing was committed in between."""
    if now is None:
        return ("it is gone",)
    if (now.device, now.inode) != (then.device, then.inode):
        return ("it is another file now",)
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
    return tuple(evidence)


def refuse_written(path: str, then: Mark) -> None:
    """Raises Written where anything was committed to the database at `path` since `then`."""
    if found := differences(then, mark(path)):
        raise written(path, ", ".join(found))


def written(path: str, why: str) -> Written:
    return Written(
        f"{drawable(path)} was written to after it was kept ({why}). It was not replaced.",
        "Find out who still writes, and stop it. Trying again (r) keeps it as it is then, and goes on.",
    )


def changed_since(path: str, then: Fingerprint, *, stop: Stop = never) -> Change:
    """What has happened to the database at `path` since `then`. Raises RestoreError when it can't be read."""
    if key(os.path.realpath(path)) != (then.mark.device, then.mark.inode):
        return Change(True, ("it is another file now",), ())
    now = fingerprint(path, stop=stop)
    evidence = list(differences(then.mark, now.mark))
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
