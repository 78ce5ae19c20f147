"""What a rewind leaves to be put right is done in steps that are shown, can be passed over, and can be taken back."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from engines.backups.catalogue import Status as Known
from engines.backups.verify import verify
from engines.checks import Verdict
from engines.config import load, to_table
from engines.recipes import afterwards, points
from engines.recipes.application import STOPPING
from engines.recipes.sessions import login
from engines.recipes.steps import stop_step
from engines.session import commands as c
from engines.session import store
from engines.session.client import Client
from engines.session.events import Result, StepEnded, StepStarted
from engines.session.moves import AskKind, Wait, next_move
from engines.session.plan import PlanKind
from engines.session.state import SessionState, Status
from engines.session.work import Work
from engines.sqlite import aftermath
from engines.targets import Application, Environment, SqliteTarget
from engines.text import utc_now
from tests.engines.recipes import mysql_world
from tests.engines.recipes.mysql_world import accept_all, programs_of
from tests.engines.recipes.world import BACKUP, World, answering, build, new_session, say_yes, start_runner
from tests.engines.session.examples import begun, plan_made, runner_started, state_of
from tests.servers.databases import Server
from tests.servers.laravel import LaravelApp

Meet = Callable[[Client], Awaitable[bool]]
_TABLES = """
CREATE TABLE jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, payload TEXT);
CREATE TABLE sessions (id TEXT PRIMARY KEY, payload TEXT);
CREATE TABLE flags (name TEXT PRIMARY KEY);
INSERT INTO jobs (payload) VALUES ('mail one'), ('mail two');
INSERT INTO sessions VALUES ('abc', 'of somebody');
"""
ALL = '\nstale_jobs = ["jobs"]\nclear_tables = ["sessions", "gone"]\nskip_ids = 500\n'


def world_with(folder: Path, *, more: str = "", flag: bool = False) -> World:
    """The small world with jobs and sessions in its backup. `flag`: maintenance mode is a row of the database."""
    world = build(folder, "delete")
    backup = folder / "backups" / BACKUP
    for path in (backup, world.live):
        with closing(sqlite3.connect(path)) as db:
            db.executescript(_TABLES)
    digest = hashlib.sha256(backup.read_bytes()).hexdigest()
    (folder / "backups" / "checksums.txt").write_text(f"{digest}  {BACKUP}")  # its last line is not ended
    configured = folder / "reinstate.toml"
    text = configured.read_text()
    if flag:
        asked = f'sqlite3 {world.live} \\"SELECT count(*) FROM flags\\"'
        for key, script in {
            "maintenance_on": f"sqlite3 {world.live} \\\"INSERT INTO flags VALUES ('down')\\\"",
            "maintenance_off": f'sqlite3 {world.live} \\"DELETE FROM flags\\"',
            "maintenance_check": f"test $({asked}) = 1",
        }.items():
            before, _, after = text.partition(f"{key} = ")
            text = f'{before}{key} = ["sh", "-c", "{script}"]\n{after.partition(chr(10))[2]}'
    configured.write_text(text + more)
    return world


def run(world: World, meet: Meet = say_yes) -> tuple[Path, SessionState]:
    session = new_session(world)
    asyncio.run(answering(session, start_runner(session), meet))
    return session, store.open_session(session).state


def rows(world: World, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(world.live)) as db:
        return db.execute(sql).fetchall()


def known(state: SessionState, action: str) -> tuple[Status, str]:
    (step,) = [known for known in state.steps if known.step.action == action]
    return step.status, step.message


def test_nothing_is_put_aside_unless_it_is_configured_and_a_new_backup_is_taken(tmp_path: Path) -> None:
    world = world_with(tmp_path)
    session, state = run(world)
    assert state.ended is not None, (session / "runner.log").read_text()
    assert not {afterwards.JOBS, afterwards.SESSIONS, afterwards.IDS} & {one.step.action for one in state.steps}
    assert len(rows(world, "SELECT * FROM jobs")) == 2
    status, message = known(state, afterwards.BACKUP)
    assert status is Status.DONE
    catalogue = points.backups_of(world.config().targets["box"])
    newest = catalogue.backups[0]
    assert newest.name in message
    assert newest.name != BACKUP
    assert verify(newest, lambda _d, _t: None, lambda: False).status is Known.VERIFIED
    assert verify(catalogue.backups[1], lambda _d, _t: None, lambda: False).status is Known.VERIFIED
    assert not catalogue.problems
    with closing(sqlite3.connect(newest.path)) as db:
        assert db.execute("SELECT count(*) FROM users").fetchone() == (200,)
    assert {path.name for path in (tmp_path / "backups").iterdir()} == {BACKUP, newest.name, "checksums.txt"}
    assert not [path for path in (tmp_path / "state").rglob("new-backup*")]


def test_what_is_configured_is_shown_done_and_can_be_taken_back(tmp_path: Path) -> None:
    world = world_with(tmp_path, more=ALL, flag=True)
    session, state = run(world)
    assert state.ended is not None, (session / "runner.log").read_text()
    plan = (session / "plan.toml").read_text()
    name = f"reinstate_{session.name[-4:]}_jobs"
    assert f'INSERT INTO "{name}" SELECT * FROM "jobs"' in plan.replace('\\"', '"')
    assert "UPDATE sqlite_sequence SET seq = seq + 500" in plan
    assert known(state, afterwards.AGAIN) == (Status.DONE, "maintenance mode was rewound, and is on again")
    assert known(state, afterwards.JOBS) == (Status.DONE, f"2 rows of jobs are in {name}")
    assert known(state, afterwards.SESSIONS)[1].endswith("; there is no gone")
    assert rows(world, "SELECT * FROM jobs") == []
    assert rows(world, "SELECT * FROM sessions") == []
    assert rows(world, "SELECT seq FROM sqlite_sequence WHERE name = 'jobs'") == [(502,)]
    assert rows(world, "SELECT * FROM flags") == [], "and it is out of maintenance mode again"
    (step,) = [one for one in state.steps if one.step.action == afterwards.JOBS]
    with closing(sqlite3.connect(world.live)) as db:
        for statement in step.step.undo.split("; "):
            db.execute(statement)
        assert db.execute("SELECT payload FROM jobs").fetchall() == [("mail one",), ("mail two",)]


def test_a_new_backup_that_can_not_be_kept_fails_and_the_command_of_ones_own_is_looked_after(tmp_path: Path) -> None:
    world = world_with(tmp_path, more='\nfull_backup = ["sh", "-c", "cp ../db/live.sqlite ../backups/mine.sqlite"]\n')
    failed: list[str] = []

    async def meet(client: Client) -> bool:
        move = next_move(client.state, utc_now())
        if isinstance(move, Wait) and move.ask.kind is AskKind.DECIDE:
            step = client.state.step(move.ask.step)
            assert step is not None
            failed.append(step.message)
            digest = hashlib.sha256((tmp_path / "backups" / "mine.sqlite").read_bytes()).hexdigest()
            with (tmp_path / "backups" / "checksums.txt").open("a") as listing:
                listing.write(f"\n{digest}  mine.sqlite\n")
            await client.do(c.Retry(move.ask.step))
            return True
        return await say_yes(client)

    _, state = run(world, meet)
    assert len(failed) == 1
    assert "mine.sqlite: NOT LISTED" in failed[0]
    assert known(state, afterwards.BACKUP)[0] is Status.DONE
    assert state.checks[afterwards.FRESH].check.verdict is Verdict.OK


def test_the_signal_to_a_real_laravels_workers_is_rewound_with_its_cache_and_sent_again(
    build_laravel: Callable[..., LaravelApp], tmp_path: Path
) -> None:
    app = build_laravel(cache="database")
    old = app.database.read_bytes()
    signal = "SELECT count(*) FROM cache WHERE key LIKE '%queue:restart'"
    application = Application(
        app.folder, user=None if app.owner == login() else app.owner, workers_stop=("php", "artisan", "queue:restart")
    )
    target = SqliteTarget("shop", "sqlite", Environment.LOCAL, app.database, app.backups, application=application)
    workers = next(kind for kind in STOPPING if kind.key == "workers")
    state = state_of(
        begun(target=to_table(target)),
        runner_started(),
        plan_made(PlanKind.RESTORE, stop_step(workers, target)),
        StepStarted("3.3", 1),
        StepEnded(step="3.3", result=Result.DONE),
    )
    assert app.artisan("queue:restart").returncode == 0
    assert app.rows(signal) == [(1,)]
    app.database.write_bytes(old)
    assert app.rows(signal) == [(0,)], "the restore has taken it back"
    (tmp_path / "logs").mkdir()
    (step,) = afterwards.steps(state, target, aftermath, (), afterwards.Next("3", 8))
    work = Work(step=step, folder=tmp_path, look=lambda: state, record=no, telemetry=no, at=no)
    assert afterwards.set_again(work, application)["message"] == "queue:restart is sent again"
    work.close()
    assert app.rows(signal) == [(1,)]


def no(_told: object) -> None:
    """Nobody listens."""


def test_one_is_passed_over_with_a_reason_and_an_undo_after_the_others_puts_everything_back(tmp_path: Path) -> None:
    world = world_with(tmp_path, more=ALL)
    before = rows(world, "SELECT * FROM jobs"), world.rows()

    async def meet(client: Client) -> bool:
        move = next_move(client.state, utc_now())
        asked = client.state.undo_asked is not None
        if isinstance(move, Wait) and move.ask.step == "3.9":
            await client.do(c.Skip("3.9", "the queue is empty anyway"))
            return True
        if isinstance(move, Wait) and move.ask.step == "4.1" and not asked:
            await client.do(c.Undo("the wrong night"))
            return True
        return await say_yes(client)

    session, state = run(world, meet)
    assert state.ended is not None, (session / "runner.log").read_text()
    assert state.ended.how == "undone"
    assert (rows(world, "SELECT * FROM jobs"), world.rows()) == before
    assert not state.ended.left_behind
    assert known(state, afterwards.SESSIONS)[0] is Status.DONE
    assert [(one.what, one.reason) for one in state.deviations] == [
        ("step skipped: 3.9 Put stale jobs aside", "the queue is empty anyway"),
        ("undo", "the wrong night"),
    ]


def test_the_same_on_a_server(mariadb_server: Server, tmp_path: Path) -> None:
    script = (
        "CREATE TABLE jobs (id BIGINT PRIMARY KEY AUTO_INCREMENT, payload TEXT);"
        "INSERT INTO jobs (payload) VALUES ('one'), ('two');"
    )
    with programs_of(mariadb_server):
        world = mysql_world.build(tmp_path, mariadb_server, more='method = "staged"', script=script)
        path = tmp_path / "reinstate.toml"
        path.write_text(path.read_text() + '\nstale_jobs = ["jobs"]\nskip_ids = 500\n')
        session = mysql_world.new_session(world)
        asyncio.run(answering(session, start_runner(session), accept_all))
    state = store.open_session(session).state
    assert state.ended is not None, (session / "runner.log").read_text()
    name = f"reinstate_{session.name[-4:]}_jobs"
    assert known(state, afterwards.JOBS) == (Status.DONE, f"2 rows of jobs are in {name}")
    assert mariadb_server.sql("SELECT COUNT(*) FROM jobs", database=world.schema) == [(0,)]
    assert mariadb_server.sql(f"SELECT payload FROM {name}", database=world.schema) == [("one",), ("two",)]
    mariadb_server.sql("INSERT INTO jobs (payload) VALUES ('x')", database=world.schema)
    assert mariadb_server.sql("SELECT id FROM jobs", database=world.schema)[0][0] >= 503
    target = load(path, privileged=False).targets["box"]
    newest = points.backups_of(target).backups[0]
    assert newest.name != world.dump
    assert newest.name in known(state, afterwards.BACKUP)[1]
    assert verify(newest, lambda _d, _t: None, lambda: False).status is Known.VERIFIED
    assert not [path for path in (tmp_path / "state" / "staging").rglob("*") if path.is_file()]
