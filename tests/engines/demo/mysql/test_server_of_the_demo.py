"""The demo's server and sandbox: what they leave, what they refuse, and that the reports say what happened."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from engines.backups.catalogue import Status
from engines.backups.freshness import freshness
from engines.backups.verify import verify
from engines.checks import Verdict
from engines.children import Child, alive
from engines.config import load
from engines.demo import app
from engines.demo import sandbox as sandboxes
from engines.demo.mysql import programs, sandbox, server, shop
from engines.demo.sandbox import Sandbox
from engines.errors import Refused, RestoreError, UsageError
from engines.incident import read_incident
from engines.mysql.flavour import Flavour
from engines.recipes import points
from engines.text import utc_now
from tests.engines.demo.mysql.test_demo_on_a_server import SANDBOXES
from tests.engines.demo.test_demo import reinstate, running_in
from tests.servers.waiting import until
from tui.answers import read_answers


@pytest.fixture(scope="module", params=SANDBOXES)
def box(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    made = sandbox.build(request.param, tmp_path_factory.mktemp("demo") / "box")
    yield made
    sandbox.stop(made)


def payments(made: Sandbox) -> int:
    with closing(shop.connect(made.home)) as database:
        return shop.number(database, "SELECT COUNT(*) FROM transactions")


def do(made: Sandbox, *words: str) -> subprocess.CompletedProcess[str]:
    """One of the application's commands, as the configuration has it."""
    command = [sys.executable, "-I", "app.py", *words]
    return subprocess.run(command, cwd=made.home, capture_output=True, text=True, timeout=60, check=False)


def test_the_shop_goes_on_writing_and_has_lost_its_payments(box: Sandbox) -> None:
    before = payments(box)
    until(lambda: payments(box) > before, "a payment is recorded")
    assert before < 500
    failed = do(box, "smoke")
    assert failed.returncode == 1
    assert "report: FAILED" in failed.stdout
    assert do(box, "migrations").stdout.count("Ran") == len(app.MIGRATIONS)
    assert do(box, "health").returncode == 0


def test_nothing_is_written_in_maintenance_mode(box: Sandbox) -> None:
    assert do(box, "down").returncode == 0
    after_down, log = payments(box), (box.home / app.LOG).read_text()
    assert do(box, "health").returncode == 1
    assert do(box, "workers", "stop").returncode == 0
    assert do(box, "workers", "start").returncode == 0
    assert payments(box) == after_down
    assert "Payment recorded" not in (box.home / app.LOG).read_text().removeprefix(log)
    assert do(box, "up").returncode == 0
    until(lambda: payments(box) > after_down, "a payment is recorded")


def test_one_dump_is_corrupted_one_is_not_listed_one_is_stale_and_the_others_are_verified(box: Sandbox) -> None:
    target = load(box.config, privileged=os.geteuid() == 0).targets[box.target]
    found = points.restore_points(target)
    checked = tuple(verify(one, lambda *_: None, lambda: False) if one.expected else one for one in found.backups)
    assert [one.status for one in checked] == [
        Status.MISMATCH,
        Status.VERIFIED,
        Status.NOT_LISTED,
        Status.VERIFIED,
        Status.VERIFIED,
        Status.VERIFIED,
    ]
    assert [one.name for one in checked[:2]] == [box.first_backup, box.good_backup]
    assert checked[-1].taken_at < utc_now() - timedelta(days=20)
    fresh = freshness(replace(found, backups=checked), timedelta(days=1), utc_now())
    assert fresh.verdict is Verdict.WARN
    assert "MISMATCH" in fresh.evidence


def test_its_papers_are_read_without_a_problem_and_say_the_same(box: Sandbox) -> None:
    privileged = os.geteuid() == 0
    in_toml = read_incident(box.incident, privileged=privileged)
    in_markdown = read_incident(box.folder / "incident-report.md", privileged=privileged)
    assert in_markdown.about.id == in_toml.about.id == "INC-2041"
    assert in_markdown.objective == in_toml.objective
    assert [(one.name, one.rows) for one in in_markdown.tables] == [(one.name, one.rows) for one in in_toml.tables]
    prepared = read_answers(box.answers)
    assert prepared.until == in_toml.objective.stop_before
    assert prepared.answer[0].backup == box.good_backup


def test_a_killed_demo_s_server_is_ended_by_the_next_one_and_nobody_else_s(box: Sandbox, tmp_path: Path) -> None:
    mine = server.running(box.folder / sandbox.SERVER)
    assert mine is not None
    folder = tmp_path / "killed"
    script = (
        "import sys, time; from pathlib import Path; from engines.demo.mysql import server; "
        "from engines.demo.mysql.programs import programs; from engines.mysql.flavour import Flavour; "
        "server.make(Path(sys.argv[1]), programs(Flavour('mariadb')), {}); print('up', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert demo.stdout.readline() == "up\n"
        left = server.running(folder)
        assert left is not None
        assert (folder, left) not in list(server.left_over())
        demo.send_signal(signal.SIGKILL)
    server.sweep(lambda _folder: None)
    assert not alive(left)
    assert [path for path in folder.rglob("*") if path.is_socket()] == []
    assert alive(mine)


def test_a_session_that_was_left_waiting_is_taken_up_again_with_its_server(tmp_path: Path) -> None:
    answers, folder = tmp_path / "answers.toml", tmp_path / "box"
    answers.write_text('operator = "ana"\nuntil = "dump"\n')
    done = reinstate("demo", "--engine", "mariadb", "--folder", str(folder), "--answers", str(answers))
    assert done.returncode == 3
    assert running_in(folder) == []
    start = f"{sys.executable} -P -m engines.demo.mysql.server start {folder}/server"
    assert f"{start} && reinstate --config {folder}/reinstate.toml resume" in done.stderr
    subprocess.run(start.split(), check=True, timeout=120)
    started = server.running(folder / "server")
    try:
        assert started is not None
        server.sweep(lambda _folder: None)  # as the next demo does, while this one is still waiting
        assert alive(started)
        done = reinstate("--config", f"{folder}/reinstate.toml", "resume", "--answers", str(folder / "answers.toml"))
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    finally:
        sandbox.stop_in(folder)
    assert running_in(folder) == []


def test_a_worker_ends_with_its_server(tmp_path: Path) -> None:
    made = sandbox.build("mariadb", tmp_path / "box")
    workers = sandboxes.running(made)
    assert len(workers) == 2
    server.stop(made.folder / sandbox.SERVER)
    until(lambda: not any(alive(one) for one in workers), "both have ended")


def test_a_number_that_is_another_process_by_now_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (tmp_path / "process").write_text(f"{stranger.pid} 1\n")
        assert server.running(tmp_path) is None
        server.stop(tmp_path)
        assert stranger.poll() is None
        stranger.kill()


def test_mariadb_under_mysql_s_name_is_not_taken_for_mysql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = shutil.which("mariadbd", path="/usr/sbin:/usr/bin")
    assert there is not None
    (tmp_path / "mysqld").symlink_to(there)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin")
    monkeypatch.setattr(programs, "_SERVERS", ())
    monkeypatch.setattr(programs, "_CHECKOUT", tmp_path / "nothing")
    with pytest.raises(UsageError, match="mysqld is not there") as refused:
        programs.programs(Flavour.MYSQL)
    assert "--engine mariadb" in refused.value.hint
    assert programs.programs(Flavour.MARIADB).server == str(tmp_path / "mysqld")


def test_a_folder_with_something_in_it_is_refused_and_nothing_is_started(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(Refused, match="not empty"):
        sandbox.build("mariadb", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_server_that_can_not_start_is_told_with_its_log_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_SETTINGS", (*server._SETTINGS, "--no-such-setting"))
    seen: list[Child] = []
    spawn = server._spawn

    def watched(*given: object, by_hand: bool) -> object:
        process, child = spawn(*given, by_hand=by_hand)  # type: ignore[arg-type]  # as it was called
        seen.append(child)
        return process, child

    monkeypatch.setattr(server, "_spawn", watched)
    with pytest.raises(RestoreError, match="did not start") as refused:
        sandbox.build("mariadb", tmp_path / "box")
    assert "error.log" in refused.value.hint
    assert not any(alive(one) for one in seen)
