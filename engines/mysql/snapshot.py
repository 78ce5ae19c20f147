"""Keeps a schema as it is before it is replaced: a consistent dump that is itself a backup, proven by reading it.

It is packed and hashed on its way, named when it is whole, and described by a TOML file beside it (`engines.shelf`),
so that it can be listed, restored and pruned.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from engines import shelf
from engines.children import Child
from engines.errors import RestoreError
from engines.hooks import At, Progress, Say, Stop, never, nowhere, silent, unmeasured
from engines.mysql import dumping
from engines.mysql.connect import Login, Place, code_of, connected, quoted
from engines.mysql.dumping import Ground
from engines.mysql.dumps.facts import DumpFacts, read_facts
from engines.mysql.errors import meaning
from engines.mysql.flavour import Flavour
from engines.mysql.programs import Program, ProgramFailed, running
from engines.shelf import Listing, RawCopy, RawFile, describe, open_folder, refuse_taken, sync_folder
from engines.text import count, drawable, size, stamp, utc_now

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

ENDING = ".sql.zst"
VIEWS = "broken-views.sql"  # in the raw folder: what made the views that can't be dumped
_LEVEL = 3  # of zstd: faster than the server gives
_DENIED = frozenset((1227, 1044, 1045, 1142))
_TOO_LONG = (3024, 1969, 1317)  # execution time exceeded: MySQL's number, MariaDB's, and "interrupted"


@dataclass(frozen=True, slots=True)
class Snapshot(shelf.Snapshot):
    """A safety snapshot of a schema. `raw` has what was kept beside the dump; `counts` is there when just taken."""

    server: str = ""  # its version
    charset: str = ""  # the schema's default
    collation: str = ""
    log_file: str = ""  # where its binary logs go on; empty: not known
    log_position: int = 0
    tables: int = 0
    rows: int = 0
    unsafe: str = ""  # tables without transactions, which may hold a mixture where somebody wrote meanwhile
    left_out: str = ""  # views that could not be read; what made them is in `raw`
    counts: Mapping[str, int] = field(default_factory=dict)  # rows of each table


def listed(folder: str) -> Listing[Snapshot]:
    """The snapshots of schemas in `folder`."""
    return shelf.listed(folder, Snapshot)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A snapshot as it is asked for."""

    program: Program  # mysqldump
    place: Place
    login: Login
    schema: str
    folder: str  # of snapshots
    name: str
    keep_until: datetime
    target: str
    session: str
    private: Path  # where the program's option file may be for as long as it runs
    kind: str = "before-restore"
    quiet: bool = True  # does nobody write? Then other numbers of rows are a failure
    counting: float = 900.0  # seconds for counting the live rows; larger tables are left uncounted


def take(
    asked: Asked,
    *,
    started: Callable[[Child], None] = lambda _child: None,
    say: Say = silent,
    progress: Progress = unmeasured,
    stop: Stop = never,
    at: At = nowhere,
) -> Snapshot:
    """Dump the schema into `folder`/`name`.sql.zst, read it back to its end, compare, and describe it.

    `progress`: bytes of the dump, of what the server guesses. Raises RestoreError; nothing partial stays under its
    name, and what a killed attempt left is written over by the next one of that name.
    """
    open_folder(asked.folder)
    refuse_taken(asked.folder, asked.name)
    path = Path(asked.folder, f"{asked.name}{ENDING}")
    ground = dumping.look(asked.place, asked.login, asked.schema)
    for line in _warnings(ground):
        say(line)
    part = path.with_name(f"{path.name}.part")
    try:
        sha256 = _dump(asked, ground, part, started, say, progress, stop, at)
        at("snapshot.copy.after")
        facts = read_facts(part, stop=stop)
        _refuse_unequal_objects(asked, ground, facts)
        _compare_rows(asked, ground, facts, say, stop)
        _refuse_other_bytes(part, sha256)
        at("snapshot.proof.after")
        raw = _keep_definitions(asked, ground.broken)
        part.replace(path)  # what may be there has no description: a killed attempt left it
        sync_folder(asked.folder)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise _not_written(asked, error) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    at("snapshot.name.after")
    snapshot = _snapshot(asked, ground, facts, path, sha256, raw)
    describe(snapshot)
    at("snapshot.describe.after")
    say(f"{path.name}: {size(snapshot.size)}, {count(snapshot.tables)} tables, {count(snapshot.rows)} rows, read back")
    return snapshot


def _warnings(ground: Ground) -> list[str]:
    said = []
    if ground.unsafe:
        names = ", ".join(map(drawable, ground.unsafe[:10]))
        said.append(f"{len(ground.unsafe)} tables without transactions ({names}): consistent only if nobody writes")
    if ground.objects.sequences:
        said.append(f"{len(ground.objects.sequences)} sequences: as they stand when they are read")
    if any(table.versioned for table in ground.objects.tables) and not ground.history:
        said.append("the history of system-versioned tables is NOT kept: this server's dump program can't write it")
    if ground.broken:
        names = ", ".join(map(drawable, ground.broken))
        said.append(f"left out, because what they read is gone: views {names}; their definitions are kept")
    return said


def _dump(
    asked: Asked,
    ground: Ground,
    part: Path,
    started: Callable[[Child], None],
    say: Say,
    progress: Progress,
    stop: Stop,
    at: At,
) -> str:
    """The dump in `part`, and the digest of its bytes. Without coordinates where the login may not have them."""
    try:
        return _written(asked, ground, part, started, progress, stop, at, coordinates=ground.binary_log)
    except ProgramFailed as failed:
        if not ground.binary_log or not failed.codes & _DENIED:
            raise
    say("the login may not ask where the binary log stands (RELOAD, REPLICATION CLIENT): dumped without")
    return _written(asked, ground, part, started, progress, stop, at, coordinates=False)


def _written(
    asked: Asked,
    ground: Ground,
    part: Path,
    started: Callable[[Child], None],
    progress: Progress,
    stop: Stop,
    at: At,
    *,
    coordinates: bool,
) -> str:
    total = ground.objects.size
    arguments = dumping.arguments(asked.program, ground, coordinates=coordinates)
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        at("snapshot.create.after")
        packing = _Packing(file)
        with running(
            asked.program, arguments, asked.place, asked.login, private=asked.private, started=started, stop=stop
        ) as dump:
            while piece := dump.read():
                packing.add(piece)
                progress(packing.taken, max(total, packing.taken))
            dump.finish()
        packing.end()
        file.flush()
        os.fsync(handle)
    progress(packing.taken, packing.taken)
    return packing.hashed.hexdigest()


class _Packing:
    """Packs and hashes what goes into a file."""

    def __init__(self, file: IO[bytes]) -> None:
        import zstandard

        self._file = file
        self._packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
        self.hashed = hashlib.sha256()
        self.taken = 0  # bytes, unpacked

    def add(self, piece: bytes) -> None:
        self.taken += len(piece)
        self._write(self._packer.compress(piece))

    def end(self) -> None:
        self._write(self._packer.flush())

    def _write(self, packed: bytes) -> None:
        self.hashed.update(packed)
        self._file.write(packed)


def _refuse_unequal_objects(asked: Asked, ground: Ground, facts: DumpFacts) -> None:
    if not facts.complete:
        raise RestoreError(
            f"The dump of {drawable(asked.schema)} ends without its last line. Nothing was changed.",
            "Look at the server's error log, then start the step again.",
        )
    now = ground.objects
    views = set(now.views) - set(ground.broken)
    routines = [name for kind, name in now.routines if kind in ("PROCEDURE", "FUNCTION")]
    for what, kept, there in (
        ("table", [table.name for table in facts.tables], [table.name for table in now.tables]),
        ("view", list(facts.views), list(views)),
        ("sequence", list(facts.sequences), list(now.sequences)),
        ("routine", list(facts.routines), routines),
        ("trigger", list(facts.triggers), list(now.triggers)),
        ("event", list(facts.events), list(now.events)),
    ):
        if sorted(kept) != sorted(there):
            odd = next(iter(sorted(set(kept) ^ set(there))), what)
            raise RestoreError(
                f"The dump of {drawable(asked.schema)} does not hold what is there: {what} {drawable(odd)}. "
                "Nothing was changed.",
                "Does somebody change the schema meanwhile, and may the login see all of it? Then take it again.",
            )


def _compare_rows(asked: Asked, ground: Ground, facts: DumpFacts, say: Say, stop: Stop) -> None:
    """The dump's rows against the live ones, as far as they can be counted in the time for it."""
    until = time.monotonic() + asked.counting
    uncounted: list[str] = []
    versioned = {table.name for table in ground.objects.tables if table.versioned} if ground.history else set()
    with connected(asked.place, asked.login, database=asked.schema) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        for table in sorted(facts.tables, key=lambda one: one.size):
            if stop():
                raise RestoreError("The snapshot was stopped. Nothing was changed.", "Start the step again when ready.")
            left = until - time.monotonic()
            live = _counted(connection, table.name, left, ground, past=table.name in versioned) if left > 0 else None
            if live is None:
                uncounted.append(table.name)
            elif live != table.rows:
                told = f"{drawable(table.name)} has {count(live)} rows, and {count(table.rows)} in the snapshot"
                if asked.quiet:
                    raise RestoreError(
                        f"{told}: somebody still writes to {drawable(asked.schema)}. Nothing was changed.",
                        "Stop what writes, then take the snapshot again.",
                    )
                say(f"{told}: it was written to meanwhile")
    if uncounted:
        say(f"not counted in the time for it: {', '.join(map(drawable, uncounted))}")


def _counted(connection: Connection[Cursor], table: str, seconds: float, ground: Ground, *, past: bool) -> int | None:
    """The rows of a table; None where counting takes longer."""
    import pymysql

    rows = f"COUNT(*) FROM {quoted(table)}{' FOR SYSTEM_TIME ALL' if past else ''}"
    if ground.version.flavour is Flavour.MYSQL:
        query = f"SELECT /*+ MAX_EXECUTION_TIME({max(int(seconds * 1000), 1)}) */ {rows}"
    else:
        query = f"SET STATEMENT max_statement_time = {max(seconds, 0.001):.3f} FOR SELECT {rows}"
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return int((cursor.fetchone() or (0,))[0])
    except pymysql.err.MySQLError as error:
        if code_of(error) in _TOO_LONG:
            return None
        raise RestoreError(
            f"The rows of {drawable(table)} can't be counted: {meaning(error)}. Nothing was changed.",
            "Look at the server's error log; CHECK TABLE says whether it is damaged.",
        ) from None


def _keep_definitions(asked: Asked, broken: Mapping[str, str]) -> RawCopy | None:
    """What made the views that can't be dumped, in a file beside the dump."""
    if not broken:
        return None
    text = "".join(f"-- {drawable(name)}\n{made};\n" for name, made in broken.items()).encode()
    folder = Path(asked.folder, f"{asked.name}.raw")
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / VIEWS
    file.unlink(missing_ok=True)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as written:
        written.write(text)
        written.flush()
        os.fsync(handle)
    sync_folder(folder)
    return RawCopy(str(folder), (RawFile(VIEWS, len(text), hashlib.sha256(text).hexdigest()),))


def _snapshot(asked: Asked, ground: Ground, facts: DumpFacts, path: Path, sha256: str, raw: RawCopy | None) -> Snapshot:
    return Snapshot(
        name=asked.name,
        folder=asked.folder,
        path=str(path),
        sha256=sha256,
        size=path.stat().st_size,
        taken_at=stamp(utc_now()),
        keep_until=stamp(asked.keep_until),
        target=asked.target,
        session=asked.session,
        kind=asked.kind,
        of=f"{asked.place}/{asked.schema}",
        raw=raw,
        server=str(ground.version),
        charset=ground.objects.charset,
        collation=ground.objects.collation,
        log_file=facts.coordinates.file,
        log_position=facts.coordinates.position,
        tables=len(facts.tables),
        rows=facts.rows,
        unsafe=", ".join(map(drawable, ground.unsafe)),
        left_out=", ".join(map(drawable, ground.broken)),
        counts={table.name: table.rows for table in facts.tables},
    )


def _refuse_other_bytes(part: Path, sha256: str) -> None:
    with part.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
            return
    raise RestoreError(
        f"{drawable(part.name)} does not read back as it was written. Nothing was changed.",
        "The disk or its controller is damaged: configure another folder for snapshots.",
    )


def _not_written(asked: Asked, error: OSError) -> RestoreError:
    free = os.statvfs(asked.folder)
    return RestoreError(
        f"The snapshot of {drawable(asked.schema)} can't be written: {error.strerror or error}. Nothing was changed.",
        f"{size(free.f_bavail * free.f_frsize)} are free in {drawable(asked.folder)}. Make room, or mend what it says.",
    )
