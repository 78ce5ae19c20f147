"""`reinstate drill` as cron runs it: real databases, real backups, broken in the ways in which they break."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engines.drilling import Expect
from engines.recipes import sessions
from engines.recipes.drills import expecting
from engines.session import store
from engines.text import utc_now
from tests.engines.recipes.world import BACKUP, ROOT, World, build
from tests.engines.session.examples import begun, session_folder
from tests.servers.waiting import until
from tests.tui.cli_ground import Said, is_drawable, is_one_clear_error, tree, typed

PROVEN, USAGE, REFUSED, NOT_PROVEN = 0, 2, 3, 4
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Night:
    world: World

    def drill(self, *words: str | Path) -> Said:
        said = self.typed("drill", "box", *words)
        assert is_drawable(said)
        assert not list(self.scratch.glob("*")), "something is left in the scratch folder"
        return said

    def typed(self, *words: str | Path) -> Said:
        return typed("--config", self.config, *words)

    @property
    def config(self) -> Path:
        return self.world.folder / "reinstate.toml"

    @property
    def scratch(self) -> Path:
        return self.world.folder / "state" / "scratch" / "box"

    @property
    def backup(self) -> Path:
        return self.world.folder / "backups" / BACKUP

    @property
    def incident(self) -> tuple[str, Path]:
        return "--incident", self.world.folder / "incident.toml"

    @property
    def session(self) -> Path:
        """The newest: by its journal, since two may have begun in one second."""
        known = store.known_sessions(self.world.folder / "state" / "drills")
        return max(known, key=lambda one: one.state.begun_at or NEVER).folder

    @property
    def record(self) -> dict[str, Any]:
        return tomllib.loads((self.session / "session.toml").read_text())

    def configured(self, text: str) -> None:
        with self.config.open("a") as file:
            file.write(f"[target.box.drill]\n{text}\n")

    def heartbeat(self, address: str, more: str = "", checklist: Path | None = None) -> None:
        secret = self.world.folder / "heartbeat"
        secret.write_text(f"{address}\n")
        secret.chmod(0o600)
        if checklist is not None:
            with self.config.open("a") as file:
                file.write(f'security_checklist = "{checklist}"\n')
        self.configured(f'heartbeat_file = "{secret}"\n{more}')

    def listed(self) -> None:
        digest = hashlib.sha256(self.backup.read_bytes()).hexdigest()
        (self.backup.parent / "checksums.txt").write_text(f"{digest}  {BACKUP}\n")


class _Monitor(http.server.BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def monitor() -> Iterator[tuple[str, list[str]]]:
    """What waits for a heartbeat: a web server of our own, and what it was asked."""
    asked: list[str] = []
    handler = type("Monitor", (_Monitor,), {"asked": asked})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return Night(build(tmp_path / "world", "delete"))


def test_a_drill_proves_a_backup_and_touches_nothing_of_the_live_target(
    night: Night, monitor: tuple[str, list[str]]
) -> None:
    address, asked = monitor
    checklist, metrics = night.world.folder / "checklist.md", night.world.folder / "box.prom"
    checklist.write_text("# Security\n\n- Last restore drill: 2026-01-01\n")
    night.heartbeat(f"{address}/ping/5e1f-secret", f'metrics = "{metrics}"\nchecklist = true', checklist)
    before = {name: tree(night.world.folder / name) for name in ("db", "app", "backups")}
    said = night.drill(*night.incident, "--random", "--json")
    assert said.code == PROVEN, said.all
    told = json.loads(said.out)
    assert (told["outcome"], told["backup"], told["exit_code"]) == ("proven", BACKUP, PROVEN)
    assert told["seconds"] > 0
    assert {name: tree(night.world.folder / name) for name in before} == before

    record = night.record
    assert (record["session"]["drill"], record["session"]["state"]) == (True, "proven")
    assert record["session"]["decided"]["expectations"].startswith("the incident report")
    assert record["session"]["decided"]["backup"] == "a random one"
    assert [row["verdict"] for row in record["validation"]] == ["MATCH", "MATCH"]
    assert str(night.world.live) not in (night.session / "journal.jsonl").read_text()
    assert night.typed("verify", f"{night.session}/").code == 0

    assert asked == ["/ping/5e1f-secret"]
    assert b"5e1f-secret" not in b"".join(path.read_bytes() for path in night.session.rglob("*") if path.is_file())
    assert 'reinstate_drill_last_success{target="box"} 1' in metrics.read_text()
    assert "2026-01-01" not in checklist.read_text()
    assert record["checklist"]["by"] == "the configuration"

    # Restores do not see it; by its name it is found.
    assert night.typed("sessions").out == "No sessions yet.\n"
    is_one_clear_error(night.typed("show"), USAGE)
    assert ": DRILL sqlite " in said.err
    assert "DRILL" in night.typed("report", night.session.name[-10:]).out
    assert json.loads(night.typed("drills", "--json").out)[0]["session"] == night.session.name
    assert "proven" in night.typed("drills", "box").out
    assert "restored in a drill" in night.typed("backups", "box").out
    assert json.loads(night.typed("backups", "box", "--json").out)["backups"][0]["drill"]["outcome"] == "proven"
    assert "by the drill of" in night.typed("check", "box").out

    # What it counted is what the next one may expect.
    last = store.open_session(night.session).state
    again = expecting.of_target(night.world.config().targets["box"], Expect.LAST, last, utc_now())
    assert again.source == f"drill {night.session.name}"
    assert again.incident is not None
    assert [(table.name, table.rows) for table in again.incident.tables] == [("users", 200)]


def test_without_a_report_the_live_target_says_what_is_expected(night: Night, monitor: tuple[str, list[str]]) -> None:
    """The live database of this world has half as many rows again: more than a backup's age explains."""
    address, asked = monitor
    night.heartbeat(f"{address}/ping")
    said = night.drill()
    assert said.code == NOT_PROVEN, said.all
    assert "users MISMATCH (200 for 301 ±10 %)" in said.err
    assert night.record["session"]["decided"]["expectations"].startswith("the live target")
    assert night.record["session"]["state"] == "failed"
    assert "left_behind" not in night.record["session"] or night.record["session"]["left_behind"] == []
    assert asked == [], "a heartbeat for a backup that is not proven"


def test_where_the_live_target_is_gone_nothing_but_soundness_is_expected_and_it_is_said(night: Night) -> None:
    night.world.live.unlink()
    found = expecting.of_target(night.world.config().targets["box"], Expect.LIVE, None, utc_now())
    assert found.incident is None
    assert found.source.startswith("nothing; not the live target: it is missing")


def cut_short(night: Night) -> None:
    night.backup.write_bytes(night.backup.read_bytes()[:-4096])
    night.listed()


def other_bytes(night: Night) -> None:
    with closing(sqlite3.connect(night.backup)) as db:
        db.execute("PRAGMA user_version = 7")
        db.commit()


@pytest.mark.parametrize("broken", [cut_short, other_bytes])
def test_a_backup_that_does_not_restore_has_an_exit_code_of_its_own_and_a_record(
    broken: Callable[[Night], None], night: Night
) -> None:
    broken(night)
    said = night.drill(*night.incident)
    assert said.code == NOT_PROVEN, said.all
    assert night.record["session"]["state"] == "failed"
    assert night.record["session"]["reason"]
    assert "left_behind" not in night.record["session"] or night.record["session"]["left_behind"] == []


def test_a_backup_that_is_not_there_is_refused_before_anything_begins(night: Night) -> None:
    is_one_clear_error(night.drill("--backup", "yesterday.sqlite"), REFUSED)
    night.backup.unlink()
    is_one_clear_error(night.drill(), REFUSED)
    (night.backup.parent / "checksums.txt").unlink()
    is_one_clear_error(night.drill("--random"), REFUSED)
    night.backup.parent.rmdir()
    is_one_clear_error(night.drill(), REFUSED)
    assert not list(store.known_sessions(night.world.folder / "state" / "drills"))


@pytest.mark.parametrize("place", ["db", "backups", "state"])
def test_a_scratch_folder_that_something_of_the_target_is_in_is_refused(place: str, night: Night) -> None:
    (night.world.folder / "by-another-name").symlink_to(night.world.folder / place)
    (night.world.folder / "state").mkdir(exist_ok=True)
    night.configured(f'scratch = "{night.world.folder}/by-another-name"')
    said = night.typed("drill", "box")
    is_one_clear_error(said, REFUSED)
    assert "Nothing was begun" in said.err


def test_root_makes_no_scratch_folder_where_others_could_change_it(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "privileged", lambda: True)
    (night.world.folder / "open").mkdir()
    (night.world.folder / "open").chmod(0o777)
    night.configured(f'scratch = "{night.world.folder}/open/scratch"')
    said = night.typed("drill", "box")
    is_one_clear_error(said, REFUSED)
    assert "can't be used" in said.err


def test_a_full_disk_refuses_before_anything_is_copied(night: Night) -> None:
    """A backup that says it is larger than any disk: sparse, so that it costs nothing."""
    with night.backup.open("r+b") as file:
        file.truncate(1 << 46 if _takes(night.backup.parent, 1 << 46) else 1 << 43)
    said = night.drill(*night.incident)
    assert said.code == REFUSED, said.all
    assert "Staged copy" in night.record["session"]["reason"]


def _takes(folder: Path, size: int) -> bool:
    probe = folder / "probe"
    try:
        with probe.open("wb") as file:
            file.truncate(size)
    except OSError:
        return False
    finally:
        probe.unlink()
    return True


def test_a_restore_that_is_unfinished_keeps_a_drill_from_beginning(night: Night) -> None:
    session_folder(night.world.folder / "state", begun(target={"name": "box"}))
    said = night.typed("drill", "box")
    is_one_clear_error(said, REFUSED)
    assert "no drill is begun beside it" in said.err


def killed_drill(night: Night) -> Path:
    """A drill whose runner is killed while it stages: the backup is a pipe's slow end, a large sparse file."""
    with night.backup.open("r+b") as file:
        file.truncate(1 << 29)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "tui.cli",
        "--config",
        str(night.config),
        "drill",
        "box",
        *map(str, night.incident),
    ]
    console = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    drills = night.world.folder / "state" / "drills"
    until(lambda: bool(list(night.scratch.glob("*/.*staged*"))), "the backup is staged")
    (session,) = store.known_sessions(drills)
    console.kill()  # first, so that it does not clear up
    console.wait()
    mark = store.runner_mark(session.folder)
    assert mark is not None
    os.kill(mark.pid, signal.SIGKILL)
    until(lambda: store.runner_mark(session.folder) is None, "the runner is gone")
    return session.folder


def test_what_a_killed_drill_leaves_is_removed_by_the_next_one(night: Night) -> None:
    small = night.backup.read_bytes()
    folder = killed_drill(night)
    assert list(night.scratch.glob("*"))
    night.backup.write_bytes(small)
    night.heartbeat("http://127.0.0.1:1/ping")  # nobody is there: a warning, and the backup is proven
    said = night.drill(*night.incident)
    assert said.code == PROVEN, said.all
    assert "was cut off" in said.err
    (check,) = (one for one in night.record["check"] if one["name"] == "heartbeat")
    assert check["verdict"] == "WARN"
    outcomes = {one["session"]: one["outcome"] for one in json.loads(night.typed("drills", "--json").out)}
    assert outcomes[folder.name] == "cut off"
