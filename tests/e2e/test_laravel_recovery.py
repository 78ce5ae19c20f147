"""The whole job on the real application, by keys: rows were deleted, and come back; or everything is put back again."""

from __future__ import annotations

import sqlite3
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from engines.session.events import Ending
from engines.session.state import Status
from tests.e2e.keyboard import Operator
from tests.e2e.recovery import COMMANDER, OWNER, TARGET, Job
from tests.servers.laravel import SERVICES, LaravelApp
from tests.servers.waiting import until

Build = Callable[..., LaravelApp]
Prepare = Callable[..., Job]

STOPPED = ("3.2", "3.3", "3.4", "3.5", "3.6")
CHECKED = ("4.1", "4.2", "4.3", "4.4")
STARTED = ("4.5", "4.6", "4.7")


def dump(path: Path) -> list[str]:
    """Every statement that would make the database again, every row of every table included."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)) as database:
        return list(database.iterdump())


def owner_and_mode(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid, status.st_mode & 0o7777


def answers(address: str) -> int:
    """The status that the application's address answers with."""
    with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - our own http address
        status: int = answer.status
    return status


def is_in_service(app: LaravelApp) -> None:
    """Out of maintenance mode, its health address answers, and its scheduler and workers record new transactions."""
    assert not app.is_down()
    assert [service for service in SERVICES if not app.running(service)] == []
    assert answers(app.health_url) == 200
    before = app.counts()["transactions"]
    until(lambda: app.counts()["transactions"] > before, "the workers record what the scheduler queues")


def test_deleted_rows_come_back_by_keys_alone(build_laravel: Build, prepare_job: Prepare, operator: Operator) -> None:
    app = build_laravel(journal_mode="wal")
    app.start(*SERVICES)
    job = prepare_job(app)
    as_it_was = owner_and_mode(app.database)
    operator.terminal.start(job.command("restore", TARGET, "--incident", str(job.report)), cwd=job.folder)

    operator.sees("PRODUCTION", "Enter chooses this backup")
    operator.presses("Escape")
    operator.sees("INC-2041", TARGET)  # the start screen
    operator.presses("Enter")
    operator.chooses_backup(job.incident.good)

    operator.sees("Disk space", "Prerequisites", "The incident commander reads the plan and approves it")
    assert app.counts()["users"] < job.incident.users, "before the approval nothing is changed"
    operator.approves(COMMANDER)
    operator.confirms(*STOPPED)
    assert app.is_down()
    operator.goes_live("3.7", TARGET)
    operator.confirms(*CHECKED)
    operator.presses("4")
    operator.sees("users", "transactions", "MATCH", "live database")
    operator.presses("Escape")
    operator.confirms(*STARTED, "4.9", "4.10", "4.11", "4.12")
    operator.answers("authentication", "no", OWNER, "the form does not open")
    operator.sees("failed, says olu")
    for tried in ("authentication", "payment flow", "reporting dashboard"):
        operator.answers(tried, "yes", OWNER)
    operator.signs_off("application owner", OWNER)
    operator.signs_off("incident commander", COMMANDER)
    operator.sees("The session is over: signed off", "session.toml")
    operator.presses("q")
    assert operator.terminal.exit_status() == 0

    proven = job.run("verify", "last")
    assert proven.returncode == 0, proven.stdout + proven.stderr
    assert "CONSISTENT" in proven.stdout
    assert app.rows("SELECT count(*) FROM users") == [(job.incident.users,)]
    assert app.rows("SELECT count(*) FROM transactions WHERE id <= ?", [job.incident.transactions]) == [
        (job.incident.transactions,)
    ]
    assert owner_and_mode(app.database) == as_it_was
    assert app.rows("PRAGMA journal_mode") == [("wal",)]
    is_in_service(app)


def test_undone_before_sign_off_the_database_is_as_before_to_its_last_row(
    build_laravel: Build, prepare_job: Prepare, operator: Operator
) -> None:
    app = build_laravel(journal_mode="delete")
    app.start(*SERVICES)
    job = prepare_job(app)
    as_it_was = owner_and_mode(app.database)
    operator.terminal.start(job.command("restore", TARGET, "--incident", str(job.report)), cwd=job.folder)
    operator.chooses_backup(job.incident.good)
    operator.approves(COMMANDER)
    operator.confirms(*STOPPED)
    operator.sees("Next: 3.7 ")
    before = dump(app.database)
    operator.goes_live("3.7", TARGET)
    operator.confirms(*CHECKED, *STARTED)
    operator.sees("Next: 4.9 ")
    is_in_service(app)

    operator.asks_for_undo("The owner misses newer payments")
    operator.approves(COMMANDER)  # the application is up: what it has written since is discarded
    operator.confirms("6.2", "6.3", "6.4", "6.5", "6.6")
    operator.goes_live("6.7", TARGET)
    operator.confirms("6.8")
    operator.sees("Next: 7.5 ")
    assert dump(app.database) == before
    assert owner_and_mode(app.database) == as_it_was
    operator.confirms("7.5", "7.6", "7.7", "7.9")
    operator.sees("The session is over: undone")
    operator.presses("q")
    assert operator.terminal.exit_status() == 0

    assert "CONSISTENT" in job.run("verify", "last").stdout
    assert job.state.ended is not None
    assert job.state.ended.how is Ending.UNDONE
    is_in_service(app)


def test_a_worker_that_will_not_stop_is_named_and_refused_until_it_is_stopped_by_hand(
    build_laravel: Build, prepare_job: Prepare, operator: Operator
) -> None:
    app = build_laravel()
    app.start("workers")
    # Laravel's own default, queue:restart, is only a signal: its supervisor starts another worker.
    job = prepare_job(app, without=("workers_stop", "workers_check"), holders_timeout="2s")
    operator.terminal.start(job.command("restore", TARGET, "--incident", str(job.report)), cwd=job.folder)
    operator.chooses_backup(job.incident.good)
    operator.approves(COMMANDER)
    operator.confirms("3.2", "3.3", "3.4", "3.5")
    operator.sees("3.5 Prove that nobody has the database open failed", "is still open after", "Enter choose")
    refused = job.step("3.5")
    assert refused.status is Status.FAILED
    assert f"({app.owner}): php artisan queue:work" in refused.message
    assert "Nothing was changed" in refused.message
    assert "waiting: pid " in job.log("3.5")

    app.stop("workers")
    operator.presses("r")
    operator.sees("Next: 3.6 ")
    assert job.step("3.5").status is Status.DONE
    operator.asks_for_undo("It was only a rehearsal")
    operator.confirms("7.5", "7.6", "7.7", "7.9")
    operator.sees("The session is over: undone")
    assert not app.is_down()
    assert app.running("workers")
    assert app.running("scheduler")
