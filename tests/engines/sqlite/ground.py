"""Live databases and backups to act on, in the states in which an incident finds them."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from engines.sqlite import inspect, stage, swap

ROOT = Path(__file__).resolve().parents[3]
AM_ROOT = os.geteuid() == 0
OLD_ROWS, LATE_ROWS, NEW_ROWS = 300, 7, 500
LABEL = "t1"


@dataclass(frozen=True, slots=True)
class Ground:
    """A folder with a live database and a backup that is to replace it."""

    folder: Path
    live: Path
    backup: Path
    old: dict[str, int]  # what `eras` of the live database is before

    def staged(self) -> stage.Staged:
        return stage.stage(str(self.backup), str(self.live), LABEL)

    def plan(self, journal_mode: str | None = None) -> swap.Swap:
        return swap.prepare(inspect.look(str(self.live)), self.staged(), LABEL, journal_mode=journal_mode)

    def dressed(self) -> swap.Swap:
        plan = self.plan()
        swap.dress(plan)
        return plan


def replace(plan: swap.Swap, timeout: float = 0.2) -> swap.Position:
    """Without root, other users' processes can't be looked into; tests then act as if that was accepted."""
    return swap.replace(plan, timeout=timeout, accept_unseen=not AM_ROOT)


def put_back(plan: swap.Swap, timeout: float = 0.2) -> swap.Position:
    return swap.put_back(plan, timeout=timeout, accept_unseen=not AM_ROOT)


def database(path: Path, era: str, rows: int, journal_mode: str = "delete") -> None:
    """A sound database with an index, a parent table and a Laravel migrations table."""
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA journal_mode={journal_mode}")
        db.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")
        db.execute(
            "CREATE TABLE payments (id INTEGER PRIMARY KEY, era TEXT, user_id INTEGER REFERENCES users (id), note TEXT)"
        )
        db.execute("CREATE INDEX payments_note ON payments (note)")
        db.execute("CREATE TABLE migrations (id INTEGER PRIMARY KEY, migration TEXT, batch INTEGER)")
        db.execute("INSERT INTO users VALUES (1, 'ana')")
        db.execute("INSERT INTO migrations VALUES (1, '2026_01_01_create_users', 1)")
        pay(db, era, rows)


def pay(db: sqlite3.Connection, era: str, rows: int) -> None:
    notes = [(era, f"{era} {number:05} {'x' * 80}") for number in range(rows)]
    db.executemany("INSERT INTO payments (era, user_id, note) VALUES (?, 1, ?)", notes)
    db.commit()


def eras(path: Path | str) -> dict[str, int]:
    """Rows by the era that wrote them, after a full check that table and index agree."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return dict(db.execute("SELECT era, count(*) FROM payments GROUP BY era").fetchall())


def journal_mode(path: Path | str) -> str:
    with closing(sqlite3.connect(path)) as db:
        return str(db.execute("PRAGMA journal_mode").fetchone()[0])


def live_database(path: Path, state: str) -> dict[str, int]:
    """Makes the live database in `state` and returns its rows by era (empty where it can't be opened)."""
    match state:
        case "delete" | "wal":
            database(path, "old", OLD_ROWS, state)
            return {"old": OLD_ROWS}
        case "wal with rows only in the log":
            _killed_in_wal(path)
            return {"old": OLD_ROWS, "late": LATE_ROWS}
        case "hot journal":
            _killed_in_transaction(path)
            return {"old": OLD_ROWS}
        case "persistent journal":
            database(path, "old", OLD_ROWS, "persist")
            assert Path(f"{path}-journal").stat().st_size > 0
            return {"old": OLD_ROWS}
        case "missing":
            return {}
        case "empty":
            path.touch()
            return {}
        case "garbage with sidecars":
            path.write_bytes(b"this was a database once" * 400)
            Path(f"{path}-wal").write_bytes(b"log" * 100)
            Path(f"{path}-journal").write_bytes(b"journal" * 100)
            return {}
        case _:
            raise ValueError(state)


def _killed_in_wal(path: Path) -> None:
    """As after kill -9: the last rows are only in the log. The -shm is lost, as after a reboot."""
    workshop = path.with_name("workshop")
    workshop.mkdir()
    database(workshop / "db", "old", OLD_ROWS, "wal")
    with closing(sqlite3.connect(workshop / "db")) as db:
        db.execute("PRAGMA wal_autocheckpoint=0")
        pay(db, "late", LATE_ROWS)
        shutil.copy(workshop / "db", path)
        shutil.copy(workshop / "db-wal", f"{path}-wal")
    shutil.rmtree(workshop)


def _killed_in_transaction(path: Path) -> None:
    """As after kill -9 in the middle of a transaction that had already written pages into the file."""
    database(path, "old", OLD_ROWS)
    program = (
        "import os, signal, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA cache_size=2')\n"
        "db.execute('BEGIN IMMEDIATE')\n"
        "db.execute(\"UPDATE payments SET era = 'half', note = note || 'half'\")\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert Path(f"{path}-journal").stat().st_size > 0


def make_ground(folder: Path, state: str = "delete") -> Ground:
    """A live database in `state` with a mode of its own (and an owner of its own, as root), and a sound backup."""
    place = folder / "app"
    place.mkdir()
    live, backup = place / "database.sqlite", folder / "backup.sqlite"
    database(backup, "new", NEW_ROWS)
    old = live_database(live, state)
    for path in place.iterdir():
        path.chmod(0o640)
        if AM_ROOT:
            os.chown(path, 33, 34)
    return Ground(place, live, backup, old)


@contextmanager
def another_process(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Runs `program` until it has printed `ready`; it is told to go on by closing its input, and ended at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


HOLD_OPEN = (
    "import sqlite3, sys\n"
    "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    "db.execute(sys.argv[2]).fetchall()\n"
    "print('ready', flush=True)\n"
    "sys.stdin.read()\n"
)


def idle_connection(
    path: Path | str, first: str = "SELECT count(*) FROM payments"
) -> AbstractContextManager[subprocess.Popen[str]]:
    """A process with an open connection that has done `first` and now does nothing."""
    return another_process(HOLD_OPEN, str(path), first)
