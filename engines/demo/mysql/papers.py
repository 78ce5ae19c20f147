"""What people wrote for the demo on a server: configuration, incident report twice, the answers of a rehearsal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import tomli_w

from engines.demo import papers
from engines.demo.app import MIGRATIONS, log_line, text_of
from engines.demo.mysql.history import PURGED, Past
from engines.demo.mysql.server import SCHEMA
from engines.demo.papers import COMMANDER, INCIDENT, OPERATOR, OWNER
from engines.mysql.connect import Place
from engines.mysql.flavour import Flavour

TITLE = "All payments deleted by a clean-up without its WHERE"
BACKUPS, ARCHIVE, LOGIN = "storage/backups/mysql", "storage/backups/binlogs", "reinstate.cnf"

_SOURCE = "the shop's dashboard, just before"


def configuration(flavour: Flavour, place: Place, login: str) -> str:
    """`reinstate.toml`."""
    target = {
        "engine": flavour.value,
        "environment": "local",
        "host": place.host,
        "port": place.port,
        "database": SCHEMA,
        "login": login,
        "backups": BACKUPS,
        "binlogs": ARCHIVE,
        "every": "24h",
        "writers_timeout": "30s",
        "rto": "30m",
        "rpo": "15m",
        "application": papers.application(),
    }
    return papers.configured(target)


def tables(past: Past) -> list[dict[str, object]]:
    """What the report expects of each table: exactly what was there, since the logs reach that far."""
    expected = past.expected
    common: dict[str, object] = {"counted_at": past.started, "source": _SOURCE}
    return [
        {"name": "users", "rows": expected.users, **common},
        {
            "name": "transactions",
            "rows": expected.transactions,
            **common,
            "newest_column": "created_at",
            "newest_min": past.started - timedelta(minutes=5),
        },
        {"name": "audit_logs", "rows": expected.audit_logs, **common},
    ]


def incident(past: Past, flavour: Flavour, now: datetime) -> str:
    """`incident.toml`."""
    expected = past.expected
    table: Mapping[str, object] = {
        "incident": {
            "id": INCIDENT,
            "title": TITLE,
            "severity": "SEV-1",
            "started_at": past.started,
            "detected_at": now,
            "declared_at": now,
            "commander": COMMANDER,
            "operator": OPERATOR,
            "app_owner": OWNER,
            "channel": "#inc-2041",
        },
        "target": {"environment": "local", "engine": flavour.value, "database": SCHEMA},
        "objective": {"rto": "30m", "rpo": "15m", "stop_before": past.stop(flavour)},
        "table": tables(past),
        "must_contain": [
            {
                "name": "the newest customer is back",
                "query": f"SELECT 1 FROM users WHERE email = '{expected.last_customer}'",  # noqa: S608 - our own name
            },
            {
                "name": "the last payment before the clean-up is back",
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


def report(past: Past, flavour: Flavour, now: datetime) -> str:
    """`incident-report.md`: the same facts, as people write them."""
    expected = past.expected
    counted = _utc(past.started)
    newest = _utc(past.started - timedelta(minutes=5))
    statement = "DELETE FROM transactions"
    return f"""# {INCIDENT}: {TITLE}

- Incident: {INCIDENT}
- Title: {TITLE}
- Severity: SEV-1
- Started: {_utc(past.started)}
- Detected: {_utc(now)}
- Declared: {_utc(now)}
- Incident commander: {COMMANDER}
- Database operator: {OPERATOR}
- Application owner: {OWNER}
- Channel: #inc-2041
- Environment: local
- Database: {SCHEMA}
- RTO: 30m
- RPO: 15m
- Stop before: {past.stop(flavour)}

## What happened

At {past.started:%H:%M:%S} UTC the clean-up of old payments was run by hand, and its WHERE was left behind:
`{statement}` deleted {past.deleted} payments. The audit log has it as `{PURGED}`. In the binary log the
transaction begins at {past.position}; its GTID is {past.gtid}. The shop was not stopped and goes on writing:
{past.later} good payments came right after it.

The dump that was taken by hand just before, {past.corrupted}, was copied over a bad line.

## What is expected after the restore

| table | rows | newest column | newest row | counted at | source |
|---|---|---|---|---|---|
| `users` | {expected.users} | - | - | {counted} | {_SOURCE} |
| `transactions` | {expected.transactions} | created_at | {newest} | {counted} | {_SOURCE} |
| `audit_logs` | {expected.audit_logs} | - | - | {counted} | {_SOURCE} |

The customer {expected.last_customer} and the payment {expected.last_payment} must be back. No `{PURGED}` may be in
the audit log. The schema has {len(MIGRATIONS)} migrations, the last is `{MIGRATIONS[-1]}`.
"""


def answers(past: Past, flavour: Flavour) -> str:
    """`answers.toml`: the corrupted dump is refused; the night's, and the logs after it, are restored."""
    prepared = [{"ask": "choose", "do": "b", "backup": past.good}]
    return papers.answered({"until": past.stop(flavour)}, prepared)


def log(past: Past) -> str:
    """The application's log up to now."""
    moment = past.started
    return "".join(
        (
            log_line(moment, "INFO", "Clean-up of old payments begins"),
            log_line(moment, "WARNING", f"Clean-up: {past.deleted} payments removed"),
            log_line(moment, "ERROR", "Report failed: no revenue before today"),
        )
    )


def _utc(moment: datetime) -> str:
    return f"{text_of(moment)} UTC"
