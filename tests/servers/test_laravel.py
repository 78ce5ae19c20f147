"""What the runbook's commands really do, on the real application. Our defaults rest on these facts."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from tests.servers.laravel import LaravelApp
from tests.servers.waiting import until

Build = Callable[..., LaravelApp]
DOWN = ("down", "--render=errors::503-maintenance")


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # it has just ended
        return []


def worker(app: LaravelApp) -> psutil.Process | None:
    """The queue worker itself, below its supervisor."""
    supervisor = psutil.Process(int((app.folder / "storage" / "workers.pid").read_text().split()[0]))
    workers = [child for child in supervisor.children() if "queue:work" in _words(child)]
    return workers[0] if workers else None


def works(app: LaravelApp) -> bool:
    """Whether a worker stands ready and has the database open."""
    process = worker(app)
    return process is not None and str(app.database) in {file.path for file in process.open_files()}


def holders(app: LaravelApp) -> list[int]:
    """Every process that has the database open."""
    database = app.database.stat()
    found = []
    for process in psutil.process_iter():
        try:
            opened = [Path(file.path).stat() for file in process.open_files()]
        except (psutil.Error, OSError):
            continue
        if any((file.st_dev, file.st_ino) == (database.st_dev, database.st_ino) for file in opened):
            found.append(process.pid)
    return found


def test_migrations_are_shown_and_exit_0(laravel: LaravelApp) -> None:
    status = laravel.artisan("migrate:status")
    assert status.returncode == 0
    assert "create_ledger_tables" in status.stdout


def test_a_migration_that_has_not_run_does_not_change_the_exit_status(laravel: LaravelApp) -> None:
    laravel.change("DELETE FROM migrations WHERE id = 3")
    status = laravel.artisan("migrate:status")
    assert status.returncode == 0
    assert "No " in status.stdout or "Pending" in status.stdout


def test_a_dry_run_of_migrations_in_production_needs_force(laravel: LaravelApp) -> None:
    assert laravel.artisan("migrate", "--pretend").returncode == 1
    forced = laravel.artisan("migrate", "--pretend", "--force")
    assert forced.returncode == 0
    assert "Nothing to migrate" in forced.stdout


def test_a_dry_run_prints_the_statements_of_what_is_missing(laravel: LaravelApp) -> None:
    for statement in (
        "DELETE FROM migrations WHERE id = 3",
        "DROP TABLE cache",
        "DROP TABLE cache_locks",
        "DROP TABLE sessions",
    ):
        laravel.change(statement)
    pretended = laravel.artisan("migrate", "--pretend", "--force")
    assert pretended.returncode == 0
    assert 'create table "sessions"' in pretended.stdout
    assert laravel.rows("SELECT * FROM migrations WHERE id = 3") == []


def test_schedule_finish_as_the_runbook_has_it_fails(laravel: LaravelApp) -> None:
    finished = laravel.artisan("schedule:finish")
    assert finished.returncode == 1
    assert 'missing: "id"' in finished.stdout


def test_a_command_that_fails_leaves_an_error_in_the_application_log(laravel: LaravelApp) -> None:
    laravel.artisan("schedule:finish")
    assert "production.ERROR: Not enough arguments" in laravel.log.read_text()


def test_the_commands_can_be_listed_for_machines(laravel: LaravelApp) -> None:
    listed = laravel.artisan("list", "--format=json")
    names = {command["name"] for command in json.loads(listed.stdout)["commands"]}
    assert {"down", "up", "queue:restart", "migrate:status", "schedule:finish", "smoke"} <= names
    assert "queue:restart" in laravel.artisan("list", "--raw").stdout


def test_maintenance_mode_goes_on_and_off_and_again(laravel: LaravelApp) -> None:
    for _ in range(2):
        assert laravel.artisan(*DOWN).returncode == 0
        assert laravel.is_down()
    for _ in range(2):
        assert laravel.artisan("up").returncode == 0
        assert not laravel.is_down()


def test_maintenance_mode_stays_off_when_its_page_is_missing(laravel: LaravelApp) -> None:
    (laravel.folder / "resources/views/errors/503-maintenance.blade.php").unlink()
    down = laravel.artisan(*DOWN)
    assert down.returncode == 1
    assert "View [503-maintenance] not found" in down.stdout
    assert not laravel.is_down()


def test_without_a_database_file_a_cache_in_it_stops_even_maintenance_mode(build_laravel: Build) -> None:
    for cache, exits in (("database", 1), ("file", 0)):
        app = build_laravel(cache=cache)
        app.database.unlink()
        assert app.artisan(*DOWN).returncode == exits
        assert app.is_down() is (exits == 0)


def test_the_web_server_says_no_during_maintenance_and_writes_otherwise(laravel: LaravelApp) -> None:
    def post() -> int:
        address = laravel.health_url.replace("/health", "/transactions")
        request = urllib.request.Request(address, method="POST")  # noqa: S310  # our own http address
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # our own http address
                status: int = answer.status
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code
        except OSError:
            return 0
        return status

    laravel.start("web")
    until(lambda: post() == 201, "the web server writes")
    before = laravel.counts()
    assert laravel.artisan(*DOWN).returncode == 0
    assert post() == 503
    assert laravel.counts() == before
    assert laravel.artisan("up").returncode == 0
    assert post() == 201


def test_workers_come_back_after_queue_restart_and_hold_the_database(laravel: LaravelApp) -> None:
    laravel.start("workers")
    until(lambda: works(laravel), "a worker has the database open")
    first = worker(laravel)
    assert laravel.artisan("queue:restart").returncode == 0
    until(lambda: worker(laravel) not in (None, first), "another worker stands in its place")
    until(lambda: works(laravel), "it has the database open")


def test_in_maintenance_workers_keep_the_database_open_though_they_do_nothing(laravel: LaravelApp) -> None:
    laravel.start("workers")
    until(lambda: works(laravel), "a worker has the database open")
    laravel.artisan(*DOWN)
    laravel.artisan("transactions:enqueue")
    assert works(laravel)
    assert laravel.counts(["jobs"]) == {"jobs": 1}


def test_scheduler_and_workers_write_until_they_are_stopped(laravel: LaravelApp) -> None:
    before = laravel.counts()["transactions"]
    laravel.start("workers", "scheduler")
    until(lambda: laravel.counts()["transactions"] > before + 1, "two transactions were scheduled, queued and recorded")
    assert laravel.running("workers")
    assert laravel.running("scheduler")
    laravel.stop("scheduler", "workers")
    assert not laravel.running("workers")
    assert not laravel.running("scheduler")
    assert holders(laravel) == []
    after = laravel.counts()
    assert after["transactions"] == after["audit_logs"]


def test_stopping_and_starting_twice_is_the_same_as_once(laravel: LaravelApp) -> None:
    for service in ("workers", "scheduler", "web"):
        laravel.stop(service)
        laravel.start(service)
        laravel.start(service)
        assert laravel.running(service)
        laravel.stop(service)
        assert not laravel.running(service)


def test_the_smoke_test_sees_rows_that_are_gone(laravel: LaravelApp) -> None:
    assert laravel.artisan("smoke").returncode == 0
    laravel.change("DELETE FROM audit_logs")
    smoke = laravel.artisan("smoke")
    assert smoke.returncode == 1
    assert "audit_logs is empty" in smoke.stdout


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_the_application_works_in_both_journal_modes(build_laravel: Build, mode: str) -> None:
    app = build_laravel(journal_mode=mode)
    assert app.rows("PRAGMA journal_mode") == [(mode,)]
    app.start("workers")
    before = app.counts()["transactions"]
    app.artisan("transactions:enqueue")
    until(lambda: app.counts()["transactions"] == before + 1, "the worker has recorded it")
    assert Path(f"{app.database}-wal").exists() is (mode == "wal")


def test_hourly_backups_grow_and_agree_with_their_checksums(laravel: LaravelApp) -> None:
    newest = datetime(2026, 11, 22, 20, tzinfo=UTC)
    before = laravel.counts()["transactions"]
    made = laravel.hourly_backups(newest, count=3, transactions=5)
    assert [path.name for path in made] == [f"2026-11-22T{hour}-00-00Z.sqlite" for hour in (18, 19, 20)]
    listed = {line[66:]: line[:64] for line in laravel.checksums.read_text().splitlines()}
    for hour, path in enumerate(made, start=1):
        assert listed[path.name] == hashlib.sha256(path.read_bytes()).hexdigest()
        with closing(sqlite3.connect(path)) as backup:
            assert backup.execute("SELECT count(*) FROM transactions").fetchone() == (before + 5 * hour,)
        assert path.owner() == laravel.owner
