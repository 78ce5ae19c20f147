"""Quietens a live database and holds its exclusive lock, so that its file can be replaced without losing a row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines.errors import Refused, RestoreError
from engines.hooks import At, Say, nowhere, silent
from engines.sqlite import connect
from engines.sqlite.changes import Mark, refuse_written, written
from engines.sqlite.files import present, sidecars
from engines.sqlite.holders import holders
from engines.text import drawable


def quiesce(live: str, *, timeout: float = 5.0, say: Say = silent, at: At = nowhere) -> None:
    """Brings every committed row into the database file itself, removes its sidecars, and proves that nobody uses it.

    A write-ahead log is written back and switched off, an interrupted transaction is rolled back. Changes the form of
    the live database, not a row of it. Waits `timeout` seconds for locks; raises Refused when somebody keeps one.
    """
    with locked(live, timeout=timeout, say=say, at=at):
        pass


@contextmanager
def locked(
    live: str, *, since: Mark | None = None, timeout: float = 5.0, say: Say = silent, at: At = nowhere
) -> Iterator[None]:
    """`quiesce`, then BEGIN EXCLUSIVE, held until the block ends.

    Nothing in the block may open and close the live file in this process: that would drop the lock. Raises Written
    where anything was committed since `since`, up to the very moment of the lock.
    """
    try:
        with connect.opened(live, "rw", timeout=timeout) as db:
            # What others commit from here on changes the version; what they committed before it shows in the mark.
            version = connect.single(db, "PRAGMA data_version")
            if since is not None:
                refuse_written(live, since)
            at("quiesce.checkpoint.before")
            mode = str(connect.single(db, "PRAGMA journal_mode"))
            if mode == "wal":
                busy, frames, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                at("quiesce.checkpoint.after")
                if busy:
                    raise in_use(live, "its write-ahead log is in use")
                say(f"write-ahead log written back: {frames} frames")
                mode = str(connect.single(db, "PRAGMA journal_mode=DELETE"))
                at("quiesce.journal-mode.after")
                if mode != "delete":
                    raise in_use(live, f"its journal mode stays {mode}")
            at("quiesce.rollback.before")
            _drop_cold_journal(db, live)
            at("quiesce.lock.before")
            db.execute("BEGIN EXCLUSIVE")
            at("quiesce.lock.after")
            if since is not None and connect.single(db, "PRAGMA data_version") != version:
                raise written(live, "while its lock was taken")
            _drop_orphaned_index(live)
            _no_sidecars(live)
            say(f"exclusive lock on {drawable(live)}")
            yield
            at("quiesce.release.before")
            db.execute("ROLLBACK")
    except sqlite3.Error as error:
        if connect.primary(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise in_use(live, str(error)) from error
        raise RestoreError(
            f"{drawable(live)} can't be brought to rest: {drawable(str(error))}.",
            "Look at it with: reinstate check. A file that SQLite can't open is replaced without its lock.",
        ) from error
    at("quiesce.release.after")


def set_journal_mode(path: str, wanted: str, *, timeout: float = 5.0) -> None:
    """Writes the journal mode (wal or delete) into the header, unless it is there. Raises Refused when in use."""
    try:
        with connect.opened(path, "rw", timeout=timeout) as db:
            _drop_cold_journal(db, path)
            found = str(connect.single(db, "PRAGMA journal_mode"))
            if found != wanted:
                found = str(connect.single(db, f"PRAGMA journal_mode={'WAL' if wanted == 'wal' else 'DELETE'}"))
            if found == "delete" and present((f"{path}-shm",)):
                db.execute("BEGIN EXCLUSIVE")
                _drop_orphaned_index(path)
                db.execute("ROLLBACK")
    except sqlite3.Error as error:
        if connect.primary(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise in_use(path, str(error)) from error
        raise RestoreError(
            f"The journal mode of {drawable(path)} could not be set: {drawable(str(error))}.",
            "Look at it with: reinstate check",
        ) from error
    if found != wanted:
        raise RestoreError(
            f"The journal mode of {drawable(path)} stays {found}, wanted is {wanted}.",
            "WAL needs shared memory, which some file systems don't have. Configure journal_mode = 'delete'.",
        )


def in_use(live: str, why: str) -> Refused:
    """What is raised when somebody else has the database; names who."""
    who = holders((live, *sidecars(live)))
    names = "; ".join(str(holder) for holder in who.found) or "nobody that can be seen from here"
    return Refused(
        f"{drawable(live)} is in use ({drawable(why)}): {names}. No row was changed and nothing was replaced.",
        "Stop what has it open, then go on.",
    )


def _drop_cold_journal(db: sqlite3.Connection, path: str) -> None:
    """Rolls an interrupted transaction back, then removes a journal that holds nothing to roll back.

    Such a one is left by PERSIST and TRUNCATE, and by a crash before the journal was synced. SQLite removes it itself
    on changing from PERSIST to DELETE, under its own lock.
    """
    db.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # rolls back, or recovers, what a crash left
    if present((f"{path}-journal",)):
        for mode in ("DELETE", "PERSIST", "DELETE"):
            db.execute(f"PRAGMA journal_mode={mode}").fetchone()


def _drop_orphaned_index(path: str) -> None:
    """Removes a -shm without its -wal, as a crash while WAL is switched off leaves it. Only under the exclusive lock.

    Every connection in WAL mode holds a shared lock on the database, so nobody can be using it; it holds no rows.
    """
    if present((f"{path}-shm",)) and not present((f"{path}-wal",)):
        Path(f"{path}-shm").unlink()


def _no_sidecars(live: str) -> None:
    left = present(sidecars(live))
    if left:
        raise Refused(
            f"{', '.join(map(drawable, left))} still exist under the exclusive lock; beside a replaced file they would "
            "bring the old rows back. Nothing was replaced.",
            "Find out whose they are (the raw copy has them), move them away, then go on.",
        )
