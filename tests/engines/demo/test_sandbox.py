"""The demo's sandbox: an application that really writes, and nothing left running after it."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from engines.children import alive
from engines.config import load
from engines.demo import app, sandbox
from engines.demo.sandbox import Sandbox
from engines.errors import Refused, RestoreError
from engines.incident import read_incident
from engines.recipes import points
from engines.sqlite.holders import holders
from tests.servers.waiting import until
from tui.answers import read_answers


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Sandbox]:
    made = sandbox.build(tmp_path / "box")
    yield made
    sandbox.stop(made)


def payments(made: Sandbox) -> int:
    with closing(sqlite3.connect(f"file:{made.database}?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT count(*) FROM transactions").fetchone()[0])


def turns(made: Sandbox) -> list[int]:
    """How often each process has waited for its next turn, at least."""
    return [psutil.Process(child.pid).num_ctx_switches().voluntary for child in sandbox.running(made)]


def do(made: Sandbox, *words: str) -> subprocess.CompletedProcess[str]:
    """One of the application's commands, as the configuration has it."""
    command = [sys.executable, "-I", "app.py", *words]
    return subprocess.run(command, cwd=made.home, capture_output=True, text=True, timeout=60, check=False)


def test_the_worker_writes_to_the_damaged_database(box: Sandbox) -> None:
    before = payments(box)
    until(lambda: payments(box) > before, "a payment is recorded")


def test_both_processes_hold_the_database_open_all_the_time(box: Sandbox) -> None:
    pids = {child.pid for child in sandbox.running(box)}
    assert len(pids) == 2
    assert {holder.pid for holder in holders((str(box.database),)).found} == pids


def test_nothing_is_written_in_maintenance_mode(box: Sandbox) -> None:
    assert do(box, "down").returncode == 0
    after_down, log = payments(box), (box.home / app.LOG).read_text()
    assert do(box, "status").returncode == 1
    assert do(box, "health").returncode == 1
    then = turns(box)
    until(lambda: all(now > before for now, before in zip(turns(box), then, strict=True)), "both had a turn")
    assert payments(box) == after_down
    assert (box.home / app.LOG).read_text() == log
    assert do(box, "up").returncode == 0
    until(lambda: payments(box) > after_down, "a payment is recorded")


@pytest.mark.parametrize("service", ["workers", "scheduler"])
def test_a_service_stops_starts_and_says_so(box: Sandbox, service: str) -> None:
    assert do(box, service, "status").returncode == 0
    assert do(box, service, "stop").returncode == 0
    assert do(box, service, "status").returncode == 1
    assert do(box, service, "stop").returncode == 0
    assert do(box, service, "start").returncode == 0
    first = do(box, service, "status").stdout
    assert do(box, service, "start").returncode == 0
    assert do(box, service, "status").stdout == first


def test_the_smoke_test_fails_as_long_as_the_customers_are_gone(box: Sandbox) -> None:
    failed = do(box, "smoke")
    assert failed.returncode == 1
    assert "no active customer" in failed.stdout
    assert do(box, "migrations").stdout.count("Ran") == len(app.MIGRATIONS)


def test_a_database_that_is_gone_is_not_made_anew(box: Sandbox) -> None:
    do(box, "workers", "stop")
    do(box, "scheduler", "stop")
    box.database.unlink()
    assert do(box, "down").returncode == 0
    assert do(box, "workers", "start").returncode == 1
    assert not box.database.exists()


def test_its_papers_are_read_without_a_problem_by_a_privileged_run_too(box: Sandbox) -> None:
    privileged = os.geteuid() == 0
    target = load(box.config, privileged=privileged).targets[box.target]
    assert target.database == box.database
    for paper in (box.incident, box.folder / "incident-report.md"):
        assert read_incident(paper, privileged=privileged).about.id == "INC-2041"
    prepared = read_answers(box.answers)
    assert prepared.target == box.target
    names = [backup.name for backup in points.restore_points(target).backups]
    assert prepared.answer[0].backup == box.good_backup
    assert {box.first_backup, box.good_backup} < set(names)


def test_nobody_else_can_look_into_it(box: Sandbox) -> None:
    assert stat.S_IMODE(box.folder.stat().st_mode) == 0o700


def test_two_sandboxes_live_side_by_side_and_stopping_one_leaves_the_other_alone(box: Sandbox, tmp_path: Path) -> None:
    other = sandbox.build(tmp_path / "other")
    processes = sandbox.running(other)
    assert sandbox.stop(other) is None
    assert not any(alive(child) for child in processes)
    assert sandbox.running(other) == ()
    assert len(sandbox.running(box)) == 2
    assert other.database.exists()


def test_a_sandbox_in_a_temporary_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = sandbox.build()
    sandbox.stop(made)
    assert made.folder.parent == tmp_path


def test_a_number_that_is_another_process_by_now_is_left_alone(box: Sandbox) -> None:
    do(box, "workers", "stop")
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (box.home / app.RUN / "workers.pid").write_text(f"{stranger.pid} 1\n")
        assert do(box, "workers", "stop").returncode == 0
        sandbox.stop(box)
        assert stranger.poll() is None
        stranger.kill()


def test_a_process_whose_sandbox_is_removed_ends_by_itself(box: Sandbox) -> None:
    worker, scheduler = sandbox.running(box)
    (box.home / app.RUN / "workers.pid").unlink()
    until(lambda: not alive(worker), "the worker has ended")
    assert alive(scheduler)


def test_a_folder_with_something_in_it_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    tmp_path.chmod(0o755)
    with pytest.raises(Refused, match="not empty"):
        sandbox.build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_place_that_can_not_hold_a_sandbox_is_said_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RestoreError, match="can't be used") as refused:
        sandbox.build(tmp_path / "file" / "below")
    assert "--folder" in refused.value.hint


def test_an_application_that_does_not_start_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Sandbox] = []
    start = sandbox.start_service

    def only_the_worker(made: Sandbox, service: str) -> None:
        seen.append(made)
        if service != "workers":
            made.database.rename(made.database.with_name("gone.sqlite"))
        start(made, service)

    monkeypatch.setattr(sandbox, "start_service", only_the_worker)
    with pytest.raises(RestoreError, match="did not start"):
        sandbox.build(tmp_path / "box")
    assert sandbox.running(seen[0]) == ()
