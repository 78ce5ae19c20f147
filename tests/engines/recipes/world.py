"""A small world for recovery tests: a live database, a backup of it, an application made of files, and an operator
who answers everything."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engines.config import Config, load
from engines.errors import RestoreError
from engines.incident import read_incident
from engines.people import Role
from engines.recipes import points, sessions
from engines.session import commands as c
from engines.session import store
from engines.session.answers import is_functional
from engines.session.client import Client, Gone, connect
from engines.session.journal import replace_file
from engines.session.moves import AskKind, Wait, next_move
from engines.session.plan import GateKind
from engines.text import utc_now

ROOT = Path(__file__).resolve().parents[3]
BACKUP = "2026-11-22T20-00-00Z.sqlite"
OLD_ROWS = (*(f"old {number}" for number in range(300)), "only in the log")
MOST_ATTEMPTS = 4
MOST_SECONDS = 90.0  # for one runner's life, on a machine that has much else to do
NEW_ROWS = tuple(f"good {number}" for number in range(200))


@dataclass(frozen=True, slots=True)
class World:
    folder: Path
    mode: str  # journal mode of the live database

    @property
    def live(self) -> Path:
        return self.folder / "db" / "live.sqlite"

    @property
    def down(self) -> Path:
        return self.folder / "app" / "down"

    @property
    def workers_off(self) -> Path:
        return self.folder / "app" / "workers-off"

    def config(self) -> Config:
        return load(self.folder / "reinstate.toml", privileged=False)

    def rows(self) -> tuple[str, ...]:
        """What the live database holds, read from a copy: looking must not change it."""
        copy = self.folder / "looked-at"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for path in self.live.parent.glob("live.sqlite*"):
            shutil.copy(path, copy / path.name)
        with closing(sqlite3.connect(copy / "live.sqlite")) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return tuple(row[0] for row in db.execute("SELECT name FROM users ORDER BY id"))

    def journal_mode(self) -> str:
        return "wal" if self.live.read_bytes()[18:20] == b"\x02\x02" else "delete"

    def beside(self) -> set[str]:
        """Everything in the database's folder but the database and the log and index of an open one."""
        known = {"live.sqlite", "live.sqlite-wal", "live.sqlite-shm"}
        return {path.name for path in self.live.parent.iterdir()} - known


def build(folder: Path, mode: str = "wal") -> World:
    """A live database (with a row that is only in its log, in WAL mode), a verified backup, an incident report."""
    for name in ("db", "backups", "app"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    world = World(folder, mode)
    _fill(world.live, OLD_ROWS[:-1], mode)
    # A process that ends without closing leaves its last row in the log.
    subprocess.run(
        [sys.executable, "-c", _LAST_ROW, str(world.live), OLD_ROWS[-1]],
        check=True,
    )
    world.live.chmod(0o640)
    assert (world.live.with_name("live.sqlite-wal").exists()) is (mode == "wal")
    backup = folder / "backups" / BACKUP
    _fill(backup, NEW_ROWS, "delete")
    digest = hashlib.sha256(backup.read_bytes()).hexdigest()
    (folder / "backups" / "checksums.txt").write_text(f"{digest}  {BACKUP}\n")
    (folder / "reinstate.toml").write_text(_CONFIG.format(folder=folder))
    (folder / "incident.toml").write_text(_INCIDENT.format(rows=len(NEW_ROWS)))
    return world


_LAST_ROW = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("INSERT INTO users (name) VALUES (?)", (sys.argv[2],))
db.commit()
os._exit(0)
"""

_CONFIG = """
state = "{folder}/state"
[approval]
self_approval = ["local"]
[target.box]
engine = "sqlite"
environment = "local"
database = "{folder}/db/live.sqlite"
backups = "{folder}/backups"
every = "87600h"
holders_timeout = "5s"
critical_tables = ["users"]
[target.box.application]
path = "{folder}/app"
framework = "none"
maintenance_on = ["touch", "down"]
maintenance_off = ["rm", "-f", "down"]
maintenance_check = ["test", "-e", "down"]
workers_stop = ["touch", "workers-off"]
workers_start = ["rm", "-f", "workers-off"]
workers_check = ["test", "!", "-e", "workers-off"]
"""

_INCIDENT = """
[incident]
id = "INC-7"
started_at = 2026-11-22T20:30:00Z
[[table]]
name = "users"
rows = {rows}
[[must_contain]]
name = "the first good row"
query = "SELECT 1 FROM users WHERE name = 'good 0'"
[[must_not_contain]]
name = "the bad rows"
query = "SELECT 1 FROM users WHERE name LIKE 'old%'"
"""


def _fill(path: Path, rows: tuple[str, ...], mode: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA journal_mode={mode}")
        db.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        db.execute("CREATE INDEX by_name ON users (name)")
        db.executemany("INSERT INTO users (name) VALUES (?)", [(row,) for row in rows])
        db.commit()


def new_session(world: World, backup: str = BACKUP) -> Path:
    """A session's folder, ready for a runner of the test's own."""
    config = world.config()
    target = config.targets["box"]
    incident = read_incident(world.folder / "incident.toml", privileged=False)
    folder = store.new_folder(config.state, "local", utc_now())
    chosen = points.find(points.restore_points(target), backup)
    begun = sessions.beginning(config, target, chosen, incident, "ana", folder.name)
    replace_file(folder / store.BEGIN, msgspec.json.encode(begun))
    return folder


def start_runner(folder: Path, *arguments: str, module: str = sessions.RUNNER) -> subprocess.Popen[bytes]:
    """A runner on the session; its mark is there when this returns, unless it ended before."""
    log = (folder / "runner.log").open("ab")
    with log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(folder), *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return process


async def answering(
    folder: Path,
    process: subprocess.Popen[bytes],
    meet: Callable[[Client], Awaitable[bool]],
    *,
    seconds: float = MOST_SECONDS,
) -> None:
    """Call `meet` at every change until the runner is gone. `meet` says whether it gave a command."""
    try:
        async with asyncio.timeout(seconds):
            client = await _joined(folder, process)
            if client is None:
                return
            try:
                await _follow(client, meet)
            finally:
                await client.close()
            await asyncio.to_thread(process.wait)
    except BaseException:
        process.kill()
        process.wait()
        raise


async def _joined(folder: Path, process: subprocess.Popen[bytes]) -> Client | None:
    """A client of the runner; None where the runner ended before it could be joined."""
    while process.poll() is None:
        mark = store.runner_mark(folder)
        if mark is not None and mark.socket:
            try:
                return await connect(mark.socket, "ana")
            except RestoreError:
                pass  # it is ending, or was killed: the next look tells
        await asyncio.sleep(0.01)
    return None


async def _follow(client: Client, meet: Callable[[Client], Awaitable[bool]]) -> None:
    said = client.said()
    while True:
        if client.quiet and client.alive:
            try:
                await meet(client)
            except RestoreError:
                if client.alive:
                    raise
        if isinstance(await anext(said), Gone):
            return


async def say_yes(client: Client) -> bool:
    """The operator, the commander and the owner in one: go on with everything, try what failed again."""
    move = next_move(client.state, utc_now())
    if not isinstance(move, Wait):
        return False
    ask = move.ask
    match ask.kind:
        case AskKind.APPROVE:
            await client.do(c.Approve(client.state.plan_digest, "ivo"))
        case AskKind.CONFIRM:
            await client.do(c.Give(ask.step, GateKind.CONFIRM, ask.role))
        case AskKind.TYPED:
            await client.do(c.Give(ask.step, GateKind.TYPED, ask.role, text="box"))
        case AskKind.ACCEPT | AskKind.SIGN_OFF:
            name = "olu" if ask.role is Role.OWNER else "ivo"
            await client.do(c.Give(ask.step, GateKind(ask.kind.value), ask.role, name=name))
        case AskKind.DECIDE | AskKind.CHOOSE:
            known = client.state.step(ask.step)
            assert known is not None, ask.text
            assert known.attempt < MOST_ATTEMPTS, ask.text
            await client.do(c.Retry(ask.step))
        case AskKind.CHECKS if all(map(is_functional, ask.checks)):
            await client.do(c.Answer(ask.checks[0], passed=True, name="olu"))
        case AskKind.CHECKS:
            raise AssertionError(ask.text)
        case AskKind.WORKING | AskKind.ENDED:
            return False
    return True


async def undo_at_once(client: Client) -> bool:
    """Asks for the undo as soon as nothing runs, then says yes to its steps."""
    move = next_move(client.state, utc_now())
    if isinstance(move, Wait) and move.ask.kind is AskKind.WORKING:
        return False
    signed_off = any(known.step.final and known.attempt for known in client.state.steps)
    if client.state.undo_asked is None and not signed_off and client.state.ended is None and isinstance(move, Wait):
        await client.do(c.Undo("the test takes it back"))
        return True
    return await say_yes(client)
