"""The demo's application on MySQL or MariaDB: the shop of `engines.demo.app`, whose database is on a server.

It is copied into the sandbox as app.py and runs there by itself: `python -I app.py workers start`. Like the operator's
own application it keeps connections open that have the schema for their default one.
"""

from __future__ import annotations

import secrets
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pymysql

from engines.demo import app
from engines.demo.app import MIGRATIONS, say, text_of, write_log

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

LOGIN = ".my.cnf"
SERVER = "server/process"  # beside the application's folder: pid and start of the sandbox's server
SCHEMA = "shop"
TABLES = (
    "CREATE TABLE migrations (id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT, migration VARCHAR(191) NOT NULL, "
    "batch INT NOT NULL)",
    "CREATE TABLE users (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, name VARCHAR(191) NOT NULL, "
    "email VARCHAR(191) NOT NULL, created_at DATETIME NOT NULL, deleted_at DATETIME NULL, "
    "UNIQUE KEY users_email_unique (email))",
    "CREATE TABLE transactions (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, user_id BIGINT UNSIGNED NOT NULL, "
    "reference VARCHAR(64) NOT NULL, amount_cents INT NOT NULL, status VARCHAR(20) NOT NULL, "
    "created_at DATETIME NOT NULL, UNIQUE KEY transactions_reference_unique (reference), "
    "KEY transactions_created_at_index (created_at), "
    "CONSTRAINT transactions_user_id_foreign FOREIGN KEY (user_id) REFERENCES users (id))",
    "CREATE TABLE audit_logs (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, action VARCHAR(60) NOT NULL, "
    "subject VARCHAR(191) NOT NULL, created_at DATETIME NOT NULL, KEY audit_logs_action_index (action))",
    "CREATE TABLE jobs (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, queue VARCHAR(60) NOT NULL, "
    "payload JSON NOT NULL, available_at DATETIME NOT NULL)",
    "CREATE TABLE cache (`key` VARCHAR(191) PRIMARY KEY, value MEDIUMTEXT NOT NULL, expiration INT NOT NULL)",
    "CREATE VIEW revenue AS SELECT DATE(created_at) AS day, SUM(amount_cents) AS cents FROM transactions GROUP BY 1",
)

_TURN = "shop-turn"  # the lock under which something is written
_WAIT = 10  # seconds for it

Shop: TypeAlias = "Connection[Cursor]"
Step = Callable[[Path, Shop], None]


def connect(home: Path) -> Shop:
    """Raises MySQLError."""
    return pymysql.connect(
        read_default_file=str(home / LOGIN), database=SCHEMA, charset="utf8mb4", autocommit=True, connect_timeout=5
    )


def one(database: Shop, sql: str, values: tuple[object, ...] = ()) -> tuple[Any, ...] | None:
    with database.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchone()


def number(database: Shop, sql: str) -> int:
    row = one(database, sql)
    return int(row[0] or 0) if row else 0


def run(database: Shop, sql: str, values: tuple[object, ...] = ()) -> int:
    """Returns how many rows it changed."""
    with database.cursor() as cursor:
        return int(cursor.execute(sql, values or None))


def record_payment(database: Shop, user: int, amount_cents: int, at: datetime) -> str:
    """One payment and its audit row, in the transaction that is open. Returns the payment's reference."""
    reference = f"PAY-{at:%Y%m%d}-{secrets.token_hex(4)}"
    run(
        database,
        "INSERT INTO transactions (user_id, reference, amount_cents, status, created_at) "
        "VALUES (%s, %s, %s, 'paid', %s)",
        (user, reference, amount_cents, text_of(at)),
    )
    audit(database, "payment.recorded", reference, at)
    return reference


def audit(database: Shop, action: str, subject: str, at: datetime) -> None:
    run(
        database,
        "INSERT INTO audit_logs (action, subject, created_at) VALUES (%s, %s, %s)",
        (action, subject, text_of(at)),
    )


@contextmanager
def transaction(database: Shop) -> Iterator[None]:
    database.begin()
    try:
        yield
    except BaseException:
        database.rollback()
        raise
    database.commit()


def some_user(database: Shop) -> int | None:
    """A customer, any of them; None where there is none."""
    highest = number(database, "SELECT MAX(id) FROM users")
    if not highest:
        return None
    row = one(database, "SELECT id FROM users WHERE id >= %s ORDER BY id LIMIT 1", (1 + secrets.randbelow(highest),))
    return int(row[0]) if row else None


# -- what the two processes do -----------------------------------------------------------------------------


def work_off(home: Path, database: Shop) -> None:
    """The worker's turn: one payment, one job of the queue."""
    user = some_user(database)
    if user is None:
        write_log(home, "ERROR", "No customer is left to bill")
        return
    reference = record_payment(database, user, 900 + secrets.randbelow(9000), datetime.now(UTC))
    run(database, "DELETE FROM jobs ORDER BY id LIMIT 1")
    write_log(home, "INFO", f'Payment recorded {{"reference":"{reference}"}}')


def keep_schedule(_home: Path, database: Shop) -> None:
    """The scheduler's turn: a cached figure, a job for the worker."""
    now = datetime.now(UTC)
    run(
        database,
        "REPLACE INTO cache SELECT 'revenue_today', COALESCE(SUM(amount_cents), 0), %s FROM transactions "
        "WHERE created_at >= %s",
        (int(now.timestamp()) + 60, f"{now:%Y-%m-%d}"),
    )
    payload = '{"displayName": "SendReceipts"}'
    run(
        database,
        "INSERT INTO jobs (queue, payload, available_at) VALUES ('default', %s, %s)",
        (payload, text_of(now)),
    )


STEPS: Mapping[str, Step] = {"workers": work_off, "scheduler": keep_schedule}


def serve(home: Path, service: str) -> int:
    """Be that process until SIGTERM, or until the sandbox's server is gone."""
    _step, every = app.SERVICES[service]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    database = connect(home)
    # The second connection does nothing, as those of a pool do: it can write at any moment.
    with closing(connect(home)) as idle:
        idle.ping(reconnect=False)

        def turn() -> None:
            nonlocal database
            if not _server_runs(home):
                (home / app.RUN / f"{service}.pid").unlink(missing_ok=True)  # which ends it
                return
            try:
                if not database.open:
                    database = connect(home)
                _take_turn(home, database, STEPS[service])
            except pymysql.MySQLError as error:
                write_log(home, "ERROR", f"{service.capitalize()}: {error.args[-1] if error.args else error}")
                if database.open:
                    database.close()

        app.keep_turning(home, service, every, turn)
        if database.open:
            database.close()
    return 0


def _server_runs(home: Path) -> bool:
    try:
        pid, started = map(int, (home.parent / SERVER).read_text().split())
    except (OSError, ValueError):
        return False
    return app.start_of(pid) == started


def _take_turn(home: Path, database: Shop, step: Step) -> None:
    with _lock(database), transaction(database):
        # Asked under the lock: once `down` has had the lock too, nothing more is written.
        if not (home / app.DOWN).exists():
            step(home, database)


@contextmanager
def _lock(database: Shop) -> Iterator[None]:
    one(database, f"SELECT GET_LOCK('{_TURN}', {_WAIT})")
    try:
        yield
    finally:
        if database.open:
            one(database, f"SELECT RELEASE_LOCK('{_TURN}')")


# -- the commands --------------------------------------------------------------------------------------------


def down(home: Path) -> int:
    (home / app.DOWN).write_text('{"status":503}\n')
    write_log(home, "INFO", "Maintenance mode on")
    try:
        with closing(connect(home)) as database, _lock(database):
            pass  # whoever was writing has finished now
    except pymysql.MySQLError as error:
        return say(0, f"in maintenance mode (the database: {error.args[-1]})")
    return say(0, "in maintenance mode")


def migrations(home: Path) -> int:
    """As `migrate:status` answers."""
    with closing(connect(home)) as database, database.cursor() as cursor:
        cursor.execute("SELECT migration, batch FROM migrations")
        ran = {str(name): batch for name, batch in cursor.fetchall()}
    for name in MIGRATIONS:
        say(0, f"  {name} {'.' * 12} " + (f"[{ran[name]}] Ran" if name in ran else "Pending"))
    return 0


def smoke(home: Path) -> int:
    """The ways through the application that matter: find a customer, bill them (taken back), read the report."""
    with closing(connect(home)) as database:
        database.begin()
        customers = number(database, "SELECT COUNT(*) FROM users WHERE deleted_at IS NULL")
        paid = number(database, "SELECT COUNT(*) FROM transactions")
        user = one(database, "SELECT id FROM users WHERE deleted_at IS NULL ORDER BY id LIMIT 1")
        if user is None:
            return say(1, "log-in: FAILED, there is no active customer")
        reference = record_payment(database, int(user[0]), 100, datetime.now(UTC))
        total = number(database, "SELECT SUM(cents) FROM revenue")
        database.rollback()
    say(0, f"log-in: ok, {customers} active customers")
    say(0, f"payment: ok, {reference} recorded and taken back")
    if paid < customers:
        return say(1, f"report: FAILED, {customers} customers have paid only {paid} times")
    return say(0, f"report: ok, {total // 100} paid in all")


def health(home: Path) -> int:
    """Is the application in service, and does its worker really write?"""
    if (home / app.DOWN).exists():
        return say(1, "in maintenance mode")
    if any(app.status(home, service) for service in STEPS):
        return 1
    with closing(connect(home)) as database:
        newest = "SELECT MAX(id) FROM transactions"
        before = number(database, newest)
        written = app.waited(lambda: number(database, newest) != before)
    return say(0, "in service: a new payment was recorded just now") if written else say(1, app.SILENT)


COMMANDS: Mapping[str, app.Command] = {
    "down": down,
    "up": app.up,
    "migrations": migrations,
    "smoke": smoke,
    "health": health,
    "status": app.in_service,
}

if __name__ == "__main__":
    sys.exit(app.main(sys.argv[1:], __file__, COMMANDS, serve))
