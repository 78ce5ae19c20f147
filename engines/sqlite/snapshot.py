"""Keeps the present state before it is replaced: its bytes as found, and a consistent copy that is itself a backup.

What is kept is described by a TOML file beside it (`shelf`), so that it can be listed, restored and pruned.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from engines.errors import Refused, RestoreError
from engines.hooks import At, Progress, Stop, never, nowhere, unmeasured
from engines.sqlite import connect, files
from engines.sqlite.elsewhere import ask_apart
from engines.sqlite.file_facts import live_header
from engines.sqlite.inspect import look
from engines.sqlite.proof import Proof, count_tables, prove
from engines.sqlite.shelf import (
    Listing,
    RawCopy,
    RawFile,
    Snapshot,
    describe,
    due,
    listed,
    open_folder,
    prune,
    refuse_taken,
)
from engines.text import drawable, duration, size, stamp, utc_now

__all__ = ["Listing", "RawCopy", "RawFile", "Snapshot", "due", "keep_raw", "listed", "prune", "raw_copy", "take"]

_PAGES_A_STEP = 1024  # of 4 KiB: 4 MiB between two looks at the deadline
_PAUSE = 0.05  # seconds, after a step that met a lock


def raw_copy(
    live: str,
    folder: str,
    *,
    progress: Progress = unmeasured,
    stop: Stop = never,
    at: At = nowhere,
) -> RawCopy:
    """Copies the database file and its sidecars as found into the new folder `folder`, byte by byte, and syncs them.

    For forensics, and for a database that SQLite can't open. Works in another process: opening and closing the live
    file here would drop the locks of this process. Raises RestoreError; a partial copy is removed.
    """
    real = os.path.realpath(live)
    sources = files.present((real, *files.sidecars(real)))
    open_folder(str(Path(folder).parent))
    try:
        Path(folder).mkdir(mode=0o700)
    except FileExistsError:
        _remove_raw(folder)
        Path(folder).mkdir(mode=0o700)
    at("raw.folder.after")
    total = sum(Path(source).lstat().st_size for source in sources)
    pairs = [[source, str(Path(folder, Path(source).name))] for source in sources]
    try:
        reply = ask_apart({"do": "copy_all", "pairs": pairs}, total=total, progress=progress, stop=stop)
        _refuse_failed(reply, folder)
    except BaseException:
        _remove_raw(folder)
        raise
    at("raw.copy.after")
    files.sync_folder(str(Path(folder, "any")))
    files.sync_folder(folder)
    at("raw.sync.after")
    copied = tuple(RawFile(entry["name"], entry["size"], entry["sha256"]) for entry in reply["files"])
    return RawCopy(folder, copied)


def _refuse_failed(reply: dict[str, Any], folder: str) -> None:
    if not reply["ok"]:
        raise RestoreError(
            f"The raw files could not be kept in {drawable(folder)}: {drawable(str(reply['why']))}. "
            "Nothing was changed.",
            "Make room there, or stop what still writes the database; then start the step again.",
        )


def take(
    live: str,
    folder: str,
    name: str,
    keep_until: datetime,
    *,
    target: str,
    session: str,
    kind: str = "before-restore",
    quiet: bool = True,
    raw: RawCopy | None = None,
    deadline: float = 3600.0,
    progress: Progress = unmeasured,
    stop: Stop = never,
    at: At = nowhere,
) -> Snapshot:
    """A consistent copy of the live database as `folder`/`name`.sqlite, proven to hold the same rows, and described.

    Rows only in the write-ahead log are in it, and it has no sidecars. `quiet`: does nobody write? Then other numbers
    of rows are a failure. `deadline` (seconds) bounds waiting for locks:
    Python's backup would otherwise retry for ever. Raises Refused where the live database can't be read, RestoreError
    when the copy fails; nothing partial stays under its name.
    """
    real = os.path.realpath(live)
    open_folder(folder)
    path = str(Path(folder, f"{name}.sqlite"))
    refuse_taken(folder, name)
    found = look(real)
    if found.kind != "database":
        raise Refused(
            f"No consistent snapshot of {drawable(real)} can be taken: {found.kind}, {found.why}. Nothing was changed.",
            "Keep its raw files instead; the commander has to accept that.",
        )
    part = f"{path}.part"
    for leftover in files.present((part, *files.sidecars(part))):
        Path(leftover).unlink()
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        Path(part).chmod(0o600)
        at("snapshot.create.after")
        _back_up(real, part, deadline, progress, stop, raw)
        at("snapshot.copy.after")
        proof = prove(part, stop=stop)
        if quiet:
            _refuse_unequal(real, proof, count_tables(real, stop=stop))
        else:
            _refuse_damaged(real, proof)
        files.sync_file(part)
        sha256 = _sha256(part)
    except BaseException as error:
        for leftover in files.present((part, *files.sidecars(part))):
            Path(leftover).unlink()
        if isinstance(error, OSError | sqlite3.Error):
            raise _not_taken(real, folder, error) from error
        raise
    at("snapshot.proof.after")
    os.link(part, path, follow_symlinks=False)  # unlike rename, never replaces a snapshot of the same name
    Path(part).unlink()
    files.sync_folder(path)
    at("snapshot.name.after")
    status = Path(path).stat()
    snapshot = Snapshot(
        name,
        folder,
        path,
        sha256,
        status.st_size,
        stamp(utc_now()),
        stamp(keep_until),
        target,
        session,
        kind,
        real,
        raw,
        found.journal_mode or "",
        proof,
    )
    describe(snapshot)
    at("snapshot.describe.after")
    return snapshot


def keep_raw(
    raw: RawCopy, live: str, name: str, keep_until: datetime, *, target: str, session: str, kind: str = "raw-only"
) -> Snapshot:
    """Describes a raw copy as a snapshot of its own: all there is where SQLite can't open the live database."""
    folder = str(Path(raw.folder).parent)
    refuse_taken(folder, name)
    snapshot = Snapshot(
        name,
        folder,
        None,
        "",
        sum(entry.size for entry in raw.files),
        stamp(utc_now()),
        stamp(keep_until),
        target,
        session,
        kind,
        os.path.realpath(live),
        raw,
        "",
    )
    describe(snapshot)
    return snapshot


def _back_up(live: str, part: str, deadline: float, progress: Progress, stop: Stop, raw: RawCopy | None) -> None:
    head = live_header(live)
    until = time.monotonic() + deadline
    page = 4096 if head is None else head.page_size

    def step(_status: int, remaining: int, pages: int) -> None:
        progress((pages - remaining) * page, pages * page)
        if stop():
            raise connect.stopped("taking the safety snapshot")
        if time.monotonic() > until:
            raise Refused(
                f"{drawable(live)} could not be copied within {duration(deadline)}: it is locked, or always being "
                "written to. Nothing was changed.",
                "Stop what has it open, then take the snapshot again.",
            )

    wait = min(5.0, deadline)
    with ExitStack() as open_now:
        source = open_now.enter_context(connect.reading(live, in_wal=head is not None and head.wal, timeout=wait))
        try:
            source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError as error:
            if connect.primary(error) != sqlite3.SQLITE_READONLY:
                raise
            _refuse_without_raw(live, raw)
            source = open_now.enter_context(connect.opened(live, "rw", timeout=wait))  # rolls it back
            source.execute("PRAGMA query_only=ON")
        copy = open_now.enter_context(connect.opened(part, "rw"))
        source.backup(copy, pages=_PAGES_A_STEP, progress=step, sleep=_PAUSE)
        # A snapshot is one file: a log beside it could get lost.
        copy.execute("PRAGMA journal_mode=DELETE").fetchone()


def _refuse_without_raw(live: str, raw: RawCopy | None) -> None:
    """SQLite rolls an interrupted transaction back before anything can be read; its journal has to be kept first."""
    if raw is None:
        raise Refused(
            f"{drawable(live)} has an interrupted transaction, which reading it rolls back. Nothing was changed.",
            "Keep its raw files first, then take the snapshot.",
        )


def _sha256(path: str) -> str:
    """The digest of our own copy, on which no connection is open."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_unequal(live: str, proof: Proof, counts: tuple[object, ...]) -> None:
    """A copy of a damaged database is damaged like it: only an unreadable or unequal copy is refused."""
    if proof.tables != counts:
        raise RestoreError(
            f"The snapshot of {drawable(live)} does not hold the same rows as the database. Nothing was changed.",
            "Something still writes to it. Stop it, then take the snapshot again.",
        )


def _refuse_damaged(live: str, proof: Proof) -> None:
    """A row whose parent is missing may have been so before; damage may not go on into what is based on this."""
    if proof.integrity != "ok":
        raise RestoreError(
            f"The copy of {drawable(live)} is not sound: {drawable(proof.integrity)[:200]}. Nothing was changed.",
            "The live database is damaged like it. Look at it before anything is based on it.",
        )


def _not_taken(live: str, folder: str, error: Exception) -> RestoreError:
    free = os.statvfs(folder)
    why = error.strerror if isinstance(error, OSError) else str(error)
    return RestoreError(
        f"The snapshot of {drawable(live)} could not be taken: {drawable(str(why))}. Nothing was changed.",
        f"{size(free.f_bavail * free.f_frsize)} are free in {drawable(folder)}. Make room, or mend what it says.",
    )


def drop_raw(raw: RawCopy) -> None:
    """Removes a raw copy that nothing describes."""
    _remove_raw(raw.folder)


def _remove_raw(folder: str) -> None:
    """Removes a partial raw copy: plain files in one folder, nothing deeper."""
    with os.scandir(folder) as entries:
        for entry in entries:
            Path(entry.path).unlink()
    Path(folder).rmdir()
