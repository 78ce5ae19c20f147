"""Rows that would do harm after a rewind are put aside and can be put back; numbers are skipped. On both servers."""

from __future__ import annotations

import pytest

from engines.errors import RestoreError
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
