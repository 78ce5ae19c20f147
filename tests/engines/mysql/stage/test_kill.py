"""Killed -9 at every statement of a swap and of its undo; then resumed, and separately undone. Never a mixture.

The points are those that a recording run passes, so a new one is killed at without being listed here. What is live
afterwards is compared by dumps, with rows, routines, events and triggers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from engines.mysql.connect import connected
from engines.mysql.stage.back import clear, put_back
from engines.mysql.stage.steps import Swap
from engines.mysql.stage.swap import Position, go_live, position
from tests.engines.mysql.stage.ground import Ground, staged
from tests.servers.databases import ROOT, Server

SMALL = """
CREATE TABLE users (id int NOT NULL PRIMARY KEY, name varchar(20), note varchar(20));
INSERT INTO users VALUES (1, 'a', '');
CREATE TABLE jobs (id int NOT NULL PRIMARY KEY, user_id int,
  CONSTRAINT job_user FOREIGN KEY (user_id) REFERENCES users (id)); INSERT INTO jobs VALUES (1, 1);
CREATE VIEW named AS SELECT id, name FROM users;
CREATE TRIGGER users_before BEFORE INSERT ON users FOR EACH ROW SET NEW.note = 'old';
"""
OLDER = "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' ENABLE DO SET @night = 1;"
NEWER = """
INSERT INTO users VALUES (2, 'b', ''); CREATE OR REPLACE VIEW named AS SELECT id, name, note FROM users;
CREATE PROCEDURE added() SELECT 1;
"""
STARTS = {"go_live": Position.OLD, "put_back": Position.NEW}


def start(ground: Ground, deed: str, at_point: int) -> subprocess.CompletedProcess[str]:
    """One deed in a process of its own, killed at the given point."""
    written = ground.dump.parent / "swap.json"
    written.write_bytes(msgspec.json.encode(ground.swap))
    return subprocess.run(
        [sys.executable, "-m", "tests.engines.mysql.stage.killed", deed, str(written), str(ground.server.socket),
         str(at_point)],
        cwd=ROOT,
        input=f"{ground.server.login.user}\n{ground.server.login.password}\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )  # fmt: skip


def begin(ground: Ground, deed: str) -> None:
    """Bring it to where the deed starts."""
    with connected(ground.server.place, ground.server.login) as connection:
        if deed == "go_live":
            put_back(connection, ground.swap)
            ground.dress()
        else:
            go_live(connection, ground.swap)


def points(ground: Ground, deed: str) -> list[str]:
    """The points that a run to the end passes."""
    begin(ground, deed)
    ended = start(ground, deed, 0)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def killed(ground: Ground, deed: str, number: int) -> Position:
    """Where it stands after the deed's process died at a point."""
    begin(ground, deed)
    ended = start(ground, deed, number)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    with connected(ground.server.place, ground.server.login) as connection:
        standing = position(connection, ground.swap)
    assert standing.position in (Position.OLD, Position.NEW, Position.BETWEEN), standing
    if standing.position is not Position.BETWEEN:  # what it says is so
        assert ground.live() == (ground.old if standing.position is Position.OLD else ground.new)
    return standing.position


def resume(ground: Ground) -> str:
    with connected(ground.server.place, ground.server.login) as connection:
        assert go_live(connection, ground.swap) is Position.NEW
        assert position(connection, ground.swap).position is Position.NEW
    assert ground.live() == ground.new
    return "new"


def undo(ground: Ground) -> str:
    with connected(ground.server.place, ground.server.login) as connection:
        assert put_back(connection, ground.swap) is Position.OLD
        assert position(connection, ground.swap).position is Position.OLD
    assert ground.live() == ground.old
    return "old"


def test_killed_at_any_point_the_swap_goes_on_or_back(server: Server, tmp_path: Path) -> None:
    """The always-run sample: a small schema, every third point and those around the RENAME, on and back in turn."""
    ground = staged(server, tmp_path, base=SMALL, older=OLDER, newer=NEWER)
    ground.plan()
    passed = points(ground, "go_live")
    assert len(passed) > 12
    renames = [number for number, point in enumerate(passed, start=1) if "rename" in point]
    for number in sorted({*range(1, len(passed) + 1, 3), *renames}):
        killed(ground, "go_live", number)
        resume(ground) if number % 2 else undo(ground)
    killed(ground, "put_back", 5)
    undo(ground)


def test_a_clearing_that_was_killed_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    ground = staged(server, tmp_path, base=SMALL, older=OLDER, newer=NEWER)
    ground.plan()
    begin(ground, "put_back")
    for number in (3, 4, 5):
        assert start(ground, "clear", number).returncode == -signal.SIGKILL
        with connected(server.place, server.login) as connection:
            assert position(connection, ground.swap).position is Position.SETTLED
    with connected(server.place, server.login) as connection:
        clear(connection, ground.swap)
        clear(connection, ground.swap)
    assert left(ground.swap, server) == []
    assert ground.live() == ground.new


def left(swap: Swap, server: Server) -> list[str]:
    schemas = {row[0] for row in server.sql("SELECT schema_name FROM information_schema.schemata")}
    accounts = {row[0] for row in server.sql("SELECT user FROM mysql.user")}
    return sorted((schemas | accounts) & {swap.names.stage, swap.names.parked, swap.names.account})


@pytest.mark.torture
@pytest.mark.parametrize("deed", ["go_live", "put_back"])
def test_every_kill_point_resumed_and_undone(server: Server, deed: str, tmp_path: Path) -> None:
    ground = staged(server, tmp_path)
    ground.plan()
    outcomes: Counter[tuple[str, str]] = Counter()
    stands: Counter[str] = Counter()
    passed = points(ground, deed)
    for number in range(1, len(passed) + 1):
        for way in ("resume", "undo"):
            stands[killed(ground, deed, number)] += 1
            outcomes[way, resume(ground) if way == "resume" else undo(ground)] += 1
    told = ", ".join(f"{way} → {outcome} {number}" for (way, outcome), number in sorted(outcomes.items()))
    stood = ", ".join(f"{where} {number}" for where, number in sorted(stands.items()))
    os.write(2, f"\n{server.build.name}, {deed}: {len(passed)} points; killed at {stood}; {told}; mixed 0\n".encode())
