"""Rows that would do harm after a rewind are put aside and can be put back; numbers are skipped. On both servers."""

from __future__ import annotations

import pytest

from engines.errors import Refused, RestoreError
from engines.mysql.aftermath import back_sql, columns_of, put_aside, skip_ids
from engines.mysql.connect import connected
from tests.servers.databases import Server


def test_jobs_are_put_aside_and_back_and_numbers_are_skipped(server: Server) -> None:
    schema = server.new_schema("shop")
    server.sql(
        "CREATE TABLE `jo``bs` (id BIGINT PRIMARY KEY AUTO_INCREMENT, payload TEXT, "
        "length INT AS (CHAR_LENGTH(payload)) STORED, at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)",
        "CREATE TABLE plain (id INT PRIMARY KEY)",
        "INSERT INTO `jo``bs` (payload) VALUES ('one'), ('two')",
        database=schema,
    )
    before = server.sql("SELECT * FROM `jo``bs` ORDER BY id", database=schema)
    with connected(server.place, server.login, database=schema) as connection:
        assert put_aside(connection, "jo`bs", "kept") == 2
        assert not server.sql("SELECT * FROM `jo``bs`", database=schema)
        assert server.sql("SELECT * FROM kept ORDER BY id", database=schema) == before
        assert put_aside(connection, "jo`bs", "kept") == 2, "done twice, it is done once"
        with pytest.raises(RestoreError, match="did not take"):
            put_aside(connection, "gone", "kept_too")
        back = back_sql("jo`bs", "kept", columns_of(connection, "jo`bs"))
        assert skip_ids(connection, 1000, leave=("kept",)) == {"jo`bs": 3}
        assert skip_ids(connection, 1000, leave=("kept",)) == {"jo`bs": 1003}
    server.sql("INSERT INTO `jo``bs` (payload) VALUES ('x')", database=schema)
    assert server.sql("SELECT id FROM `jo``bs`", database=schema)[0][0] == 2003
    server.sql("DELETE FROM `jo``bs`", *back, database=schema)
    assert server.sql("SELECT * FROM `jo``bs` ORDER BY id", database=schema) == before


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (
            "CREATE TABLE child (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES jobs (id) ON DELETE CASCADE)",
            "child",
        ),
        (
            "CREATE TABLE child (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES jobs (id) ON DELETE SET NULL)",
            "child",
        ),
        ("CREATE TRIGGER follows AFTER DELETE ON jobs FOR EACH ROW SET @gone = 1", "follows"),
    ],
    ids=["cascade", "set null", "trigger"],
)
def test_a_table_whose_rows_would_take_others_along_is_refused(server: Server, made: str, why: str) -> None:
    schema = server.new_schema("shop")
    server.sql("CREATE TABLE jobs (id INT PRIMARY KEY)", "INSERT INTO jobs VALUES (1)", made, database=schema)
    if why == "child":
        server.sql("INSERT INTO child VALUES (7, 1)", database=schema)
    with connected(server.place, server.login, database=schema) as connection, pytest.raises(Refused, match=why):
        put_aside(connection, "jobs", "kept")
    assert server.sql("SELECT * FROM jobs", database=schema) == [(1,)]
    if why == "child":
        assert server.sql("SELECT * FROM child", database=schema) == [(7, 1)]
    assert not server.sql("SHOW TABLES LIKE 'kept'", database=schema)
