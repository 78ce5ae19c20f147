"""Verify and restore of one SQLite backup of 1 GB, against the same proof by hand (aim 0.85).

By hand: `sha256sum -c && cp && sync && sqlite3 live 'PRAGMA integrity_check; PRAGMA foreign_key_check'`. Ours is a
fresh Python process each time that does what a session's steps do: stage while hashing, prove (the counts of all
tables too), dress, replace under the lock. Both read from the page cache. The safety snapshot, which nobody's hand
takes in that line, is timed apart.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

from engines.text import size
from tests.bench.measure import Ratio, in_turn

AIM = 0.85
ROUNDS = 3
BYTES = 1_000_000_000
_AT_ONCE = 20_000  # rows
_ROOT = Path(__file__).resolve().parents[2]
_SCHEMA = """
PRAGMA page_size = 4096;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT NOT NULL, created_at TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), status TEXT NOT NULL,
    total NUMERIC NOT NULL, created_at TEXT NOT NULL);
CREATE INDEX orders_user ON orders (user_id);
CREATE INDEX orders_created ON orders (created_at);
CREATE TABLE audit_logs (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id),
    order_id INTEGER NOT NULL REFERENCES orders (id), action TEXT NOT NULL, payload TEXT NOT NULL);
CREATE INDEX audit_logs_user ON audit_logs (user_id);
"""


def run(size_wanted: int = BYTES, rounds: int = ROUNDS) -> Ratio:
    """Raises where either of the two does not end well, or what is live then is not the backup."""
    with tempfile.TemporaryDirectory(prefix="reinstate-bench-") as name:
        folder = Path(name)
        backup, live, by_hand = (
            folder / "backup.sqlite",
            folder / "ours" / "live.sqlite",
            folder / "hand" / "live.sqlite",
        )
        live.parent.mkdir()
        by_hand.parent.mkdir()
        rows = fill(backup, size_wanted)
        listing = subprocess.run(["sha256sum", backup.name], cwd=folder, check=True, capture_output=True, text=True)
        (folder / "checksums.txt").write_text(listing.stdout)
        for target in (live, by_hand):
            fill(target, min(size_wanted, 10_000_000))
        parts: list[dict[str, float]] = []

        def ours() -> None:
            parts.append(_ours(str(backup), str(live), listing.stdout.split()[0]))

        def theirs() -> None:
            subprocess.run(["sha256sum", "--quiet", "-c", "checksums.txt"], cwd=folder, check=True)
            subprocess.run(["cp", str(backup), str(by_hand)], check=True)
            subprocess.run(["sync"], check=True)
            checks = "PRAGMA integrity_check; PRAGMA foreign_key_check"
            done = subprocess.run(["sqlite3", str(by_hand), checks], check=True, capture_output=True, text=True)
            if done.stdout != "ok\n":
                raise AssertionError(done.stdout)

        medians = in_turn({"reinstate": ours, "by hand": theirs}, rounds)
        subprocess.run(["cmp", str(live), str(backup)], check=True)
        took = _ours("--snapshot", str(folder / "snapshots"), str(live))["snapshot"]
        bytes_ = backup.stat().st_size
    told = ", ".join(f"{part} {median(one[part] for one in parts[1:]):.2f} s" for part in parts[0])
    on = f"{size(bytes_)}, {rows} rows; of ours {told}; the safety snapshot apart: {took:.2f} s"
    return Ratio("sqlite-restore", medians["reinstate"] / medians["by hand"], AIM, medians, rounds, on)


def _ours(*arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.restore_sqlite", *arguments]
    done = subprocess.run(command, check=True, cwd=_ROOT, stdout=subprocess.PIPE, text=True)
    took: dict[str, float] = json.loads(done.stdout)
    return took


def fill(path: Path, bytes_wanted: int) -> int:
    """A shop with secondary indexes and foreign keys, the same each time. Returns its rows."""
    users = max(bytes_wanted // 5500, 100)
    orders = users * 5
    logs = bytes_wanted // 519
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(_SCHEMA)
        for table, number, rows in (
            ("users", 4, _users(users)),
            ("orders", 5, _orders(orders, users)),
            ("audit_logs", 5, _logs(logs, orders, users)),
        ):
            db.execute("BEGIN")
            db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * number)})", rows)
            db.execute("COMMIT")
    return users + orders + logs


def _users(number: int) -> Iterator[tuple[object, ...]]:
    chance = random.Random(1)  # noqa: S311 - the same data each time is the point
    for n in range(1, number + 1):
        yield n, f"{chance.getrandbits(64):016x}@shop.test", f"Customer {n}", f"2026-{n % 12 + 1:02}-01 10:00:00"


def _orders(number: int, users: int) -> Iterator[tuple[object, ...]]:
    chance = random.Random(2)  # noqa: S311
    for n in range(1, number + 1):
        when = f"2026-{n * 12 // (number + 1) + 1:02}-{n % 28 + 1:02} {n % 24:02}:{n % 60:02}:00"
        yield n, chance.randrange(1, users + 1), ("paid", "sent", "open")[n % 3], chance.randrange(10**6) / 100, when


def _logs(number: int, orders: int, users: int) -> Iterator[tuple[object, ...]]:
    chance = random.Random(3)  # noqa: S311
    for n in range(1, number + 1):
        payload = f"{chance.getrandbits(800):0200x}" * 2
        yield n, chance.randrange(1, users + 1), chance.randrange(1, orders + 1), "order.updated", payload
