"""Turns the Laravel application of the tests to a schema on a real server: the same application, another database."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.servers.databases import Server
from tests.servers.laravel import LaravelApp

USER = "ledger"
PASSWORD = "not-a-secret-but-must-not-be-shown"  # noqa: S105 - of a throwaway account; .env.example has it too


def turn_to(app: LaravelApp, server: Server, schema: str, *, migrate: bool = True) -> None:
    """The application on `schema`, with an account of its own over TCP, as production has it."""
    server.sql(
        f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'",
        f"GRANT ALL ON `{schema}`.* TO '{USER}'@'%'",
    )
    settings = {
        "DB_CONNECTION": "mysql",
        "DB_PORT": server.port,
        "DB_DATABASE": schema,
        "DB_USERNAME": USER,
        "DB_PASSWORD": PASSWORD,
    }
    kept = [line for line in app.env_file.read_text().splitlines() if line.partition("=")[0] not in settings]
    app.env_file.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in settings.items())]) + "\n")
    if migrate:
        ended = app.artisan("migrate", "--force")
        assert ended.returncode == 0, ended.stdout


def seed(server: Server, schema: str, *, users: int, transactions: int) -> None:
    """Rows as the application would have: each transaction has its line in audit_logs."""
    stamp = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    people = ",".join(f"({n},'user{n}@example.test','{stamp}')" for n in range(1, users + 1))
    payments = ",".join(f"({n},{n % users + 1},{n * 7},'{stamp}')" for n in range(1, transactions + 1))
    lines = ",".join(f"('transaction.recorded',{n},'{stamp}')" for n in range(1, transactions + 1))
    server.sql(
        f"INSERT INTO users (id, email, created_at) VALUES {people}",
        f"INSERT INTO transactions (id, user_id, amount_cents, created_at) VALUES {payments}",
        f"INSERT INTO audit_logs (action, subject_id, created_at) VALUES {lines}",
        database=schema,
    )
