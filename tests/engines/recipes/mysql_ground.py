"""Servers of a test's own with a session on each that is approved and waits: any number of runs begin from there."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from engines.children import MARK
from engines.mysql.connect import Login
from engines.mysql.flavour import Flavour
from engines.recipes.mysql.until import Kind, Until
from engines.session import store
from engines.session.client import Client
from engines.session.moves import AskKind, Wait, next_move
from engines.session.verify import verify
from engines.text import utc_now
from tests.engines.recipes.mysql_world import GOOD, LATER, MysqlWorld, build, new_session
from tests.engines.recipes.world import answering, say_yes, start_runner
from tests.servers.databases import Server

_SYSTEM = {"mysql", "sys", "information_schema", "performance_schema"}
_ACCOUNTS = {"root", "mariadb.sys", "mysql.session", "mysql.sys", "mysql.infoschema"}

BEGUN, PREPARED = "begun", "prepared"

# One of each thing that a swap or a load in place has to take along.
CODE = """
CREATE TABLE notes (id INT PRIMARY KEY AUTO_INCREMENT, told VARCHAR(40));
CREATE TRIGGER noted AFTER INSERT ON customers FOR EACH ROW INSERT INTO notes (told) VALUES (NEW.name);
CREATE VIEW known AS SELECT name FROM customers;
CREATE PROCEDURE forget() DELETE FROM notes;
CREATE EVENT forgetting ON SCHEDULE EVERY 1 YEAR STARTS '2036-01-01 00:00:00' DO DELETE FROM notes;
"""


@dataclass(slots=True)
class Ground:
    """One world, put back to its beginning before each run. `old`: the schema as it was before any restore."""

    world: MysqlWorld
    session: Path
    old: bytes
    login: Login | None = None  # of the session, where it is not the tests' own

    @property
    def server(self) -> Server:
        return self.world.server

    @property
    def user(self) -> str:
        return self.login.user if self.login else "root"

    @property
    def _saved(self) -> Path:
        return self.world.folder / "saved"

    def save(self, stage: str) -> None:
        """Keep everything that the session has on this machine now, to begin from it again."""
        shutil.rmtree(self._saved / stage, ignore_errors=True)
        shutil.copytree(self.world.folder / "state", self._saved / stage, symlinks=True)
        if not (self._saved / "dumps").exists():
            shutil.copytree(self.world.folder / "dumps", self._saved / "dumps")

    def reset(self, stage: str) -> None:
        """The old schema on the server, nothing else there, and the session as it was saved."""
        self._reset_server()
        if stage == PREPARED:  # they are staged: what the runs before have written is not fetched each time
            self.server.sql("FLUSH BINARY LOGS")
            self.server.sql(f"PURGE BINARY LOGS TO '{self.server.sql('SHOW BINARY LOGS')[-1][0]}'")
        state = self.world.folder / "state"
        shutil.rmtree(state)
        shutil.copytree(self._saved / stage, state, symlinks=True)
        self._reset_dumps()
        (self.world.folder / "app" / "down").unlink(missing_ok=True)

    def _reset_dumps(self) -> None:
        """Without the new full backup of the run before. The others stay the very files that they are."""
        for path in (self.world.folder / "dumps").iterdir():
            kept = self._saved / "dumps" / path.name
            if not kept.exists():
                path.unlink()
            elif path.suffix == ".txt":
                path.write_bytes(kept.read_bytes())

    def _reset_server(self) -> None:
        self.server.tidy()
        if self.login:
            let_in(self.server, self.login)
        self.server.sql("SET GLOBAL local_infile = 0", f"CREATE DATABASE `{self.world.schema}`")
        self.server.script(self.old, self.world.schema)
        assert self.world.content() == self.old

    def live(self) -> str:
        """Which schema is live: old, new, or neither whole."""
        content = self.world.content()
        return {self.old: "old", self.world.good: "new"}.get(content, "unfinished")

    def as_it_should_be(self) -> None:
        """Nothing of a session that is over is left anywhere but what it is to leave."""
        deadline = time.monotonic() + 5  # the server ends a connection a moment after its client has
        while (left := self.left_on_server()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert left == []
        assert not list((self.session / "private").iterdir())
        assert not children_of(self.world)
        assert not (self.world.folder / "app" / "down").exists()
        staging = self.world.folder / "state" / "staging"
        assert not [path for path in staging.rglob("*") if path.is_file()]
        assert verify(self.session).wrong == ""

    def left_on_server(self) -> list[str]:
        """Schemas, accounts, sessions and settings that were not there before."""
        sql = self.server.sql
        left = [f"schema {name}" for name in self.world.schemas() - _SYSTEM - {self.world.schema}]
        left += [f"account {name}" for name in self.world.accounts() if name not in (*_ACCOUNTS, self.user)]
        if sql("SELECT @@GLOBAL.local_infile") != [(0,)]:
            left.append("local_infile is on")
        mysql = self.server.flavour is Flavour.MYSQL
        left += [f"channel {row}" for row in sql("SHOW REPLICA STATUS" if mysql else "SHOW ALL SLAVES STATUS")]
        if not mysql:
            kept = sql("SELECT @@GLOBAL.slave_parallel_threads, @@GLOBAL.gtid_slave_pos")
            left += [f"replication {kept[0]}"] if kept != [(0, "")] else []
        mine = "SELECT id FROM information_schema.processlist WHERE user = %r AND id <> CONNECTION_ID()"
        left += [f"session {number}" for (number,) in sql(mine % self.user)]
        return left


def children_of(world: MysqlWorld) -> list[str]:
    """Programs that a runner of this world has started and that are still there."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and MARK in process.environ():
                line = " ".join(process.cmdline())
                if str(world.folder) in line or str(world.folder) in str(process.environ()):
                    found.append(line)
        except psutil.Error:
            continue
    return found


def prepared(
    folder: Path,
    server: Server,
    method: str,
    *,
    port: int = 0,
    login: Login | None = None,
    script: str = "",
    later: str = "",
    harm: str = "",
    replay: str = "client",
) -> Ground:
    """A world and a session on it that replays; saved as it was begun, and as its plan waits for approval.

    `script`, `later`, `harm`: as in `build`.
    """
    more = f'method = "{method}"\nlocal_infile = true\nconnections = 2\nbinlogs = "{folder}/binlogs"'
    more += f'\nreplay = "{replay}"'
    world = build(folder, server, more=more, script=CODE + script, later=later, harm=harm, port=port, login=login)
    _archive_logs(world)
    incident = folder / "incident.toml"
    incident.write_text(incident.read_text().replace(f"rows = {GOOD}", f"rows = {GOOD + LATER}"))
    server.sql("SET GLOBAL local_infile = 0")  # so that the load turns it on, and has to turn it off again
    if login:
        let_in(server, login)
    session = new_session(world, Until(Kind.POSITION, world.bad))
    ground = Ground(world, session, world.content(), login=login)
    ground.save(BEGUN)
    process = start_runner(session)
    asyncio.run(answering(session, process, until_approval))
    assert store.open_session(session).state.plan_digest, (session / "runner.log").read_text()
    ground.save(PREPARED)
    return ground


def let_in(server: Server, login: Login) -> None:
    """An account that may do everything, made anew; not in the binary log, where MariaDB writes passwords in clear."""
    connection = server.connection()
    secret = connection.escape(login.password)
    connection.close()
    user = f"'{login.user}'@'127.0.0.1'"
    server.sql(
        "SET SESSION sql_log_bin = 0",
        f"DROP USER IF EXISTS {user}",
        f"CREATE USER {user} IDENTIFIED BY {secret}",
        f"GRANT ALL ON *.* TO {user} WITH GRANT OPTION",
    )


def _archive_logs(world: MysqlWorld) -> None:
    """As a nightly job does, so that the server may purge them."""
    server, kept = world.server, world.folder / "binlogs"
    kept.mkdir()
    server.sql("FLUSH BINARY LOGS")
    folder = Path(server.sql("SELECT @@GLOBAL.log_bin_basename")[0][0]).parent
    for name, *_ in server.sql("SHOW BINARY LOGS")[:-1]:
        shutil.copy(folder / name, kept / name)


async def until_approval(client: Client) -> bool:
    """Say yes until the restore's plan waits for its approval; then the runner is told to leave."""
    move = next_move(client.state, utc_now())
    if isinstance(move, Wait) and move.ask.kind is AskKind.APPROVE:
        mark = store.runner_mark(client.folder)
        assert mark is not None
        os.kill(mark.pid, signal.SIGTERM)
        return True
    return await say_yes(client)
