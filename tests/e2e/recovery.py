"""A recovery of the Laravel application: its papers, its incident, and what can be asked about it from outside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import tomli_w

from engines.session import store
from engines.session.plan import log_name
from engines.session.state import SessionState, StepState
from tests.servers.laravel import LaravelApp
from tests.servers.waiting import end

REINSTATE = str(Path(sys.executable).parent / "reinstate")
TARGET = "shop"
OPERATOR, COMMANDER, OWNER = "ana", "ivo", "olu"
PURGED = "accounts.purged"


@dataclass(frozen=True, slots=True)
class Incident:
    """What was there just before the rows were deleted."""

    started: datetime
    users: int
    transactions: int
    good: str  # name of the newest backup, taken before that


@dataclass(frozen=True, slots=True)
class Job:
    """One application and the papers that a recovery of it needs. Sessions are kept in `folder`."""

    app: LaravelApp
    folder: Path
    incident: Incident

    @property
    def config(self) -> Path:
        return self.folder / "reinstate.toml"

    @property
    def report(self) -> Path:
        return self.folder / "incident.toml"

    def command(self, *arguments: str, name: str = OPERATOR) -> tuple[str, ...]:
        """A command line of Reinstate, as the person called `name` types it."""
        return (REINSTATE, "--config", str(self.config), "--name", name, *arguments)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command without a terminal, to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def session(self) -> Path:
        """The folder of the newest session."""
        return max((self.folder / "state" / "sessions").iterdir())

    @property
    def state(self) -> SessionState:
        """What the newest session's journal says now."""
        known = store.open_session(self.session)
        assert not known.error
        return known.state

    def step(self, step: str) -> StepState:
        known = self.state.step(step)
        assert known is not None, f"there is no step {step}"
        return known

    def log(self, step: str) -> str:
        """What the step has written so far."""
        path = self.session / "logs" / log_name(self.step(step).step)
        return path.read_text(errors="replace") if path.exists() else ""

    def runner(self) -> psutil.Process:
        """The living runner of the newest session."""
        mark = store.runner_mark(self.session)
        assert mark is not None, "the session has no living runner"
        return psutil.Process(mark.pid)

    def stop(self) -> None:
        """End the runners that still wait."""
        for known in store.known_sessions(self.folder / "state"):
            mark = store.runner_mark(known.folder)
            if mark is not None and mark.pid:
                end([psutil.Process(mark.pid)])


def laravel_commands(app: LaravelApp) -> dict[str, object]:
    """What a Laravel application has to say beside the defaults: its own services, its user, where its health is."""
    return {
        "path": str(app.folder),
        "user": app.owner,
        "workers_stop": ["bin/workers", "stop"],
        "workers_start": ["bin/workers", "start"],
        "workers_check": ["bin/workers", "status"],
        "scheduler_stop": ["bin/scheduler", "stop"],
        "scheduler_start": ["bin/scheduler", "start"],
        "scheduler_check": ["bin/scheduler", "status"],
        "smoke": ["php", "artisan", "smoke"],
        "health_url": app.health_url,
    }


def prepare(
    app: LaravelApp,
    folder: Path,
    *,
    application: Mapping[str, object] | None = None,
    without: Sequence[str] = (),
    holders_timeout: str = "30s",
) -> Job:
    """Lets hours of backups go by, then deletes rows, and writes the papers of both into `folder`.

    `application` is added to `laravel_commands`; the keys `without` are left out, so that the defaults hold.
    """
    folder.mkdir(exist_ok=True)
    now = datetime.now(UTC).replace(microsecond=0)
    started = now - timedelta(minutes=5)
    good = app.hourly_backups(started - timedelta(minutes=15), count=3)[-1]
    counts = app.counts()
    users, transactions = counts["users"], counts["transactions"]
    app.seed(transactions=4, at=started - timedelta(minutes=1))  # in no backup: they are lost
    app.change("DELETE FROM transactions WHERE id % 3 <> 0")
    app.change("DELETE FROM users WHERE id % 2 = 0")
    stamp = f"{started:%Y-%m-%d %H:%M:%S}"
    app.change("INSERT INTO audit_logs (action, subject_id, created_at) VALUES (?, 0, ?)", (PURGED, stamp))
    job = Job(app, folder, Incident(started, users, transactions, good.name))
    commands = {k: v for k, v in (laravel_commands(app) | dict(application or {})).items() if k not in without}
    job.config.write_text(tomli_w.dumps(_configuration(commands, holders_timeout)))
    job.report.write_text(tomli_w.dumps(_report(job)))
    return job


def _configuration(application: Mapping[str, object], holders_timeout: str) -> dict[str, object]:
    people = ((OPERATOR, "operator"), (COMMANDER, "commander"), (OWNER, "owner"))
    return {
        "state": "state",
        "person": [{"name": name, "login": name, "roles": [role]} for name, role in people],
        "target": {
            TARGET: {
                "engine": "sqlite",
                "environment": "production",
                "database": "database/database.sqlite",
                "backups": "storage/backups/sqlite",
                "holders_timeout": holders_timeout,
                "application": application,
            }
        },
    }


def _report(job: Job) -> dict[str, object]:
    incident = job.incident
    return {
        "incident": {
            "id": "INC-2041",
            "title": "Accounts and payments deleted by a clean-up job",
            "started_at": incident.started,
        },
        "target": {"environment": "production", "engine": "sqlite", "database": "database.sqlite"},
        "table": [
            {"name": "users", "rows": incident.users},
            {"name": "transactions", "rows": incident.transactions},
            {"name": "audit_logs", "min_rows": 1},
        ],
        "must_contain": [{"name": "user 2 is back", "query": "SELECT 1 FROM users WHERE id = 2"}],
        "must_not_contain": [
            {
                "name": "the clean-up has not run",
                "query": f"SELECT 1 FROM audit_logs WHERE action = '{PURGED}'",
            }
        ],
    }
