"""Into a schema beside the live one: rows go by another name, and what could reach the live schema is refused."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from engines.errors import Refused, RestoreError
from engines.mysql.binlogs.moments import stop_point
from engines.mysql.connect import Login, quoted
from engines.mysql.flavour import Flavour
from engines.mysql.replay.pipeline import replay
from engines.mysql.replay.plan import NotStaged, plan_replay, wanted
from tests.engines.mysql.replay.both import programs
from tests.engines.mysql.replay.source import Source, checksums
from tests.servers.databases import Server

pytestmark = pytest.mark.xdist_group("replay")
RIGHTS = {
    Flavour.MYSQL: "REPLICATION_APPLIER, SESSION_VARIABLES_ADMIN, SET_ANY_DEFINER, SYSTEM_USER",
    Flavour.MARIADB: "BINLOG REPLAY, BINLOG ADMIN, SET USER",
}


def account(server: Server, stage: str) -> Login:
    """One that can do everything in the stage, and nothing elsewhere."""
    server.sql(
        "CREATE USER restorer@'%' IDENTIFIED BY 'secret'",
        f"GRANT ALL ON {quoted(stage).replace('_', chr(92) + '_')}.* TO restorer@'%'",
        f"GRANT {RIGHTS[server.flavour]} ON *.* TO restorer@'%'",
    )
    return Login("restorer", "secret")


def test_rows_and_plain_definitions_go_into_the_stage_and_the_live_schema_stays(server: Server, tmp_path: Path) -> None:
    live, stage = "live `it's`", 'st"a`ge_é\\'
    server.sql(f"CREATE DATABASE {quoted(live)}")
    source = Source(server, live, tmp_path)
    other = Source(server, server.new_schema("other"), tmp_path)
    source.take_dump()
    source.work(5)
    other.work(3)
    with server.connection(live) as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {quoted(live)}.users, {quoted(other.schema)}.users b SET users.n = 7, b.n = 8")
        cursor.execute(f"UPDATE {quoted(other.schema)}.users a, {quoted(live)}.keyless SET a.n = 7, keyless.b = 'y'")
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO keyless VALUES (1, 'both')")
        cursor.execute(f"DELETE FROM {quoted(other.schema)}.keyless")
        cursor.execute("COMMIT")
    server.sql(
        "CREATE TABLE made (id INT PRIMARY KEY, v INT)",
        "INSERT INTO made VALUES (1, 1)",
        "ALTER TABLE made ADD w INT, ADD KEY (v)",
        "CREATE INDEX by_w ON made (w)",
        "RENAME TABLE made TO new",
        "TRUNCATE TABLE keyless",
        "CREATE TABLE filled AS SELECT 1 AS one",
        "CREATE VIEW shown AS SELECT id FROM new",
        "CREATE PROCEDURE answer() SELECT 42",
        "DROP TABLE filled",
        "INSERT INTO new VALUES (2, 2, 2)",
        f"DROP TABLE {quoted(other.schema)}.keyless",
        database=live,
    )
    then, others = checksums(server, live), checksums(server, other.schema)
    plan = plan_replay(source.chain(), stop_point("end"), source=live, schema=stage, others=(other.schema,))
    assert plan.crossing == 3
    source.load(stage)
    into = replace(source.into(), login=account(server, stage))
    done = replay(plan, into, programs=programs(server))
    assert done.transactions == plan.transactions
    staged = checksums(server, stage)
    view = then.pop("shown"), staged.pop("shown")
    assert view[0][0] == view[1][0]
    assert staged == then
    assert checksums(server, live) == then | {"shown": view[0]}
    assert checksums(server, other.schema) == others


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("ALTER TABLE {live}.users DROP COLUMN n", "writes the live schema's name out"),
        ("CREATE VIEW v AS SELECT * FROM {live}.users", "writes the live schema's name out"),
        ("ALTER DATABASE {live} CHARACTER SET latin1", "ALTER DATABASE"),
        ("RENAME TABLE users TO {other}.users", "another one"),
        ("CREATE TABLE c (id INT, FOREIGN KEY (id) REFERENCES {other}.users (id))", "needs another schema"),
    ],
)
def test_a_statement_that_could_reach_further_is_refused_with_its_byte(
    server: Server, tmp_path: Path, statement: str, why: str
) -> None:
    source = Source(server, server.new_schema("live"), tmp_path)
    other = server.new_schema("other")
    server.sql("CREATE TABLE users (id INT PRIMARY KEY)" if "FOREIGN" in statement else "DO 1", database=other)
    source.take_dump()
    server.sql(statement.format(live=source.schema, other=other), database=source.schema)
    with pytest.raises(NotStaged, match=rf"byte \d+ .*{why}"):
        plan_replay(source.chain(), stop_point("end"), source=source.schema, schema="stage", others=(other,))
    server.sql(f"DROP DATABASE {source.schema}")  # before the schema that its foreign key needs


def test_changes_logged_as_statements_are_refused_beside_the_live_schema(server: Server, tmp_path: Path) -> None:
    source = Source(server, server.new_schema("live"), tmp_path)
    source.take_dump()
    server.sql("SET SESSION binlog_format = STATEMENT", "UPDATE users SET n = 1", database=source.schema)
    chain = source.chain()
    with pytest.raises(NotStaged, match="logged as a statement"):
        plan_replay(chain, stop_point("end"), source=source.schema, schema="stage")
    assert plan_replay(chain, stop_point("end"), source=source.schema).statements == 1


def test_the_account_without_rights_on_the_live_schema_stops_a_qualified_statement(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a plan would refuse, given to the programs all the same."""
    live, stage = server.new_schema("live"), server.new_schema("stage")
    source = Source(server, live, tmp_path)
    source.take_dump()
    server.sql(f"DELETE FROM {live}.keyless", f"ALTER TABLE {live}.keyless DROP COLUMN b", database=live)
    chain = source.chain()
    as_if = plan_replay(chain, stop_point("end"), source=live)
    source.load(live)
    before = checksums(server, live)
    source.load(stage)
    into = replace(source.into(), login=account(server, stage))
    monkeypatch.setattr("engines.mysql.replay.feed.wanted", lambda plan: wanted(as_if))
    with pytest.raises(RestoreError, match=r"binlog\.\d+, byte \d+\): 1142"):
        replay(replace(as_if, schema=stage), into, programs=programs(server))
    assert checksums(server, live) == before


def test_mysqlbinlog_itself_does_not_rename_what_a_statement_writes_out(server: Server, tmp_path: Path) -> None:
    live = server.new_schema("live")
    server.sql("FLUSH BINARY LOGS", f"CREATE TABLE {live}.a (i INT)", "CREATE TABLE b (i INT)", database=live)
    name = str(server.sql("SHOW BINARY LOGS")[-1][0])
    argv = (*server.client("mysqlbinlog"), f"--rewrite-db={live}->stage", str(server.datadir / name))
    text = subprocess.run(argv, capture_output=True, check=True).stdout.decode()
    assert f"CREATE TABLE {live}.a" in text
    assert "use `stage`" in text
    assert f"use `{live}`" not in text


@pytest.mark.parametrize(("source", "stage"), [("a->b", "stage"), ("live", "two words"), ("live", "a->b"), (" l", "s")])
def test_a_name_that_mysqlbinlog_would_cut_is_refused(
    mariadb_server: Server, tmp_path: Path, source: str, stage: str
) -> None:
    live = Source(mariadb_server, mariadb_server.new_schema("live"), tmp_path)
    live.take_dump()
    live.work(1)
    plan = replace(plan_replay(live.chain(), stop_point("end"), source=live.schema), source=source, schema=stage)
    with pytest.raises(Refused, match="can't rename"):
        replay(plan, live.into(), programs=programs(mariadb_server))
