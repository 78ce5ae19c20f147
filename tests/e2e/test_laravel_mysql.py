"""A Laravel application on a real server: stopped, its rows brought back, checked, in service again."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tomli_w

from engines.checks import Verdict
from engines.mysql.connect import write_option_file
from engines.mysql.flavour import Flavour
from engines.recipes.mysql.until import Kind, Until
from engines.session import commands as c
from engines.session import store
from engines.session.client import Client
from engines.session.events import Ending
from engines.session.moves import AskKind, Wait, next_move, overriding
from engines.session.state import SessionState, Status
from engines.text import utc_now
from tests.e2e.recovery import laravel_commands
from tests.engines.recipes.mysql_world import TARGET, MysqlWorld, new_session, overridden, programs_of
from tests.engines.recipes.world import answering, say_yes, start_runner
from tests.servers.databases import Server
from tests.servers.laravel import SERVICES, LaravelApp
from tests.servers.laravel_mysql import seed, turn_to
from tests.servers.waiting import until

USERS, TRANSACTIONS = 20, 60
CACHE = "2026_01_05_090200_create_cache_and_session_tables"
PRETEND = ["php", "artisan", "migrate", "--pretend", "--force"]


@pytest.fixture
def app(build_laravel: Callable[..., LaravelApp], server: Server) -> Iterator[LaravelApp]:
    if os.geteuid() != 0:
        pytest.fail("This needs root: the application runs as a user of its own.")
    with programs_of(server):
        yield build_laravel(cache="file")


def count(server: Server, schema: str, table: str = "transactions") -> int:
    return int(server.sql(f"SELECT COUNT(*) FROM {table}", database=schema)[0][0])


def here(server: Server) -> str:
    """Where the server's binary log stands, as FILE:POSITION."""
    status = "SHOW BINARY LOG STATUS" if server.flavour is Flavour.MYSQL else "SHOW MASTER STATUS"
    file, position, *_ = server.sql(status)[0]
    return f"{file}:{position}"


def nightly_dump(folder: Path, server: Server, schema: str) -> str:
    """The nightly job: the dump, and its line in checksums.txt; its name."""
    own = ("--set-gtid-purged=OFF", "--source-data=2") if server.flavour is Flavour.MYSQL else ("--master-data=2",)
    name = f"{schema}-{utc_now():%Y-%m-%dT%H-%M-%SZ}.sql"
    content = server.dump("--single-transaction", "--routines", "--events", "--triggers", *own, schema)
    folder.mkdir()
    (folder / name).write_bytes(content)
    (folder / "checksums.txt").write_text(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
    return name


def papers(
    folder: Path,
    app: LaravelApp,
    server: Server,
    schema: str,
    *,
    rows: int,
    method: str = "staged",
    **application: object,
) -> None:
    """Login, configuration and incident report."""
    write_option_file(folder / "login.cnf", server.place, server.login, mariadb=server.flavour is Flavour.MARIADB)
    target = {
        "engine": server.flavour.value,
        "environment": "local",
        "port": server.port,
        "database": schema,
        "login": str(folder / "login.cnf"),
        "backups": str(folder / "dumps"),
        "writers_timeout": "20s",
        "method": method,
        "application": laravel_commands(app) | application,
    }
    config = {"state": str(folder / "state"), "approval": {"self_approval": ["local"]}, "target": {TARGET: target}}
    (folder / "reinstate.toml").write_text(tomli_w.dumps(config))
    report = {
        "incident": {"id": "INC-9", "title": "Payments deleted by a clean-up job"},
        "table": [{"name": "users", "rows": USERS}, {"name": "transactions", "rows": rows}],
    }
    (folder / "incident.toml").write_text(tomli_w.dumps(report))


def run(folder: Path, meet: Callable[[Client], object]) -> SessionState:
    asyncio.run(answering(folder, start_runner(folder), meet))  # type: ignore[arg-type]
    return store.open_session(folder).state


def test_payments_come_back_and_the_application_serves_again(
    app: LaravelApp, server: Server, open_folder: Path
) -> None:
    schema = server.new_schema("ledger")
    turn_to(app, server, schema)
    seed(server, schema, users=USERS, transactions=TRANSACTIONS)
    dump = nightly_dump(open_folder / "dumps", server, schema)
    app.start(*SERVICES)
    until(lambda: count(server, schema) > TRANSACTIONS + 1, "the workers record payments after the dump")
    app.stop()
    good = count(server, schema)
    bad = here(server)
    server.sql("DELETE FROM transactions WHERE id % 3 <> 0", database=schema)
    app.start(*SERVICES)
    papers(open_folder, app, server, schema, rows=good, migrations=PRETEND)

    folder = new_session(MysqlWorld(open_folder, server, schema, dump, bad), Until(Kind.POSITION, bad))
    state = run(folder, say_yes)
    assert state.ended is not None, (folder / "runner.log").read_text()[-3000:]
    assert state.ended.how is Ending.SIGNED_OFF
    assert not overridden(folder)
    assert (state.checks["migrations"].check.verdict, state.checks["migrations"].check.evidence) == (
        Verdict.OK,
        "nothing to migrate",
    )
    for action in ("stop-maintenance", "stop-workers", "stop-scheduler", "start-workers", "run-smoke", "run-health"):
        (step,) = [known for known in state.steps if known.step.action == action]
        assert step.status is Status.DONE, action
    assert not app.is_down()
    assert [service for service in SERVICES if not app.running(service)] == []
    assert count(server, schema) >= good
    assert server.sql(f"SELECT COUNT(*) FROM transactions WHERE id <= {TRANSACTIONS}", database=schema) == [
        (TRANSACTIONS,)
    ]
    before = count(server, schema)
    until(lambda: count(server, schema) > before, "the workers record what the scheduler queues")


def test_a_dump_from_before_the_newest_migration_blocks_sign_off(
    app: LaravelApp, server: Server, open_folder: Path
) -> None:
    """What is asked is the restored schema, in place this time: the one of now has the migration."""
    schema = server.new_schema("ledger")
    turn_to(app, server, schema)
    seed(server, schema, users=USERS, transactions=TRANSACTIONS)
    server.sql("DROP TABLE cache, cache_locks, sessions", database=schema)
    server.sql(f"DELETE FROM migrations WHERE migration = '{CACHE}'", database=schema)
    dump = nightly_dump(open_folder / "dumps", server, schema)
    assert app.artisan("migrate", "--force").returncode == 0
    papers(open_folder, app, server, schema, rows=TRANSACTIONS, method="in-place", migrations=PRETEND)
    folder = new_session(MysqlWorld(open_folder, server, schema, dump, ""))
    asked: list[str] = []

    async def meet(client: Client) -> bool:
        move = next_move(client.state, utc_now())
        if not (isinstance(move, Wait) and move.ask.kind is AskKind.CHECKS):
            return await say_yes(client)
        for name in move.ask.checks:
            if name != "migrations":  # no service was started: they are not running again either
                await client.do(overriding(client.state, name, "ivo", "this test starts none"))
                continue
            asked.append(client.state.checks[name].check.evidence)
            assert app.artisan("migrate", "--force").returncode == 0
            await client.do(c.Recheck(name))
        return True

    state = run(folder, meet)
    assert state.ended is not None, (folder / "runner.log").read_text()[-3000:]
    assert state.ended.how is Ending.SIGNED_OFF
    assert state.checks["migrations"].check.verdict is Verdict.OK
    assert asked == [f"1 pending ({CACHE})"]
    assert "migrations" not in overridden(folder)
