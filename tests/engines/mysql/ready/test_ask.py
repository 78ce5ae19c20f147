"""The incident report's queries read, and do nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from engines.errors import RestoreError, UsageError
from engines.mysql.ask import Answer, ask
from engines.mysql.connect import connected
from engines.mysql.flavour import Flavour
from engines.mysql.reading import refused
from tests.servers.databases import Server

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor


@contextmanager
def shop(server: Server) -> Iterator[Connection[Cursor]]:
    schema = server.new_schema("shop")
    server.sql(
        f"CREATE TABLE `{schema}`.users (id INT PRIMARY KEY, name VARCHAR(30), paid DECIMAL(9,2), at DATETIME, b BLOB)",
        f"INSERT INTO `{schema}`.users VALUES (1,'ana',1.50,'2026-11-22 20:04:11',x'00ff'),"
        "(2,'it''s; 100 %',NULL,NULL,NULL)",
        f"CREATE FUNCTION `{schema}`.f() RETURNS INT NO SQL RETURN 7",
    )
    with connected(server.place, server.login, database=schema) as connection:
        yield connection


def test_a_query_is_answered_with_columns_and_rows_that_can_be_stored(server: Server) -> None:
    with shop(server) as connection:
        assert ask(connection, "SELECT * FROM users ORDER BY id") == Answer(
            ("id", "name", "paid", "at", "b"),
            ((1, "ana", "1.50", "2026-11-22 20:04:11", "x'00ff'"), (2, "it's; 100 %", None, None, None)),
            cut=False,
        )
        assert ask(connection, "select count(*), sum(id) from users where name like '100 %'").rows == ((0, None),)
        assert ask(connection, "SELECT SUM(id), 1e0 FROM users").rows == ((3, 1.0),)
        assert ask(connection, "WITH x AS (SELECT id FROM users) SELECT max(id) FROM x").rows == ((2,),)
        assert ask(connection, "SELECT name FROM users WHERE name = 'it''s; 100 %' -- INTO OUTFILE").rows


def test_more_rows_than_asked_for_are_cut_and_said(server: Server) -> None:
    with shop(server) as connection:
        answer = ask(connection, "SELECT id FROM users ORDER BY id LIMIT 10", most=1)
        assert (answer.rows, answer.cut) == (((1,),), True)
        assert not ask(connection, "SELECT id FROM users", most=2).cut


REFUSED = (
    "DELETE FROM users",
    "UPDATE users SET id = 3",
    "INSERT INTO users (id) VALUES (9)",
    "SET GLOBAL max_connections = 1",
    "CALL p()",
    "DO SLEEP(1)",
    "DROP TABLE users",
    "EXPLAIN SELECT 1",
    "",
    "/* nothing */",
    "SELECT 1; DELETE FROM users",
    "SELECT 1;",
    "SELECT * FROM users INTO OUTFILE '/tmp/reinstate'",
    "SELECT * INTO DUMPFILE '/tmp/reinstate' FROM users",
    "SELECT 1.INTO OUTFILE '/tmp/reinstate'",
    "SELECT id INTO @x FROM users",
    "SELECT @x := 1",
    "SELECT * FROM users FOR UPDATE",
    "SELECT * FROM users FOR SHARE",
    "SELECT * FROM users LOCK IN SHARE MODE",
    "WITH x AS (SELECT 1) DELETE FROM users",
    "SELECT SLEEP(10)",
    "SELECT sleep (10)",
    "SELECT BENCHMARK(1000000000, MD5('x'))",
    "SELECT LOAD_FILE('/etc/passwd')",
    "SELECT GET_LOCK('reinstate:shop', 1)",
    "SELECT RELEASE_ALL_LOCKS()",
    "SELECT NEXTVAL(s)",
    "SELECT NEXT VALUE FOR s",
    "SELECT f()",
    "SELECT `f`()",
    "SELECT shop.f()",
    "SELECT shop.COUNT(1)",
    "SELECT COUNT (*) FROM users",
    "SELECT /*! SLEEP(1) */ 1",
    "SELECT 1 /*!50000 INTO OUTFILE '/tmp/reinstate' */",
    "SELECT 1 /*M! INTO OUTFILE '/tmp/reinstate' */",
    "SELECT 'open",
)


@pytest.mark.parametrize("sql", REFUSED)
def test_what_does_more_than_read_is_refused_before_it_is_sent(sql: str) -> None:
    assert refused(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT `into`, t.update, share FROM t WHERE x IN (1, 2) AND (y OR NOT (z))",
        "SELECT 'INTO OUTFILE; SLEEP(1)' FROM t # FOR UPDATE",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "SELECT IF(x, 'a\\'; DROP', \"b\") FROM t WHERE EXISTS (SELECT 1 FROM u)",
        "SELECT SUBSTRING(name FROM 1 FOR 2) FROM t",
        "SELECT ROW_NUMBER() OVER (PARTITION BY a ORDER BY b) FROM t",
        "SELECT CAST(x AS DECIMAL(9,2)) FROM t",
    ],
)
def test_what_only_reads_is_let_through(sql: str) -> None:
    assert refused(sql) == ""


def test_a_refusal_is_an_error_that_says_what_was_not_changed(server: Server) -> None:
    with shop(server) as connection:
        with pytest.raises(UsageError, match="DELETE") as refusal:
            ask(connection, "DELETE FROM users")
        assert "Nothing was changed" in refusal.value.message
        with pytest.raises(UsageError, match="1146"):
            ask(connection, "SELECT * FROM nowhere")
        assert ask(connection, "SELECT COUNT(*) FROM users").rows == ((2,),)


def test_what_the_words_do_not_show_is_stopped_by_the_transaction(server: Server) -> None:
    """A view may call a function that writes: the transaction may only read, and the server says no."""
    with shop(server) as connection:
        schema = connection.db.decode() if isinstance(connection.db, bytes) else str(connection.db)
        server.sql("SET GLOBAL log_bin_trust_function_creators = 1")
        server.script(
            "DELIMITER ;;\nCREATE FUNCTION w() RETURNS INT BEGIN DELETE FROM users; RETURN 1; END;;\nDELIMITER ;\n"
            "CREATE VIEW v AS SELECT w() AS x;",
            schema,
        )
        with pytest.raises(UsageError, match="1792"):
            ask(connection, "SELECT * FROM v")
        assert ask(connection, "SELECT COUNT(*) FROM users").rows == ((2,),)
        server.sql("SET GLOBAL log_bin_trust_function_creators = 0")


def test_a_query_that_takes_too_long_is_ended_and_the_connection_is_as_it_was(server: Server) -> None:
    with shop(server) as connection:
        limit = "max_execution_time" if server.flavour is Flavour.MYSQL else "max_statement_time"
        ask(connection, "SELECT 1")
        with pytest.raises(RestoreError, match="longer than"):
            ask(
                connection,
                "SELECT COUNT(*) FROM information_schema.columns a, information_schema.columns b, "
                "information_schema.columns c",
                seconds=0.2,
            )
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT @@SESSION.{limit} = @@GLOBAL.{limit}, @@SESSION.sql_mode = @@GLOBAL.sql_mode")
            assert cursor.fetchone() == (1, 1)
            cursor.execute("SELECT id FROM users")
            assert len(cursor.fetchall()) == 2
            cursor.execute("DELETE FROM users")


def test_quotes_mean_the_same_to_us_and_to_the_server(server: Server) -> None:
    with shop(server) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'")
        assert ask(connection, "SELECT \"ana\" = name, '\\'' FROM users WHERE id = 1").rows == ((1, "'"),)
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@SESSION.sql_mode")
            assert cursor.fetchone() == ("ANSI_QUOTES,NO_BACKSLASH_ESCAPES",)
