"""The demo's application: a small shop on an SQLite database, with a worker that writes and a scheduler.

It is copied into the sandbox and runs there by itself, on the standard library alone:
`python -I app.py workers start`. It stands in for the operator's own application, so it behaves like one: its
worker keeps an idle connection open, its maintenance mode is a flag file, its log is in Laravel's format.
"""

from __future__ import annotations

import os
import secrets
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

DATABASE, LOG, DOWN, RUN = "database/database.sqlite", "storage/logs/app.log", "storage/framework/down", "storage/run"

SCHEMA = """
CREATE TABLE migrations (id INTEGER PRIMARY KEY, migration TEXT NOT NULL, batch INTEGER NOT NULL);
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, email TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL, deleted_at TEXT
);
CREATE TABLE transactions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER NOT NULL REFERENCES users (id),
    reference TEXT NOT NULL UNIQUE, amount_cents INTEGER NOT NULL, status TEXT NOT NULL, created_at TEXT NOT NULL
);
CREATE INDEX transactions_user ON transactions (user_id);
CREATE TABLE audit_logs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, action TEXT NOT NULL, subject TEXT NOT NULL, created_at TEXT NOT NULL
);
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, payload TEXT NOT NULL, available_at TEXT NOT NULL
);
CREATE TABLE cache (key TEXT PRIMARY KEY, value TEXT NOT NULL, expiration INTEGER NOT NULL);
"""
MIGRATIONS = (
    "2026_01_05_090000_create_users_table",
    "2026_01_05_090100_create_transactions_table",
    "2026_01_05_090200_create_audit_logs_table",
    "2026_01_05_090300_create_jobs_and_cache_tables",
    "2026_03_17_140000_add_deleted_at_to_users_table",
)

_LIFETIME = 12 * 3600.0  # seconds; a demo that was forgotten ends by itself
SILENT = "no payment is recorded any more"
_PATIENCE = 10.0  # seconds to wait for a process to start, to end, or to write
_WORK_EVERY, _SCHEDULE_EVERY = 0.6, 3.0  # seconds

Step = Callable[[Path, sqlite3.Connection], None]
Command = Callable[[Path], int]


def text_of(moment: datetime) -> str:
    """A column's time as Laravel writes it: UTC, without a zone."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def log_line(moment: datetime, level: str, message: str) -> str:
    return f"[{text_of(moment)}] local.{level}: {message}\n"


def record_payment(database: sqlite3.Connection, user: int, amount_cents: int, at: datetime) -> str:
    """One payment and its audit row, in the transaction that is open. Returns the payment's reference."""
    (number,) = database.execute("SELECT coalesce(max(id), 0) + 1 FROM transactions").fetchone()
    reference = f"PAY-{at:%Y%m%d}-{number:06d}"
    database.execute(
        "INSERT INTO transactions (user_id, reference, amount_cents, status, created_at) VALUES (?, ?, ?, 'paid', ?)",
        (user, reference, amount_cents, text_of(at)),
    )
    audit(database, "payment.recorded", reference, at)
    return reference


def audit(database: sqlite3.Connection, action: str, subject: str, at: datetime) -> None:
    database.execute(
        "INSERT INTO audit_logs (action, subject, created_at) VALUES (?, ?, ?)", (action, subject, text_of(at))
    )


def connect(home: Path) -> sqlite3.Connection:
    """The live database, which must be there: an application that makes an empty one hides that it was lost."""
    database = sqlite3.connect(f"file:{home / DATABASE}?mode=rw", uri=True, timeout=5.0, isolation_level=None)
    database.execute("PRAGMA foreign_keys = ON")
    return database


# -- what the two processes do -----------------------------------------------------------------------------


def work_off(home: Path, database: sqlite3.Connection) -> None:
    """The worker's turn: one payment, one job of the queue."""
    now = datetime.now(UTC)
    (customers,) = database.execute("SELECT count(*) FROM users").fetchone()
    if not customers:
        write_log(home, "ERROR", "No customer is left to bill")
        return
    offset = secrets.randbelow(customers)
    (user,) = database.execute("SELECT id FROM users ORDER BY id LIMIT 1 OFFSET ?", (offset,)).fetchone()
    reference = record_payment(database, user, 900 + secrets.randbelow(9000), now)
    database.execute("DELETE FROM jobs WHERE id = (SELECT min(id) FROM jobs)")
    write_log(home, "INFO", f'Payment recorded {{"reference":"{reference}"}}')


def keep_schedule(_home: Path, database: sqlite3.Connection) -> None:
    """The scheduler's turn: a cached figure, a job for the worker."""
    now = datetime.now(UTC)
    database.execute(
        "INSERT OR REPLACE INTO cache SELECT 'revenue_today', coalesce(sum(amount_cents), 0), ? FROM transactions "
        "WHERE created_at >= ?",
        (int(now.timestamp()) + 60, f"{now:%Y-%m-%d}"),
    )
    payload = '{"displayName":"App\\\\Jobs\\\\SendReceipts"}'
    database.execute(
        "INSERT INTO jobs (queue, payload, available_at) VALUES ('default', ?, ?)", (payload, text_of(now))
    )


SERVICES: Mapping[str, tuple[Step, float]] = {
    "workers": (work_off, _WORK_EVERY),
    "scheduler": (keep_schedule, _SCHEDULE_EVERY),
}


def serve(home: Path, service: str) -> int:
    """Be that process until SIGTERM."""
    step, every = SERVICES[service]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    # The second connection does nothing, as those of a pool do: no lock shows it, only its open file.
    with closing(connect(home)) as database, closing(connect(home)) as idle:
        idle.execute("SELECT count(*) FROM users").fetchone()

        def turn() -> None:
            try:
                _take_turn(home, database, step)
            except sqlite3.Error as error:
                write_log(home, "ERROR", f"{service.capitalize()}: {error}")

        keep_turning(home, service, every, turn)
    return 0


def keep_turning(home: Path, service: str, every: float, turn: Callable[[], None]) -> None:
    """A turn every so many seconds, until SIGTERM (which is blocked), or until the sandbox is gone."""
    end = time.monotonic() + _LIFETIME
    pid_file = home / RUN / f"{service}.pid"
    fresh = pid_file.with_suffix(".new")
    fresh.write_text(f"{os.getpid()} {start_of(os.getpid())}\n")
    fresh.rename(pid_file)
    write_log(home, "INFO", f"{service.capitalize()} started")
    while signal.sigtimedwait({signal.SIGTERM}, every) is None and time.monotonic() < end and pid_file.exists():
        turn()
    if pid_file.parent.exists():
        write_log(home, "INFO", f"{service.capitalize()} stopped")


def _take_turn(home: Path, database: sqlite3.Connection, step: Step) -> None:
    database.execute("BEGIN IMMEDIATE")
    try:
        # Asked under the lock: once `down` has had the lock too, nothing more is written.
        if not (home / DOWN).exists():
            step(home, database)
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise


# -- the commands --------------------------------------------------------------------------------------------


def start(home: Path, service: str, script: str = __file__) -> int:
    if running(home, service):
        return say(0, f"{service}: running already")
    pid_file = home / RUN / f"{service}.pid"
    pid_file.unlink(missing_ok=True)
    with (home / RUN / f"{service}.out").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", script, "serve", service],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and process.poll() is None:
        if pid_file.exists():
            process.returncode = 0  # it lives on without us; keep Popen from complaining about that
            return say(0, f"{service}: started, pid {process.pid}")
        time.sleep(0.01)
    return say(1, f"{service}: did not start; see {output.name}")


def stop(home: Path, service: str) -> int:
    found = running(home, service)
    if found is None:
        return say(0, f"{service}: not running")
    try:
        handle = os.pidfd_open(found)
    except ProcessLookupError:
        return say(0, f"{service}: stopped")
    with os.fdopen(handle):
        if running(home, service) == found:  # looked at again, now that the handle can't mean another process
            signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not select.select([handle], [], [], _PATIENCE)[0]:
            return say(1, f"{service}: pid {found} does not end")
    (home / RUN / f"{service}.pid").unlink(missing_ok=True)
    return say(0, f"{service}: stopped")


def status(home: Path, service: str) -> int:
    found = running(home, service)
    return say(0, f"{service}: running, pid {found}") if found else say(1, f"{service}: not running")


def down(home: Path) -> int:
    (home / DOWN).write_text('{"status":503}\n')
    write_log(home, "INFO", "Maintenance mode on")
    try:
        with closing(connect(home)) as database:
            database.execute("BEGIN IMMEDIATE")  # whoever was writing has finished now
            database.execute("ROLLBACK")
    except sqlite3.Error as error:
        return say(0, f"in maintenance mode (the database: {error})")
    return say(0, "in maintenance mode")


def up(home: Path) -> int:
    (home / DOWN).unlink(missing_ok=True)
    write_log(home, "INFO", "Maintenance mode off")
    return say(0, "in service")


def migrations(home: Path) -> int:
    """As `migrate:status` answers."""
    with closing(connect(home)) as database:
        ran = {name: batch for name, batch in database.execute("SELECT migration, batch FROM migrations")}
    for name in MIGRATIONS:
        say(0, f"  {name} {'.' * 12} " + (f"[{ran[name]}] Ran" if name in ran else "Pending"))
    return 0


def smoke(home: Path) -> int:
    """The ways through the application that matter: find a customer, bill them (taken back), read the report."""
    with closing(connect(home)) as database:
        database.execute("BEGIN IMMEDIATE")
        (customers,) = database.execute("SELECT count(*) FROM users WHERE deleted_at IS NULL").fetchone()
        user = database.execute("SELECT id FROM users WHERE deleted_at IS NULL ORDER BY id LIMIT 1").fetchone()
        if user is None:
            return say(1, "log-in: FAILED, there is no active customer")
        reference = record_payment(database, user[0], 100, datetime.now(UTC))
        (total,) = database.execute("SELECT sum(amount_cents) FROM transactions").fetchone()
        database.execute("ROLLBACK")
    say(0, f"log-in: ok, {customers} active customers")
    say(0, f"payment: ok, {reference} recorded and taken back")
    return say(0, f"report: ok, {total // 100} paid in all")


def health(home: Path) -> int:
    """Is the application in service, and does its worker really write?"""
    if (home / DOWN).exists():
        return say(1, "in maintenance mode")
    if any(status(home, service) for service in SERVICES):
        return 1
    with closing(connect(home)) as database:
        newest = "SELECT max(id) FROM transactions"
        before = database.execute(newest).fetchone()
        written = waited(lambda: bool(database.execute(newest).fetchone() != before))
    return say(0, "in service: a new payment was recorded just now") if written else say(1, SILENT)


# -- small things ----------------------------------------------------------------------------------------------


def waited(fact: Callable[[], bool]) -> bool:
    """Did it become true within the usual patience?"""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if fact():
            return True
        time.sleep(0.05)
    return False


def start_of(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 when it has ended. With the pid it names it for good."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def running(home: Path, service: str) -> int | None:
    """The pid of that process, None when it does not run."""
    try:
        pid, started = map(int, (home / RUN / f"{service}.pid").read_text().split())
    except (FileNotFoundError, ValueError):
        return None
    return pid if started and start_of(pid) == started else None


def write_log(home: Path, level: str, message: str) -> None:
    with (home / LOG).open("a") as log:
        log.write(log_line(datetime.now(UTC), level, message))


def say(code: int, text: str) -> int:
    sys.stdout.write(text + "\n")
    return code


def in_service(home: Path) -> int:
    return say(1, "in maintenance mode") if (home / DOWN).exists() else say(0, "in service")


def main(arguments: list[str], script: str, alone: Mapping[str, Command], serve: Callable[[Path, str], int]) -> int:
    """One command of the application whose script this is; its folder is the application's."""
    home = Path(script).parent
    verbs: Mapping[str, Callable[[Path, str], int]] = {
        "start": lambda home, service: start(home, service, script),
        "stop": stop,
        "status": status,
    }
    match arguments:
        case [name] if name in alone:
            return alone[name](home)
        case ["serve", service] if service in SERVICES:
            return serve(home, service)
        case [service, verb] if service in SERVICES and verb in verbs:
            return verbs[verb](home, service)
        case _:
            return say(2, f"{', '.join(alone)}; workers or scheduler with start, stop or status")


COMMANDS: Mapping[str, Command] = {
    "down": down,
    "up": up,
    "migrations": migrations,
    "smoke": smoke,
    "health": health,
    "status": in_service,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], __file__, COMMANDS, serve))
