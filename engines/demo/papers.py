"""What people wrote for the demo: the configuration, the incident report twice, and the answers of a rehearsal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime, timedelta

import tomli_w

from engines.demo.app import DATABASE, DOWN, LOG, MIGRATIONS, log_line, text_of
from engines.demo.history import PURGED, Past
from engines.recipes.sqlite.ground import SEEN

INCIDENT, TITLE = "INC-2041", "Accounts and payments deleted by a clean-up job"
TARGET = "demo"
COMMANDER, OPERATOR, OWNER = "ivo", "ana", "olu"

_SOURCE = "the shop's dashboard, just before"
_LOSS = timedelta(hours=2)  # at most; the older copies lose more
_TOLERANCE = 1.0  # percent of the payments, for those of the hours since the copy


def application() -> dict[str, object]:
    """What the configuration says of the sandbox's own application."""

    def app(*words: str) -> list[str]:
        return [sys.executable, "-I", "app.py", *words]

    return {
        "path": "shop",
        "framework": "none",
        "maintenance_on": app("down"),
        "maintenance_off": app("up"),
        "maintenance_check": ["test", "-e", DOWN],
        "workers_stop": app("workers", "stop"),
        "workers_start": app("workers", "start"),
        "workers_check": app("workers", "status"),
        "scheduler_stop": app("scheduler", "stop"),
        "scheduler_start": app("scheduler", "start"),
        "scheduler_check": app("scheduler", "status"),
        "migrations": app("migrations"),
        "smoke": app("smoke"),
        "health": app("health"),
        "logs": [LOG],
        "log_errors": [r"\.(ERROR|CRITICAL|ALERT|EMERGENCY):"],
        "timeout": "30s",
    }


def configuration() -> str:
    """`reinstate.toml`: every command is one of the sandbox's own application."""
    target = {
        "engine": "sqlite",
        "environment": "local",
        "database": DATABASE,
        "backups": "storage/backups/sqlite",
        "every": "1h",
        "holders_timeout": "30s",
        "journal_mode": "keep",
        "rto": "30m",
        "rpo": "4h",
        "application": application(),
    }
    return configured(target)


def configured(target: Mapping[str, object]) -> str:
    """The configuration with this one target, and the people of the demo."""
    people = [
        {"name": name, "login": name, "roles": [role]}
        for name, role in ((OPERATOR, "operator"), (COMMANDER, "commander"), (OWNER, "owner"))
    ]
    table = {"state": "state", "person": people, "target": {TARGET: target}}
    return "# The demo's configuration. config.example.toml explains every key.\n" + tomli_w.dumps(table)


def tables(past: Past) -> list[dict[str, object]]:
    """What the report expects of each table. Older copies hold too few users, or payments that are too old."""
    expected = past.expected
    common: dict[str, object] = {"counted_at": past.started, "source": _SOURCE}
    return [
        {"name": "users", "rows": expected.users, **common},
        {
            "name": "transactions",
            "rows": expected.transactions,
            "tolerance_pct": _TOLERANCE,
            **common,
            "newest_column": "created_at",
            "newest_min": past.started - _LOSS,
        },
        {"name": "audit_logs", "min_rows": expected.audit_logs * 98 // 100, **common},
    ]


def incident(past: Past) -> str:
    """`incident.toml`."""
    expected = past.expected
    table: Mapping[str, object] = {
        "incident": {
            "id": INCIDENT,
            "title": TITLE,
            "severity": "SEV-1",
            "started_at": past.started,
            "detected_at": past.started + timedelta(minutes=9),
            "declared_at": past.started + timedelta(minutes=15),
            "commander": COMMANDER,
            "operator": OPERATOR,
            "app_owner": OWNER,
            "channel": "#inc-2041",
        },
        "target": {"environment": "local", "engine": "sqlite", "database": "database.sqlite"},
        "objective": {"rto": "30m", "rpo": "4h"},
        "table": tables(past),
        "must_contain": [
            {
                "name": "the newest customer is back",
                "query": f"SELECT 1 FROM users WHERE email = '{expected.last_customer}'",  # noqa: S608 - our own name
            },
            {
                "name": "a payment that was deleted is back",
                "query": f"SELECT 1 FROM transactions WHERE reference = '{expected.last_payment}'",  # noqa: S608 - our own
            },
        ],
        "must_not_contain": [
            {
                "name": "the clean-up has not run",
                "query": f"SELECT 1 FROM audit_logs WHERE action = '{PURGED}'",  # noqa: S608 - a constant
            },
        ],
        "schema": {"migrations_last": MIGRATIONS[-1], "migrations_count": len(MIGRATIONS)},
    }
    return "# The demo's incident. docs/incident.example.toml explains every key.\n" + tomli_w.dumps(table)


def report(past: Past) -> str:
    """`incident-report.md`: the same facts, as people write them."""
    expected, started = past.expected, past.started
    newest = started - _LOSS
    counted = _utc(started)
    return f"""# {INCIDENT}: {TITLE}

- Incident: {INCIDENT}
- Title: {TITLE}
- Severity: SEV-1
- Started: {_utc(started)}
- Detected: {_utc(started + timedelta(minutes=9))}
- Declared: {_utc(started + timedelta(minutes=15))}
- Incident commander: {COMMANDER}
- Database operator: {OPERATOR}
- Application owner: {OWNER}
- Channel: #inc-2041
- Environment: local
- Database: database.sqlite
- RTO: 30m
- RPO: 4h

## What happened

At {started:%H:%M} UTC the clean-up of closed accounts was run by hand. Its condition was the wrong way round, so it
deleted every account that is not closed, and their payments; the audit log has it as `{PURGED}`. The shop was not
stopped and goes on writing.

## What is expected after the restore

| table | rows | min | tolerance | newest column | newest row | counted at | source |
|---|---|---|---|---|---|---|---|
| `users` | {expected.users} | - | - | - | - | {counted} | {_SOURCE} |
| `transactions` | {expected.transactions} | - | {_TOLERANCE} % | created_at | {_utc(newest)} | {counted} | {_SOURCE} |
| `audit_logs` | - | {expected.audit_logs * 98 // 100} | - | - | - | {counted} | {_SOURCE} |

The customer {expected.last_customer} and the payment {expected.last_payment} must be back. No `{PURGED}` may be in
the audit log. The schema has {len(MIGRATIONS)} migrations, the last is `{MIGRATIONS[-1]}`.
"""


def answers(past: Past) -> str:
    """`answers.toml`: the corrupted copy is refused, the one before it restored."""
    prepared = [
        {"ask": "choose", "do": "b", "backup": past.good},
        {
            "ask": "checks",
            "do": "o",
            "check": SEEN,
            "reason": "Only this account's processes use the sandbox, and those can be seen",
        },
    ]
    return answered({}, prepared)


def answered(more: Mapping[str, object], prepared: list[dict[str, str]]) -> str:
    """An answers file in which everybody of the demo says yes, and before that what is prepared."""
    table = {
        "operator": OPERATOR,
        "commander": COMMANDER,
        "owner": OWNER,
        "target": TARGET,
        "confirm": True,
        **more,
        "answer": prepared,
    }
    return "# The demo's answers. docs/plain.md explains every key.\n" + tomli_w.dumps(table)


def log(past: Past) -> str:
    """The application's log up to now: the copies, the clean-up, and the errors that gave it away."""
    lines = [
        log_line(past.started.replace(minute=0) - hours * timedelta(hours=1), "INFO", "Backup written")
        for hours in range(6, -1, -1)
    ]
    lines += [
        log_line(past.started, "INFO", "Clean-up of closed accounts begins"),
        log_line(past.started, "WARNING", f"Clean-up: {past.expected.purged} accounts removed"),
    ]
    lines += [
        log_line(past.started + timedelta(minutes=n), "ERROR", "Log-in failed: no such account")
        for n in range(2, 14, 3)
    ]
    newest = past.started.replace(minute=0) + timedelta(hours=1)
    return "".join([*lines, log_line(newest, "INFO", "Backup written")])


def _utc(moment: datetime) -> str:
    return f"{text_of(moment)} UTC"
