"""`reinstate demo` without a terminal: from the corrupted copy to a consistent record, with nobody answering."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.waiting import until

# Root without this capability can't look into the processes of others: an ordinary user's situation.
WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-sys_ptrace") if os.geteuid() == 0 else ()


def reinstate(*words: str, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, "-m", "tui.cli", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "TERM": "dumb"},
    )


def demo(folder: Path, before: Sequence[str] = (), answers: Path | None = None) -> subprocess.CompletedProcess[str]:
    other = () if answers is None else ("--answers", str(answers))
    return reinstate("demo", "--folder", str(folder), *other, before=before)


def record_of(done: subprocess.CompletedProcess[str]) -> Path:
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("Record: ")]
    return Path(line.removeprefix("Record: "))


def running_in(folder: Path) -> list[str]:
    """The command lines of all processes that name the folder."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if str(folder) in words:
            found.append(words)
    return found


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("demo") / "box"
    return folder, demo(folder)


def test_it_ends_well_and_names_the_record(ran: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = ran
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    record = record_of(done)
    assert record.is_absolute()
    assert record.name == "session.toml"
    assert record.is_relative_to(folder)
    assert f"\nReport: {record.parent / 'report.md'}\n" in done.stdout
    assert "| Outcome | signed off |" in (record.parent / "report.md").read_text()
    assert f"rm -r {folder}" in done.stderr


def test_every_step_of_the_approved_plan_is_told(ran: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _folder, done = ran
    plan = tomllib.loads((record_of(done).parent / "plan.toml").read_text())
    steps = plan["steps"]
    assert len(steps) > 15
    for step in steps:
        assert f" {step['id']} {step['title']}: " in done.stdout


def test_the_record_is_consistent_and_says_that_it_was_signed_off(
    ran: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    record = record_of(ran[1])
    done = reinstate("verify", str(record))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CONSISTENT" in done.stdout
    assert tomllib.loads(record.read_text())["session"]["state"] == "signed off"


def test_the_corrupted_copy_was_refused_on_the_way(ran: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    told = ran[1].stdout
    refused, restored = told.index("FAIL    backup checksum"), told.index("OK      backup checksum")
    assert refused < restored
    assert "Nothing was changed" in told[refused:restored]


def test_the_rows_are_back_and_the_worker_wrote_again(ran: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = ran
    incident = tomllib.loads((folder / "incident.toml").read_text())
    with closing(sqlite3.connect(folder / "shop/database/database.sqlite")) as database:
        (users,) = database.execute("SELECT count(*) FROM users").fetchone()
        (newest,) = database.execute("SELECT max(created_at) FROM transactions").fetchone()
        for wanted in incident["must_contain"]:
            assert database.execute(wanted["query"]).fetchall()
    assert users == incident["table"][0]["rows"]
    assert newest > f"{incident['incident']['started_at']:%Y-%m-%d %H:%M:%S}"
    assert "OK      workers running again" in done.stdout
    assert "OK      health: exit 0" in done.stdout


def test_nothing_is_left_running(ran: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    assert running_in(ran[0]) == []


def test_it_ends_well_where_other_processes_can_not_be_seen_and_the_record_says_so(tmp_path: Path) -> None:
    done = demo(tmp_path / "box", WITHOUT_RIGHTS)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    unseen = "UNKNOWN Open files can be seen" in done.stdout
    assert unseen or os.geteuid() != 0
    record = tomllib.loads(record_of(done).read_text())
    overridden = [one for one in record.get("deviation", []) if "Open files can be seen" in one["what"]]
    assert bool(overridden) is unseen
    assert running_in(tmp_path) == []


def test_an_answer_that_is_missing_leaves_a_waiting_session_and_nothing_running(tmp_path: Path) -> None:
    answers = tmp_path / "answers.toml"
    answers.write_text('operator = "ana"\n')
    done = demo(tmp_path / "box", answers=answers)
    assert done.returncode == 3
    assert "The session waits" in done.stdout
    assert f"reinstate --config {tmp_path}/box/reinstate.toml resume" in done.stderr
    assert running_in(tmp_path / "box") == []


def test_a_session_that_was_left_waiting_is_taken_up_again_with_the_sandbox_s_own_papers(tmp_path: Path) -> None:
    answers, box = tmp_path / "answers.toml", tmp_path / "box"
    answers.write_text('operator = "ana"\n')
    demo(box, answers=answers)
    config = str(box / "reinstate.toml")
    done = reinstate("--config", config, "resume", "--answers", str(box / "answers.toml"))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Session signed off." in done.stdout
    assert running_in(box) != []
    shutil.rmtree(box)
    until(lambda: running_in(box) == [], "the application ends with its sandbox")


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = demo(tmp_path)
    assert done.returncode == 3
    assert "not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
