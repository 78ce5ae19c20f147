"""No statement of a dump or a log can reach the live schema: the account that runs them may not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pymysql
import pytest

from engines.errors import Refused, RestoreError
from engines.mysql.connect import Login, close, connect, connected, connection_id, write_option_file
from engines.mysql.dumps.facts import read_facts
from engines.mysql.flavour import Flavour
from engines.mysql.load.loader import Job, load
from engines.mysql.stage import account, schema
from engines.mysql.stage.names import Names, names
from tests.engines.mysql.stage.ground import SESSION, TOKEN
from tests.servers.databases import PASSWORD, Server
from tests.servers.waiting import until

OUTWARD = (
    "INSERT INTO `{live}`.t VALUES (2)",
    "DELETE FROM `{live}`.t",
    "DROP TABLE `{live}`.t",
    "ALTER TABLE `{live}`.t ADD x INT",
    "CREATE TABLE `{live}`.u (id INT)",
    "CREATE OR REPLACE VIEW `{live}`.t AS SELECT 1",
    "RENAME TABLE `{live}`.t TO `{stage}`.t",
    "INSERT INTO `{stage}`.s SELECT id FROM `{live}`.t",
    "CREATE TABLE `{stage}`.x (id INT, FOREIGN KEY (id) REFERENCES `{live}`.t (id))",
    "USE `{live}`",
    "DROP DATABASE `{parked}`",
    "CREATE DATABASE other",
    "CREATE DEFINER = root@localhost PROCEDURE p() DELETE FROM `{live}`.t",
    "CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO DELETE FROM `{live}`.t",
    "CREATE TRIGGER r BEFORE INSERT ON s FOR EACH ROW DELETE FROM `{live}`.t",
    "SET GLOBAL max_connections = 10",
    "GRANT ALL ON *.* TO '{account}'@'%'",
)


def prepared(server: Server, **wanted: bool) -> tuple[Names, Login]:
    """A live schema with a table, an empty stage beside it, and the account."""
    live = server.new_schema("shop")
    server.sql(f"CREATE TABLE `{live}`.t (id INT PRIMARY KEY)", f"INSERT INTO `{live}`.t VALUES (1)")
    made = names(live, TOKEN)
    with connected(server.place, server.login) as connection:
        schema.prepare(connection, made, SESSION)
        login = account.make(
            connection,
            made,
            SESSION,
            server.login,
            server.flavour,
            binary_log=wanted.get("binary_log", True),
            replays=wanted.get("replays", False),
        )
    return made, login


def test_a_statement_that_reaches_out_of_the_stage_is_refused(server: Server) -> None:
    made, login = prepared(server)
    server.sql(f"CREATE TABLE `{made.stage}`.s (id INT)")
    with connected(server.place, login, database=made.stage) as connection, connection.cursor() as cursor:
        for statement in OUTWARD:
            text = statement.format(live=made.live, stage=made.stage, parked=made.parked, account=made.account)
            with pytest.raises(pymysql.err.MySQLError) as refusal:
                cursor.execute(text)
            # Denied: of a table, a schema, a right; 1370 of a routine; 1419 of code under a binary log.
            assert refusal.value.args[0] in (1142, 1044, 1227, 1370, 1419, 1045, 1410), text
    assert server.sql(f"SELECT id FROM `{made.live}`.t") == [(1,)]


def test_a_dump_with_a_qualified_statement_loads_no_further(server: Server, tmp_path: Path) -> None:
    made, login = prepared(server)
    dump = tmp_path / "dump.sql"
    dump.write_text(
        "CREATE TABLE `s` (\n  `id` int\n);\nINSERT INTO `s` VALUES (1);\n"
        f"DROP TABLE IF EXISTS `t`,`{made.live}`.`t`;\n-- Dump completed\n"
    )
    job = Job(dump=dump, place=server.place, login=login, schema=made.stage, source="shop",
              rows={table.name: table.rows for table in read_facts(dump).tables}, code=False)  # fmt: skip
    with pytest.raises(RestoreError, match="1142"):
        load(job)
    assert server.sql(f"SELECT id FROM `{made.live}`.t") == [(1,)]


def test_row_events_of_the_live_schema_are_refused_by_mysql_and_not_by_mariadb(server: Server) -> None:
    """Why a replay into a stage of MariaDB must rewrite and filter by schema: its server checks no row event."""
    made, login = prepared(server, replays=True)
    server.sql("FLUSH BINARY LOGS", f"INSERT INTO `{made.live}`.t VALUES (2)", "FLUSH BINARY LOGS")
    log = sorted(server.datadir.glob("binlog.0*"))[-2]
    skip = ("--skip-gtids",) if server.flavour is Flavour.MYSQL else ()
    events = subprocess.run(
        (server.build.program("mysqlbinlog"), "--no-defaults", *skip, str(log)), capture_output=True, check=True
    ).stdout
    server.sql(f"DELETE FROM `{made.live}`.t WHERE id = 2")
    option_file = server.folder / "account.cnf"
    write_option_file(option_file, server.place, login, mariadb=server.flavour is Flavour.MARIADB)
    ended = subprocess.run(
        (server.build.program("mysql"), f"--defaults-file={option_file}", "--binary-mode"),
        input=events,
        capture_output=True,
        check=False,
    )
    reached = server.sql(f"SELECT id FROM `{made.live}`.t WHERE id = 2") == [(2,)]
    assert reached is (server.flavour is Flavour.MARIADB)
    assert (ended.returncode == 0) is reached


def test_it_may_leave_its_session_out_of_the_binary_log_only_when_that_is_asked(server: Server) -> None:
    made, login = prepared(server)
    with (
        connected(server.place, login) as connection,
        connection.cursor() as cursor,
        pytest.raises(pymysql.err.MySQLError, match="1227"),
    ):
        cursor.execute("SET sql_log_bin = 0")
    with connected(server.place, server.login) as connection:
        login = account.make(connection, made, SESSION, server.login, server.flavour, binary_log=False)
    with connected(server.place, login) as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_log_bin = 0")
        cursor.execute("SELECT @@sql_log_bin")
        assert cursor.fetchone() == (0,)


def test_a_login_that_may_not_give_that_right_is_told_so_and_no_account_is_left(server: Server) -> None:
    made, _login = prepared(server)
    server.sql(
        "CREATE USER 'half'@'%' IDENTIFIED BY 'x'",
        "GRANT CREATE USER, PROCESS, SELECT ON *.* TO 'half'@'%'",
        *([] if server.flavour is Flavour.MARIADB else ["GRANT CONNECTION_ADMIN, SYSTEM_USER ON *.* TO 'half'@'%'"]),
        f"GRANT ALL ON `{made.stage}`.* TO 'half'@'%' WITH GRANT OPTION",
        f"GRANT ALL ON `{made.parked}`.* TO 'half'@'%'",
    )
    half = Login("half", "x")
    with connected(server.place, half) as connection:
        account.make(connection, made, SESSION, half, server.flavour)
        with pytest.raises(Refused, match="may not give"):
            account.make(connection, made, SESSION, half, server.flavour, binary_log=False)
    assert server.sql(f"SELECT 1 FROM mysql.user WHERE user = '{made.account}'") == []


def test_its_sessions_end_with_it(server: Server) -> None:
    made, login = prepared(server)
    left = connect(server.place, login, database=made.stage)
    number = connection_id(left)
    with connected(server.place, server.login) as connection:
        account.drop(connection, made, SESSION)
        account.drop(connection, made, SESSION)
    until(lambda: number not in {row[0] for row in server.sql("SHOW PROCESSLIST")}, "its session is gone")
    with pytest.raises(RestoreError, match="1045"):
        connect(server.place, login)
    close(left)


def test_the_password_is_in_no_message_and_new_each_time(server: Server) -> None:
    made, first = prepared(server)
    with connected(server.place, server.login) as connection:
        second = account.make(connection, made, SESSION, server.login, server.flavour)
    assert first.password != second.password
    assert second.password not in f"{second}{made}"
    assert PASSWORD not in f"{second}"


def test_a_schema_whose_name_is_a_pattern_gives_rights_on_nothing_else(server: Server) -> None:
    made, login = prepared(server)
    alike = made.stage.replace("_", "x")
    server.sql(f"CREATE DATABASE `{alike}`")
    with (
        connected(server.place, login) as connection,
        connection.cursor() as cursor,
        pytest.raises(pymysql.err.MySQLError, match="1044"),
    ):
        cursor.execute(f"USE `{alike}`")


def test_under_partial_revokes_the_account_still_reaches_its_schema(mysql_server: Server) -> None:
    mysql_server.sql("SET GLOBAL partial_revokes = ON")
    try:
        made, login = prepared(mysql_server)
        with connected(mysql_server.place, login, database=made.stage) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE s (id INT)")
    finally:
        mysql_server.sql("SET GLOBAL partial_revokes = OFF")


@pytest.mark.parametrize("whose", ["stage", "parked", "account", "another session"])
def test_a_name_that_is_taken_is_refused_and_left_alone(server: Server, whose: str) -> None:
    live = server.new_schema("shop")
    made = names(live, TOKEN)
    if whose == "account":
        server.sql(f"CREATE USER '{made.account}'@'%'")
    elif whose == "another session":
        with connected(server.place, server.login) as connection:
            schema.prepare(connection, made, "another")
    else:
        taken = made.stage if whose == "stage" else made.parked
        server.sql(f"CREATE DATABASE `{taken}`", f"CREATE TABLE `{taken}`.theirs (id INT)")
    with connected(server.place, server.login) as connection:
        with pytest.raises(Refused, match="not made by this session"):
            schema.prepare(connection, made, SESSION)
        account.drop(connection, made, SESSION)  # not ours: nothing
    if whose == "account":
        assert server.sql(f"SELECT 1 FROM mysql.user WHERE user = '{made.account}'") == [(1,)]


def test_what_a_killed_preparation_left_is_taken_up(server: Server) -> None:
    """Killed between the parked schema and its marker: an empty schema of that name is nobody's."""
    live = server.new_schema("shop")
    made = names(live, TOKEN)
    server.sql(f"CREATE DATABASE `{made.parked}`")
    with connected(server.place, server.login) as connection:
        schema.prepare(connection, made, SESSION)
        schema.prepare(connection, made, SESSION)
        assert schema.owner(connection, made, SESSION) is schema.Owner.US


def test_the_stage_takes_after_the_live_schema(server: Server) -> None:
    live = server.new_schema("shop")
    server.sql(f"ALTER DATABASE `{live}` CHARACTER SET latin1 COLLATE latin1_german1_ci")
    made = names(live, TOKEN)
    with connected(server.place, server.login) as connection:
        schema.prepare(connection, made, SESSION)
    assert server.sql(
        f"SELECT default_collation_name FROM information_schema.schemata WHERE schema_name = '{made.stage}'"
    ) == [("latin1_german1_ci",)]


def test_its_password_is_in_no_log_of_the_server(fresh_server: Server) -> None:
    server = fresh_server
    server.sql("SET GLOBAL general_log = 1")

    def found() -> list[str]:
        _made, login = prepared(server)
        close(connect(server.place, login))
        server.sql("FLUSH LOGS")
        logs = [*server.datadir.glob("binlog.0*"), *server.datadir.glob("*.log")]
        assert any(login.user.encode() in path.read_bytes() for path in logs)
        return [path.name for path in logs if login.password.encode() in path.read_bytes()]

    assert found() == []
    if server.flavour is Flavour.MARIADB:
        server.tidy()
        server.sql("INSTALL SONAME 'simple_password_check'")
        assert found(), "a server that judges passwords has to see it, and the account is made all the same"
