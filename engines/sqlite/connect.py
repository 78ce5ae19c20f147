"""Opens databases: the one place, so that every connection is closed and none is looser than it must be.

Contents are never trusted: no schema of a backup runs a function that could do more than compute.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from engines.errors import RestoreError
from engines.hooks import Stop, never
from engines.text import drawable

_STEPS_BETWEEN_QUESTIONS = 50_000  # virtual machine instructions; a few milliseconds


@contextmanager
def opened(path: str, mode: Literal["ro", "rw"], *, timeout: float = 5.0) -> Iterator[sqlite3.Connection]:
    """A connection to an existing file, closed at the end whatever happens. Raises sqlite3.Error.

    `timeout` (seconds) is how long a lock is waited for. SQLITE_DBCONFIG_DEFENSIVE can be set from Python 3.12 on;
    before that, `trusted_schema=OFF` and `query_only` carry the protection alone.
    """
    uri = f"file:{quote(path.encode('utf-8', 'surrogateescape'))}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)
    try:
        connection.text_factory = _text
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        connection.execute("PRAGMA mmap_size=0")
        set_option = getattr(connection, "setconfig", None)
        if set_option is not None:
            set_option(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)  # type: ignore[attr-defined, unused-ignore]
        yield connection
    finally:
        connection.close()


def _text(raw: bytes) -> str:
    """Text as it can be stored in JSON: a lone surrogate could not."""
    return raw.decode("utf-8", "replace")


@contextmanager
def reading(path: str, *, in_wal: bool, timeout: float = 5.0) -> Iterator[sqlite3.Connection]:
    """A connection that can't change a row, and leaves the folder as it was where SQLite allows that.

    A read-only connection to a cleanly closed WAL database creates -wal and -shm and can't remove them again
    (measured, 3.40.1); one that may write but is told not to removes them, and with no log there is nothing it could
    write back. immutable=1 would miss rows that are only in the log.
    """
    log = Path(f"{path}-wal")
    empty_log = in_wal and not (log.exists() and log.stat().st_size > 0)
    with opened(path, "rw" if empty_log else "ro", timeout=timeout) as connection:
        connection.execute("PRAGMA query_only=ON")
        yield connection


@contextmanager
def interruptible(
    connection: sqlite3.Connection,
    *,
    stop: Stop = never,
    seconds: float | None = None,
    tick: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Lets a long statement be stopped, by the operator or after `seconds`. Raises RestoreError for both."""
    deadline = None if seconds is None else time.monotonic() + seconds
    reason = ""

    def ask() -> int:
        nonlocal reason
        if tick is not None:
            tick()
        if stop():
            reason = "stopped"
        elif deadline is not None and time.monotonic() > deadline:
            reason = "late"
        return 1 if reason else 0

    connection.set_progress_handler(ask, _STEPS_BETWEEN_QUESTIONS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if reason == "stopped":
            raise stopped() from error
        if reason == "late":
            raise RestoreError(
                f"The query took longer than {seconds:g} seconds and was ended. Nothing was changed.",
                "Ask for less, or give it an index to use.",
            ) from error
        raise
    finally:
        connection.set_progress_handler(None, 0)


def stopped(what: str = "") -> RestoreError:
    """What a safe stop raises."""
    where = f" while {what}" if what else ""
    return RestoreError(f"Stopped{where} on request; nothing was changed.", "Start the step again when ready.")


def primary(error: sqlite3.Error) -> int:
    """SQLite's primary result code, 0 where Python raised the error itself."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def single(connection: sqlite3.Connection, sql: str) -> object:
    """The first column of the first row, None without a row."""
    row = connection.execute(sql).fetchone()
    return None if row is None else row[0]


def whole(connection: sqlite3.Connection, sql: str) -> int:
    """`single` where the answer is an integer."""
    value = single(connection, sql)
    if not isinstance(value, int):
        raise sqlite3.DatabaseError(f"{sql} gave {value!r}, not a number")
    return value


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def unreadable(path: str, error: Exception) -> RestoreError:
    """What is raised for a file that SQLite can't read."""
    return RestoreError(
        f"{drawable(path)} can't be read as a database: {drawable(str(error))}. Nothing was changed.",
        "Look at it with: reinstate check",
    )
