"""`reinstate demo --engine …` without a terminal, on real servers: to a consistent record, and nothing left running."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from engines.mysql.connect import read_login
from tests.engines.demo.test_demo import record_of, reinstate, running_in

ENGINES = ("mariadb", "mysql")
# All tests of one sandbox on one worker, so that it is built once.
SANDBOXES = [pytest.param(engine, marks=pytest.mark.xdist_group(f"demo on {engine}")) for engine in ENGINES]
Ran = tuple[Path, subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module", params=SANDBOXES)
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("demo") / "box"
    return folder, reinstate("demo", "--engine", request.param, "--folder", str(folder))


def test_it_ends_well_and_names_the_record(ran: Ran) -> None:
    folder, done = ran
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    record = record_of(done)
    assert record.is_absolute()
    assert record.is_relative_to(folder)
    assert f"rm -r {folder}" in done.stderr


def test_every_step_of_the_approved_plan_is_told(ran: Ran) -> None:
    done = ran[1]
    steps = tomllib.loads((record_of(done).parent / "plan.toml").read_text())["steps"]
    assert len(steps) > 20
    for step in steps:
        assert f" {step['id']} {step['title']}: " in done.stdout


def test_the_record_is_consistent_and_says_that_it_was_signed_off(ran: Ran) -> None:
    record = record_of(ran[1])
    done = reinstate("verify", str(record))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CONSISTENT" in done.stdout
    table = tomllib.loads(record.read_text())
    assert table["session"]["state"] == "signed off"
    assert table.get("deviation", []) == []


def test_the_corrupted_dump_was_refused_on_the_way(ran: Ran) -> None:
    told = ran[1].stdout
    refused, restored = told.index("FAIL    backup checksum"), told.index("OK      backup checksum")
    assert refused < restored
    assert "Nothing live was changed" in told[refused:restored]


def test_all_comes_back_up_to_the_bad_transaction_by_its_dump_and_its_logs(ran: Ran) -> None:
    folder, done = ran
    incident = tomllib.loads((folder / "incident.toml").read_text())
    assert f"to just before {incident['objective']['stop_before']}" in done.stdout
    assert "3.2 Replay the binary logs: done" in done.stdout
    table = tomllib.loads(record_of(done).read_text())
    assert [(one["table"], one["verdict"]) for one in table["validation"] if one["where"] == "live database"] == [
        (one["name"], "MATCH") for one in incident["table"]
    ]
    for wanted in (*incident["must_contain"], *incident["must_not_contain"]):
        assert f"contain {wanted['name']}: " in done.stdout
    assert "OK      The stop is the report's" in done.stdout


def test_nothing_is_left_running_and_no_socket(ran: Ran) -> None:
    folder = ran[0]
    assert running_in(folder) == []
    assert [path for path in folder.rglob("*") if path.is_socket()] == []


def test_its_passwords_are_in_their_option_files_alone(ran: Ran) -> None:
    folder, done = ran
    files = [folder / "reinstate.cnf", folder / "server/root.cnf", folder / "shop/.my.cnf"]
    passwords = [read_login(path).password for path in files]  # which refuses a file that others can read
    assert len(set(passwords)) == 3
    assert all(len(password) > 20 for password in passwords)
    told = [done.stdout, done.stderr]
    told += [path.read_bytes().decode(errors="replace") for path in folder.glob("*.*") if path not in files]
    told += [path.read_bytes().decode(errors="replace") for path in (folder / "state").rglob("*") if path.is_file()]
    told += [path.read_text(errors="replace") for path in (folder / "server").glob("*") if path.is_file()]
    kept = [text for text in told for password in passwords if password in text]
    assert kept == [(folder / "server/root.cnf").read_text()]


@pytest.mark.parametrize("engine", ENGINES)
def test_without_its_programs_it_refuses_and_says_what_to_install(tmp_path: Path, engine: str) -> None:
    box = tmp_path / "box"
    script = (
        "import sys; from pathlib import Path; from engines.demo.mysql import programs; from tui.cli import main; "
        "programs._SERVERS = (); programs._CHECKOUT = Path('/nowhere'); sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "demo", "--engine", engine, "--folder", str(box)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": str(tmp_path), "TERM": "dumb", "HOME": os.environ.get("HOME", "/")},
    )
    assert done.returncode == 2, done.stderr
    assert "Nothing was started" in done.stderr
    assert "Install M" in done.stderr
    assert "--engine sqlite" in done.stderr
    assert not box.exists()
