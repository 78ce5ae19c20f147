"""A real Laravel application in a folder of its own, with rows, hourly backups, workers, a scheduler and a web server.

The application is in tests/application. It runs as its own user where the tests run as root, as in production.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

APPLICATION = Path(__file__).parent.parent / "application"
CRITICAL_TABLES = ("users", "transactions", "audit_logs")
SERVICES = ("workers", "scheduler", "web")

JournalMode = Literal["delete", "wal"]
CacheStore = Literal["database", "file"]


@dataclass(frozen=True, slots=True)
class LaravelApp:
    """An application that stands in `folder` and runs as `owner`."""

    folder: Path
    owner: str
    port: int  # of the web server, when it's started

    @property
    def database(self) -> Path:
        return self.folder / "database" / "database.sqlite"

    @property
    def backups(self) -> Path:
        return self.folder / "storage" / "backups" / "sqlite"

    @property
    def checksums(self) -> Path:
        return self.backups / "checksums.txt"

    @property
    def log(self) -> Path:
        return self.folder / "storage" / "logs" / "laravel.log"

    @property
    def env_file(self) -> Path:
        return self.folder / ".env"

    @property
    def health_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/health"

    def is_down(self) -> bool:
        """Whether maintenance mode is on, by the file that Laravel itself looks at."""
        return (self.folder / "storage" / "framework" / "down").exists()

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in the application's folder as its user, output and errors together."""
        other = () if self.owner == _login() else ("runuser", "-u", self.owner, "--")
        return subprocess.run(
            [*other, *argv],
            cwd=self.folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )

    def artisan(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("php", "artisan", *arguments)

    def start(self, *services: str) -> None:
        """Starts workers, scheduler or web; returns when their supervisors run."""
        for service in services:
            _done(self.run(f"bin/{service}", "start"))

    def stop(self, *services: str) -> None:
        """Stops them, all when none is named; returns when their processes are gone."""
        for service in services or SERVICES:
            _done(self.run(f"bin/{service}", "stop"))

    def running(self, service: str) -> bool:
        return self.run(f"bin/{service}", "status").returncode == 0

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """What a query answers, read from outside of the application."""
        with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(query, values).fetchall()

    def change(self, statement: str, values: Sequence[object] = ()) -> int:
        """Changes rows from outside of the application, the incident for one; how many."""
        with closing(sqlite3.connect(self.database, timeout=10)) as connection, connection:
            return connection.execute(statement, values).rowcount

    def counts(self, tables: Sequence[str] = CRITICAL_TABLES) -> dict[str, int]:
        """Rows of each table now."""
        return {table: _number(self.rows(f'SELECT count(*) FROM "{table}"')) for table in tables}  # names from tests

    def seed(self, *, users: int = 0, transactions: int = 0, at: datetime | None = None) -> None:
        """Adds rows as the application would have at `at` (UTC; now): each transaction has its line in audit_logs."""
        stamp = (at or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M:%S")
        with closing(sqlite3.connect(self.database, timeout=10)) as connection, connection:
            first = _next_id(connection, "users")
            connection.executemany(
                "INSERT INTO users (id, email, created_at) VALUES (?, ?, ?)",
                ((number, f"user{number}@example.test", stamp) for number in range(first, first + users)),
            )
            last_user = _next_id(connection, "users") - 1
            first = _next_id(connection, "transactions")
            numbers = range(first, first + transactions)
            connection.executemany(
                "INSERT INTO transactions (id, user_id, amount_cents, created_at) VALUES (?, ?, ?, ?)",
                ((number, number % last_user + 1, number * 7 % 10_000, stamp) for number in numbers),
            )
            connection.executemany(
                "INSERT INTO audit_logs (action, subject_id, created_at) VALUES ('transaction.recorded', ?, ?)",
                ((number, stamp) for number in numbers),
            )

    def backup(self, at: datetime) -> Path:
        """The hourly job: a consistent copy named by its time (UTC), and its line in checksums.txt."""
        path = self.backups / f"{at.astimezone(UTC):%Y-%m-%dT%H-%M-%SZ}.sqlite"
        with closing(sqlite3.connect(self.database, timeout=10)) as live, closing(sqlite3.connect(path)) as copy:
            live.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        with self.checksums.open("a") as catalogue:
            catalogue.write(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
        os.utime(path, (at.timestamp(), at.timestamp()))
        _own((path, self.checksums), self.owner)
        return path

    def hourly_backups(self, newest: datetime, count: int = 6, transactions: int = 10) -> tuple[Path, ...]:
        """Lets `count` hours go by up to `newest`, each with so many new transactions and its backup; oldest first."""
        made = []
        for hour in reversed(range(count)):
            at = newest - timedelta(hours=hour)
            self.seed(transactions=transactions, at=at)
            made.append(self.backup(at))
        return tuple(made)


def build(
    folder: Path,
    *,
    owner: str | None = None,
    journal_mode: JournalMode = "delete",
    cache: CacheStore = "database",
    users: int = 20,
    transactions: int = 200,
    schedule_seconds: int = 1,
) -> LaravelApp:
    """Copies the application into `folder` (which must not exist), migrates and seeds it.

    The owner is www-data where root asks, else the current user; the folders above must let them in.
    """
    for program in ("php", "sqlite3", "pgrep", "setsid"):
        if shutil.which(program) is None:
            pytest.fail(f"{program} is not installed: run `make test` as root, or scripts/system-packages tests")
    owner = owner or ("www-data" if os.geteuid() == 0 else _login())
    shutil.copytree(APPLICATION, folder, symlinks=True)
    app = LaravelApp(folder, owner, _free_port())
    settings = (APPLICATION / ".env.example").read_text() + f"DB_JOURNAL_MODE={journal_mode}\nCACHE_DRIVER={cache}\n"
    app.env_file.write_text(settings)
    app.env_file.chmod(0o640)
    (folder / "storage" / "services.conf").write_text(f"SCHEDULE_SECONDS={schedule_seconds}\nPORT={app.port}\n")
    app.database.touch(mode=0o640)
    _own((folder, *folder.rglob("*")), owner)
    _done(app.artisan("migrate", "--force"))
    app.seed(users=users, transactions=transactions)
    return app


def _done(ended: subprocess.CompletedProcess[str]) -> None:
    if ended.returncode:
        pytest.fail(f"{ended.args} ended with {ended.returncode}:\n{ended.stdout}")


def _environment() -> Mapping[str, str]:
    """Nothing of the tests' own environment reaches the application: a DB_DATABASE there would turn it elsewhere."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent", "LANG": "C.UTF-8"}


def _own(paths: Sequence[Path], owner: str) -> None:
    if owner != _login():
        for path in paths:
            shutil.chown(path, owner, pwd.getpwnam(owner).pw_gid)


def _login() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _free_port() -> int:
    with socket.socket() as looking:
        looking.bind(("127.0.0.1", 0))
        port: int = looking.getsockname()[1]
    return port


def _next_id(connection: sqlite3.Connection, table: str) -> int:
    return _number(connection.execute(f"SELECT coalesce(max(id), 0) + 1 FROM {table}").fetchall())  # names above


def _number(rows: Sequence[Sequence[object]]) -> int:
    value = rows[0][0]
    assert isinstance(value, int)
    return value
