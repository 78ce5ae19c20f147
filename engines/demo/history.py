"""The demo's past: a database as it grew, its hourly copies as they were taken, and the hour in which rows were lost.

Everything that a copy holds had happened by the time in its name; nothing that came later is in it.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from engines.demo.app import MIGRATIONS, SCHEMA, audit, record_payment, text_of

CUSTOMERS = 1200  # at the beginning; one in 30 has closed the account
DAYS, PAYMENTS_A_DAY = 60, 200  # before the last 30 hours, row by row in those
COPIES = 8  # hourly
PURGED = "accounts.purged"
HOUR = timedelta(hours=1)

_FIRST = ("Ada", "Bela", "Chidi", "Dora", "Emre", "Farah", "Goro", "Hana", "Iker", "Jun", "Kofi", "Lena")
_LAST = ("Abara", "Brandt", "Costa", "Dogan", "Eriksen", "Fujita", "Garcia", "Horvat", "Ibsen", "Jansen")


@dataclass(frozen=True, slots=True)
class Expected:
    """What was counted just before the incident began, and what the good copy must hold."""

    users: int
    purged: int  # of them, by the clean-up
    transactions: int
    audit_logs: int
    last_customer: str  # email of the newest customer
    last_payment: str  # reference of the last payment in the good copy


@dataclass(frozen=True, slots=True)
class Past:
    """When what happened (UTC), and which copy is which."""

    started: datetime  # of the incident
    damaged: str  # the newest copy: sound, listed, and taken after the rows were lost
    corrupted: str  # the newest from before the incident: one bit is not as it was
    good: str
    unlisted: str
    stale: str  # a day older than the others
    expected: Expected


def write_past(database: Path, backups: Path, now: datetime) -> Past:
    """Make `database` and the folder of its copies, as they are at `now`. Some seconds of work at most."""
    newest = now.replace(minute=0, second=0, microsecond=0)
    started = newest - timedelta(minutes=28)
    names = [_name(newest - hours * HOUR) for hours in range(COPIES)]
    stale = newest - 28 * HOUR
    with closing(sqlite3.connect(database, isolation_level=None)) as live:
        live.execute("PRAGMA journal_mode = WAL").fetchone()
        live.execute("PRAGMA synchronous = OFF")  # nothing here is worth an fsync for each copy
        live.executescript(SCHEMA)
        live.execute("BEGIN")
        _long_ago(live, newest - 30 * HOUR)
        last_payment = ""
        expected: Expected | None = None
        for moment in _minutes(newest - 30 * HOUR, now):
            if moment == started:
                expected = _count(live, last_payment)
                _purge(live, moment)
            elif moment.minute % 5 == 2:
                reference = _pay(live, moment)
                last_payment = reference if moment < newest - 2 * HOUR else last_payment
            if moment.minute in (10, 40) and moment < newest - 2 * HOUR:
                _sign_up(live, moment)
            if moment.minute == 0 and (moment == stale or moment > newest - COPIES * HOUR):
                live.execute("COMMIT")
                _copy(live, backups / _name(moment), moment)
                live.execute("BEGIN")
        live.execute("COMMIT")
    if expected is None:
        raise ValueError("the incident lies before the newest copy, so it has been passed")
    past = Past(started, names[0], names[1], names[2], names[4], _name(stale), expected)
    _list(backups, past)
    _flip_a_bit(backups / past.corrupted)
    return past


def _name(moment: datetime) -> str:
    return f"database-{moment:%Y-%m-%dT%H-%M-%SZ}.sqlite"


def _minutes(start: datetime, end: datetime) -> Iterator[datetime]:
    moment = start
    while moment <= end:
        yield moment
        moment += timedelta(minutes=1)


def _long_ago(live: sqlite3.Connection, until: datetime) -> None:
    live.executemany("INSERT INTO migrations (migration, batch) VALUES (?, 1)", ((name,) for name in MIGRATIONS))
    since = until - timedelta(days=DAYS)
    apart = timedelta(days=DAYS) / CUSTOMERS
    for n in range(CUSTOMERS):
        _sign_up(live, since + n * apart, closed=until - timedelta(days=n % 20) if n % 30 == 7 else None)
    payments = DAYS * PAYMENTS_A_DAY
    for n in range(payments):
        _pay(live, since + (n + 1) * (timedelta(days=DAYS) / (payments + 1)))


def _sign_up(live: sqlite3.Connection, at: datetime, closed: datetime | None = None) -> None:
    (n,) = live.execute("SELECT count(*) FROM users").fetchone()
    name, email = customer(n)
    live.execute(
        "INSERT INTO users (name, email, created_at, deleted_at) VALUES (?, ?, ?, ?)",
        (name, email, text_of(at), text_of(closed) if closed else None),
    )
    audit(live, "account.opened", email, at)


def customer(n: int) -> tuple[str, str]:
    """Name and email of the customer with this number, from 0 on."""
    name = f"{_FIRST[n % len(_FIRST)]} {_LAST[n // len(_FIRST) % len(_LAST)]}"
    return name, f"{name.replace(' ', '.').lower()}.{n + 1}@shop.example"


def _pay(live: sqlite3.Connection, at: datetime) -> str:
    """A payment by somebody who has an account then."""
    (highest,) = live.execute("SELECT max(id) FROM users").fetchone()
    (number,) = live.execute("SELECT coalesce(max(id), 0) FROM transactions").fetchone()
    wanted = number * 7919 % highest + 1  # spread over all of them, the same in every demo
    (user,) = live.execute(
        "SELECT coalesce((SELECT min(id) FROM users WHERE id >= ?), (SELECT min(id) FROM users))", (wanted,)
    ).fetchone()
    return record_payment(live, user, 900 + number * 6271 % 9000, at)


def _purge(live: sqlite3.Connection, at: datetime) -> None:
    """The incident: a clean-up of closed accounts whose condition is the wrong way round."""
    wrong = "deleted_at IS NULL"  # IS NOT NULL was meant
    live.execute(f"DELETE FROM transactions WHERE user_id IN (SELECT id FROM users WHERE {wrong})")  # noqa: S608 - a constant
    purged = live.execute(f"DELETE FROM users WHERE {wrong}").rowcount  # noqa: S608 - a constant
    audit(live, PURGED, f"{purged} closed accounts", at)


def _count(live: sqlite3.Connection, last_payment: str) -> Expected:
    row = live.execute(
        "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM users WHERE deleted_at IS NULL), "
        "(SELECT count(*) FROM transactions), (SELECT count(*) FROM audit_logs), "
        "(SELECT email FROM users ORDER BY id DESC LIMIT 1)"
    ).fetchone()
    users, purged, transactions, audit_logs, email = row
    return Expected(users, purged, transactions, audit_logs, email, last_payment)


def _copy(live: sqlite3.Connection, path: Path, at: datetime) -> None:
    with closing(sqlite3.connect(path)) as copy:
        copy.execute("PRAGMA synchronous = OFF")
        live.backup(copy)
    path.chmod(0o640)
    os.utime(path, (at.timestamp(), at.timestamp()))


def _list(backups: Path, past: Past) -> None:
    listed = sorted(path for path in backups.iterdir() if path.name != past.unlisted)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in listed]
    (backups / "checksums.txt").write_text("".join(lines))


def _flip_a_bit(path: Path) -> None:
    """In a text that no index repeats, so that SQLite itself finds nothing wrong: only the checksum tells."""
    facts = path.stat()
    content = bytearray(path.read_bytes())
    where = content.index(b"account.opened") + len(b"account.")
    content[where] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
