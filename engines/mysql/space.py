"""Is there room, here and on the server? One row for each place; places here on one file system add up.

How much a dump becomes on a server is not known beforehand: it is estimated from what the same tables take now, and
never below the dump's own rows. A server's free space is asked in the ways of `free_on_server`.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engines.checks import Check, Panel, Verdict
from engines.errors import RestoreError
from engines.mysql.connect import Place
from engines.mysql.dumps.facts import DumpFacts
from engines.mysql.intent import Intent
from engines.mysql.queries import NotSaid, rows_of
from engines.mysql.schema import SchemaFacts
from engines.mysql.server import ServerFacts
from engines.process import Command, captured, shown
from engines.text import drawable, size

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

STAGING = "Staged dump and logs"
SNAPSHOTS = "Safety snapshot"
DATA = "The server's data directory"

_RESERVE = 32 << 20  # bytes left over here for the journal, the record and step logs
_SERVER_RESERVE = 256 << 20  # bytes left over on a server, for redo, undo and whatever else runs there
_PER_KEY = 0.35  # of a table's rows, for each secondary key that no table of now shows the size of
_HEADER = 1.4  # bytes on disk for a byte of rows in a dump, where no table of now shows it
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SPACE_HINT = (
    'Configure space_command, as in ["ssh", "db1", "df", "--output=avail", "-B1", "/var/lib/mysql"]; or install '
    "MariaDB's DISKS plugin and GRANT FILE; or let the commander take somebody's word, by name."
)


@dataclass(frozen=True, slots=True)
class Free:
    """Free bytes of the server's data directory. None: not known, and `how` says why."""

    bytes: int | None
    how: str


@dataclass(frozen=True, slots=True)
class Needed:
    """Bytes that a restore needs on the server, apart by what they are for."""

    tables: int  # of the restored schema
    sorting: int  # while the keys of the largest table are built
    log: int  # that the binary log grows by
    freed: int  # in place: what the tables of now give back before

    @property
    def total(self) -> int:
        return max(self.tables - self.freed, 0) + self.sorting + self.log

    def __str__(self) -> str:
        parts = [f"tables {size(self.tables)}"]
        if self.freed:
            parts.append(f"less {size(self.freed)} that the old ones take")
        parts.append(f"building keys {size(self.sorting)}")
        if self.log:
            parts.append(f"binary log {size(self.log)}")
        return ", ".join(parts)


def needed_on_server(
    server: ServerFacts, schema: SchemaFacts, dump: DumpFacts, intent: Intent, *, replayed: int = 0
) -> Needed:
    """`replayed`: bytes of binary logs that are replayed. Estimates, on the large side."""
    live = {table.name: table for table in schema.tables}
    tables, largest = 0, 0
    for one in dump.tables:
        if one.database not in ("", intent.schema):
            continue
        guess = int(one.size * (_HEADER + _PER_KEY * one.secondary))
        known = live.get(one.name)
        if known is not None and known.rows >= one.rows / 2:
            guess = max(int(known.size / known.rows * one.rows), one.size) if known.rows else one.size
        elif known is not None:  # most of its rows are gone, and a file does not shrink with them
            guess = max(guess, known.size)
        tables += guess
        largest = max(largest, int(one.size * _PER_KEY * one.secondary), guess // 4 if one.secondary else 0)
    log = (sum(one.size for one in dump.tables) + replayed) if intent.binary_log and server.log_bin else 0
    return Needed(tables + replayed, largest, log, 0 if intent.staged else schema.size)


def space_checks(
    server: ServerFacts,
    schema: SchemaFacts,
    dump: DumpFacts | None,
    intent: Intent,
    free: Free,
    *,
    staging: Path,
    snapshots: Path | None,
    to_stage: int,
    bucket: str = "",
    replayed: int = 0,
) -> Iterator[Check]:
    """`to_stage`: bytes still to be copied into `staging` (dump and logs). `snapshots` is None for a bucket:
    then the snapshot is made in `staging` first.

    Without `dump` (it is not read yet) the server's row takes the schema of now for a measure.
    """
    # Packed it takes a third or less; that it packs well is not promised.
    snapshot = schema.size if schema.readable else 0
    yield from _here(staging, to_stage, snapshots, snapshot, bucket)
    if dump is not None:
        need = needed_on_server(server, schema, dump, intent, replayed=replayed)
        yield _there(free, need.total, str(need))
    else:
        told = f"as much as the schema takes now, {size(schema.size)}; the dump is not read yet"
        yield _there(free, schema.size if intent.staged else schema.size // 4, told)


def _there(free: Free, needed: int, told: str) -> Check:
    if free.bytes is None:
        return Check(DATA, Panel.SPACE, Verdict.UNKNOWN, f"needs {told}; {free.how}", _SPACE_HINT, needed)
    text = f"needs {told}; free {size(free.bytes)}, {free.how}"
    if free.bytes < needed + _SERVER_RESERVE:
        short = size(needed + _SERVER_RESERVE - free.bytes)
        hint = (
            f"Make {short} more room there, or restore in place, which needs less; binary_log = off needs none for it."
        )
        return Check(DATA, Panel.SPACE, Verdict.FAIL, text, hint, needed, free.bytes)
    return Check(DATA, Panel.SPACE, Verdict.OK, text, "", needed, free.bytes)


def _here(staging: Path, to_stage: int, snapshots: Path | None, snapshot: int, bucket: str) -> Iterator[Check]:
    if snapshots is None:
        told = f"dump and logs {size(to_stage)}, and the snapshot before it is uploaded, up to {size(snapshot)}"
        yield _row(STAGING, staging, to_stage + snapshot, told)
        told = f"up to {size(snapshot)}, into {drawable(bucket or 'a bucket')}"
        yield Check(SNAPSHOTS, Panel.SPACE, Verdict.OK, told, "", snapshot)
        return
    together = _device(staging) is not None and _device(staging) == _device(snapshots)
    also = "; on the file system of the other, so they add up" if together else ""
    yield _row(STAGING, staging, to_stage + (snapshot if together else 0), f"dump and logs {size(to_stage)}{also}")
    told = f"up to {size(snapshot)}, less as it packs{also}"
    yield _row(SNAPSHOTS, snapshots, snapshot + (to_stage if together else 0), told)


def _row(name: str, folder: Path, needed: int, evidence: str) -> Check:
    place = _existing(folder)
    try:
        free = _free(place)
    except OSError as error:
        hint = "Make the folder, or let this user read it."
        return Check(name, Panel.SPACE, Verdict.UNKNOWN, f"{drawable(str(folder))}: {error.strerror}", hint, needed)
    text = f"{drawable(str(folder))}: {evidence}; free by statvfs {size(free)}"
    if free < needed + _RESERVE:
        hint = f"Make {size(needed + _RESERVE - free)} more room there, or configure another folder."
        return Check(name, Panel.SPACE, Verdict.FAIL, text, hint, needed, free)
    return Check(name, Panel.SPACE, Verdict.OK, text, "", needed, free)


def free_on_server(
    connection: Connection[Cursor], place: Place, server: ServerFacts, command: tuple[str, ...] = ()
) -> Free:
    """The configured command first, since it was configured; else this machine's own view; else MariaDB's plugin."""
    if command:
        return _by_command(command)
    local = _by_statvfs(place, server)
    if local is not None:
        return local
    if "disks" in server.plugins:
        return _by_plugin(connection, server)
    return Free(None, "the server is not on this machine, and does not tell its free space")


def _by_statvfs(place: Place, server: ServerFacts) -> Free | None:
    """Only where the folder here is surely the server's: a tunnel or a container has another's path, or host name."""
    near = place.socket is not None or place.host in _LOOPBACK
    if not near or server.hostname != socket.gethostname():
        return None
    folder = Path(server.datadir)
    try:
        if not folder.is_dir() or not _is_of(folder, server):
            return None
        return Free(_free(folder), f"by statvfs on {drawable(server.datadir)}")
    except OSError:
        return None


def _is_of(folder: Path, server: ServerFacts) -> bool:
    """MySQL keeps its UUID there, where this user may read it; MariaDB keeps nothing like it."""
    try:
        return server.mariadb or server.uid in (folder / "auto.cnf").read_text()
    except PermissionError:
        return True  # host name and path agree, and nobody says otherwise
    except FileNotFoundError:
        return False


def _by_plugin(connection: Connection[Cursor], server: ServerFacts) -> Free:
    """MariaDB's DISKS plugin, kilobytes by mount point: the one that the data directory is on."""
    try:
        rows = rows_of(connection, "SELECT path, available FROM information_schema.disks")
    except NotSaid as error:
        return Free(None, f"its DISKS plugin does not answer ({error.why})")
    mounts = {str(path): int(kilobytes) * 1024 for path, kilobytes in rows}
    over = [path for path in mounts if Path(server.datadir).is_relative_to(path)]
    if not over:
        return Free(None, f"its DISKS plugin shows no file system for {drawable(server.datadir)}")
    nearest = max(over, key=len)
    return Free(mounts[nearest], f"by its DISKS plugin on {drawable(nearest)}")


def _by_command(command: tuple[str, ...]) -> Free:
    asked = Command(command, timeout=30.0)
    told = drawable(shown(asked))
    try:
        ended, output = captured(asked, limit=64_000)
    except RestoreError as error:
        return Free(None, error.message)
    if not ended.ok:
        return Free(None, f"{told}: {ended.reason}")
    found = parse_free(output.decode(errors="replace"))
    return Free(found, f"by {told}" if found is not None else f"{told} printed no number of bytes")


def parse_free(output: str) -> int | None:
    """The free bytes in what a command printed: one number (a heading is passed over), or the table of df -P -B1."""
    lines = [line for line in output.splitlines() if line.strip()]
    if lines and "-blocks" in lines[0]:
        row = re.search(r"\s\d+\s+\d+\s+(\d+)\s+\d+%\s", lines[-1])
        # Kilobytes would be taken for bytes: only a table made with -B1 is understood.
        return int(row[1]) if row and re.search(r"\b1B?-blocks", lines[0]) else None
    numbers = re.findall(r"(?<![\w.])\d+(?![\w.%])", output)
    return int(numbers[0]) if len(numbers) == 1 else None


def _free(folder: Path) -> int:
    figures = os.statvfs(folder)
    return figures.f_bavail * figures.f_frsize


def _existing(folder: Path) -> Path:
    """`folder`, or the nearest one above it that exists: there it would be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _device(folder: Path) -> int | None:
    try:
        return _existing(folder).stat().st_dev
    except OSError:
        return None
